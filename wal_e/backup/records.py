"""Gathering the pieces of each file into its record, and storing block maps as files become complete."""

from dataclasses import dataclass, field, replace
from typing import Final

from wal_e.backup.copy import Copied, Vanished
from wal_e.codec.crc32c import combine
from wal_e.pg.datadir import FileEntry
from wal_e.repo.blockmap import BlockMap, Extent, block_count, encode_map, join_extents
from wal_e.repo.manifest import INLINE_BLOCKS, FileRecord, MapRef
from wal_e.repo.packer import Packer
from wal_e.units import MIB

_MAP_FRAME: Final = MIB


@dataclass(slots=True)
class _Open:
    """A file of which some pieces have come."""

    blocks: int = 0
    crc32c: int = 0
    extents: list[Extent] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    bad_pages: list[int] = field(default_factory=list)


class Recorder:
    """
    Makes file records out of copied pieces, which come in ascending order within each file.

    Memory holds the maps of unfinished files and up to one frame of finished ones. Used by one thread.
    """

    def __init__(self, packer: Packer) -> None:
        self._packer = packer
        self._open: dict[str, _Open] = {}
        self._gone: set[str] = set()
        self._records: dict[str, FileRecord] = {}
        self._waiting: list[tuple[FileRecord, bytes]] = []
        self._waiting_size = 0

    def add_empty(self, file: FileEntry) -> None:
        """Records a file without any block."""
        self._complete(file, _Open())

    def add(self, outcome: Copied | Vanished) -> None:
        """Takes the next piece of a file; a file of which one piece vanished is left out whole."""
        path = outcome.piece.file.path
        if isinstance(outcome, Vanished):
            self._gone.add(path)
            self._open.pop(path, None)
            return
        if path in self._gone:
            return
        file = self._open.setdefault(path, _Open())
        file.blocks += outcome.piece.count
        file.crc32c = combine(file.crc32c, outcome.crc32c, outcome.piece.length)
        file.extents += outcome.extents
        file.digests.append(outcome.digests)
        file.bad_pages += outcome.bad_pages
        if file.blocks == block_count(outcome.piece.file.size):
            del self._open[path]
            self._complete(outcome.piece.file, file)

    def finish(self) -> tuple[FileRecord, ...]:
        """Stores the maps that wait, and gives all records in the order of their paths."""
        self._flush()
        return tuple(self._records[path] for path in sorted(self._records))

    def _complete(self, entry: FileEntry, file: _Open) -> None:
        blocks = BlockMap(join_extents(file.extents), b"".join(file.digests))
        record = FileRecord(
            path=entry.path,
            size=entry.size,
            mode=entry.mode & 0o777,
            mtime_ns=entry.mtime_ns,
            ctime_ns=entry.ctime_ns,
            inode=entry.inode,
            crc32c=file.crc32c,
            blocks=blocks,
            bad_pages=tuple(file.bad_pages),
        )
        if blocks.blocks <= INLINE_BLOCKS:
            self._records[entry.path] = record
            return
        encoded = encode_map(blocks)
        self._waiting.append((record, encoded))
        self._waiting_size += len(encoded)
        if self._waiting_size >= _MAP_FRAME:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        frame = self._packer.add_maps(
            b"".join(encoded for _, encoded in self._waiting), [record.path for record, _ in self._waiting]
        )
        start = 0
        for record, encoded in self._waiting:
            self._records[record.path] = replace(record, blocks=MapRef(frame, start, len(encoded)))
            start += len(encoded)
        self._waiting, self._waiting_size = [], 0
