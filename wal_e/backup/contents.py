"""Copying all of a data directory into packs, and putting the manifest together; the server's part is in `run`."""

import grp
import pwd
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from wal_e.backup.budget import DEFAULT_MEMORY, share_out
from wal_e.backup.copy import Copier, Outcome, Read
from wal_e.backup.parent import NEWEST, ParentChoice, Present, Work, find_parent, plan_work, this_source
from wal_e.backup.plan import Verdict
from wal_e.backup.records import Recorder
from wal_e.backup.tasks import Piece, pieces, read_tasks
from wal_e.codec.compress import DEFAULT_LEVEL
from wal_e.events import Level, Message, Progress, Sink
from wal_e.parallel import ordered_map
from wal_e.pg.control import CONTROL_PATH, ControlData, read_control
from wal_e.pg.datadir import Scan, look_at, scan
from wal_e.rate import RateLimit
from wal_e.repo.blockmap import BLOCK_SIZE
from wal_e.repo.filelist import FileWriter, StoredFiles
from wal_e.repo.manifest import DirectoryRecord, Manifest, PackRef, Source, Summary
from wal_e.repo.packer import Packer
from wal_e.store.api import Store

_AHEAD: Final = 2
"""Tasks for each thread that may be under way or wait to be recorded; each is up to 1 MiB and its results."""
_BACKLOG: Final = 4096
"""Files that may wait for one before them: then half a frame is stored rather than waited for."""


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """What the user asked for; `read_rate` holds all threads together to a rate, `memory` is in bytes."""

    data_directory: Path
    threads: int = 4
    read_rate: RateLimit | None = None
    offline: bool = False
    level: int = DEFAULT_LEVEL
    wal_timeout: timedelta = timedelta(minutes=10)
    parent: ParentChoice = NEWEST
    memory: int = DEFAULT_MEMORY


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
    """
    What was copied: the facts of the walk, the files' records, and the packs that hold their blocks.

    `size` is what a restore writes, `stored` what was added to the archive and `shared` what was there before, all in
    bytes; `bad_pages` counts pages that did not have the checksum that they should.
    """

    scan: Scan
    control: ControlData
    source: Source
    files: StoredFiles
    packs: tuple[PackRef, ...]
    parent: str | None
    size: int
    stored: int
    shared: int
    bad_pages: int


def copy_files(
    store: Store,
    request: BackupRequest,
    backup: NewBackup,
    emit: Sink,
    extra: Iterable[str] = (),
) -> Copy:
    """Copies the data directory into packs; `extra` names files beyond the rules. pg_control is read last (H35)."""
    begun = time.time_ns()
    found = scan(request.data_directory, pg_version=backup.pg_version, emit=emit, extra=extra)
    source = this_source(request.data_directory, begun)
    control = read_control(request.data_directory)[1]
    parent = find_parent(store, Present(control.system_identifier, found.files, source), request.parent, emit)
    if parent is not None:
        detail = f'Its parent is "{parent.name}": only what differs is stored.'
        emit(Message(__name__, "building on an earlier base backup", detail, fields={"parent": parent.name}))
    packing = share_out(request.memory, request.threads)
    records = FileWriter()
    with Packer(store, backup.name, level=request.level, uploads=packing.uploads, target=packing.target) as packer:
        copier = Copier(
            request.data_directory,
            packer,
            seed=backup.digest_seed,
            segment_blocks=control.relation_segment_blocks if control.data_checksums else None,
            stale=frozenset() if parent is None else parent.reuse.stale,
            rate=request.read_rate,
        )
        recorder = Recorder(packer, records)
        progress = _Tally(found.size, packer, emit)
        works = plan_work(store, parent, found.files, emit)
        _copy_all(copier, recorder, _fed(works, recorder, progress), request.threads, progress)
        content, control = read_control(request.data_directory)
        entry = look_at(request.data_directory, CONTROL_PATH)
        recorder.begin(entry)
        _record(recorder, [*copier.copy_content(Piece(entry, 0, 1), content), *copier.flush()])
        recorder.flush_maps()
    listed = records.finish()
    known = packer.packs if parent is None else packer.packs | parent.packs
    packs = tuple(replace(known[key], live=records.live[key]) for key in listed.packs)
    return Copy(
        scan=found,
        control=control,
        source=source,
        files=listed,
        packs=packs,
        parent=None if parent is None else parent.name,
        size=records.size,
        stored=packer.stored,
        shared=sum(pack.live_size for pack in packs if pack.key not in packer.packs),
        bad_pages=records.bad_pages,
    )


class _Tally:
    """How far the copy is, told to whoever listens."""

    def __init__(self, total: int, packer: Packer, emit: Sink) -> None:
        self._total = total
        self._packer = packer
        self._emit = emit
        self._done = self._reused = 0

    def add(self, done: int, reused: int = 0) -> None:
        """Adds bytes of the data directory, and how many of them the archive had."""
        self._done += done
        self._reused += reused

    def tell(self) -> None:
        """Emits where the copy is."""
        self._emit(Progress("backup-push", self._done, self._total, self._packer.stored, self._reused))


def _fed(works: Iterable[Work], recorder: Recorder, tally: _Tally) -> Iterator[Piece | None]:
    """Tells the recorder of every file in order; yields the pieces to be read, and None for a file that has none."""
    for work in works:
        if work.verdict is Verdict.READ or work.record is None:
            recorder.begin(work.entry)
            yield from pieces(work.entry, work.known) if work.entry.size else (None,)
            continue
        if work.known is None:
            recorder.carry(work.record)
        else:
            recorder.move_map(work.record, work.known)
        tally.add(work.entry.size, work.entry.size)
        yield None


def _copy_all(copier: Copier, recorder: Recorder, some: Iterator[Piece | None], threads: int, tally: _Tally) -> None:
    for outcomes in ordered_map(copier.copy, read_tasks(some), threads=threads, ahead=threads * _AHEAD):
        _record(recorder, outcomes)
        for outcome in outcomes:
            if isinstance(outcome, Read):
                tally.add(outcome.piece.length, outcome.reused * BLOCK_SIZE)
        if recorder.backlog > _BACKLOG:
            _record(recorder, copier.flush())
            recorder.flush_maps()
        tally.tell()
    _record(recorder, copier.flush())


def _record(recorder: Recorder, outcomes: Iterable[Outcome]) -> None:
    for outcome in outcomes:
        recorder.take(outcome)


def build_manifest(summary: Summary, copy: Copy, backup_label: str, tablespace_map: str) -> Manifest:
    """Puts together what a restore needs."""
    return Manifest(
        summary=summary,
        backup_label=backup_label,
        tablespace_map=tablespace_map,
        owner=_owner(copy.scan.root.uid, copy.scan.root.gid),
        packs=copy.packs,
        directories=(
            DirectoryRecord(".", copy.scan.root.mode & 0o777),
            *(DirectoryRecord(d.path, d.mode & 0o777) for d in copy.scan.directories),
        ),
        files=copy.files,
        source=copy.source,
    )


def report(summary: Summary, copy: Copy, emit: Sink) -> None:
    """Says that the backup exists, and which pages did not have the checksum that they should."""
    for file in copy.files if copy.bad_pages else ():
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
