"""
Deletion: a plan that is a value, and its execution, which does nothing but what the plan says.

The order makes a crash harmless (H29): first the objects that make backups exist, then packs and events, then WAL,
and `cluster.json` last and only where everything goes. What a crash leaves is data that no manifest refers to; the
next deletion finds it. An error while listing ends the planning before anything was deleted (H45).
"""

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from wal_e.errors import ArchiveError, NotFound
from wal_e.events import Level, Message, Sink
from wal_e.legacy import catalogue as legacy
from wal_e.maintain import retention
from wal_e.maintain.retention import Before, Decision, Directory, Everything, OldVersions, Request, Retain, WalVerdict
from wal_e.repo import layout
from wal_e.repo.catalogue import load_manifest, load_summary
from wal_e.repo.cluster import read_identity
from wal_e.store.api import ObjectInfo, Store

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

    `underway` names the unfinished backups that are left alone because they are young, `swept` those that go;
    `skipped` are keys that nothing explains, which stay; `warnings` are sentences for the user.
    """

    request: Request
    batches: tuple[Batch, ...]
    decision: Decision = NOTHING_DECIDED
    swept: tuple[str, ...] = ()
    underway: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many objects go."""
        return sum(len(batch.keys) for batch in self.batches)


@dataclass(frozen=True, slots=True)
class _Survey:
    directories: tuple[Directory, ...]
    legacy_backups: tuple[legacy.LegacyBackup, ...]
    unexplained: tuple[str, ...]


def plan_delete(
    store: Store, request: Request, now: datetime, *, grace: timedelta = retention.DEFAULT_GRACE
) -> DeletePlan:
    """
    Works out what the request deletes; deletes nothing.

    `now` is an aware time and `grace` how long an unfinished backup is left alone. Errors of the store, manifests
    that cannot be read and requests that leave no backup end it.
    """
    match request:
        case Everything():
            return _plan_everything(store, request, now, grace)
        case OldVersions():
            return _plan_old_versions(store, request)
        case Before() | Retain():
            return _plan_some(store, request, now, grace)


def execute(store: Store, plan: DeletePlan, emit: Sink, *, dry_run: bool = False) -> int:
    """
    Deletes what the plan says, in its order, and returns how many objects went; a dry run only tells.

    The first error ends it. A repeat of planning and execution does what is left.
    """
    _announce(plan, emit, dry_run=dry_run)
    for batch in plan.batches:
        keys = iter(batch.keys)
        while some := tuple(itertools.islice(keys, 1 if batch.in_order else _AT_ONCE)):
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
    for name in plan.swept:
        emit(Message(_SOURCE, "sweeping an unfinished base backup", f"{name} has no manifest and is old."))
    for name in plan.underway:
        emit(Message(_SOURCE, "leaving an unfinished base backup alone", f"{name} may still be running."))
    for key in plan.skipped:
        emit(
            Message(
                _SOURCE, "skipping non-qualifying key in 'delete before'", f'The key is "{key}".', level=Level.WARNING
            )
        )
    for warning in plan.warnings:
        emit(Message(_SOURCE, "the archive is not as it should be", warning, level=Level.WARNING))


def _deleting(thing: str, key: str, *, dry_run: bool) -> Message:
    hint = "This is only a dry run -- no actual data is being deleted" if dry_run else None
    return Message(_SOURCE, f"deleting {thing}", f'The key is "{key}".', hint, fields={"key": key})


def _plan_some(store: Store, request: Before | Retain, now: datetime, grace: timedelta) -> DeletePlan:
    survey = _survey(store)
    identity = read_identity(store)
    committed = [directory for directory in survey.directories if _is_own(directory)]
    backups = [retention.held(load_summary(store, directory.name)) for directory in committed]
    backups += [retention.held_legacy(backup) for backup in survey.legacy_backups]
    decision = retention.decide(request, backups, identity.system_identifier if identity else None)
    dropped = {verdict.backup.commit_key for verdict in decision.drop}
    kept = [directory.name for directory in committed if directory.commit_key not in dropped]
    needed = {pack.key for name in kept for pack in load_manifest(store, name).packs}
    sweep = retention.sweep(survey.directories, dropped, needed, now, grace)
    _confirm_unfinished(store, sweep.swept)
    wal, unexpected = _wal_batches(store, retention.wal_horizon(decision, sweep.underway))
    commits = tuple(verdict.backup.commit_key for verdict in reversed(decision.drop))
    batches = (Batch(SENTINEL, commits, in_order=True), *_grouped(sweep.keys), *wal)
    return DeletePlan(
        request,
        tuple(batch for batch in batches if batch.keys),
        decision,
        tuple(directory.name for directory in sweep.swept if set(directory.keys) - needed),
        tuple(directory.name for directory in sweep.underway),
        survey.unexplained + unexpected,
        tuple(_holes(survey.directories, needed)),
    )


