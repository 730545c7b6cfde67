"""
Which base backup a restore begins with, and whether the archive can bring it to the target. Pure: values only.

The newest backup that ended before the target is the right one, because WAL only plays forward. "Newest" is by
the stop time and position that the manifests tell, never by a name or by the time of an object (H21). A target
that the archive cannot reach is refused here, before anything is downloaded: PostgreSQL notices at the end of
recovery, and up to version 12 it says nothing at all (H54).
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, Protocol

from wal_e.errors import NoSuchBackup, UsageError, WalMissing
from wal_e.pg.history import History
from wal_e.pg.recovery import Target
from wal_e.pg.wal import Lsn, SegmentName, is_segment
from wal_e.repo.manifest import Summary
from wal_e.units import parse_timestamp

_XID_SPACE: Final = 1 << 32
_SHOWN: Final = 8
_LIST_HINT: Final = 'Run "wal-e backup-list --detail" to see the backups.'


Timeline = int | Literal["latest", "current"] | None
"""A number, the newest there is, or the backup's own; None: the newest, or with an immediate target the own."""


class StoredFile(Protocol):
    """One archived file as the listing shows it."""

    @property
    def name(self) -> str:
        """The file's name, without what the store appends."""
        ...

    @property
    def last_modified(self) -> datetime:
        """When it was stored, by the store's clock."""
        ...


@dataclass(frozen=True, slots=True)
class ArchiveFacts:
    """
    What is in the archive besides backups.

    `segments` tells for each stored segment's name when it was stored, `histories` holds the history files by
    timeline; the first timeline has none.
    """

    segments: Mapping[str, datetime]
    histories: Mapping[int, History]

    @classmethod
    def of(cls, listing: Iterable[StoredFile], histories: Mapping[int, History]) -> "ArchiveFacts":
        """The facts that a listing of the archived files shows."""
        return cls({file.name: file.last_modified for file in listing if is_segment(file.name)}, histories)

    def newest(self, timeline: int) -> str | None:
        """The name of the last segment of a timeline."""
        return max((name for name in self.segments if int(name[:8], 16) == timeline), default=None)


@dataclass(frozen=True, slots=True)
class Choice:
    """The backup to restore, the timeline that recovery follows from there, and why this one."""

    summary: Summary
    timeline: int
    reason: str


@dataclass(frozen=True, slots=True)
class Window:
    """The times to which the archive can bring the cluster back, both ends included."""

    earliest: datetime
    latest: datetime

    def __str__(self) -> str:
        return (
            f"The archive can bring the cluster back to any time from {_show(self.earliest)} to {_show(self.latest)}."
        )


@dataclass(frozen=True, slots=True)
class _Goal:
    """The target with its value read."""

    target: Target | None
    timeline: Timeline
    time: datetime | None = None
    lsn: Lsn | None = None
    xid: int | None = None

    @classmethod
    def of(cls, target: Target | None, timeline: Timeline) -> "_Goal":
        kind, value = (target.kind, target.value) if target else ("", "")
        if timeline is None:
            # An immediate target needs no WAL but the backup's own, and the newest may not be reachable from it.
            timeline = "current" if kind == "immediate" else "latest"
        return cls(
            target,
            timeline,
            parse_timestamp(value) if kind == "time" else None,
            Lsn.parse(value) if kind == "lsn" else None,
            int(value) if kind == "xid" else None,
        )

    def __str__(self) -> str:
        if self.time is not None:
            return _show(self.time)
        return str(self.lsn) if self.lsn is not None else f"transaction {self.xid}"


@dataclass(frozen=True, slots=True)
class _Archive:
    """All that a choice is made from."""

    summaries: Sequence[Summary]
    facts: ArchiveFacts

    def timelines(self) -> set[int]:
        return {1, *self.facts.histories, *(summary.timeline for summary in self.summaries)}

    def history(self, timeline: int) -> History:
        return self.facts.histories.get(timeline, History(timeline))

    def path(self, goal: _Goal, summary: Summary) -> History:
        """The timelines that recovery of this backup would follow."""
        if goal.timeline == "current":
            return self.history(summary.timeline)
        return self.history(goal.timeline if isinstance(goal.timeline, int) else max(self.timelines()))

    def usable(self, goal: _Goal) -> list[Summary]:
        """The backups that can get onto the target's timeline, oldest first."""
        return sorted((s for s in self.summaries if _fits(self.path(goal, s), s)), key=_order)

    def has(self, path: History, number: int, segment_size: int) -> bool:
        return any(
            str(name) in self.facts.segments and path.contains_segment(name)
            for name in path.candidates(number, segment_size)
        )


