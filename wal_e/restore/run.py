"""
Bringing a base backup back: check, create, fill, make durable, and let pg_control appear last.

Until its last rename the target cannot be started, and a run that died is repeated with the same command.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wal_e.errors import Corrupt
from wal_e.events import Message, Progress, Sink
from wal_e.fsio import fsync_directory, write_atomically
from wal_e.pg.control import CONTROL_PATH, parse_control
from wal_e.repo.catalogue import load_manifest
from wal_e.repo.cluster import read_identity
from wal_e.repo.filelist import FileRecord
from wal_e.repo.manifest import Manifest, Summary
from wal_e.restore.blocks import BlockWriter, batches
from wal_e.restore.directory import (
    Owner,
    check_space,
    choose_owner,
    give,
    is_unfinished,
    mark_version,
    prepare,
    publish_control,
    refuse_used,
    unmark_version,
    unusable,
)
from wal_e.restore.finish import AsTaken, Recovery, final_files, in_place_files
from wal_e.restore.select import BackupQuery, select_backup
from wal_e.restore.tablespaces import (
    Places,
    Placing,
    RestoreSpec,
    check_on_disk,
    check_places,
    existing_links,
    map_tablespaces,
)
from wal_e.restore.wal import needed_wal
from wal_e.store.api import Store

_MODES: Final = frozenset({0o700, 0o750})
"""PostgreSQL refuses to start on a data directory of any other mode."""


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """
    Where a backup goes and what it shall do there.

    `recovery` None stands for the original's way: whoever restores writes the recovery settings; from
    PostgreSQL 12 on a signal file is made all the same, except for a cluster that was backed up while shut down.
    `AsTaken` is for an export.
    """

    data_directory: Path
    threads: int = 4
    placing: Placing | RestoreSpec = Placing.DEFAULT
    recovery: Recovery = None


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """The backup that was restored, and how many bytes were written."""

    summary: Summary
    written: int


def fetch_backup(store: Store, query: BackupQuery, request: RestoreRequest, emit: Sink) -> RestoreResult:
    """
    Restores the backup that fits the query into an empty or missing directory.

    Raises what `select_backup` and `restore_backup` raise; the target directory is looked at first, the archive's
    packs last.
    """
    refuse_used(request.data_directory.absolute())
    summary = select_backup(store, query, emit).summary
    return restore_backup(store, load_manifest(store, summary.name), request, emit)


def restore_backup(store: Store, manifest: Manifest, request: RestoreRequest, emit: Sink) -> RestoreResult:
    """
    Restores one backup, as its manifest describes it, into an empty or missing directory.

    Raises `DataDirectoryError` where the target is in use, not empty or too small, `UsageError` where a tablespace
    cannot go where it should, `WalMissing` where an export lacks WAL, and `Corrupt` where stored bytes are not those
    that were backed up.
    """
    target = request.data_directory.absolute()
    summary = manifest.summary
    seed = digest_seed(store, summary)
    places = map_tablespaces(summary.tablespaces, request.placing, existing_links(target))
    check_places(places, target)
    sizes = _sizes(manifest, places, target)  # a list of files that is damaged shows now, before anything is touched
    owner = choose_owner(target, manifest.owner)
    wal = needed_wal(store, summary, emit) if isinstance(request.recovery, AsTaken) and request.recovery.wal else []
    emit(
        Message(
            __name__,
            "beginning restore",
            detail=f'Restoring "{summary.name}" to "{target}".',
            fields={"name": summary.name, "state": "begin"},
        )
    )
    if not is_unfinished(target):
        check_on_disk(places, target, summary.major)
    prepare(target, root_mode(manifest))
    check_on_disk(places, target, summary.major)
    check_space([*sizes, (target, sum(file.size for file in wal))])
    _make_directories(manifest, places, target, owner)
    writer = BlockWriter(store, target, seed=seed, owner=owner, threads=request.threads)
    _write_files(writer, manifest, emit)
    control = writer.read(_control_record(manifest))
    parse_control(control)
    for path, content in final_files(manifest, places, in_place_files(target, manifest), request.recovery).items():
        _write(target / path, [content], owner)
    for file in wal:
        _write(target / file.path, file.content(), owner)
    _settle(manifest, places, target, owner)
    _complete(manifest, target, owner, control)
    emit(
        Message(
            __name__,
            "restore complete",
            detail=f'"{target}" holds "{summary.name}".',
            fields={"name": summary.name, "state": "complete"},
        )
    )
    return RestoreResult(summary, summary.size)


def digest_seed(store: Store, summary: Summary) -> int:
    """The seed of the archive's digests; `Corrupt` where the archive does not say, or is another cluster's."""
    identity = read_identity(store)
    if identity is None:
        raise Corrupt(
            "the archive has no cluster.json",
            detail="Without it the blocks of a backup cannot be checked.",
            hint="Bring cluster.json back from wherever the archive was copied from.",
        )
    if identity.system_identifier != summary.system_identifier:
        raise Corrupt(f'the backup "{summary.name}" is not of the cluster that the archive belongs to')
    return identity.digest_seed


def _write_files(writer: BlockWriter, manifest: Manifest, emit: Sink) -> None:
    written = fetched = 0

    def progress(new_bytes: int, new_fetched: int) -> None:
        nonlocal written, fetched
        written += new_bytes
        fetched += new_fetched
        emit(Progress("backup-fetch", written, manifest.summary.size, fetched))

    for batch in batches([record for record in manifest.files if record.path != CONTROL_PATH]):
        writer.write(batch, progress)


def _control_record(manifest: Manifest) -> FileRecord:
    for record in manifest.files:
        if record.path == CONTROL_PATH:
            return record
    raise Corrupt(f'the backup "{manifest.summary.name}" has no pg_control')


def root_mode(manifest: Manifest) -> int:
    """The mode of the data directory, as it was where PostgreSQL accepts that."""
    recorded = next((directory.mode for directory in manifest.directories if directory.path == "."), 0o700)
    return recorded if recorded in _MODES else 0o700


def _sizes(manifest: Manifest, places: Places, target: Path) -> list[tuple[Path, int]]:
    """How many bytes go where."""
    links = {f"pg_tblspc/{oid}/": place for oid, place in places.items() if place is not None}
    sizes = dict.fromkeys([target, *links.values()], 0)
    for record in manifest.files:
        head = "/".join(record.path.split("/", 2)[:2]) + "/"
        sizes[links.get(head, target)] += record.size
    return list(sizes.items())


def _make_directories(manifest: Manifest, places: Places, target: Path, owner: Owner | None) -> None:
    try:
        for oid, place in places.items():
            _make_tablespace(target / "pg_tblspc" / str(oid), place, owner, root_mode(manifest))
        for record in sorted(manifest.directories, key=lambda directory: directory.path):
            path = target / record.path
            if _is_version_directory(record.path):
                mark_version(path, target)
            path.mkdir(mode=record.mode, parents=True, exist_ok=True)
            if record.path != ".":
                path.chmod(record.mode)
            give(path, owner)
    except OSError as error:
        raise unusable(target, error) from error


def _make_tablespace(link: Path, place: Path | None, owner: Owner | None, mode: int) -> None:
    link.parent.mkdir(mode=mode, exist_ok=True)
    give(link.parent, owner)
    if place is None:
        if link.is_symlink():
            link.unlink()  # what it points to is not ours to fill
        link.mkdir(mode=mode, exist_ok=True)
        return
    if not place.exists():
        place.mkdir(mode=mode, parents=True)
        give(place, owner)
    if link.is_symlink():
        if link.readlink() == place:
            return  # put there by hand, it would be lost if we died between removing and making it
        link.unlink()
    link.symlink_to(place)


def _is_version_directory(path: str) -> bool:
    parts = path.split("/")
    return len(parts) == 3 and parts[0] == "pg_tblspc"  # noqa: PLR2004 - pg_tblspc/<oid>/PG_...


def _write(path: Path, content: Iterable[bytes], owner: Owner | None) -> None:
    try:
        write_atomically(path, content)
        give(path, owner)
    except OSError as error:
        raise unusable(path, error) from error


def _settle(manifest: Manifest, places: Places, target: Path, owner: Owner | None) -> None:
    """Makes every directory durable, from the leaves to the root."""
    try:
        for record in sorted(manifest.directories, key=lambda directory: directory.path, reverse=True):
            fsync_directory(target / record.path)
        for place in (target, *(place for place in places.values() if place is not None)):
            fsync_directory(place)
        give(target, owner)
        fsync_directory(target.parent)
    except OSError as error:
        raise unusable(target, error) from error


def _complete(manifest: Manifest, target: Path, owner: Owner | None, control: bytes) -> None:
    try:
        publish_control(target, control, _control_record(manifest).mode, owner)
        for record in manifest.directories:
            if _is_version_directory(record.path):
                unmark_version(target / record.path)
    except OSError as error:
        raise unusable(target, error) from error
