"""
Which base backups stay, which go, and which WAL and packs nothing needs any more. Pure: no store, no clock.

The order of backups is that of their completion, never of their names (H27). Everything is worked out from what
is kept: WAL goes only below the lowest start of any kept backup, on whatever timeline, and a pack only when no
kept manifest refers to it (H26). Where something cannot be told for certain, it stays.
"""

import enum
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from wal_e.errors import ArchiveError, NoSuchBackup, UsageError
from wal_e.legacy.catalogue import LegacyBackup, sentinel_key
from wal_e.pg.wal import SegmentName, is_history
from wal_e.repo import layout
from wal_e.repo.manifest import Summary

DEFAULT_GRACE: Final = timedelta(hours=24)
OLD_VERSIONS: Final = tuple(f"{kind}_{version:03d}/" for version in range(5) for kind in ("basebackups", "wal"))
_WALG_DELTA_MAP = re.compile(rf"{layout.WAL_PREFIX}([0-9A-F]{{24}})_delta(\.[a-z0-9]+)?", re.ASCII)
_WALG_METADATA = re.compile(rf"{layout.WAL_PREFIX}([0-9A-F]{{23,24}})\.json", re.ASCII)


@dataclass(frozen=True, slots=True)
class Before:
    """Drop the backups older than a backup, or whose WAL begins before a segment (bare, or as an archived file)."""

    name: str


@dataclass(frozen=True, slots=True)
class Retain:
    """Keep the newest `count` committed backups."""

    count: int


@dataclass(frozen=True, slots=True)
class Everything:
    """Drop the whole archive."""


@dataclass(frozen=True, slots=True)
class OldVersions:
    """Drop what the layouts 000 to 004 of early WAL-E left."""


Request = Before | Retain | Everything | OldVersions


@dataclass(frozen=True, slots=True)
class Held:
    """
    One committed backup as retention sees it, ours or a legacy one.

    `commit_key` is the object that makes it exist, and identifies it. `start` is the lowest place in the WAL that
    it needs, as `wal_order` counts; `needs` is the start segment of the backup without which this one, a delta of
    WAL-G's, is worthless. `system_identifier` is None where only the cluster itself would know.
    """

    commit_key: str
    name: str
    stop_time: datetime
    stop_lsn: int
    segment: str
    start: int
    system_identifier: int | None = None
    needs: str | None = None

    @property
    def order(self) -> tuple[datetime, int]:
        """What "older" and "newer" mean."""
        return self.stop_time, self.stop_lsn


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one backup, and why, in words for the user."""

    backup: Held
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Every backup is in exactly one of the two, oldest first; `horizon` is a bound that the request itself sets."""

    keep: tuple[Verdict, ...]
    drop: tuple[Verdict, ...]
    horizon: int | None = None


@dataclass(frozen=True, slots=True)
class Directory:
    """
    The objects of one backup: the key that commits it and whether it is there, the others, and the newest's time.

    `start` is where its WAL begins, as far as its name tells.
    """

    name: str
    commit_key: str
    committed: bool
    keys: tuple[str, ...]
    newest: datetime
    start: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """Keys that may go, in no order, and the unfinished backups that are too young to be swept."""

    keys: tuple[str, ...] = ()
    swept: tuple[Directory, ...] = ()
    underway: tuple[Directory, ...] = ()
    still_needed: tuple[str, ...] = field(default=())


class WalVerdict(enum.Enum):
    """What becomes of one object under `wal_005/`."""

    KEEP = enum.auto()
    DROP_SEGMENT = enum.auto()
    DROP_LABEL = enum.auto()
    UNEXPECTED = enum.auto()


def wal_order(segment: str) -> int:
    """
    Where a segment lies in the WAL: its name without the timeline, as a number.

    It ascends with the segment's number whatever the segment size is, so names can be compared without it.
    """
    return int(segment[8:24], 16)


def held(summary: Summary) -> Held:
    """One of our backups."""
    segment = str(SegmentName.containing(summary.timeline, summary.start_lsn, summary.segment_size))
    return Held(
        layout.manifest_key(summary.name),
        summary.name,
        summary.stop_time,
        summary.stop_lsn,
        segment,
        wal_order(segment),
        summary.system_identifier,
    )


def held_legacy(backup: LegacyBackup) -> Held:
    """A backup of WAL-E's or WAL-G's; where its start is uncertain, the lowest that it can be."""
    return Held(
        sentinel_key(backup.name),
        backup.name,
        backup.last_modified,
        0,
        backup.start_segment,
        legacy_start(backup),
        needs=backup.parent_segment,
    )


def legacy_start(backup: LegacyBackup) -> int:
    """The lowest place in the WAL that such a backup can need."""
    start = wal_order(backup.start_segment)
    return start if backup.start_certain else start >> 32 << 32


def decide(request: Before | Retain, backups: Sequence[Held], system_identifier: int | None) -> Decision:
    """
    Sorts the backups into those to keep and those to drop, each with its reason.

    Backups of a cluster other than `system_identifier` (None: that of the newest backup) are kept. The newest
    backup is always kept. `NoSuchBackup` where the request names a backup that is not there, `UsageError` where it
    makes no sense, `ArchiveError` where it would leave no backup at all.
    """
    ordered = sorted(backups, key=lambda backup: (backup.order, backup.commit_key))
    ours = _of_cluster(ordered, system_identifier)
    if isinstance(request, Retain):
        reasons, why_dropped, horizon = _keep_newest(request.count, ours)
    else:
        reasons, why_dropped, horizon = _keep_from(request.name, ours)
    if ours and not reasons:
        raise ArchiveError(
            "this would delete every base backup",
            detail=f"All {len(ours)} backups fall under the request.",
            hint='Name an older place, or run "wal-e delete --confirm everything" if that is what you want.',
        )
    if ours:
        reasons.setdefault(ours[-1].commit_key, "it is the newest backup")
    local = {backup.commit_key for backup in ours}
    reasons.update(
        {key: "it belongs to another cluster" for key in (backup.commit_key for backup in ordered) if key not in local}
    )
    _keep_parents(reasons, ordered)
    return Decision(
        tuple(Verdict(backup, reasons[backup.commit_key]) for backup in ordered if backup.commit_key in reasons),
        tuple(Verdict(backup, why_dropped) for backup in ordered if backup.commit_key not in reasons),
        horizon,
    )


