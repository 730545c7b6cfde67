"""
Bringing a base backup back: check, plan, create, fill, make durable, and let pg_control appear last.

Until its last rename the target cannot be started, and a run that died is repeated with the same command. A delta
restore begins by taking pg_control away, and is a restore like any other from there on.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from wal_e.errors import Corrupt
from wal_e.events import Message, Progress, Sink
from wal_e.pg.control import CONTROL_PATH, parse_control
from wal_e.repo.catalogue import load_manifest
from wal_e.repo.filelist import FileRecord
from wal_e.repo.manifest import Manifest, Summary
from wal_e.restore.blocks import BlockWriter, batches
from wal_e.restore.delta import check_copy, check_tablespaces, holds_copy, plan_delta, reused_tablespaces
from wal_e.restore.directory import (
    Owner,
    begin_over,
    check_space,
    choose_owner,
    claimed,
    is_unfinished,
    prepare,
    publish_control,
    refuse_running,
    refuse_used,
    unusable,
)
from wal_e.restore.finish import AsTaken, Recovery, final_files, in_place_files
from wal_e.restore.parts import EVERYTHING, some_databases
from wal_e.restore.plan import Entry, PlanReport, RestorePlan, report_plan, superfluous
from wal_e.restore.select import BackupQuery, digest_seed, select_backup
from wal_e.restore.skeleton import make_directories, remove, root_mode, settle, sizes, unmark_versions, write_small
from wal_e.restore.survey import Surveyor, list_target
from wal_e.restore.tablespaces import (
    Places,
    Placing,
    RestoreSpec,
    check_on_disk,
    check_places,
    existing_links,
    map_tablespaces,
)
from wal_e.restore.wal import WalFile, needed_wal
from wal_e.store.api import Store


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """
    Where a backup goes and what it shall do there.

    `recovery` None stands for the original's way: whoever restores writes the recovery settings; from
    PostgreSQL 12 on a signal file is made all the same, except for a cluster that was backed up while shut down.
    `AsTaken` is for an export.
    With `delta` the directory may hold a copy of the cluster, of which is kept what is right. Databases other than
    `only_databases`, where it names any, become shells that can be dropped.
    """

    data_directory: Path
    threads: int = 4
    placing: Placing | RestoreSpec = Placing.DEFAULT
    recovery: Recovery = None
    delta: bool = False
    only_databases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """The backup that was restored, the bytes of it, and what became of the target."""

    summary: Summary
    written: int
    report: PlanReport


@dataclass(frozen=True, slots=True)
class _Restore:
    """One restore that was checked and planned."""

    manifest: Manifest
    target: Path
    places: Places
    plan: RestorePlan
    report: PlanReport
    wal: Sequence[WalFile]
    """What an export takes along."""
    needed: Sequence[tuple[Path, int]]
    """The bytes that must be free, and where."""
    seed: int
    over: bool
    """Whether it goes over a copy that is there."""


def fetch_backup(store: Store, query: BackupQuery, request: RestoreRequest, emit: Sink) -> RestoreResult:
    """
    Restores the backup that fits the query into an empty or missing directory, or with `delta` over a copy.

    Raises what `select_backup` and `restore_backup` raise; the target directory is looked at first, the archive's
    packs last.
    """
    _look_first(request)
    summary = select_backup(store, query, emit).summary
    return restore_backup(store, load_manifest(store, summary.name), request, emit)


def plan_backup(store: Store, query: BackupQuery, request: RestoreRequest, emit: Sink) -> PlanReport:
    """What `fetch_backup` would do, counted; everything is checked that it checks, and nothing is changed."""
    _look_first(request)
    manifest = load_manifest(store, select_backup(store, query, emit).summary.name)
    restore = _plan(store, manifest, request, emit)
    check_space(sizes(manifest, restore.places, restore.target, restore.plan))
    return restore.report


def _look_first(request: RestoreRequest) -> None:
    target = request.data_directory.absolute()
    if request.delta and holds_copy(target):
        refuse_running(target)
    else:
        refuse_used(target)


def restore_backup(store: Store, manifest: Manifest, request: RestoreRequest, emit: Sink) -> RestoreResult:
    """
    Restores one backup, as its manifest describes it, into an empty or missing directory, or over a copy.

    Raises `DataDirectoryError` where the target is in use, not empty, not a copy of this cluster or too small,
    `UsageError` where a tablespace cannot go where it should or a database is not in the backup, and `Corrupt`
    where stored bytes are not those that were backed up; an export that lacks WAL raises `WalMissing`.
    """
    target = request.data_directory.absolute()
    owner = choose_owner(target, manifest.owner)
    with claimed(target) if target.is_dir() else nullcontext():
        restore = _plan(store, manifest, request, emit)
        _say(emit, "beginning restore", f'Restoring "{manifest.summary.name}" to "{target}".', manifest, "begin")
        _prepare(restore)
        writer = BlockWriter(store, target, seed=restore.seed, owner=owner, threads=request.threads)
        _fill(restore, writer, owner, request, emit)
    _say(emit, "restore complete", f'"{target}" holds "{manifest.summary.name}".', manifest, "complete")
    return RestoreResult(manifest.summary, manifest.summary.size, restore.report)


def _say(emit: Sink, message: str, detail: str, manifest: Manifest, state: str) -> None:
    emit(Message(__name__, message, detail=detail, fields={"name": manifest.summary.name, "state": state}))


def _plan(store: Store, manifest: Manifest, request: RestoreRequest, emit: Sink) -> _Restore:
    """Everything that can be checked and decided before the target is touched."""
    target = request.data_directory.absolute()
    summary = manifest.summary
    seed = digest_seed(store, summary)
    places = map_tablespaces(summary.tablespaces, request.placing, existing_links(target))
    check_places(places, target)
    parts = EVERYTHING
    if request.only_databases:
        directories = [record.path for record in manifest.directories]
        parts = some_databases(request.only_databases, manifest.databases, directories)
    over = request.delta and holds_copy(target)
    if over:
        refuse_running(target)
        check_copy(target, summary.system_identifier)
        check_tablespaces(target, places)
        check_on_disk(places, target, summary.major, reused=reused_tablespaces(target, places))
        surveyor = Surveyor(store, target, seed=seed, threads=request.threads)
        plan = plan_delta(surveyor, manifest, target, places, parts, emit)
    else:
        refuse_used(target)
        if not is_unfinished(target):
            check_on_disk(places, target, summary.major)
        plan = RestorePlan(removed=_leftovers(target), parts=parts)
    wal = needed_wal(store, summary, emit) if isinstance(request.recovery, AsTaken) and request.recovery.wal else []
    return _Restore(
        manifest=manifest,
        target=target,
        places=places,
        plan=plan,
        # A list of files that is damaged shows now, before anything is touched.
        report=report_plan(plan, manifest.files),
        wal=wal,
        needed=[
            *sizes(manifest, places, target, plan if over else RestorePlan(parts=parts)),
            (target, sum(file.size for file in wal)),
        ],
        seed=seed,
        over=over,
    )


def _leftovers(target: Path) -> tuple[Entry, ...]:
    """What `prepare` will remove of an interrupted restore: all but the links that say where tablespaces go."""
    if not is_unfinished(target):
        return ()
    found = list_target(target, ())
    return superfluous((entry for entry in found if not entry.path.startswith("pg_tblspc")), (), ())


def _prepare(restore: _Restore) -> None:
    """From here on the target is an unfinished restore, without anything that the plan does not keep."""
    manifest, target, places = restore.manifest, restore.target, restore.places
    if restore.over:
        check_space(restore.needed)
        refuse_running(target)  # comparing may have taken hours
        begin_over(target)
        remove(target, restore.plan.removed)
        try:
            target.chmod(root_mode(manifest))
        except OSError as error:
            raise unusable(target, error) from error
        return
    prepare(target, root_mode(manifest))
    check_on_disk(places, target, manifest.summary.major)
    check_space(restore.needed)


def _fill(restore: _Restore, writer: BlockWriter, owner: Owner | None, request: RestoreRequest, emit: Sink) -> None:
    manifest, target, places = restore.manifest, restore.target, restore.places
    make_directories(
        manifest, places, target, owner, reused_tablespaces(target, places) if restore.over else frozenset()
    )
    _write_files(writer, restore, emit)
    record = _control_record(manifest)
    control = writer.read(record)
    parse_control(control)
    whole = restore.plan.parts.is_whole
    files = final_files(manifest, places, in_place_files(target, manifest), request.recovery, whole=whole)
    for path, content in files.items():
        write_small(target / path, [content], owner)
    for file in restore.wal:
        write_small(target / file.path, file.content(), owner)
    settle(manifest, places, target, owner)
    try:
        publish_control(target, control, record.mode, owner)
        unmark_versions(manifest, target)
    except OSError as error:
        raise unusable(target, error) from error


def _write_files(writer: BlockWriter, restore: _Restore, emit: Sink) -> None:
    written = fetched = 0

    def progress(new_bytes: int, new_fetched: int) -> None:
        nonlocal written, fetched
        written += new_bytes
        fetched += new_fetched
        emit(Progress("backup-fetch", written, restore.report.fetched, fetched))

    for batch in batches(record for record in restore.manifest.files if record.path != CONTROL_PATH):
        writer.write(batch, progress, restore.plan)


def _control_record(manifest: Manifest) -> FileRecord:
    for record in manifest.files:
        if record.path == CONTROL_PATH:
            return record
    raise Corrupt(f'the backup "{manifest.summary.name}" has no pg_control')
