"""
Deletion: a plan that is a value, and its execution, which does nothing but what the plan says.

The order makes a crash harmless (H29): first the objects that make backups exist, then packs and events, then WAL,
and `cluster.json` last and only where everything goes. What a crash leaves is data that no manifest refers to; the
next deletion finds it. An error while listing ends the planning before anything was deleted (H45).
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from wal_e.errors import ArchiveError, Corrupt, ShortRead
from wal_e.events import Level, Message, Sink
from wal_e.maintain import needed_wal, retention
from wal_e.maintain.needed_wal import WalVerdict
from wal_e.maintain.retention import (
    Before,
    Decision,
    Directory,
    Everything,
    OldVersions,
    OneBackup,
    Request,
    Retain,
    Selection,
    Sweep,
)
from wal_e.maintain.survey import Survey, confirm_unfinished, survey
from wal_e.pg.history import History
from wal_e.repo import layout
from wal_e.repo.catalogue import load_packs, load_summary
from wal_e.repo.cluster import read_identity
from wal_e.repo.lease import LASTS
from wal_e.repo.wal import next_timeline, read_history
from wal_e.store.api import Store

_SOURCE: Final = "wal_e.maintain.delete"
_AT_ONCE: Final = 1000
SENTINEL: Final = "a base backup sentinel file"
VOLUME: Final = "a base backup volume"
VERSION: Final = "a extended version metadata file"
BACKUP_PART: Final = "part of a base backup"
WAL_FILE: Final = "a wal file"
LABEL: Final = "a backup history file"
WAL_PART: Final = "part of wal logs"
IDENTITY: Final = "the cluster's identity"
NOTHING_DECIDED: Final = Decision((), ())
NOTHING_SWEPT: Final = Sweep()


@dataclass(frozen=True, slots=True)
class Batch:
    """Keys of one kind, as the log calls it; `in_order` keys are deleted one after the other."""

    thing: str
    keys: tuple[str, ...]
    in_order: bool = False


@dataclass(frozen=True, slots=True)
class DeletePlan:
    """
    What a deletion does: the batches in the order of their execution, and the verdict on each backup.

    `sweep` says what becomes of packs that no backup is left for; `skipped` are keys that nothing explains, which
    stay; `warnings` are sentences for the user.
    """

    request: Request
    batches: tuple[Batch, ...]
    decision: Decision = NOTHING_DECIDED
    sweep: Sweep = NOTHING_SWEPT
    skipped: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many objects go."""
        return sum(len(batch.keys) for batch in self.batches)


def plan_delete(
    store: Store, request: Request, now: datetime, *, grace: timedelta = retention.DEFAULT_GRACE
) -> DeletePlan:
    """
    Works out what the request deletes; deletes nothing.

    `now` is an aware time by the store's clock and `grace` how long an unfinished backup is left alone, at least as
    long as a lease lasts. Errors of the store, manifests that cannot be read and requests that leave no backup end it.
    """
    match request:
        case Everything():
            return _plan_everything(store, request, now, grace)
        case OldVersions():
            return _plan_old_versions(store, request)
        case Before() | Retain() | OneBackup():
            return _plan_some(store, request, now, max(grace, LASTS))


def _unguarded() -> None:
    """What a dry run checks."""


def execute(
    store: Store, plan: DeletePlan, emit: Sink, *, dry_run: bool = False, check: Callable[[], None] = _unguarded
) -> int:
    """
    Deletes what the plan says, in its order, and returns how many objects went; a dry run only tells.

    `check` is called before each request that deletes, and raises where that must not go on (H46). The first error
    ends it. A repeat of planning and execution does what is left.
    """
    _announce(plan, emit, dry_run=dry_run)
    for batch in plan.batches:
        keys = iter(batch.keys)
        while some := tuple(itertools.islice(keys, 1 if batch.in_order else _AT_ONCE)):
            if not dry_run:
                check()
            for key in some:
                emit(_deleting(batch.thing, key, dry_run=dry_run))
            if not dry_run:
                store.delete(some)
    return 0 if dry_run else plan.count


