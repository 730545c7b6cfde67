"""
Writing blocks in place: fetch a range of a pack, check every digest, write to the files that want it.

There is no temporary space, and the order is that of the packs. Each batch of files is complete and durable before
the next begins, so memory is bounded by the batch, whatever the size of the cluster.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wal_e.errors import Corrupt
from wal_e.fsio import fsync_file
from wal_e.parallel import ordered_map
from wal_e.repo.blockmap import (
    BLOCK_SIZE,
    DIGEST_SIZE,
    BlockMap,
    Extent,
    FrameRef,
    block_count,
    digest_blocks,
    holes,
    zero_digest,
)
from wal_e.repo.filelist import FileRecord
from wal_e.repo.reader import ReadRange, load_maps, plan_reads, read_frames
from wal_e.restore.directory import Owner, unusable
from wal_e.store.api import Store
from wal_e.units import GIB

BATCH: Final = 16 * GIB
"""Bytes of files that are restored together: their maps and frame lists take about 40 MB."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Blocks of one file that a frame holds."""

    record: FileRecord
    block_map: BlockMap
    extent: Extent


def batches(files: Iterable[FileRecord]) -> Iterator[list[FileRecord]]:
    """Cuts the files into runs of at most `BATCH` bytes each, or of one file."""
    batch: list[FileRecord] = []
    size = 0
    for record in files:
        if batch and size + record.size > BATCH:
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += record.size
    if batch:
        yield batch


def check_holes(record: FileRecord, block_map: BlockMap, zero: bytes) -> BlockMap:
    """
    Returns the map of a file; `Corrupt` unless what no frame covers is zeros by its digest: a lost extent is no hole.

    `zero` is the digest of a block of zeros.
    """
    if block_map.blocks != block_count(record.size):
        raise Corrupt(f'the block map of "{record.path}" does not fit its size')
    for hole in holes(block_map):
        expected = zero * len(hole)
        if block_map.digests[hole.start * DIGEST_SIZE : hole.stop * DIGEST_SIZE] != expected:
            raise Corrupt(f'the block map of "{record.path}" lacks blocks that are not zeros')
    return block_map


def verified_blocks(want: Wanted, content: bytes, seed: int) -> memoryview:
    """The wanted blocks of a frame's content; one that does not have the digest it should raises `Corrupt`."""
    extent = want.extent
    blocks = memoryview(content)[extent.slot * BLOCK_SIZE : (extent.slot + extent.count) * BLOCK_SIZE]
    expected = want.block_map.digests[extent.first * DIGEST_SIZE : (extent.first + extent.count) * DIGEST_SIZE]
    if len(blocks) != extent.count * BLOCK_SIZE or b"".join(digest_blocks(blocks, seed)) != expected:
        raise Corrupt(
            f'blocks of "{want.record.path}" are not those that were backed up',
            detail=f"Block {extent.first} and the {extent.count - 1} after it come from the pack "
            f'"{extent.frame.pack}" at byte {extent.frame.offset}.',
            hint="Restore another backup: wal-e backup-list shows them.",
        )
    return blocks


class BlockWriter:
    """Restores the content of files below one directory from their blocks; `seed` is the archive's digest seed."""

    def __init__(self, store: Store, root: Path, *, seed: int, owner: Owner | None, threads: int) -> None:
        self._store = store
        self._root = os.fspath(root)
        self._seed = seed
        self._zero = zero_digest(seed)
        self._owner = owner
        self._threads = threads

    def write(self, files: Sequence[FileRecord], progress: Callable[[int, int], None]) -> None:
        """
        Creates the files, writes every block, and makes them durable.

        `progress` hears of bytes that are in place, holes among them, and of bytes fetched. A block whose digest is not
        what the map says raises `Corrupt`, before it is written.
        """
        maps = load_maps(self._store, files)
        wanted: dict[FrameRef, list[Wanted]] = {}
        for record in files:
            block_map = check_holes(record, maps[record.path], self._zero)
            self._create(record)
            left = record.size
            for extent in block_map.extents:
                left -= min(extent.count * BLOCK_SIZE, record.size - extent.first * BLOCK_SIZE)
                wanted.setdefault(extent.frame, []).append(Wanted(record, block_map, extent))
            if left:
                progress(left, 0)

        def restore(request: ReadRange) -> tuple[int, int]:
            written = sum(
                self._write_blocks(want, content)
                for frame, content in read_frames(self._store, request)
                for want in wanted[frame]
            )
            return written, request.end - request.start

        for written, fetched in ordered_map(
            restore, plan_reads(wanted), threads=self._threads, ahead=2 * self._threads
        ):
            progress(written, fetched)
        for _ in ordered_map(self._sync, files, threads=self._threads, ahead=4 * self._threads):
            pass

    def read(self, record: FileRecord) -> bytes:
        """The whole content of one small file, checked; nothing is written."""
        block_map = check_holes(record, load_maps(self._store, [record])[record.path], self._zero)
        content = bytearray(block_count(record.size) * BLOCK_SIZE)
        for request in plan_reads(extent.frame for extent in block_map.extents):
            for frame, data in read_frames(self._store, request):
                for extent in block_map.extents:
                    if extent.frame == frame:
                        blocks = verified_blocks(Wanted(record, block_map, extent), data, self._seed)
                        start = extent.first * BLOCK_SIZE
                        content[start : start + len(blocks)] = blocks
        return bytes(content[: record.size])

    def _create(self, record: FileRecord) -> None:
        path = f"{self._root}/{record.path}"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            descriptor = os.open(path, flags, record.mode)
            try:
                os.fchmod(descriptor, record.mode)
                if self._owner is not None:
                    os.fchown(descriptor, self._owner.uid, self._owner.gid)
                os.ftruncate(descriptor, record.size)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise unusable(Path(path), error) from error

    def _write_blocks(self, want: Wanted, content: bytes) -> int:
        blocks = verified_blocks(want, content, self._seed)
        start = want.extent.first * BLOCK_SIZE
        data = blocks[: want.record.size - start]
        path = f"{self._root}/{want.record.path}"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
            try:
                written = 0
                while written < len(data):
                    written += os.pwrite(descriptor, data[written:], start + written)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise unusable(Path(path), error) from error
        return len(data)

    def _sync(self, record: FileRecord) -> None:
        path = Path(self._root, record.path)
        try:
            fsync_file(path)
        except OSError as error:
            raise unusable(path, error) from error