def choose_backup(
    summaries: Sequence[Summary],
    target: Target | None,
    timeline: Timeline,
    archive: ArchiveFacts,
    now: datetime,
    *,
    name: str | None = None,
) -> Choice:
    """
    The newest backup from which the target (None: the end of WAL) can be reached, on the timeline.

    With `name` it is that backup, held to the same conditions; `now` is aware. `NoSuchBackup` tells the recovery
    window where the target lies outside; `WalMissing` lists segments that recovery would need and not find.
    """
    goal = _Goal.of(target, timeline)
    known = _Archive(summaries, archive)
    _check_timeline(known, goal)
    if name is not None:
        known = _only(known, name)
    usable = known.usable(goal)
    if not usable:
        raise _no_backup_for_timeline(known, goal, name)
    window = _window(known, goal, usable)
    if goal.time is not None:
        _check_time(goal.time, window, now)
    fitting = [summary for summary in usable if _precedes(summary, goal)]
    if not fitting:
        raise _too_early(goal, usable, window, name)
    chosen = fitting[-1]
    path = known.path(goal, chosen)
    _check_wal(known, path, chosen, goal)
    return Choice(chosen, path.timeline, _reason(goal, len(usable), name))


def recovery_window(summaries: Sequence[Summary], timeline: Timeline, archive: ArchiveFacts) -> Window | None:
    """The times that can be reached on the timeline, or None where there is no backup or no WAL for it."""
    known = _Archive(summaries, archive)
    goal = _Goal.of(None, timeline)
    return _window(known, goal, known.usable(goal))


def _fits(path: History, summary: Summary) -> bool:
    return path.usable(summary.timeline, summary.stop_lsn)


def _order(summary: Summary) -> tuple[datetime, int, str]:
    return summary.stop_time, summary.stop_lsn, summary.name


def _check_timeline(known: _Archive, goal: _Goal) -> None:
    if isinstance(goal.timeline, int) and goal.timeline not in known.timelines():
        raise NoSuchBackup(
            f"timeline {goal.timeline} is not in the archive",
            detail=f"The archive has {_numbers(known.timelines())}.",
            hint="Give --target-timeline one of these, latest, or current.",
        )


def _only(known: _Archive, name: str) -> _Archive:
    named = [summary for summary in known.summaries if summary.name == name]
    if not named:
        raise NoSuchBackup(f'there is no backup "{name}"', hint=_LIST_HINT)
    # The other backups' timelines stay known, so that "latest" means the same with a name as without.
    timelines = {number: known.history(number) for number in known.timelines()}
    return _Archive(named, ArchiveFacts(known.facts.segments, timelines))


def _window(known: _Archive, goal: _Goal, usable: Sequence[Summary]) -> Window | None:
    if not usable:
        return None
    last = _last_stored(known, known.path(goal, usable[-1]), usable[-1].segment_size)
    earliest = min(summary.stop_time for summary in usable)
    return Window(earliest, last) if last is not None and earliest <= last else None


def _last_stored(known: _Archive, path: History, segment_size: int) -> datetime | None:
    for timeline in (path.timeline, *reversed(path.ancestors)):
        prefix = f"{timeline:08X}"
        times = [
            when
            for name, when in known.facts.segments.items()
            if name.startswith(prefix) and _is_on(path, name, segment_size)
        ]
        if times:
            return max(times)
    return None


def _is_on(path: History, name: str, segment_size: int) -> bool:
    try:
        return path.contains_segment(SegmentName.parse(name, segment_size))
    except UsageError:
        return False  # a name that this segment size cannot give: not this cluster's


def _check_time(time: datetime, window: Window | None, now: datetime) -> None:
    if window is None:
        raise NoSuchBackup(
            f"cannot recover to {_show(time)}",
            detail="The archive holds no WAL after the end of a backup.",
            hint="Leave the target out to restore the backup as it is, or check archive_command on the server.",
        )
    if time > now:
        raise NoSuchBackup(f"the target time {_show(time)} is in the future", detail=str(window))
    if time > window.latest:
        raise NoSuchBackup(
            f"the target time {_show(time)} is after the last WAL in the archive",
            detail=str(window),
            hint="Leave the target out to recover as far as the archive reaches.",
        )


