"""
Writing blocks in place: fetch a range of a pack, check every digest, write to the files that want it.

There is no temporary space, and the order is that of the packs. Each batch of files is complete and durable before
the next begins, so memory is bounded by the batch, whatever the size of the cluster. A file is made durable as soon as
its last block is written, while others are still being fetched.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from wal_e.errors import Corrupt
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
from wal_e.repo.filelist import FileRecord, MapRef
from wal_e.repo.reader import ReadRange, load_maps, plan_reads, read_frames
from wal_e.restore.directory import Owner
from wal_e.restore.files import TargetFiles
from wal_e.restore.plan import RestorePlan, flagged_runs, missing_bytes, missing_runs
from wal_e.store.api import Store
from wal_e.units import GIB, MIB

BATCH: Final = 16 * GIB
"""Bytes of files that are restored together: their digests take 32 MiB."""
MAP_BATCH: Final = 48 * MIB
"""Bytes of stored block maps that are in memory together: one in many small pieces is twice its size there."""
_ZEROS: Final = MIB
_EVERYTHING: Final = RestorePlan()


class Wanted(NamedTuple):
    """Blocks of one file that a frame holds. A tuple, for there are 100,000 of them."""

    record: FileRecord
    block_map: BlockMap
    extent: Extent


def batches(files: Iterable[FileRecord]) -> Iterator[list[FileRecord]]:
    """Cuts the files into runs of at most `BATCH` bytes and `MAP_BATCH` bytes of maps each, or of one file."""
    batch: list[FileRecord] = []
    size = maps = 0
    for record in files:
        map_size = record.blocks.length if isinstance(record.blocks, MapRef) else 0
        if batch and (size + record.size > BATCH or maps + map_size > MAP_BATCH):
            yield batch
            batch, size, maps = [], 0, 0
        batch.append(record)
        size += record.size
        maps += map_size
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
        self._seed = seed
        self._zero = zero_digest(seed)
        self._threads = threads
        self._files = TargetFiles(os.fspath(root), owner, threads)

    def write(
        self, files: Sequence[FileRecord], progress: Callable[[int, int], None], plan: RestorePlan = _EVERYTHING
    ) -> None:
        """
        Makes or adapts the files, writes every block that the plan says is missing, and makes all files durable.

        `progress` hears of bytes that are in place, holes among them, and of bytes fetched. A block whose digest is not
        what the map says raises `Corrupt`, before it is written.
        """
        syncing = ThreadPoolExecutor(max_workers=self._threads, thread_name_prefix="sync")
        try:
            syncs = self._write(files, progress, plan, syncing)
            for sync in syncs:
                sync.result()
        finally:
            syncing.shutdown(wait=True, cancel_futures=True)
            self._files.close()

    def _write(
        self,
        files: Sequence[FileRecord],
        progress: Callable[[int, int], None],
        plan: RestorePlan,
        syncing: ThreadPoolExecutor,
    ) -> list[Future[None]]:
        wanted = self._prepare(files, progress, plan)
        left = Counter(want.record.path for wants in wanted.values() for want in wants)
        syncs = [syncing.submit(self._files.sync, record.path) for record in files if not left[record.path]]

        def restore(request: ReadRange) -> tuple[int, int, Counter[str]]:
            written, done = 0, Counter[str]()
            for frame, content in read_frames(self._store, request):
                for want in wanted[frame]:
                    written += self._write_blocks(want, content)
                    done[want.record.path] += 1
            return written, request.end - request.start, done

        for written, fetched, done in ordered_map(
            restore, plan_reads(wanted), threads=self._threads, ahead=2 * self._threads
        ):
            progress(written, fetched)
            for path, count in done.items():
                left[path] -= count
                if not left[path]:
                    syncs.append(syncing.submit(self._files.sync, path))
        return syncs

    def _prepare(
        self, files: Sequence[FileRecord], progress: Callable[[int, int], None], plan: RestorePlan
    ) -> dict[FrameRef, list[Wanted]]:
        """Makes or adapts the files, and says which of their blocks are wanted from which frame."""
        maps = load_maps(self._store, (record for record in files if plan.fetches(record)))
        wanted: dict[FrameRef, list[Wanted]] = {}
        for record in files:
            block_map = check_holes(record, maps[record.path], self._zero) if record.path in maps else None
            if record.path in plan.reused:
                self._files.adapt(record)
            else:
                self._files.create(record)
            if block_map is None:
                continue
            flags = plan.missing(record)
            left = missing_bytes(plan, record)
            for extent in block_map.extents:
                for run in missing_runs(extent, flags):
                    left -= min(run.count * BLOCK_SIZE, record.size - run.first * BLOCK_SIZE)
                    wanted.setdefault(run.frame, []).append(Wanted(record, block_map, run))
            if left:
                progress(left, 0)
            if flags is not None:
                self._write_holes(record, block_map, flags)
        return wanted

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

    def _write_blocks(self, want: Wanted, content: bytes) -> int:
        start = want.extent.first * BLOCK_SIZE
        data = verified_blocks(want, content, self._seed)[: want.record.size - start]
        self._files.write(want.record.path, data, start)
        return len(data)

    def _write_holes(self, record: FileRecord, block_map: BlockMap, flags: bytes) -> None:
        """Writes zeros over what is there and should not be."""
        for hole in holes(block_map):
            for run in flagged_runs(flags, hole):
                for first in range(run.start, run.stop, _ZEROS // BLOCK_SIZE):
                    end = min(min(first + _ZEROS // BLOCK_SIZE, run.stop) * BLOCK_SIZE, record.size)
                    self._files.write(record.path, bytes(end - first * BLOCK_SIZE), first * BLOCK_SIZE)
