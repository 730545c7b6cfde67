"""
Which WAL the kept base backups need, by timeline (H26). Pure: no store, no clock.

A backup needs the WAL from its start segment on, along its own timeline and along every timeline that descends from
it and left it after the backup was complete. So each timeline has a bound of its own, the lowest start of the backups
that can be brought to it, and what lies below goes. A timeline that none can be brought to was left before all of
them: what lies there below the start of a kept backup of a later timeline is of no use to anybody. It goes no further
than that, for a timeline higher than all backups' may be the one that the server is on, with its first backup still
to come. Histories never go, and where the descent cannot be told, the lowest start of all is the bound.
"""

import enum
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from wal_e.maintain.retention import Decision, Directory, wal_order
from wal_e.pg.history import History
from wal_e.pg.wal import is_history
from wal_e.repo import layout

_WALG_DELTA_MAP = re.compile(rf"{layout.WAL_PREFIX}([0-9A-F]{{24}})_delta(\.[a-z0-9]+)?", re.ASCII)
_WALG_METADATA = re.compile(rf"{layout.WAL_PREFIX}([0-9A-F]{{23,24}})\.json", re.ASCII)


class WalVerdict(enum.Enum):
    """What becomes of one object under `wal_005/`."""

    KEEP = enum.auto()
    DROP_SEGMENT = enum.auto()
    DROP_LABEL = enum.auto()
    UNEXPECTED = enum.auto()


@dataclass(frozen=True, slots=True)
class Need:
    """What one backup needs: WAL from `start` (as `wal_order` counts) on, wherever `timeline` leads from `stop_lsn`."""

    timeline: int
    start: int
    stop_lsn: int
    system_identifier: int | None = None


@dataclass(frozen=True, slots=True)
class WalBounds:
    """The place below which no WAL is needed: of each timeline, and `lowest` of those that are not known here."""

    lowest: int
    by_timeline: Mapping[int, int]

    def of(self, timeline: int) -> int:
        """The bound of a timeline."""
        return self.by_timeline.get(timeline, self.lowest)


def needs_of(decision: Decision, underway: Iterable[Directory]) -> tuple[Need, ...]:
    """The needs of the backups that are kept, and of unfinished ones that may be running."""
    kept = (
        Need(int(held.segment[:8], 16), held.start, held.stop_lsn, held.system_identifier)
        for held in (verdict.backup for verdict in decision.keep)
    )
    running = (Need(directory.timeline, directory.start, 0) for directory in underway)
    return (*kept, *running) if decision.keep else ()


def wal_bounds(
    needs: Sequence[Need], histories: Mapping[int, History | None], limit: int | None = None
) -> WalBounds | None:
    """
    The bounds, none of them above `limit`; None where there is no backup: then nothing may go.

    `histories` has every timeline of which the archive has WAL, with None where its descent is not known. Backups of
    several clusters may use the same numbers for timelines that have nothing to do with each other, so there the
    descent is not known either.
    """
    if not needs:
        return None
    lowest = min(need.start for need in needs)
    clusters = {need.system_identifier for need in needs} - {None}
    if len(clusters) > 1:
        histories = {}
    bounds = {timeline: _bound(needs, timeline, history, lowest) for timeline, history in histories.items()}
    if limit is not None:
        lowest, bounds = min(lowest, limit), {timeline: min(bound, limit) for timeline, bound in bounds.items()}
    return WalBounds(lowest, bounds)


def _bound(needs: Sequence[Need], timeline: int, history: History | None, lowest: int) -> int:
    if history is None:
        return lowest
    reaching = [n.start for n in needs if n.timeline == timeline or history.usable(n.timeline, n.stop_lsn)]
    if reaching:
        return min(reaching)
    return max((need.start for need in needs if need.timeline > timeline), default=lowest)


def judge_wal(key: str, bounds: WalBounds | None) -> WalVerdict:
    """
    What becomes of an object under `wal_005/`: what lies below its timeline's bound goes, histories never do.

    WAL-G's delta maps and metadata, which cover up to 16 segments, go when the last of those goes.
    """
    stored = layout.parse_wal_key(key)
    if stored is not None:
        if is_history(stored.name):
            return WalVerdict.KEEP
        last = stored.name[:24]
    elif match := _WALG_DELTA_MAP.fullmatch(key) or _WALG_METADATA.fullmatch(key):
        last = match[1][:23] + "F"
    else:
        return WalVerdict.UNEXPECTED
    if bounds is None or wal_order(last) >= bounds.of(int(last[:8], 16)):
        return WalVerdict.KEEP
    is_label = stored is not None and stored.name.endswith(".backup")
    return WalVerdict.DROP_LABEL if is_label else WalVerdict.DROP_SEGMENT
