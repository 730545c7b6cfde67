"""
Copying: read, check pages, digest, compare, compress, pack. All of it runs on several threads at once.

The size of a file is the one that the scan saw: what grew later is in the WAL, and what is missing because the
file shrank is stored as zeros, which the WAL mends too (H33). Only a file that is gone is left out; every other
failure to read ends the backup (H32).
"""

import enum
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, groupby
from pathlib import Path
from typing import Final

from wal_e.backup.gather import Gatherer, Run
from wal_e.backup.tasks import Piece, Task
from wal_e.codec.crc32c import crc32c
from wal_e.pg.datadir import unreadable
from wal_e.pg.exclusion import is_relation, relation_block_offset
from wal_e.pg.page import bad_pages
from wal_e.rate import RateLimit
from wal_e.repo.blockmap import (
    BLOCK_SIZE,
    FRAME_BLOCKS,
    BlockMap,
    Extent,
    clipped,
    digest_blocks,
    known_digests,
    zero_digest,
)
from wal_e.repo.pack import Part
from wal_e.repo.packer import Packer

_PAUSES: Final = (0.0, 0.001, 0.01, 0.1)
"""Seconds before each new look at a page that failed: PostgreSQL writes one in microseconds, unless it is stopped."""


@dataclass(frozen=True, slots=True)
class Read:
    """
    What became of a piece: the digests of its blocks, the CRC-32C of its bytes, pages that failed.

    `extents` say where some of its blocks lie already; `pending` more blocks are gathered, and come as `Stored`.
    `reused` of its blocks lie in packs of earlier backups.
    """

    piece: Piece
    digests: bytes
    crc32c: int
    bad_pages: tuple[int, ...] = ()
    extents: tuple[Extent, ...] = ()
    pending: int = 0
    reused: int = 0


@dataclass(frozen=True, slots=True)
class Stored:
    """Where gathered blocks of a file went."""

    path: str
    extent: Extent


@dataclass(frozen=True, slots=True)
class Vanished:
    """The file of a piece was gone when its turn came."""

    piece: Piece


Outcome = Read | Stored | Vanished


class _Kind(enum.Enum):
    ZERO = enum.auto()
    KNOWN = enum.auto()
    NEW = enum.auto()


