"""
The content of files in the order of the files, as one stream: what a tar needs, and what a restore has no use for.

Pieces of the stream are made on several threads. Memory holds those under way, and the frames that were read last,
for small files share frames, and in a backup that took most blocks over from others so do pieces of a large one.
"""

import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from wal_e.parallel import ordered_map
from wal_e.repo.blockmap import BLOCK_SIZE, FRAME_BLOCKS, BlockMap, Extent, FrameRef, zero_digest
from wal_e.repo.filelist import FileRecord
from wal_e.repo.reader import load_maps, plan_reads, read_frames
from wal_e.restore.blocks import Wanted, batches, check_holes, verified_blocks
from wal_e.store.api import Store

PIECE_BLOCKS: Final = 8 * FRAME_BLOCKS
"""Blocks that one thread fetches and puts together at a time: 8 MiB, one or two requests."""
_PIECE_FILES: Final = 1000
_KEPT_FRAMES: Final = 64
"""Frames that are kept for the pieces to come; each has up to 1 MiB."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """`count` blocks of a file from block `first` on."""

    record: FileRecord
    block_map: BlockMap
    first: int
    count: int

    def extents(self) -> Iterator[Extent]:
        """The extents of the piece, cut where they reach beyond it."""
        every, last = self.block_map.extents, self.first + self.count
        at = bisect_left(every, self.first + 1, key=lambda extent: extent.first + extent.count)
        while at < len(every) and every[at].first < last:
            extent = every[at]
            begin, end = max(extent.first, self.first), min(extent.first + extent.count, last)
            yield Extent(begin, end - begin, extent.frame, extent.slot + begin - extent.first)
            at += 1


class ContentReader:
    """Reads files of a backup from their blocks, each checked against its digest; `seed` is the archive's."""

    def __init__(self, store: Store, *, seed: int, threads: int) -> None:
        self._store = store
        self._seed = seed
        self._zero = zero_digest(seed)
        self._threads = threads
        self._frames = _Frames(store)

    @property
    def fetched(self) -> int:
        """How many bytes of packs were fetched so far."""
        return self._frames.fetched

    def stream(self, files: Iterable[FileRecord]) -> Iterator[tuple[FileRecord, memoryview]]:
        """
        Yields the content of the files one after the other, in pieces of up to 8 MiB; of an empty file one, empty.

        The pieces of a file make up its size exactly. A block that is not what was backed up raises `Corrupt`.
        """
        for pieces in ordered_map(self._fill, self._tasks(files), threads=self._threads, ahead=2 * self._threads):
            yield from pieces

    def read(self, record: FileRecord) -> bytes:
        """The whole content of one small file."""
        return b"".join(content for _, content in self.stream([record]))

    def _tasks(self, files: Iterable[FileRecord]) -> Iterator[list[_Piece]]:
        task: list[_Piece] = []
        blocks = 0
        for piece in self._pieces(files):
            if task and (blocks + piece.count > PIECE_BLOCKS or len(task) == _PIECE_FILES):
                yield task
                task, blocks = [], 0
            task.append(piece)
            blocks += piece.count
        if task:
            yield task

    def _pieces(self, files: Iterable[FileRecord]) -> Iterator[_Piece]:
        for batch in batches(files):
            maps = load_maps(self._store, batch)
            for record in batch:
                block_map = check_holes(record, maps[record.path], self._zero)
                for first in range(0, max(block_map.blocks, 1), PIECE_BLOCKS):
                    yield _Piece(record, block_map, first, min(PIECE_BLOCKS, block_map.blocks - first))

    def _fill(self, task: list[_Piece]) -> list[tuple[FileRecord, memoryview]]:
        extents = [list(piece.extents()) for piece in task]
        frames = self._frames.get({extent.frame for each in extents for extent in each})
        return [(piece.record, self._assembled(piece, each, frames)) for piece, each in zip(task, extents, strict=True)]

    def _assembled(self, piece: _Piece, extents: list[Extent], frames: dict[FrameRef, bytes]) -> memoryview:
        content = bytearray(piece.count * BLOCK_SIZE)
        for extent in extents:
            blocks = verified_blocks(Wanted(piece.record, piece.block_map, extent), frames[extent.frame], self._seed)
            at = (extent.first - piece.first) * BLOCK_SIZE
            content[at : at + len(blocks)] = blocks
        return memoryview(content)[: piece.record.size - piece.first * BLOCK_SIZE]


class _Frames:
    """The contents of frames, those used last kept."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._kept: OrderedDict[FrameRef, bytes] = OrderedDict()
        self.fetched = 0

    def get(self, wanted: set[FrameRef]) -> dict[FrameRef, bytes]:
        with self._lock:
            found = {frame: self._kept[frame] for frame in wanted & self._kept.keys()}
        for request in plan_reads(wanted - found.keys()):
            found.update(read_frames(self._store, request))
            with self._lock:
                self.fetched += request.end - request.start
        with self._lock:
            for frame, content in found.items():
                self._kept[frame] = content
                self._kept.move_to_end(frame)
            while len(self._kept) > _KEPT_FRAMES:
                self._kept.popitem(last=False)
        return found