def _announce(plan: DeletePlan, emit: Sink, *, dry_run: bool) -> None:
    emit(Message(_SOURCE, "performing dry run of data deletion" if dry_run else "deleting data in the store"))
    if isinstance(plan.request, Retain):
        emit(Message(_SOURCE, f"Deleting {len(plan.decision.drop)} oldest base backups."))
    for kind, verdicts in (("keeping", plan.decision.keep), ("dropping", plan.decision.drop)):
        for verdict in verdicts:
            reason = f"{verdict.reason[0].upper()}{verdict.reason[1:]}."
            fields = {"backup": verdict.backup.name, "decision": kind}
            emit(Message(_SOURCE, f"{kind} a base backup", f"{verdict.backup.name}: {reason}", fields=fields))
    for message, detail in _swept(plan.sweep):
        emit(Message(_SOURCE, message, detail))
    for key in plan.skipped:
        emit(
            Message(
                _SOURCE, "skipping non-qualifying key in 'delete before'", f'The key is "{key}".', level=Level.WARNING
            )
        )
    for warning in plan.warnings:
        emit(Message(_SOURCE, "the archive is not as it should be", warning, level=Level.WARNING))


def _swept(sweep: Sweep) -> Iterator[tuple[str, str]]:
    for directory in sweep.swept:
        yield "sweeping what no base backup needs", f"{directory.name} has no manifest and is old."
    for directory in sweep.underway:
        yield "leaving an unfinished base backup alone", f"{directory.name} may still be running."
    for name, count in _by_backup(sweep.still_needed).items():
        detail = f"{name} has no manifest any more, or is dropped, and backups that are kept need {count} of its packs."
        yield "keeping packs that other base backups need", detail
    for name, count in _by_backup(sweep.waiting).items():
        detail = f"{name} has {count} packs that an unfinished backup may refer to; a later deletion sweeps them."
        yield "keeping packs while a base backup is unfinished", detail


def _by_backup(keys: Iterable[str]) -> Counter[str]:
    return Counter(parsed.backup for parsed in map(layout.parse_backup_key, keys) if parsed is not None)


def _deleting(thing: str, key: str, *, dry_run: bool) -> Message:
    hint = "This is only a dry run -- no actual data is being deleted" if dry_run else None
    return Message(_SOURCE, f"deleting {thing}", f'The key is "{key}".', hint, fields={"key": key})


def _plan_some(store: Store, request: Selection, now: datetime, grace: timedelta) -> DeletePlan:
    archive = survey(store)
    confirm_unfinished(store, archive.directories)
    identity = read_identity(store)
    damaged: dict[str, Corrupt] = {}
    backups = list(_read_backups(store, archive, request, damaged))
    decision = retention.decide(request, backups, identity.system_identifier if identity else None)
    dropped = {verdict.backup.commit_key for verdict in decision.drop}
    kept = [directory.name for directory in archive.own if directory.commit_key not in dropped]
    needed = set(_needed_packs(store, kept, damaged))
    commits = Batch(SENTINEL, tuple(verdict.backup.commit_key for verdict in reversed(decision.drop)), in_order=True)
    if not damaged.keys().isdisjoint(kept):
        return _plan_blindly(DeletePlan(request, (commits,), decision), kept, damaged)
    sweep = retention.sweep(archive.directories, dropped, needed, now, grace)
    wal, unexpected = _wal_batches(store, decision, sweep)
    return DeletePlan(
        request,
        tuple(batch for batch in (commits, *_grouped(sweep.keys), *wal) if batch.keys),
        decision,
        sweep,
        archive.unexplained + unexpected,
        tuple(_holes(archive.directories, needed)),
    )


def _read_backups(
    store: Store, archive: Survey, request: Selection, damaged: dict[str, Corrupt]
) -> Iterator[retention.Held]:
    """All backups but those whose manifests are `damaged`, which are noted; the one that the request names is there."""
    for directory in archive.own:
        try:
            yield retention.held(load_summary(store, directory.name))
        except Corrupt as error:
            damaged[directory.name] = error
            if isinstance(request, OneBackup) and request.name == directory.name:
                yield retention.held_unread(directory)
    yield from map(retention.held_legacy, archive.legacy_backups)


def _needed_packs(store: Store, names: Iterable[str], damaged: dict[str, Corrupt]) -> Iterator[str]:
    for name in names:
        try:
            yield from (pack.key for pack in load_packs(store, name))
        except Corrupt as error:
            damaged[name] = error