class Copier:
    """
    Copies the pieces of one data directory into a packer.

    `segment_blocks` is the number of blocks in a relation's segment file where page checksums are on, or None
    where they are off. Blocks in `stale` packs are stored again, whatever the parent's map says.
    """

    def __init__(
        self,
        root: Path,
        packer: Packer,
        *,
        seed: int,
        segment_blocks: int | None,
        stale: frozenset[str] = frozenset(),
        rate: RateLimit | None = None,
    ) -> None:
        self._root = os.fspath(root)
        self._packer = packer
        self._seed = seed
        self._zero = zero_digest(seed)
        self._segment_blocks = segment_blocks
        self._stale = stale
        self._rate = rate
        self._gatherer = Gatherer()

    def copy(self, task: Task) -> list[Outcome]:
        """Reads pieces from their files, and stores what is neither zeros nor known to the archive."""
        return [outcome for piece in task for outcome in self._copy(piece)]

    def copy_content(self, piece: Piece, content: bytes) -> list[Outcome]:
        """Stores a piece whose bytes were read elsewhere, as pg_control's are."""
        return self._keep(piece, content, ())

    def flush(self) -> list[Outcome]:
        """Stores the blocks that wait for others to share a frame with."""
        runs = self._gatherer.take()
        return [*self._frame(runs)] if runs else []

    def _copy(self, piece: Piece) -> list[Outcome]:
        read = self._read(piece)
        return [Vanished(piece)] if read is None else self._keep(piece, *read)

    def _read(self, piece: Piece) -> tuple[bytes, tuple[int, ...]] | None:
        if self._rate is not None:
            self._rate.take(piece.length)
        path = f"{self._root}/{piece.file.path}"
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unreadable(path, error) from error
        try:
            data = _read_exactly(descriptor, piece.offset, piece.length)
            return self._check_pages(descriptor, piece, data)
        except OSError as error:
            raise unreadable(path, error) from error
        finally:
            os.close(descriptor)

    def _keep(self, piece: Piece, data: bytes, bad: tuple[int, ...]) -> list[Outcome]:
        view = memoryview(data if len(data) % BLOCK_SIZE == 0 else data.ljust(piece.count * BLOCK_SIZE, b"\0"))
        digests = digest_blocks(view, self._seed)
        known, runs = self._sorted_out(piece, view, digests)
        missing = sum(run.count for run in runs)
        stored: list[Stored] = []
        if missing == FRAME_BLOCKS:
            stored = [*self._frame(runs)]
        elif runs:
            for frame in self._gatherer.add(runs):
                stored += self._frame(frame)
        read = Read(
            piece, b"".join(digests), crc32c(data), bad, tuple(known), missing, sum(extent.count for extent in known)
        )
        return [read, *stored]

    def _sorted_out(self, piece: Piece, view: memoryview, digests: list[bytes]) -> tuple[list[Extent], list[Run]]:
        """What the archive has of the piece, and what must be stored; zeros are in neither."""
        known: list[Extent] = []
        runs: list[Run] = []
        at = 0
        for kind, group in groupby(self._kinds(piece, digests)):
            count = sum(1 for _ in group)
            if kind is _Kind.KNOWN and piece.known is not None:
                extents, missing = self._found(piece.known, piece.first + at, piece.first + at + count)
                known += extents
                runs += [self._run(piece, view, blocks.start - piece.first, len(blocks)) for blocks in missing]
            elif kind is _Kind.NEW:
                runs.append(self._run(piece, view, at, count))
            at += count
        return known, runs

    def _found(self, block_map: BlockMap, first: int, end: int) -> tuple[list[Extent], list[range]]:
        """Where the parent has these blocks, and those of them that lie in a stale pack or that its map has lost."""
        extents: list[Extent] = []
        missing: list[range] = []
        for extent in clipped(block_map, first, end):
            if extent.first > first:
                missing.append(range(first, extent.first))
            first = extent.first + extent.count
            if extent.frame.pack in self._stale:
                missing.append(range(extent.first, first))
            else:
                extents.append(extent)
        if first < end:
            missing.append(range(first, end))
        return extents, missing

    def _kinds(self, piece: Piece, digests: list[bytes]) -> list[_Kind]:
        zero = self._zero
        before = [] if piece.known is None else known_digests(piece.known, piece.first, piece.count)
        if zero not in digests and (not before or digests == before):  # nearly always, and ten times as quick
            return [_Kind.KNOWN if before else _Kind.NEW] * len(digests)
        kinds = [_Kind.ZERO if digest == zero else _Kind.NEW for digest in digests]
        for index, (digest, old) in enumerate(zip(digests, before, strict=False)):
            if digest == old and digest != zero:
                kinds[index] = _Kind.KNOWN
        return kinds

    def _run(self, piece: Piece, view: memoryview, at: int, count: int) -> Run:
        return Run(piece.file.path, piece.first + at, view[at * BLOCK_SIZE : (at + count) * BLOCK_SIZE])

    def _frame(self, runs: list[Run]) -> Iterator[Stored]:
        content = b"".join(run.data for run in runs) if len(runs) > 1 else runs[0].data
        slots = accumulate((run.count for run in runs), initial=0)
        parts = [Part(run.path, run.first, run.count, slot) for run, slot in zip(runs, slots, strict=False)]
        frame = self._packer.add(content, parts)
        for part in parts:
            yield Stored(part.path, Extent(part.first, part.count, frame, part.slot))

    def _check_pages(self, descriptor: int, piece: Piece, data: bytes) -> tuple[bytes, tuple[int, ...]]:
        if self._segment_blocks is None or not is_relation(piece.file.path):
            return data, ()
        base = relation_block_offset(piece.file.path, self._segment_blocks) + piece.first
        whole = len(data) - len(data) % BLOCK_SIZE
        suspects = bad_pages(data[:whole], base)
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


def _read_exactly(descriptor: int, offset: int, length: int) -> bytes:
    """`length` bytes from `offset`; zeros stand for what the file does not have any more."""
    data = os.pread(descriptor, length, offset)
    while len(data) < length:
        more = os.pread(descriptor, length - len(data), offset + len(data))
        if not more:
            return data.ljust(length, b"\0")
        data += more
    return data
