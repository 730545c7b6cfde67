"""
The parent of a backup: the newest one whose block maps can say what the archive already holds.

Nothing depends on which one it is but the cost: a backup refers to blocks, never to another backup. So a parent that
cannot be read is passed over with a warning, and packs that are missing from the store are written again.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wal_e.backup.plan import Reuse, Verdict, judge, live_at_most, lost_packs, matched, settled_before, stale_packs
from wal_e.errors import Corrupt, NoSuchBackup, UsageError
from wal_e.events import Level, Message, Sink
from wal_e.parallel import ordered_map
from wal_e.pg.datadir import unreadable
from wal_e.pg.filetable import FileEntry
from wal_e.repo.blockmap import BlockMap
from wal_e.repo.catalogue import list_backups, load_manifest, pack_sizes
from wal_e.repo.filelist import FileRecord, MapRef
from wal_e.repo.manifest import Manifest, PackRef, Source
from wal_e.repo.reader import load_maps
from wal_e.store.api import Store
from wal_e.units import MIB

_MACHINE_IDS: Final = (Path("/etc/machine-id"), Path("/proc/sys/kernel/random/boot_id"))
"""machine-id(5); where there is none, an identity that lasts until the next boot."""
_MAPS_AT_ONCE: Final = 8 * MIB
_FILES_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True)
class ParentChoice:
    """Which parent the user wants: `full` none, `name` this one, else the newest; `read_all` distrusts times."""

    full: bool = False
    name: str | None = None
    read_all: bool = False

    def __post_init__(self) -> None:
        if self.full and self.name is not None:
            raise UsageError("a full backup has no parent", hint="Leave out --full or --parent.")


NEWEST: Final = ParentChoice()


@dataclass(frozen=True, slots=True)
class Present:
    """What the new backup is about to read: of which cluster, the files in ascending order of the path, and where."""

    system_identifier: int
    files: Iterable[FileEntry]
    source: Source


@dataclass(frozen=True, slots=True)
class Parent:
    """A committed backup whose list of files was read from end to end, and what of it may be taken over."""

    manifest: Manifest
    reuse: Reuse

    @property
    def name(self) -> str:
        """The backup's name."""
        return self.manifest.summary.name

    @property
    def packs(self) -> dict[str, PackRef]:
        """Its packs by key."""
        return {pack.key: pack for pack in self.manifest.packs}


@dataclass(frozen=True, slots=True)
class Work:
    """One file of the new backup: what becomes of it, the parent's record, and its map where one was needed."""

    entry: FileEntry
    verdict: Verdict
    record: FileRecord | None = None
    known: BlockMap | None = None


def this_source(data_directory: Path, scanned_ns: int) -> Source:
    """Identifies the directory that is about to be read."""
    try:
        status = data_directory.stat()
    except OSError as error:
        raise unreadable(os.fspath(data_directory), error) from error
    return Source(_machine(), status.st_dev, status.st_ino, scanned_ns)


def find_parent(store: Store, present: Present, choice: ParentChoice, emit: Sink) -> Parent | None:
    """
    The parent to use, or None for a full backup; goes through the parent's files once.

    A parent that the user named must be there and of this cluster: `NoSuchBackup` else, `Corrupt` where it is damaged.
    """
    if choice.full:
        return None
    if choice.name is not None:
        manifest = load_manifest(store, choice.name)
        if manifest.summary.system_identifier != present.system_identifier:
            raise NoSuchBackup(
                f'the backup "{choice.name}" is of another cluster', hint="Leave out --parent: the newest one is taken."
            )
        return _planned(store, manifest, present, choice, emit)
    for entry in sorted(list_backups(store), key=lambda entry: (entry.last_modified, entry.name), reverse=True):
        try:
            manifest = load_manifest(store, entry.name)
            if manifest.summary.system_identifier == present.system_identifier:
                return _planned(store, manifest, present, choice, emit)
        except (Corrupt, NoSuchBackup) as error:
            emit(_passed_over(entry.name, error.message))
    return None