def _precedes(summary: Summary, goal: _Goal) -> bool:
    if goal.time is not None:
        return summary.stop_time <= goal.time
    if goal.lsn is not None:
        return summary.stop_lsn <= goal.lsn
    if goal.xid is not None:
        return summary.stop_xmax is not None and _not_before(goal.xid, summary.stop_xmax)
    return True


def _not_before(xid: int, xmax: int) -> bool:
    """
    Whether transaction `xid`, of which 32 bits are known, was assigned at or after `xmax`.

    The nearer half of the circle decides, as in TransactionIdPrecedes.
    """
    return (xid - xmax) % _XID_SPACE < _XID_SPACE // 2


def _too_early(goal: _Goal, usable: Sequence[Summary], window: Window | None, name: str | None) -> NoSuchBackup:
    subject = f'backup "{name}" did not end' if name else "no backup ended"
    detail = str(window) if window else None
    if goal.lsn is not None:
        detail = f"The earliest position that can be reached is {min(s.stop_lsn for s in usable)}."
    elif goal.xid is not None:
        known = [summary.stop_xmax for summary in usable if summary.stop_xmax is not None]
        told = f"The earliest transaction that can be reached is {known[0]}." if known else "No backup tells its."
        detail = f"{told} {window}" if window else told
    return NoSuchBackup(f"{subject} before the target {goal}", detail=detail, hint=_LIST_HINT)


def _no_backup_for_timeline(known: _Archive, goal: _Goal, name: str | None) -> NoSuchBackup:
    if not known.summaries:
        return NoSuchBackup("the archive holds no backup", hint='Take one with "wal-e backup-push".')
    subject = f'backup "{name}" cannot' if name else "no backup can"
    timeline = max(known.timelines()) if goal.timeline == "latest" else goal.timeline
    return NoSuchBackup(
        f"{subject} be brought to timeline {timeline}",
        detail=(
            "A backup must have been taken on that timeline, or on an ancestor before it was left; "
            f"the backups are on {_numbers({summary.timeline for summary in known.summaries})}."
        ),
        hint="Choose another one with --target-timeline, or current for the backup's own.",
    )


def _check_wal(known: _Archive, path: History, summary: Summary, goal: _Goal) -> None:
    size = summary.segment_size
    # A backup taken while the server was down begins and ends with the same checkpoint.
    last = max(summary.start_lsn, summary.stop_lsn - 1) // size
    if goal.lsn is not None:
        last = max(last, goal.lsn // size)
    first = summary.start_lsn // size
    if summary.offline:
        first = max(summary.start_lsn, summary.stop_lsn - 1) // size + 1  # the backup carries its own segment
    numbers = range(first, last + 1)
    missing = [path.candidates(n, size)[0] for n in numbers if not known.has(path, n, size)]
    if missing:
        count = f"{len(missing)} segments are" if len(missing) > 1 else "a segment is"
        raise WalMissing(
            f'{count} missing that backup "{summary.name}" needs to be recovered',
            detail=f"Not in the archive: {', '.join(itertools.islice(_runs(missing), _SHOWN))}.",
            hint="Push them if the server still has them, or choose another backup or target.",
        )


def _runs(names: Sequence[SegmentName]) -> Iterator[str]:
    """The names, with neighbours drawn together."""
    for _, group in itertools.groupby(enumerate(names), lambda pair: (pair[1].timeline, pair[1].number - pair[0])):
        run = [name for _, name in group]
        yield str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}"


def _reason(goal: _Goal, usable: int, name: str | None) -> str:
    if name is not None:
        return "it was named"
    if goal.target is not None and goal.target.kind == "name":
        return (
            f"it is the newest of {usable}; the archive cannot look up a restore point, so if "
            f'"{goal.target.value}" is older than this backup, name an earlier one'
        )
    if goal.time is None and goal.lsn is None and goal.xid is None:
        return f"it is the newest of {usable}"
    return f"it is the newest that ended before the target {goal}"


def _numbers(timelines: Iterable[int]) -> str:
    known = sorted(timelines)
    return f"timeline {known[0]}" if len(known) == 1 else f"timelines {', '.join(map(str, known))}"


def _show(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(sep=" ").replace("+00:00", "+00")
