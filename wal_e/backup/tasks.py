"""Cutting files into what one thread reads at a time: up to 128 blocks of one file, or of several small ones. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from wal_e.pg.filetable import FileEntry
from wal_e.repo.blockmap import BLOCK_SIZE, FRAME_BLOCKS, BlockMap, block_count


@dataclass(frozen=True, slots=True)
class Piece:
    """`count` blocks of a file from block `first` on; `known` is the map that the parent has of the file."""

    file: FileEntry
    first: int
    count: int
    known: BlockMap | None = field(default=None, compare=False, repr=False)

    @property
    def offset(self) -> int:
        """Where the piece begins in the file, in bytes."""
        return self.first * BLOCK_SIZE

    @property
    def length(self) -> int:
        """How many bytes of the file it has; the last block of a file may be short."""
        return min(self.count * BLOCK_SIZE, self.file.size - self.offset)


Task = tuple[Piece, ...]


def pieces(file: FileEntry, known: BlockMap | None = None) -> Iterator[Piece]:
    """Yields the pieces of one file in ascending order, each as long as it can be."""
    blocks = block_count(file.size)
    for first in range(0, blocks, FRAME_BLOCKS):
        yield Piece(file, first, min(FRAME_BLOCKS, blocks - first), known)


def read_tasks(some: Iterable[Piece | None]) -> Iterator[Task]:
    """
    Yields tasks of at most 128 blocks; the pieces of one file come in ascending order.

    Short pieces wait for each other, but for no more than 128 steps of the input: None is a step without a piece, and
    128 of them in a row give an empty task, so whoever takes the tasks hears of a long run of files that nobody reads.
    """
    shared: list[Piece] = []
    blocks = waited = 0
    for piece in some:
        waited += 1
        if piece is not None and piece.count == FRAME_BLOCKS:
            yield (piece,)
        elif piece is not None:
            if blocks + piece.count > FRAME_BLOCKS:
                yield tuple(shared)
                shared, blocks, waited = [], 0, 0
            shared.append(piece)
            blocks += piece.count
        if waited >= FRAME_BLOCKS:
            yield tuple(shared)
            shared, blocks, waited = [], 0, 0
    if shared:
        yield tuple(shared)
