"""Copying all of a data directory into packs, and putting the manifest together; the server's part is in `run`."""

import grp
import pwd
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from wal_e.backup.copy import Copier
from wal_e.backup.rate import RateLimit
from wal_e.backup.records import Recorder
from wal_e.backup.tasks import Piece, frame_tasks
from wal_e.errors import DataDirectoryError
from wal_e.events import Level, Message, Progress, Sink
from wal_e.parallel import ordered_map
from wal_e.pg.control import CONTROL_PATH, ControlData, read_control
from wal_e.pg.datadir import FileEntry, Scan, file_entry, scan
from wal_e.repo.manifest import DirectoryRecord, FileRecord, Manifest, Summary
from wal_e.repo.packer import Packer
from wal_e.store.api import Store

_AHEAD: Final = 2
"""Frames for each thread that may be under way or wait to be recorded; each is up to 1 MiB and its results."""


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """What the user asked for; `read_rate` is in bytes per second for all threads together."""

    data_directory: Path
    threads: int = 4
    read_rate: int | None = None
    offline: bool = False
    level: int = 3
    wal_timeout: timedelta = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class NewBackup:
    """The backup to be written: its name, the seed of its digests, and the server's `server_version_num`."""

    name: str
    digest_seed: int
    pg_version: int


@dataclass(frozen=True, slots=True)
class BackupResult:
    """The committed backup."""

    summary: Summary


@dataclass(frozen=True, slots=True)
class Copy:
    """What was copied: the facts of the walk, the files' records, and the packs that hold them."""

    scan: Scan
    control: ControlData
    files: tuple[FileRecord, ...]
    packer: Packer

    @property
    def bad_pages(self) -> int:
        """How many pages did not have the checksum that they should."""
        return sum(len(file.bad_pages) for file in self.files)


def copy_files(
    store: Store,
    request: BackupRequest,
    backup: NewBackup,
    emit: Sink,
    extra: Iterable[str] = (),
) -> Copy:
    """Copies the data directory into packs; `extra` names files beyond the rules. pg_control is read last (H35)."""
    found = scan(request.data_directory, pg_version=backup.pg_version, emit=emit)
    control = read_control(request.data_directory)[1]
    files = sorted((*found.files, *(_entry(request.data_directory, path) for path in extra)), key=lambda f: f.path)
    with Packer(store, backup.name, level=request.level) as packer:
        copier = Copier(
            request.data_directory,
            packer,
            seed=backup.digest_seed,
            segment_blocks=control.relation_segment_blocks if control.data_checksums else None,
            rate=RateLimit(request.read_rate) if request.read_rate else None,
        )
        recorder = Recorder(packer)
        _copy_tasks(copier, recorder, packer, files, request.threads, emit)
        content, control = read_control(request.data_directory)
        entry = _entry(request.data_directory, CONTROL_PATH)
        recorder.add(copier.copy_content(Piece(entry, 0, 1), content))
        records = recorder.finish()
    return Copy(found, control, records, packer)


def _copy_tasks(
    copier: Copier, recorder: Recorder, packer: Packer, files: list[FileEntry], threads: int, emit: Sink
) -> None:
    total, done = sum(file.size for file in files), 0
    for file in files:
        if file.size == 0:
            recorder.add_empty(file)
    for outcomes in ordered_map(copier.copy, frame_tasks(files), threads=threads, ahead=threads * _AHEAD):
        for outcome in outcomes:
            recorder.add(outcome)
            done += outcome.piece.length
        emit(Progress("backup-push", done, total, packer.stored))


def build_manifest(summary: Summary, copy: Copy, backup_label: str, tablespace_map: str) -> Manifest:
    """Puts together what a restore needs."""
    return Manifest(
        summary=summary,
        backup_label=backup_label,
        tablespace_map=tablespace_map,
        owner=_owner(copy.scan.root.uid, copy.scan.root.gid),
        packs=tuple(copy.packer.packs[key] for key in sorted(copy.packer.packs)),
        directories=(
            DirectoryRecord(".", copy.scan.root.mode & 0o777),
            *(DirectoryRecord(d.path, d.mode & 0o777) for d in copy.scan.directories),
        ),
        files=copy.files,
    )


def report(summary: Summary, copy: Copy, emit: Sink) -> None:
    """Says that the backup exists, and which pages did not have the checksum that they should."""
    for file in copy.files:
        if file.bad_pages:
            emit(
                Message(
                    __name__,
                    f'page checksums do not match in "{file.path}"',
                    detail=f"Blocks {', '.join(map(str, file.bad_pages[:20]))}"
                    f"{' and more' if len(file.bad_pages) > 20 else ''}.",  # noqa: PLR2004 - a line's worth
                    hint="The backup is complete and holds these pages as they are; find out what damaged them.",
                    level=Level.WARNING,
                )
            )
    emit(
        Message(
            __name__,
            "base backup complete",
            detail=f'"{summary.name}" restores {summary.size} bytes and added {summary.stored} to the archive.',
            fields={"name": summary.name, "size": summary.size, "stored": summary.stored, "state": "complete"},
        )
    )


def _entry(root: Path, path: str) -> FileEntry:
    try:
        status = (root / path).stat(follow_symlinks=False)
    except OSError as error:
        raise DataDirectoryError(f'could not read "{root / path}": {error.strerror}') from error
    return file_entry(path, status)


def _owner(uid: int, gid: int) -> tuple[str, str]:
    """The names of user and group; numbers where the host knows no names."""
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    try:
        return user, grp.getgrgid(gid).gr_name
    except KeyError:
        return user, str(gid)
