"""Writing blocks: nothing that fails its digest is written, and a full disk is said clearly (H45, H52)."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wal_e.errors import Corrupt, DataDirectoryError
from wal_e.repo.blockmap import BLOCK_SIZE, BlockMap, Extent, digest_blocks
from wal_e.repo.filelist import FileRecord
from wal_e.repo.pack import Part
from wal_e.repo.packer import Packer
from wal_e.restore import blocks
from wal_e.restore.blocks import BlockWriter, batches
from wal_e.store.drivers.memory import MemoryStore

NAME = "base_000000010000000000000002_00000040"
SEED = 5
FILES = {"a": b"A" * 3 * BLOCK_SIZE, "b": b"B" * 100, "c": b"", "d": bytes(2 * BLOCK_SIZE), "e": b"E" * BLOCK_SIZE}


def padded(content: bytes) -> bytes:
    return content.ljust(-(-len(content) // BLOCK_SIZE) * BLOCK_SIZE, b"\0")


def record(path: str, content: bytes, block_map: BlockMap) -> FileRecord:
    return FileRecord(
        path=path, size=len(content), mode=0o640, mtime_ns=0, ctime_ns=0, inode=0, crc32c=0, blocks=block_map
    )


def stored() -> tuple[MemoryStore, dict[str, FileRecord]]:
    """The files, all of them in one frame but for holes."""
    store, records = MemoryStore(), {}
    bodies = {path: padded(content) for path, content in FILES.items()}
    solid = [path for path, body in bodies.items() if body.strip(b"\0")]
    with Packer(store, NAME, level=1) as packer:
        frame = packer.add(b"".join(bodies[path] for path in solid), [Part(solid[0], 0, 1, 0)])
    slot = 0
    for path, content in FILES.items():
        count = len(bodies[path]) // BLOCK_SIZE
        extents = (Extent(0, count, frame, slot),) if path in solid else ()
        slot += count if extents else 0
        digests = b"".join(digest_blocks(memoryview(bodies[path]), SEED))
        records[path] = record(path, content, BlockMap(extents, digests))
    return store, records


def writer(store: MemoryStore, root: Path, seed: int = SEED) -> BlockWriter:
    return BlockWriter(store, root, seed=seed, owner=None, threads=2)


def quiet(_written: int, _fetched: int) -> None:
    """Nobody listens to the progress."""


def test_files_come_back_with_their_modes_and_progress_adds_up(tmp_path: Path) -> None:
    store, records = stored()
    heard: list[tuple[int, int]] = []
    writer(store, tmp_path).write(list(records.values()), lambda *counts: heard.append(counts))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == FILES
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640}
    assert sum(written for written, _ in heard) == sum(map(len, FILES.values()))
    assert writer(store, tmp_path).read(records["a"]) == FILES["a"]


def test_a_hole_takes_no_space(tmp_path: Path) -> None:
    store, records = stored()
    writer(store, tmp_path).write([records["d"]], quiet)
    assert (tmp_path / "d").stat().st_blocks == 0
    assert (tmp_path / "d").read_bytes() == FILES["d"]


def test_a_block_with_another_digest_is_not_written(tmp_path: Path) -> None:
    store, records = stored()
    found = records["a"].blocks
    assert isinstance(found, BlockMap)
    wrong = replace(records["a"], blocks=BlockMap(found.extents, found.digests[:-1] + b"\0"))
    with pytest.raises(Corrupt, match='blocks of "a" are not those') as error:
        writer(store, tmp_path).write([wrong], quiet)
    assert "pack-00000000" in (error.value.detail or "")
    assert (tmp_path / "a").read_bytes().strip(b"\0") == b""
    with pytest.raises(Corrupt):
        writer(store, tmp_path).read(wrong)


def test_another_archives_seed_restores_nothing(tmp_path: Path) -> None:
    store, records = stored()
    with pytest.raises(Corrupt):
        writer(store, tmp_path, seed=SEED + 1).write(list(records.values()), quiet)


@pytest.mark.parametrize("extents", ["none", "part"])
def test_a_lost_extent_is_not_taken_for_a_hole(tmp_path: Path, extents: str) -> None:
    store, records = stored()
    found = records["a"].blocks
    assert isinstance(found, BlockMap)
    left = () if extents == "none" else (replace(found.extents[0], count=2),)
    with pytest.raises(Corrupt, match="lacks blocks that are not zeros"):
        writer(store, tmp_path).write([replace(records["a"], blocks=BlockMap(left, found.digests))], quiet)


@pytest.mark.parametrize("size", [0, BLOCK_SIZE, 4 * BLOCK_SIZE, -1])
def test_a_map_that_does_not_fit_the_size_is_corrupt(tmp_path: Path, size: int) -> None:
    store, records = stored()
    with pytest.raises(Corrupt, match="does not fit its size"):
        writer(store, tmp_path).write([replace(records["a"], size=size)], quiet)


def test_a_frame_that_is_shorter_than_its_extent_is_corrupt(tmp_path: Path) -> None:
    store, records = stored()
    found = records["a"].blocks
    assert isinstance(found, BlockMap)
    past = replace(found.extents[0], slot=100)
    with pytest.raises(Corrupt):
        writer(store, tmp_path).write([replace(records["a"], blocks=BlockMap((past,), found.digests))], quiet)


def test_h51_a_link_or_a_file_in_the_way_is_not_written_through(tmp_path: Path) -> None:
    store, records = stored()
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    for make in (lambda path: path.symlink_to(victim), lambda path: path.write_bytes(b"x")):
        place = tmp_path / "in"
        place.mkdir(exist_ok=True)
        (place / "a").unlink(missing_ok=True)
        make(place / "a")
        with pytest.raises(DataDirectoryError, match="could not write"):
            writer(store, place).write([records["a"]], quiet)
    assert victim.read_bytes() == b"precious"


@pytest.mark.parametrize("call", ["pwrite", "open", "fsync", "ftruncate"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_h52_a_full_or_broken_disk_is_said_clearly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    store, records = stored()

    def fail(*_arguments: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(blocks.os, call, fail)
        with pytest.raises(DataDirectoryError, match=os.strerror(code)) as error:
            writer(store, tmp_path).write([records["a"]], quiet)
    assert error.value.hint
    assert str(tmp_path / "a") in error.value.message


def test_a_write_that_takes_only_a_part_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, records = stored()
    real = os.pwrite
    monkeypatch.setattr(blocks.os, "pwrite", lambda fd, data, at: real(fd, data[:1000], at))
    writer(store, tmp_path).write(list(records.values()), quiet)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == FILES


@given(st.lists(st.integers(0, 40), max_size=20), st.integers(1, 60))
def test_batches_keep_the_order_and_the_bound(sizes: list[int], bound: int) -> None:
    files = [replace(stored_record, path=str(n), size=size) for n, size in enumerate(sizes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BATCH", bound)
        found = list(batches(files))
    assert [record for batch in found for record in batch] == files
    assert all(len(batch) == 1 or sum(record.size for record in batch) <= bound for batch in found)


stored_record = record("x", b"", BlockMap((), b""))
