"""
Which base backups stay, which go, and which packs nothing needs any more. Pure: no store, no clock.

The order of backups is that of their completion, never of their names (H27). Everything is worked out from what
is kept: a pack goes only when no kept manifest refers to it, in whosever directory it lies (H26). Where something
cannot be told for certain, it stays. The WAL is `needed_wal`'s business.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from wal_e.errors import ArchiveError, NoSuchBackup, UsageError
from wal_e.legacy.catalogue import LegacyBackup, sentinel_key
from wal_e.pg.wal import SegmentName, is_history
from wal_e.repo import layout
from wal_e.repo.manifest import Summary

DEFAULT_GRACE: Final = timedelta(hours=24)
OLD_VERSIONS: Final = tuple(f"{kind}_{version:03d}/" for version in range(5) for kind in ("basebackups", "wal"))


@dataclass(frozen=True, slots=True)
class Before:
    """Drop the backups older than a backup, or whose WAL begins before a segment (bare, or as an archived file)."""

    name: str


@dataclass(frozen=True, slots=True)
class Retain:
    """Keep the newest `count` committed backups."""

    count: int


@dataclass(frozen=True, slots=True)
class OneBackup:
    """Drop this backup, and no other."""

    name: str


@dataclass(frozen=True, slots=True)
class Everything:
    """Drop the whole archive."""


@dataclass(frozen=True, slots=True)
class OldVersions:
    """Drop what the layouts 000 to 004 of early WAL-E left."""


Selection = Before | Retain | OneBackup
"""The requests that choose among the backups."""

Request = Selection | Everything | OldVersions


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

    `timeline` and `start` are where its WAL begins, as far as its name tells.
    """

    name: str
    commit_key: str
    committed: bool
    keys: tuple[str, ...]
    newest: datetime
    start: int
    timeline: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """
    Keys that may go, in no order, and the unfinished backups: those of which something goes, and the young ones.

    `still_needed` are packs outside of kept backups' directories that kept backups refer to; `waiting` are packs that
    nothing refers to, unless one of the unfinished backups does.
    """

    keys: tuple[str, ...] = ()
    swept: tuple[Directory, ...] = ()
    underway: tuple[Directory, ...] = ()
    still_needed: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()


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


def held_unread(directory: Directory) -> Held:
    """One of our backups whose manifest cannot be read: what its name and its objects tell."""
    segment = layout.parse_backup_name(directory.name).segment
    return Held(directory.commit_key, directory.name, directory.newest, 0, segment, directory.start)


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


def decide(request: Selection, backups: Sequence[Held], system_identifier: int | None) -> Decision:
    """
    Sorts the backups into those to keep and those to drop, each with its reason.

    Backups of a cluster other than `system_identifier` (None: that of the newest backup) are kept, and so is the
    newest backup, unless it is the one that the request names. `NoSuchBackup` where the request names a backup that is
    not there, `UsageError` where it makes no sense, `ArchiveError` where it would leave no backup at all, or where a
    kept one is a delta of the one named.
    """
    ordered = sorted(backups, key=lambda backup: (backup.order, backup.commit_key))
    ours = _of_cluster(ordered, system_identifier)
    reasons, why_dropped, horizon = _choose(request, ours)
    if ours and not reasons:
        raise ArchiveError(
            "this would delete every base backup",
            detail=f"All {len(ours)} backups fall under the request.",
            hint='Take another backup first, or name an older one; "wal-e delete --confirm everything" deletes all.',
        )
    if ours and not isinstance(request, OneBackup):
        reasons.setdefault(ours[-1].commit_key, "it is the newest backup")
    local = {backup.commit_key for backup in ours}
    reasons.update(
        {key: "it belongs to another cluster" for key in (backup.commit_key for backup in ordered) if key not in local}
    )
    _keep_parents(reasons, ordered)
    if isinstance(request, OneBackup):
        _refuse_kept(request.name, ours, reasons)
    return Decision(
        tuple(Verdict(backup, reasons[backup.commit_key]) for backup in ordered if backup.commit_key in reasons),
        tuple(Verdict(backup, why_dropped) for backup in ordered if backup.commit_key not in reasons),
        horizon,
    )