def plan_work(store: Store, parent: Parent | None, files: Iterable[FileEntry], emit: Sink) -> Iterator[Work]:
    """
    Yields every file in the order given, with what becomes of it; maps are fetched some time ahead.

    A map that cannot be read costs no more than reading and storing its file as a new one.
    """
    if parent is None:
        yield from (Work(entry, Verdict.READ) for entry in files)
        return
    judged = (
        Work(entry, judge(entry, record, parent.reuse), record)
        for entry, record in matched(files, parent.manifest.files)
    )
    for batch in ordered_map(lambda some: _with_maps(store, some, emit), _batches(judged), threads=1, ahead=2):
        yield from batch


def _planned(store: Store, manifest: Manifest, present: Present, choice: ParentChoice, emit: Sink) -> Parent:
    was = manifest.source
    settled = None
    if was is not None and not choice.read_all and _place(was) == _place(present.source):
        settled = settled_before(min(was.scanned_ns, present.source.scanned_ns))
    live = live_at_most(matched(present.files, manifest.files))
    stored = pack_sizes(store, manifest.packs)
    if lost := lost_packs(manifest.packs, stored):
        emit(
            Message(
                __name__,
                f'backup "{manifest.summary.name}" lacks {len(lost)} of its packs',
                detail=f'The first is "{lost[0]}". What they held is stored again.',
                hint="That backup cannot be restored whole: find out who deletes objects of the archive.",
                level=Level.WARNING,
            )
        )
    return Parent(manifest, Reuse(settled, stale_packs(manifest.packs, live, stored)))


def _passed_over(name: str, reason: str) -> Message:
    return Message(
        __name__,
        f'backup "{name}" cannot be built upon',
        detail=f"{reason[:1].upper()}{reason[1:]}.",
        hint="An older backup, or none, serves as the parent.",
        level=Level.WARNING,
    )


def _machine() -> str:
    for path in _MACHINE_IDS:
        try:
            if identity := path.read_text("ascii").strip():
                return identity
        except (OSError, ValueError):
            continue
    return f"process {os.getpid()}"


def _place(source: Source) -> tuple[str, int, int]:
    return source.machine, source.device, source.inode


def _batches(works: Iterable[Work]) -> Iterator[list[Work]]:
    batch: list[Work] = []
    size = 0
    for work in works:
        batch.append(work)
        size += _map_length(work)
        if size >= _MAPS_AT_ONCE or len(batch) >= _FILES_AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _map_length(work: Work) -> int:
    if work.record is None or work.verdict is Verdict.CARRY or not isinstance(work.record.blocks, MapRef):
        return 0
    return work.record.blocks.length


def _with_maps(store: Store, works: list[Work], emit: Sink) -> list[Work]:
    wanted = [work.record for work in works if work.record is not None and work.verdict is not Verdict.CARRY]
    maps = _load(store, wanted, emit)
    return [work if work.verdict is Verdict.CARRY else _with_map(work, maps) for work in works]


def _with_map(work: Work, maps: dict[str, BlockMap]) -> Work:
    known = maps.get(work.entry.path)
    verdict = Verdict.READ if known is None else work.verdict
    return Work(work.entry, verdict, work.record, known)


def _load(store: Store, records: list[FileRecord], emit: Sink) -> dict[str, BlockMap]:
    try:
        return load_maps(store, records)
    except Corrupt as error:
        if len(records) == 1:
            emit(
                Message(
                    __name__,
                    f'the block map of "{records[0].path}" in the archive cannot be read',
                    detail=f"{error.message}. The file is stored anew.",
                    level=Level.WARNING,
                )
            )
            return {}
    maps: dict[str, BlockMap] = {}
    for record in records:
        maps |= _load(store, [record], emit)
    return maps