def _plan_blindly(plan: DeletePlan, kept: Sequence[str], damaged: Mapping[str, Corrupt]) -> DeletePlan:
    """
    The plan while nobody knows what every kept backup needs: the manifest of one backup may go, and nothing else.

    Any other request is refused, and so is the deletion of the last backup that can be read.
    """
    blind = [name for name in kept if name in damaged]
    if not isinstance(plan.request, OneBackup) or len(blind) == len(kept):
        raise _unreadable(blind[0], damaged[blind[0]])
    told = (f"{name} is damaged: until it is deleted, no packs and no WAL can be." for name in blind)
    return replace(plan, warnings=tuple(told))


def _unreadable(name: str, error: Corrupt) -> Corrupt:
    return Corrupt(
        f'the manifest of "{name}" cannot be read, so nobody knows which packs it needs',
        detail=f"{error.message[:1].upper()}{error.message[1:]}. Nothing was deleted.",
        hint=error.hint or f'Repeat the command; if it stays so, run "wal-e delete --confirm backup {name}" first.',
    )


def _holes(directories: Iterable[Directory], needed: Iterable[str]) -> Iterator[str]:
    present = {key for directory in directories for key in directory.keys}
    for key in sorted(set(needed) - present):
        yield f'A backup that is kept needs "{key}", which is not in the archive.'


def _wal_batches(store: Store, decision: Decision, sweep: Sweep) -> tuple[tuple[Batch, Batch], tuple[str, ...]]:
    needs = needed_wal.needs_of(decision, sweep.underway)
    bounds = needed_wal.wal_bounds(needs, _histories(store), decision.horizon)
    segments: list[str] = []
    labels: list[str] = []
    unexpected: list[str] = []
    lists = {WalVerdict.DROP_SEGMENT: segments, WalVerdict.DROP_LABEL: labels, WalVerdict.UNEXPECTED: unexpected}
    for info in store.list(layout.WAL_PREFIX):
        verdict = needed_wal.judge_wal(info.key, bounds)
        if verdict is not WalVerdict.KEEP:
            lists[verdict].append(info.key)
    return (Batch(WAL_FILE, tuple(segments)), Batch(LABEL, tuple(labels))), tuple(unexpected)


def _histories(store: Store) -> dict[int, History | None]:
    """The history of every timeline of which the archive has anything; None where there is none that can be read."""
    found: dict[int, History | None] = {}
    timeline = next_timeline(store, 0)
    while timeline is not None:
        found[timeline] = History(1) if timeline == 1 else _history(store, timeline)
        timeline = next_timeline(store, timeline)
    return found


def _history(store: Store, timeline: int) -> History | None:
    try:
        return read_history(store, timeline)
    except (ArchiveError, ShortRead):
        return None


def _grouped(keys: Iterable[str]) -> tuple[Batch, ...]:
    things: dict[str, list[str]] = {VOLUME: [], VERSION: [], BACKUP_PART: []}
    for key in keys:
        things[_thing(key)].append(key)
    return tuple(Batch(thing, tuple(members)) for thing, members in things.items() if members)


def _thing(key: str) -> str:
    last = key.rpartition("/")[2]
    if last.startswith("pack-") or "/tar_partitions/" in key:
        return VOLUME
    return VERSION if last == "extended_version.txt" else BACKUP_PART


def _plan_everything(store: Store, request: Everything, now: datetime, grace: timedelta) -> DeletePlan:
    archive = survey(store)
    commits = sorted((d.commit_key for d in archive.directories if d.committed), reverse=True)
    parts = [key for directory in archive.directories for key in directory.keys]
    wal = tuple(info.key for info in store.list(layout.WAL_PREFIX))
    identity = tuple(info.key for info in store.list(layout.CLUSTER_KEY) if info.key == layout.CLUSTER_KEY)
    batches = (
        Batch(SENTINEL, tuple(commits), in_order=True),
        *_grouped([*parts, *archive.unexplained]),
        Batch(WAL_PART, wal),
        Batch(IDENTITY, identity),
    )
    young = [d.name for d in archive.directories if not d.committed and now - d.newest <= grace]
    return DeletePlan(
        request,
        tuple(batch for batch in batches if batch.keys),
        warnings=tuple(f"{name} is unfinished and may still be running; it is deleted all the same." for name in young),
    )


def _plan_old_versions(store: Store, request: OldVersions) -> DeletePlan:
    batches = (
        Batch(WAL_PART if prefix.startswith("wal") else BACKUP_PART, tuple(info.key for info in store.list(prefix)))
        for prefix in retention.OLD_VERSIONS
    )
    return DeletePlan(request, tuple(batch for batch in batches if batch.keys))
