"""
A base backup as PostgreSQL's own tools know it: a directory or a tar as pg_basebackup would have written it.

No recovery settings are added. With the WAL it starts by itself; `pg_verifybackup` checks it; nothing of ours is
needed any more. The directory is a restore. The tar is made while it is read, in the order of its members, with
pg_control last, so that one that was cut short cannot be started.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from wal_e.errors import Corrupt
from wal_e.events import Event, Message, Progress, Result, Sink
from wal_e.pg.control import CONTROL_PATH, parse_control
from wal_e.pg.recovery import AUTO_CONF
from wal_e.repo.catalogue import load_manifest
from wal_e.repo.filelist import FileRecord
from wal_e.repo.manifest import DirectoryRecord, Manifest
from wal_e.restore.content import ContentReader
from wal_e.restore.directory import refuse_used
from wal_e.restore.finish import BACKUP_MANIFEST, AsTaken, final_files
from wal_e.restore.run import RestoreRequest, RestoreResult, restore_backup
from wal_e.restore.select import BackupQuery, digest_seed, select_backup
from wal_e.restore.skeleton import root_mode
from wal_e.restore.tablespaces import Placing, RestoreSpec
from wal_e.restore.tar import END, Member, Owner, header, padding
from wal_e.restore.wal import WalFile, needed_wal
from wal_e.store.api import Store

WHAT: Final = "export"
_NANOSECONDS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """Which backup (a name or LATEST), with the WAL that it needs or without, and on how many threads."""

    name: str
    wal: bool
    threads: int = 4


def export_plain(
    store: Store, request: ExportRequest, target: Path, placing: Placing | RestoreSpec, emit: Sink
) -> RestoreResult:
    """
    Writes the backup into an empty or missing directory.

    Raises what `restore_backup` raises, and `WalMissing` where WAL is wanted that the archive has not.
    """
    refuse_used(target.absolute())
    manifest = load_manifest(store, select_backup(store, BackupQuery(request.name), emit).summary.name)
    wanted = RestoreRequest(target, request.threads, placing, AsTaken(wal=request.wal))

    def renamed(event: Event) -> None:
        emit(replace(event, what=WHAT) if isinstance(event, Progress) else event)

    result = restore_backup(store, manifest, wanted, renamed)
    emit(Result(WHAT, {"name": manifest.summary.name, "format": "plain", "size": manifest.summary.size}))
    return result


def export_tar(store: Store, request: ExportRequest, emit: Sink) -> Iterator[bytes | memoryview]:
    """
    Yields the backup as one tar.

    Tablespaces are plain directories in pg_tblspc, so that one stream holds everything, and unpacking it touches no
    place outside of the directory. The bytes are the backup only if the iterator comes to its end: `Corrupt`,
    `WalMissing` or an error of the store may come at any point.
    """
    manifest = load_manifest(store, select_backup(store, BackupQuery(request.name), emit).summary.name)
    yield from _Tar(store, manifest, request, emit).stream()


class _Tar:
    def __init__(self, store: Store, manifest: Manifest, request: ExportRequest, emit: Sink) -> None:
        self._store = store
        self._manifest = manifest
        self._reader = ContentReader(store, seed=digest_seed(store, manifest.summary), threads=request.threads)
        self._wal = needed_wal(store, manifest.summary, emit) if request.wal else []
        self._owner = Owner.of(*manifest.owner)
        self._emit = emit
        self._done = 0
        self._total = manifest.summary.size + sum(file.size for file in self._wal)

    def stream(self) -> Iterator[bytes | memoryview]:
        control, made = self._control_and_made()
        yield from map(self._directory, _directories(self._manifest))
        yield from self._made({path: data for path, data in made.items() if path != BACKUP_MANIFEST})
        yield from self._files(made)
        for file in self._wal:
            yield from self._wal_file(file)
        yield from self._made({path: data for path, data in made.items() if path == BACKUP_MANIFEST})
        yield from self._member(control[0], [control[1]])
        yield END
        self._emit(
            Message(
                __name__,
                "export complete",
                detail=f'The tar holds "{self._manifest.summary.name}".',
                fields={"name": self._manifest.summary.name, "state": "complete"},
            )
        )
        self._emit(
            Result(
                WHAT,
                {"name": self._manifest.summary.name, "format": "tar", "size": self._manifest.summary.size},
            )
        )

    def _control_and_made(self) -> tuple[tuple[Member, bytes], dict[str, bytes]]:
        """pg_control, looked into, and the files that are written anew."""
        small = {file.path: file for file in self._manifest.files if file.path in {CONTROL_PATH, AUTO_CONF}}
        if CONTROL_PATH not in small:
            raise Corrupt(f'the backup "{self._manifest.summary.name}" has no pg_control')
        content = self._reader.read(small[CONTROL_PATH])
        parse_control(content)
        existing = {}
        if AUTO_CONF in small:
            existing[AUTO_CONF] = self._reader.read(small[AUTO_CONF]).decode("utf-8", "surrogateescape")
        places = dict.fromkeys((tablespace.oid for tablespace in self._manifest.summary.tablespaces), None)
        made = final_files(self._manifest, places, existing, AsTaken(wal=bool(self._wal)))
        return (_member_of(small[CONTROL_PATH]), content), made

    def _files(self, made: Iterable[str]) -> Iterator[bytes | memoryview]:
        passed_over = {CONTROL_PATH, *made}
        current: FileRecord | None = None
        files = (file for file in self._manifest.files if file.path not in passed_over)
        for record, content in self._reader.stream(files):
            if record is not current:
                yield padding(current.size) if current else b""
                yield header(_member_of(record), self._owner)
                current = record
            yield content
            self._progress(len(content))
        yield padding(current.size) if current else b""

    def _wal_file(self, file: WalFile) -> Iterator[bytes | memoryview]:
        yield header(self._new(file.path, file.size), self._owner)
        for chunk in file.content():
            yield chunk
            self._progress(len(chunk))
        yield padding(file.size)

    def _made(self, files: dict[str, bytes]) -> Iterator[bytes | memoryview]:
        for path, content in files.items():
            yield from self._member(self._new(path, len(content)), [content])

    def _member(self, member: Member, content: Sequence[bytes]) -> Iterator[bytes | memoryview]:
        yield header(member, self._owner)
        yield from content
        yield padding(member.size)

    def _directory(self, record: DirectoryRecord) -> bytes:
        return header(Member(record.path, 0, record.mode, self._time(), directory=True), self._owner)

    def _new(self, path: str, size: int) -> Member:
        """A file that is not the cluster's own, with the modes that those have."""
        mode = 0o640 if root_mode(self._manifest) & 0o040 else 0o600
        return Member(path, size, mode, self._time())

    def _time(self) -> int:
        return int(self._manifest.summary.stop_time.timestamp())

    def _progress(self, new: int) -> None:
        self._done += new
        self._emit(Progress(WHAT, min(self._done, self._total), self._total, self._reader.fetched))


def _directories(manifest: Manifest) -> list[DirectoryRecord]:
    """All but the root, whose mode is for whoever makes the directory; those of tablespaces in the place of links."""
    found = {record.path: record for record in manifest.directories if record.path != "."}
    mode = root_mode(manifest)
    for tablespace in manifest.summary.tablespaces:
        path = f"pg_tblspc/{tablespace.oid}"
        found.setdefault(path, DirectoryRecord(path, mode))
    return [found[path] for path in sorted(found)]


def _member_of(record: FileRecord) -> Member:
    return Member(record.path, record.size, record.mode, max(record.mtime_ns // _NANOSECONDS, 0))
