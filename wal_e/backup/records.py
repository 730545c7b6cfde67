"""Gathering the pieces of each file into its record, in the order of the files, and storing block maps."""

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Final

from wal_e.backup.copy import Outcome, Read, Stored, Vanished
from wal_e.codec.crc32c import combine
from wal_e.pg.filetable import FileEntry
from wal_e.repo.blockmap import BlockMap, Extent, block_count, encode_map, join_extents
from wal_e.repo.filelist import INLINE_BLOCKS, FileRecord, FileWriter, MapRef, count_blocks
from wal_e.repo.packer import Packer
from wal_e.units import MIB

_MAP_FRAME: Final = MIB


@dataclass(slots=True)
class _Open:
    """A file of which some pieces have come."""

    entry: FileEntry
    blocks: int = 0
    crc32c: int = 0
    pending: int = 0
    extents: list[Extent] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    bad_pages: list[int] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return self.blocks == block_count(self.entry.size) and self.pending == 0


class Recorder:
    """
    Makes file records out of copied pieces, and hands them to the manifest's list in the order of `begin` and `carry`.

    The reads of one file come in ascending order, and where its gathered blocks went in any. Memory holds the files
    that are not complete, those behind them in the order, and up to one frame of maps. Used by one thread.
    """

    def __init__(self, packer: Packer, files: FileWriter) -> None:
        self._packer = packer
        self._files = files
        self._open: dict[str, _Open] = {}
        self._order: deque[str] = deque()
        self._done: dict[str, FileRecord | None] = {}
        self._waiting: list[tuple[FileRecord, bytes]] = []
        self._waiting_size = 0

    @property
    def backlog(self) -> int:
        """How many complete files wait for one before them that is not."""
        return len(self._done) + len(self._waiting)

    def begin(self, entry: FileEntry) -> None:
        """Says that this file is the next one in the order."""
        self._order.append(entry.path)
        file = self._open[entry.path] = _Open(entry)
        if file.complete:
            self._complete(file)

    def carry(self, record: FileRecord) -> None:
        """Takes the parent's record of the next file as it is."""
        self._order.append(record.path)
        self._finish(record.path, record)

    def move_map(self, record: FileRecord, block_map: BlockMap) -> None:
        """Takes the parent's record of the next file, and stores its map anew."""
        self._order.append(record.path)
        self._wait(record, block_map)

    def take(self, outcome: Outcome) -> None:
        """Takes what became of a piece; a file of which one piece vanished is left out whole."""
        match outcome:
            case Vanished(piece):
                if self._open.pop(piece.file.path, None) is not None:
                    self._finish(piece.file.path, None)
            case Read():
                self._take_read(outcome)
            case Stored(path, extent):
                file = self._open.get(path)
                if file is not None:
                    file.extents.append(extent)
                    file.pending -= extent.count
                    self._check(file)

    def flush_maps(self) -> None:
        """Stores the maps that wait for others to share a frame with."""
        if not self._waiting:
            return
        frame = self._packer.add_maps([(record.path, encoded) for record, encoded in self._waiting])
        start = 0
        waiting, self._waiting, self._waiting_size = self._waiting, [], 0
        for record, encoded in waiting:
            self._finish(record.path, replace(record, blocks=MapRef(frame, start, len(encoded))))
            start += len(encoded)

    def _take_read(self, read: Read) -> None:
        file = self._open.get(read.piece.file.path)
        if file is None:
            return
        file.blocks += read.piece.count
        file.crc32c = combine(file.crc32c, read.crc32c, read.piece.length)
        file.pending += read.pending
        file.extents += read.extents
        file.digests.append(read.digests)
        file.bad_pages += read.bad_pages
        self._check(file)

    def _check(self, file: _Open) -> None:
        if file.complete:
            self._complete(file)

    def _complete(self, file: _Open) -> None:
        entry = file.entry
        del self._open[entry.path]
        extents = join_extents(sorted(file.extents, key=lambda extent: extent.first))
        block_map = BlockMap(extents, b"".join(file.digests))
        record = FileRecord(
            path=entry.path,
            size=entry.size,
            mode=entry.mode & 0o777,
            mtime_ns=entry.mtime_ns,
            ctime_ns=entry.ctime_ns,
            inode=entry.inode,
            crc32c=file.crc32c,
            blocks=block_map,
            bad_pages=tuple(file.bad_pages),
        )
        if block_map.blocks <= INLINE_BLOCKS:
            self._finish(entry.path, record)
        else:
            self._wait(record, block_map)

    def _wait(self, record: FileRecord, block_map: BlockMap) -> None:
        encoded = encode_map(block_map)
        self._waiting.append((replace(record, uses=tuple(sorted(count_blocks(block_map).items()))), encoded))
        self._waiting_size += len(encoded)
        if self._waiting_size >= _MAP_FRAME:
            self.flush_maps()

    def _finish(self, path: str, record: FileRecord | None) -> None:
        self._done[path] = record
        while self._order and self._order[0] in self._done:
            finished = self._done.pop(self._order.popleft())
            if finished is not None:
                self._files.add(finished)
