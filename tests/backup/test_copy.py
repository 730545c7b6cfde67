"""Copying: what goes in comes out, and what files do while they are read (H32, H33, H34, H35)."""

import errno
import os
import random
import shutil
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backup.copied import copy_all, records_of
from tests.backup.tiny import Listener, expected_tree, fetch, push, restored_tree
from wal_e.backup import contents, copy
from wal_e.backup.copy import Copier, Read, Vanished
from wal_e.backup.records import Recorder
from wal_e.backup.tasks import Piece, pieces, read_tasks
from wal_e.codec.crc32c import combine, crc32c
from wal_e.errors import DataDirectoryError
from wal_e.pg.filetable import FileEntry
from wal_e.pg.page_numpy import page_checksums
from wal_e.repo.blockmap import BLOCK_SIZE, FRAME_BLOCKS, block_count
from wal_e.repo.catalogue import load_manifest
from wal_e.repo.filelist import FileRecord, FileWriter
from wal_e.repo.packer import Packer
from wal_e.restore.blocks import BlockWriter
from wal_e.store.drivers.memory import MemoryStore

NAME = "base_000000010000000000000002_00000040"
SEED = 99
SEGMENT_BLOCKS = 131072


def entry(root: Path, path: str) -> FileEntry:
    status = (root / path).stat()
    return FileEntry(
        path=path,
        size=status.st_size,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        inode=status.st_ino,
    )


def sized(size: int, path: str = "f") -> FileEntry:
    return FileEntry(path, size, 0o600, 0, 0, 0, 0, 0)


@dataclass
class Result:
    store: MemoryStore
    records: tuple[FileRecord, ...]

    def read(self, path: str) -> bytes:
        """The content of one file, as a restore would write it."""
        (record,) = [record for record in self.records if record.path == path]
        return BlockWriter(self.store, Path("/"), seed=SEED, owner=None, threads=1).read(record)


def copied(
    root: Path,
    files: list[FileEntry],
    *,
    checksums: bool = True,
    target: int = 100_000,
    before: Callable[[], None] | None = None,
) -> Result:
    """Copies the files as a backup does; `before` runs between the look at the files and their reading."""
    store = MemoryStore()
    if before:
        before()
    with Packer(store, NAME, level=1, target=target) as packer:
        copier = Copier(root, packer, seed=SEED, segment_blocks=SEGMENT_BLOCKS if checksums else None)
        records = records_of(copy_all(copier, packer, files))
    return Result(store, records)


@given(st.lists(st.integers(0, 400 * BLOCK_SIZE) | st.integers(0, 300).map(lambda n: n * BLOCK_SIZE), max_size=12))
def test_tasks_cover_every_block_once_and_in_order(sizes: list[int]) -> None:
    files = [sized(size, f"f{number}") for number, size in enumerate(sizes)]
    steps = [piece for file in files for piece in (*pieces(file), None)]
    tasks = list(read_tasks(steps))
    assert all(sum(piece.count for piece in task) <= FRAME_BLOCKS for task in tasks)
    seen: dict[str, list[int]] = {}
    lengths: dict[str, int] = {}
    for piece in (piece for task in tasks for piece in task):
        seen.setdefault(piece.file.path, []).extend(range(piece.first, piece.first + piece.count))
        lengths[piece.file.path] = lengths.get(piece.file.path, 0) + piece.length
    assert seen == {file.path: list(range(block_count(file.size))) for file in files if file.size}
    assert lengths == {file.path: file.size for file in files if file.size}