def _of_cluster(ordered: Sequence[Held], system_identifier: int | None) -> list[Held]:
    known = [backup.system_identifier for backup in ordered if backup.system_identifier is not None]
    if system_identifier is not None:
        known.append(system_identifier)
    wanted = known[-1] if known else None
    return [backup for backup in ordered if backup.system_identifier in (None, wanted)]


def _keep_from(name: str, ours: Sequence[Held]) -> tuple[dict[str, str], str, int | None]:
    if name.startswith("base_"):
        named = [backup for backup in ours if backup.name == name]
        if not named:
            raise NoSuchBackup(
                f'there is no backup "{name}"', hint='Run "wal-e backup-list" to see which backups there are.'
            )
        bound = named[0].order
        kept = {
            backup.commit_key: "it is the one named" if backup in named else f"it completed no earlier than {name}"
            for backup in ours
            if backup.order >= bound
        }
        return kept, f"it completed before {name}", None
    segment = named_segment(name)
    place = wal_order(segment)
    kept = {backup.commit_key: f"its WAL begins at or after {segment}" for backup in ours if backup.start >= place}
    return kept, f"its WAL begins before {segment}", place


def named_segment(name: str) -> str:
    """The segment in a bare segment name, an archived file's name or its key; anything else raises `UsageError`."""
    stored = layout.parse_wal_key(layout.WAL_PREFIX + name.removeprefix(layout.WAL_PREFIX))
    if stored is None or is_history(stored.name):
        raise UsageError(
            f'"{name}" is neither a base backup nor a WAL segment',
            hint='Give a name that "wal-e backup-list" shows, or a segment such as 000000010000000000000042.',
        )
    return stored.name[:24]


def _keep_newest(count: int, ours: Sequence[Held]) -> tuple[dict[str, str], str, int | None]:
    if count < 1:
        raise UsageError(
            f"cannot retain {count} backups",
            hint='Give a number of at least 1; "wal-e delete --confirm everything" deletes the whole archive.',
        )
    # A delta is no backup by itself, so it does not count.
    independent = [backup for backup in ours if backup.needs is None] or list(ours)
    oldest = independent[-count:][0].order if independent else None
    kept = {
        backup.commit_key: f"it is one of the {count} newest"
        if backup.needs is None
        else "it is a delta newer than the oldest that is kept"
        for backup in ours
        if oldest is not None and backup.order >= oldest
    }
    return kept, f"there are {count} newer backups", None


def _keep_parents(reasons: dict[str, str], ordered: Sequence[Held]) -> None:
    unseen = [backup for backup in ordered if backup.commit_key in reasons]
    while unseen:
        child = unseen.pop()
        for parent in ordered:
            if parent.segment == child.needs and parent.commit_key not in reasons:
                reasons[parent.commit_key] = f"{child.name} is a delta of it"
                unseen.append(parent)


def sweep(
    directories: Iterable[Directory], dropped: Collection[str], needed: Collection[str], now: datetime, grace: timedelta
) -> Sweep:
    """
    What can go from backups' directories, apart from the keys that commit them.

    `dropped` are the commit keys of backups that go, `needed` the packs that kept manifests refer to. A directory
    without a commit key is a backup that is still being made or that never finished: it is left alone, whoever
    makes it, until its newest object is older than `grace` (H25).
    """
    keys: list[str] = []
    still: list[str] = []
    swept: list[Directory] = []
    underway: list[Directory] = []
    for directory in directories:
        if not directory.committed and now - directory.newest <= grace:
            underway.append(directory)
        elif not directory.committed or directory.commit_key in dropped:
            still += (key for key in directory.keys if key in needed)
            keys += (key for key in directory.keys if key not in needed)
            swept += [] if directory.committed else [directory]
    return Sweep(tuple(keys), tuple(swept), tuple(underway), tuple(still))


def wal_horizon(decision: Decision, underway: Iterable[Directory]) -> int | None:
    """The place below which no WAL is needed, or None (nothing may go) where no backup is kept."""
    if not decision.keep:
        return None
    starts = [verdict.backup.start for verdict in decision.keep]
    starts += (directory.start for directory in underway)
    if decision.horizon is not None:
        starts.append(decision.horizon)
    return min(starts)


def judge_wal(key: str, horizon: int | None) -> WalVerdict:
    """
    What becomes of an object under `wal_005/`: what lies below the horizon goes, histories never do.

    WAL-G's delta maps and metadata, which cover up to 16 segments, go when the last of those goes.
    """
    stored = layout.parse_wal_key(key)
    if stored is not None:
        if is_history(stored.name):
            return WalVerdict.KEEP
        place = wal_order(stored.name)
    elif match := _WALG_DELTA_MAP.fullmatch(key) or _WALG_METADATA.fullmatch(key):
        place = wal_order(match[1][:23] + "F")
    else:
        return WalVerdict.UNEXPECTED
    if horizon is None or place >= horizon:
        return WalVerdict.KEEP
    is_label = stored is not None and stored.name.endswith(".backup")
    return WalVerdict.DROP_LABEL if is_label else WalVerdict.DROP_SEGMENT
