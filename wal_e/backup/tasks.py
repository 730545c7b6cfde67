"""
Cutting files into frames: what one thread reads, digests and compresses at a time.

A big file gives frames of 128 blocks of its own; what is left over, and small files, share frames. Pure.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from wal_e.pg.datadir import FileEntry
from wal_e.repo.blockmap import BLOCK_SIZE, FRAME_BLOCKS, block_count


@dataclass(frozen=True, slots=True)
class Piece:
    """`count` blocks of a file from block `first` on."""

    file: FileEntry
    first: int
    count: int

    @property
    def offset(self) -> int:
        """Where the piece begins in the file, in bytes."""
        return self.first * BLOCK_SIZE

    @property
    def length(self) -> int:
        """How many bytes of the file it has; the last block of a file may be short."""
        return min(self.count * BLOCK_SIZE, self.file.size - self.offset)


Task = tuple[Piece, ...]


def frame_tasks(files: Iterable[FileEntry]) -> Iterator[Task]:
    """
    Yields the frames of all files; each has at most 128 blocks.

    The pieces of one file come in ascending order, so a file is complete when its last piece is.
    """
    shared: list[Piece] = []
    room = FRAME_BLOCKS
    for file in files:
        blocks = block_count(file.size)
        whole = blocks - blocks % FRAME_BLOCKS
        for first in range(0, whole, FRAME_BLOCKS):
            yield (Piece(file, first, FRAME_BLOCKS),)
        rest = blocks - whole
        if rest > room:
            yield tuple(shared)
            shared, room = [], FRAME_BLOCKS
        if rest:
            shared.append(Piece(file, whole, rest))
            room -= rest
    if shared:
        yield tuple(shared)