@given(st.binary(max_size=500), st.lists(st.integers(0, 500), max_size=5))
def test_crcs_of_pieces_combine_to_that_of_the_whole(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    total = 0
    for start, end in pairwise(edges):
        total = combine(total, crc32c(data[start:end]), end - start)
    assert total == crc32c(data)


@given(st.integers(1, 1 << 40), st.integers(1, 1 << 40), st.integers(0, (1 << 32) - 1))
def test_combining_does_not_care_how_pieces_are_grouped(second: int, third: int, crc: int) -> None:
    left = combine(combine(1, crc, second), 7, third)
    right = combine(1, combine(crc, 7, third), second + third)
    assert left == right


runs = st.tuples(st.sampled_from(["zeros", "noise"]), st.integers(1, 140))
bodies = st.tuples(st.lists(runs, max_size=4), st.sampled_from([0, 0, 1, 4096, 8191]))


def content_of(body: tuple[list[tuple[str, int]], int], seed: int) -> bytes:
    noise = random.Random(seed).randbytes
    whole = b"".join(bytes(n * BLOCK_SIZE) if kind == "zeros" else noise(n * BLOCK_SIZE) for kind, n in body[0])
    return whole + noise(body[1])


@settings(max_examples=40)
@given(st.lists(bodies, max_size=5), st.integers(1, 300_000))
def test_a_restore_of_a_copy_is_the_original(drawn: list[tuple[list[tuple[str, int]], int]], target: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        root, restored = Path(name) / "from", Path(name) / "to"
        root.mkdir()
        restored.mkdir()
        files = {f"f{number}": content_of(body, number) for number, body in enumerate(drawn)}
        for path, data in files.items():
            (root / path).write_bytes(data)
        result = copied(root, [entry(root, path) for path in files], target=target)
        writer = BlockWriter(result.store, restored, seed=SEED, owner=None, threads=2)
        writer.write(result.records, lambda _written, _fetched: None)
        assert {path.name: path.read_bytes() for path in restored.iterdir()} == files
        assert {record.path: record.crc32c for record in result.records} == {p: crc32c(d) for p, d in files.items()}
        assert all(result.read(path) == data for path, data in files.items())


@given(st.lists(st.integers(0, 300), min_size=1, max_size=6), st.data())
def test_h32_a_file_of_which_any_piece_vanished_is_left_out_and_the_others_are_not(
    blocks: list[int], data: st.DataObject
) -> None:
    files = [sized(count * BLOCK_SIZE, f"f{number}") for number, count in enumerate(blocks)]
    found = [piece for file in files for piece in pieces(file)]
    lost = data.draw(st.sets(st.integers(0, max(len(found) - 1, 0))))
    with Packer(MemoryStore(), NAME, level=1) as packer:
        writer = FileWriter()
        recorder = Recorder(packer, writer)
        for file in files:
            recorder.begin(file)
        for number, piece in enumerate(found):
            recorder.take(Vanished(piece) if number in lost else Read(piece, bytes(16) * piece.count, 0))
        recorder.flush_maps()
    gone = {found[number].file.path for number in lost if number < len(found)}
    assert [record.path for record in writer.finish()] == sorted({file.path for file in files} - gone)
    assert recorder.backlog == 0


def test_h32_files_that_vanish_shift_nothing(tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / str(number)).write_bytes(bytes([number + 1]) * 5000)
    files = [entry(tmp_path, str(number)) for number in range(6)]
    result = copied(tmp_path, files, before=lambda: [(tmp_path / name).unlink() for name in "024"] and None)
    assert [record.path for record in result.records] == ["1", "3", "5"]
    assert all(result.read(name) == bytes([int(name) + 1]) * 5000 for name in "135")


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.EPERM, errno.ESTALE])
@pytest.mark.parametrize("call", ["open", "pread"])
def test_h32_any_other_failure_to_read_ends_the_backup(
    own_tiny: Path, monkeypatch: pytest.MonkeyPatch, code: int, call: str
) -> None:
    real = getattr(os, call)
    victim = os.fspath(own_tiny / "base/5/tail")

    def failing(place: str | int, *rest: int) -> object:
        path = place if isinstance(place, str) else os.readlink(f"/proc/self/fd/{place}")  # noqa: PTH115 - as it is
        if path == victim:
            raise OSError(code, os.strerror(code))
        return real(place, *rest)

    monkeypatch.setattr(copy.os, call, failing)
    store = MemoryStore()
    with pytest.raises(DataDirectoryError, match="base/5/tail.*" + os.strerror(code)) as error:
        push(store, own_tiny)
    assert error.value.hint
    assert not [info.key for info in store.list() if "manifest" in info.key]


def test_h32_a_link_in_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"data")
    files = [entry(tmp_path, "f")]

    def swap() -> None:
        (tmp_path / "f").unlink()
        (tmp_path / "f").symlink_to("/etc/passwd")

    with pytest.raises(DataDirectoryError):
        copied(tmp_path, files, before=swap)


@pytest.mark.parametrize("now", [0, 1, BLOCK_SIZE, 3 * BLOCK_SIZE + 5, 200 * BLOCK_SIZE])
def test_h33_a_file_that_shrank_is_padded_with_zeros_and_one_that_grew_is_cut(tmp_path: Path, now: int) -> None:
    before = os.urandom(150 * BLOCK_SIZE + 100)
    after = (before + os.urandom(100 * BLOCK_SIZE))[:now]
    (tmp_path / "f").write_bytes(before)
    (tmp_path / "next").write_bytes(b"follows")
    files = [entry(tmp_path, "f"), entry(tmp_path, "next")]
    result = copied(tmp_path, files, before=lambda: (tmp_path / "f").write_bytes(after) and None)
    stored = after[: len(before)].ljust(len(before), b"\0")
    assert result.read("f") == stored
    assert result.read("next") == b"follows"
    assert [record.crc32c for record in result.records] == [crc32c(stored), crc32c(b"follows")]
    assert [record.size for record in result.records] == [len(before), 7]


