"""
Copying frames: read, check pages, digest, compress, pack. Every function here runs on several threads at once.

The size of a file is the one that the scan saw: what grew later is in the WAL, and what is missing because the
file shrank is stored as zeros, which the WAL mends too (H33). Only a file that is gone is left out; every other
failure to read ends the backup (H32).
"""

import os
import time
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

from wal_e.backup.rate import RateLimit
from wal_e.backup.tasks import Piece, Task
from wal_e.codec.crc32c import crc32c
from wal_e.errors import DataDirectoryError
from wal_e.pg.exclusion import is_relation, relation_block_offset
from wal_e.pg.page import bad_pages
from wal_e.repo.blockmap import BLOCK_SIZE, Extent, digest_blocks, zero_digest
from wal_e.repo.pack import Part
from wal_e.repo.packer import Packer

_PAUSES: Final = (0.0, 0.001, 0.01, 0.1)
"""Seconds before each new look at a page that failed: PostgreSQL writes one in microseconds, unless it is stopped."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What became of a piece: where its blocks lie, their digests, the CRC-32C of its bytes, pages that failed."""

    piece: Piece
    extents: tuple[Extent, ...]
    digests: bytes
    crc32c: int
    bad_pages: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Vanished:
    """The file of a piece was gone when its turn came."""

    piece: Piece


@dataclass(slots=True)
class _Read:
    piece: Piece
    data: bytes
    digests: list[bytes]
    bad: tuple[int, ...]


class Copier:
    """
    Copies frame tasks of one data directory into a packer.

    `segment_blocks` is the number of blocks in a relation's segment file where page checksums are on, or None
    where they are off.
    """

    def __init__(
        self, root: Path, packer: Packer, *, seed: int, segment_blocks: int | None, rate: RateLimit | None = None
    ) -> None:
        self._root = os.fspath(root)
        self._packer = packer
        self._seed = seed
        self._zero = zero_digest(seed)
        self._segment_blocks = segment_blocks
        self._rate = rate

    def copy(self, task: Task) -> list[Copied | Vanished]:
        """Reads the pieces of one frame from their files and stores what is not zeros."""
        reads = [self._read(piece) for piece in task]
        return self._store(task, reads)

    def copy_content(self, piece: Piece, content: bytes) -> Copied:
        """Stores a piece whose bytes were read elsewhere, as pg_control's are."""
        stored = self._store((piece,), [self._digest(piece, content, ())])[0]
        if isinstance(stored, Vanished):
            raise DataDirectoryError(f'"{piece.file.path}" vanished')
        return stored

    def _read(self, piece: Piece) -> _Read | None:
        if self._rate is not None:
            self._rate.take(piece.length)
        path = f"{self._root}/{piece.file.path}"
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(path, error) from error
        try:
            data = _read_exactly(descriptor, piece.offset, piece.length)
            data, bad = self._check_pages(descriptor, piece, data)
        except OSError as error:
            raise _unreadable(path, error) from error
        finally:
            os.close(descriptor)
        return self._digest(piece, data, bad)

    def _digest(self, piece: Piece, data: bytes, bad: tuple[int, ...]) -> _Read:
        padded = data if len(data) % BLOCK_SIZE == 0 else data.ljust(piece.count * BLOCK_SIZE, b"\0")
        return _Read(piece, padded, digest_blocks(memoryview(padded), self._seed), bad)

    def _check_pages(self, descriptor: int, piece: Piece, data: bytes) -> tuple[bytes, tuple[int, ...]]:
        if self._segment_blocks is None or not is_relation(piece.file.path):
            return data, ()
        base = relation_block_offset(piece.file.path, self._segment_blocks) + piece.first
        whole = len(data) - len(data) % BLOCK_SIZE
        suspects = bad_pages(memoryview(data)[:whole], base)
        if not suspects:
            return data, ()
        mended = bytearray(data)
        bad = self._settle(descriptor, piece, mended, suspects, base)
        return bytes(mended), tuple(piece.first + index for index in bad)

    def _settle(self, descriptor: int, piece: Piece, data: bytearray, suspects: list[int], base: int) -> list[int]:
        """
        Looks again at pages that failed: only bytes that change excuse one, for then the WAL has a full copy.

        Its LSN never does: a damaged page may show any LSN (H34). All pages of a piece are looked at in one go, so a
        file that is damaged from end to end costs a tenth of a second for each MiB.
        """
        failing, changed = set(suspects), set[int]()
        for pause in _PAUSES:
            if not failing:
                break
            time.sleep(pause)
            for index in sorted(failing):
                place = slice(index * BLOCK_SIZE, (index + 1) * BLOCK_SIZE)
                now = _read_exactly(descriptor, piece.offset + place.start, BLOCK_SIZE)
                if now != data[place]:
                    changed.add(index)
                    data[place] = now
                if not bad_pages(memoryview(now), base + index):
                    failing.discard(index)
        return sorted(failing - changed)

    def _store(self, task: Task, reads: list[_Read | None]) -> list[Copied | Vanished]:
        runs = [run for read in reads if read is not None for run in self._runs(read)]
        extents: dict[str, list[Extent]] = {}
        if runs:
            content = b"".join(data for _, data in runs) if len(runs) > 1 else runs[0][1]
            parts, slot = [], 0
            for (path, first), data in runs:
                count = len(data) // BLOCK_SIZE
                parts.append(Part(path, first, count, slot))
                slot += count
            frame = self._packer.add(content, parts)
            for part in parts:
                extents.setdefault(part.path, []).append(Extent(part.first, part.count, frame, part.slot))
        return [_outcome(piece, read, extents) for piece, read in zip(task, reads, strict=True)]

    def _runs(self, read: _Read) -> list[tuple[tuple[str, int], memoryview]]:
        """The runs of blocks that are not zeros: (path, first block), bytes."""
        view, at, runs = memoryview(read.data), 0, []
        for is_zero, group in groupby(read.digests, key=self._zero.__eq__):
            count = sum(1 for _ in group)
            if not is_zero:
                start = (read.piece.file.path, read.piece.first + at)
                runs.append((start, view[at * BLOCK_SIZE : (at + count) * BLOCK_SIZE]))
            at += count
        return runs


def _outcome(piece: Piece, read: _Read | None, extents: dict[str, list[Extent]]) -> Copied | Vanished:
    if read is None:
        return Vanished(piece)
    crc = crc32c(read.data if len(read.data) == piece.length else memoryview(read.data)[: piece.length])
    return Copied(piece, tuple(extents.get(piece.file.path, ())), b"".join(read.digests), crc, read.bad)


def _read_exactly(descriptor: int, offset: int, length: int) -> bytes:
    """`length` bytes from `offset`; zeros stand for what the file does not have any more."""
    data = os.pread(descriptor, length, offset)
    while len(data) < length:
        more = os.pread(descriptor, length - len(data), offset + len(data))
        if not more:
            return data.ljust(length, b"\0")
        data += more
    return data


def _unreadable(path: str, error: OSError) -> DataDirectoryError:
    return DataDirectoryError(
        f'could not read "{path}": {error.strerror}',
        hint="Run as the user who owns the data directory; if that is so already, look at the disk and the kernel log.",
    )
