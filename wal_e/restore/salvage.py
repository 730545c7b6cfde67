"""
Some files out of a base backup, into a directory of their own: to look at them, or to save what can be saved.

The result is no cluster: there is no pg_control, and nothing is set up for recovery. Files are as they were read while
the server was writing, without the WAL that mends them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from wal_e.errors import UsageError
from wal_e.events import Message, Progress, Sink
from wal_e.fsio import fsync_directory
from wal_e.repo.catalogue import load_manifest
from wal_e.repo.manifest import Manifest
from wal_e.restore.blocks import BlockWriter, batches
from wal_e.restore.directory import (
    UNFINISHED_PATH,
    Owner,
    check_space,
    choose_owner,
    give,
    prepare,
    refuse_used,
    unusable,
)
from wal_e.restore.parts import Parts
from wal_e.restore.plan import PlanReport, RestorePlan, report_plan
from wal_e.restore.select import LATEST, BackupQuery, digest_seed, select_backup
from wal_e.store.api import Store

_MODE = 0o700


@dataclass(frozen=True, slots=True)
class SalvageRequest:
    """Where files go, and the patterns one of which their paths must fit; `*` takes slashes too."""

    directory: Path
    patterns: tuple[str, ...]
    threads: int = 4


def plan_files(store: Store, query: BackupQuery, request: SalvageRequest, emit: Sink) -> PlanReport:
    """What `fetch_files` would write."""
    return _chosen(store, query, request, emit)[1]


def fetch_files(store: Store, query: BackupQuery, request: SalvageRequest, emit: Sink) -> PlanReport:
    """
    Writes the files that fit into an empty or missing directory, below which they keep their paths.

    A tablespace's files come to lie in a plain directory. A backup that is named is not asked for its WAL. Raises
    `UsageError` where no file fits; an interrupted run is repeated with the same command.
    """
    manifest, report = _chosen(store, query, request, emit)
    target = request.directory.absolute()
    seed = digest_seed(store, manifest.summary)
    owner = choose_owner(target, manifest.owner)
    check_space([(target, report.made.size)])
    prepare(target, _MODE)
    parts = Parts(only_files=request.patterns)
    files = [record for record in manifest.files if parts.has_file(record.path)]
    directories = _make_directories(target, (record.path for record in files), owner)
    writer = BlockWriter(store, target, seed=seed, owner=owner, threads=request.threads)
    written = fetched = 0

    def progress(new_bytes: int, new_fetched: int) -> None:
        nonlocal written, fetched
        written += new_bytes
        fetched += new_fetched
        emit(Progress("backup-fetch", written, report.fetched, fetched))

    for batch in batches(files):
        writer.write(batch, progress)
    _finish(target, directories, owner)
    said = f'"{target}" holds {report.made.count} files of "{manifest.summary.name}". It is no cluster.'
    emit(Message(__name__, "files restored", detail=said, fields={"name": manifest.summary.name, "state": "complete"}))
    return report


def _chosen(store: Store, query: BackupQuery, request: SalvageRequest, emit: Sink) -> tuple[Manifest, PlanReport]:
    refuse_used(request.directory.absolute())
    name = select_backup(store, query, emit).summary.name if query.name == LATEST else query.name
    manifest = load_manifest(store, name)
    report = report_plan(RestorePlan(parts=Parts(only_files=request.patterns)), manifest.files)
    if not report.made.count:
        raise UsageError(
            f'no file of "{name}" fits {" or ".join(request.patterns)}',
            detail="Paths are relative to the data directory, as in base/16384/2619; pg_control never comes.",
            hint="Find the path of a table with SELECT pg_relation_filepath('...'), and quote the pattern.",
        )
    return manifest, report


def _make_directories(target: Path, paths: Iterable[str], owner: Owner | None) -> list[Path]:
    wanted = {parent for path in paths for parent in PurePosixPath(path).parents}
    directories = [target / parent for parent in sorted(wanted)]
    try:
        for directory in directories:
            directory.mkdir(mode=_MODE, exist_ok=True)
            give(directory, owner)
    except OSError as error:
        raise unusable(target, error) from error
    return directories


def _finish(target: Path, directories: Iterable[Path], owner: Owner | None) -> None:
    mark = target / UNFINISHED_PATH
    try:
        for directory in directories:
            fsync_directory(directory)
        mark.unlink()
        if not any(mark.parent.iterdir()):
            mark.parent.rmdir()
        give(target, owner)
        fsync_directory(target)
        fsync_directory(target.parent)
    except OSError as error:
        raise unusable(target, error) from error