def page(number: int, *, lsn: bytes = bytes(8), fill: int = 7) -> bytes:
    """A page with the checksum that it should have as block `number`."""
    data = bytearray(lsn + bytes(16) + bytes([fill]) * (BLOCK_SIZE - 24))
    data[12:16] = b"\x18\x00\x00\x20"
    data[8:10] = page_checksums(bytes(data), number)[0].to_bytes(2, "little")
    return bytes(data)


def bad(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.fixture
def database(tmp_path: Path) -> Path:
    (tmp_path / "base/5").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize("lsn", [bytes(8), b"\xff" * 8, b"\0\0\0\0\1\0\0\0"])
def test_h34_a_bad_page_is_reported_by_file_and_block_whatever_its_lsn(database: Path, lsn: bytes) -> None:
    pages = [page(0), bad(page(1, lsn=lsn)), page(2), bytes(BLOCK_SIZE), bad(page(4, lsn=lsn))]
    (database / "base/5/16384").write_bytes(b"".join(pages))
    (database / "base/5/16384.1").write_bytes(page(SEGMENT_BLOCKS) + bad(page(SEGMENT_BLOCKS + 1)))
    (database / "base/5/notes").write_bytes(bad(page(0)))
    files = [entry(database, f"base/5/{name}") for name in ("16384", "16384.1", "notes")]
    result = copied(database, files)
    assert {record.path: record.bad_pages for record in result.records} == {
        "base/5/16384": (1, 4),
        "base/5/16384.1": (1,),
        "base/5/notes": (),
    }
    assert result.read("base/5/16384") == b"".join(pages)
    assert all(record.bad_pages == () for record in copied(database, files, checksums=False).records)


@pytest.mark.parametrize("mends", [True, False])
def test_h34_a_page_that_changes_when_it_is_read_again_is_excused(
    database: Path, monkeypatch: pytest.MonkeyPatch, mends: bool
) -> None:
    """While it is written its bytes change, and the WAL has a full copy: what is stored is what was read last."""
    path = database / "base/5/16384"
    path.write_bytes(page(0) + bad(page(1)))
    real, looks = os.pread, 0

    def writing(descriptor: int, length: int, offset: int) -> bytes:
        nonlocal looks
        if offset == BLOCK_SIZE and length == BLOCK_SIZE:
            looks += 1
            if looks == 2:
                path.write_bytes(page(0) + (page(1, fill=8) if mends else bad(page(1, fill=8))))
        return real(descriptor, length, offset)

    monkeypatch.setattr(copy.os, "pread", writing)
    result = copied(database, [entry(database, "base/5/16384")])
    assert looks >= 2
    assert result.records[0].bad_pages == ()
    assert result.read("base/5/16384") == path.read_bytes()


def test_h34_a_backup_with_bad_pages_is_complete_and_says_so(own_tiny: Path, tmp_path: Path) -> None:
    (own_tiny / "base/5/16384").write_bytes(page(0) + bad(page(1)))
    (own_tiny / "base/5/16384").chmod(0o600)
    shutil.chown(own_tiny / "base/5/16384", own_tiny.stat().st_uid, own_tiny.stat().st_gid)
    store, heard = MemoryStore(), Listener()
    summary = push(store, own_tiny, emit=heard).summary
    assert summary.checksum_failures == 1
    assert 'page checksums do not match in "base/5/16384" Blocks 1.' in heard.text
    fetch(store, tmp_path / "restored")
    assert {k: v[3] for k, v in restored_tree(tmp_path / "restored").items()} == {
        k: v[3] for k, v in expected_tree(own_tiny).items()
    }


def test_h35_pg_control_is_read_after_every_other_file(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    real_read, real_control = Copier._read, contents.read_control

    def read(self: Copier, piece: Piece) -> object:
        order.append(piece.file.path)
        return real_read(self, piece)

    def control(directory: Path) -> object:
        order.append("global/pg_control")
        return real_control(directory)

    monkeypatch.setattr(Copier, "_read", read)
    monkeypatch.setattr(contents, "read_control", control)
    store = MemoryStore()
    name = push(store, tiny).summary.name
    assert order[-1] == "global/pg_control"
    assert order.count("global/pg_control") == 2
    assert [f.path for f in load_manifest(store, name).files].count("global/pg_control") == 1