def _is_own(directory: Directory) -> bool:
    return directory.committed and directory.commit_key.startswith(layout.BACKUP_PREFIX)


def _survey(store: Store) -> _Survey:
    own: dict[str, list[ObjectInfo]] = {}
    unexplained: list[str] = []
    for info in store.list(layout.BACKUP_PREFIX):
        parsed = layout.parse_backup_key(info.key)
        if parsed is None:
            unexplained.append(info.key)
        else:
            own.setdefault(parsed.backup, []).append(info)
    old = legacy.survey_legacy(store)
    return _Survey(
        tuple(_directory(name, infos) for name, infos in own.items())
        + tuple(_legacy_directory(o) for o in old.objects),
        old.backups,
        tuple(unexplained) + old.unexplained,
    )


def _directory(name: str, infos: Iterable[ObjectInfo]) -> Directory:
    manifest = layout.manifest_key(name)
    keys = {info.key: info.last_modified for info in infos}
    return Directory(
        name,
        manifest,
        manifest in keys,
        tuple(key for key in keys if key != manifest),
        max(keys.values()),
        retention.wal_order(layout.parse_backup_name(name).segment),
    )


def _legacy_directory(objects: legacy.LegacyObjects) -> Directory:
    start = retention.legacy_start(legacy.LegacyBackup.of_name(objects.name, objects.newest))
    commit_key = legacy.sentinel_key(objects.name)
    return Directory(objects.name, commit_key, objects.committed, objects.parts, objects.newest, start)


def _confirm_unfinished(store: Store, swept: Iterable[Directory]) -> None:
    """A listing may leave an object out; before a backup counts as unfinished, its manifest is asked for by name."""
    for directory in swept:
        with contextlib.suppress(NotFound):
            store.head(directory.commit_key)
            raise ArchiveError(
                "the store's listing cannot be relied on",
                detail=f'It leaves out "{directory.commit_key}", which is there.',
                hint="Nothing was deleted; run the command again.",
            )


def _holes(directories: Iterable[Directory], needed: Iterable[str]) -> Iterator[str]:
    present = {key for directory in directories for key in directory.keys}
    for key in sorted(set(needed) - present):
        yield f'A backup that is kept needs "{key}", which is not in the archive.'


def _wal_batches(store: Store, horizon: int | None) -> tuple[tuple[Batch, Batch], tuple[str, ...]]:
    segments: list[str] = []
    labels: list[str] = []
    unexpected: list[str] = []
    lists = {WalVerdict.DROP_SEGMENT: segments, WalVerdict.DROP_LABEL: labels, WalVerdict.UNEXPECTED: unexpected}
    for info in store.list(layout.WAL_PREFIX):
        verdict = retention.judge_wal(info.key, horizon)
        if verdict is not WalVerdict.KEEP:
            lists[verdict].append(info.key)
    return (Batch(WAL_FILE, tuple(segments)), Batch(LABEL, tuple(labels))), tuple(unexpected)


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
    survey = _survey(store)
    commits = sorted((d.commit_key for d in survey.directories if d.committed), reverse=True)
    parts = [key for directory in survey.directories for key in directory.keys]
    wal = tuple(info.key for info in store.list(layout.WAL_PREFIX))
    identity = tuple(info.key for info in store.list(layout.CLUSTER_KEY) if info.key == layout.CLUSTER_KEY)
    batches = (
        Batch(SENTINEL, tuple(commits), in_order=True),
        *_grouped([*parts, *survey.unexplained]),
        Batch(WAL_PART, wal),
        Batch(IDENTITY, identity),
    )
    young = [d.name for d in survey.directories if not d.committed and now - d.newest <= grace]
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