def _choose(request: Selection, ours: Sequence[Held]) -> tuple[dict[str, str], str, int | None]:
    """Why the request keeps what it keeps, by commit key; why it drops the others; and the bound that it sets."""
    match request:
        case Retain(count):
            return _keep_newest(count, ours)
        case Before(name):
            return _keep_from(name, ours)
        case OneBackup(name):
            return _keep_others(name, ours)


def _of_cluster(ordered: Sequence[Held], system_identifier: int | None) -> list[Held]:
    known = [backup.system_identifier for backup in ordered if backup.system_identifier is not None]
    if system_identifier is not None:
        known.append(system_identifier)
    wanted = known[-1] if known else None
    return [backup for backup in ordered if backup.system_identifier in (None, wanted)]


def _keep_from(name: str, ours: Sequence[Held]) -> tuple[dict[str, str], str, int | None]:
    if name.startswith("base_"):
        named = _named(name, ours)
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


def _keep_others(name: str, ours: Sequence[Held]) -> tuple[dict[str, str], str, int | None]:
    named = _named(name, ours)
    others = [backup for backup in ours if backup not in named]
    # What another program left may be of no use to this one, so it is not what makes one of ours dispensable.
    if any(_is_own(backup) for backup in named):
        others = others if any(_is_own(backup) for backup in others) else []
    return {backup.commit_key: "it is not the one named" for backup in others}, "it is the one named", None


def _is_own(backup: Held) -> bool:
    return backup.commit_key.startswith(layout.BACKUP_PREFIX)


def _named(name: str, ours: Sequence[Held]) -> list[Held]:
    named = [backup for backup in ours if backup.name == name]
    if not named:
        raise NoSuchBackup(
            f'there is no backup "{name}"', hint='Run "wal-e backup-list" to see which backups there are.'
        )
    return named


def _refuse_kept(name: str, ours: Sequence[Held], reasons: Mapping[str, str]) -> None:
    for backup in _named(name, ours):
        if backup.commit_key in reasons:
            raise ArchiveError(
                f'"{name}" cannot be deleted alone',
                detail=f"It has to stay, for {reasons[backup.commit_key]}.",
                hint="Delete the deltas first, the newest first.",
            )


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
    directories: Sequence[Directory], dropped: Collection[str], needed: Collection[str], now: datetime, grace: timedelta
) -> Sweep:
    """
    What can go from backups' directories, apart from the keys that commit them.

    `dropped` are the commit keys of backups that go, `needed` the packs that kept manifests refer to. A directory
    without a commit key is a backup that is still being made or that never finished, or it holds what deleted backups
    left to others. It is left alone, whoever makes it, until its newest object is older than `grace`, and as long as
    there is such a one, no pack goes anywhere: it may refer to the packs of a backup that is deleted now (H25).
    """
    open_ones = [d for d in directories if not d.committed and any(key not in needed for key in d.keys)]
    underway = [directory for directory in open_ones if now - directory.newest <= grace]
    waits = any(directory.commit_key.startswith(layout.BACKUP_PREFIX) for directory in underway)
    keys: list[str] = []
    still: list[str] = []
    waiting: list[str] = []
    for directory in directories:
        if directory in underway or (directory.committed and directory.commit_key not in dropped):
            continue
        for key in directory.keys:
            chosen = still if key in needed else waiting if waits and _is_pack(key) else keys
            chosen.append(key)
    going = set(keys)
    swept = (d for d in open_ones if d not in underway and not going.isdisjoint(d.keys))
    return Sweep(tuple(keys), tuple(swept), tuple(underway), tuple(still), tuple(waiting))


def _is_pack(key: str) -> bool:
    parsed = layout.parse_backup_key(key)
    return parsed is not None and parsed.pack is not None
