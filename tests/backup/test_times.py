"""
Writes that fall into a backup, and the times of files under clocks and file systems that are not as they should be.

Whatever one backup got to see, the next one is right (H30, H31): a file is believed unchanged by its times only where
no write can have left them as they were.
"""

import os
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.backup.tiny import check_restorable, drop_spare_wal, push
from wal_e.backup import contents
from wal_e.pg import datadir
from wal_e.pg.filetable import FileEntry
from wal_e.repo.blockmap import BLOCK_SIZE
from wal_e.store.drivers.memory import MemoryStore

BIG = "base/5/big"
SIZE = 150 * BLOCK_SIZE + 1
PAGE = 20


def page(seed: int) -> bytes:
    return random.Random(seed).randbytes(BLOCK_SIZE)


def write(path: Path, block: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(block * BLOCK_SIZE)
        file.write(data)


class Interrupted:
    """Reading of blocks, in the middle of which something happens, once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._real = os.pread
        self._happens: Callable[[], None] | None = None
        self._inode = self._split = 0
        monkeypatch.setattr(os, "pread", self._pread)

    def at(self, path: Path, split: int, happens: Callable[[], None]) -> None:
        """At the next read that covers this byte of the file: what lies before it is read first."""
        self._inode, self._split, self._happens = path.stat().st_ino, split, happens

    @property
    def happened(self) -> bool:
        return self._happens is None

    def _pread(self, descriptor: int, length: int, offset: int) -> bytes:
        happens = self._happens
        inside = offset < self._split < offset + length and os.fstat(descriptor).st_ino == self._inode
        if happens is None or not inside:
            return self._real(descriptor, length, offset)
        self._happens = None
        before = self._real(descriptor, self._split - offset, offset)
        happens()
        return before + self._real(descriptor, offset + length - self._split, self._split)


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Interrupted:
    return Interrupted(monkeypatch)


def shrink(path: Path) -> None:
    os.truncate(path, PAGE * BLOCK_SIZE)


def shrink_and_grow(path: Path) -> None:
    shrink(path)
    os.truncate(path, SIZE)


def make_anew(path: Path) -> None:
    path.unlink()
    path.write_bytes(random.Random(6).randbytes(SIZE))
    path.chmod(0o600)


CHANGES: dict[str, Callable[[Path], None]] = {
    "a page": lambda path: write(path, PAGE, page(3)),
    "a page, with its time put back": lambda path: (
        write(path, PAGE, page(4)),
        os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns - 10**9)),
    )[0],
    "all pages": lambda path: path.write_bytes(random.Random(5).randbytes(SIZE)) and None,
    "shorter": shrink,
    "shorter and longer again": shrink_and_grow,
    "another file": make_anew,
}


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("change", CHANGES)
def test_h31_a_page_that_was_torn_while_it_was_read_is_right_in_the_next_backup(
    settled: Path, tmp_path: Path, reading: Interrupted, change: str, number: int
) -> None:
    """In the first backup, or in the second, which has the old page in its parent; nothing is written afterwards."""
    store = MemoryStore()
    path = settled / BIG
    if number == 2:
        push(store, settled)
        write(path, 140, page(1))
    reading.at(path, PAGE * BLOCK_SIZE + BLOCK_SIZE // 2, lambda: CHANGES[change](path))
    torn = push(store, settled).summary.name
    assert reading.happened
    with pytest.raises(AssertionError):
        check_restorable(store, settled, tmp_path / "torn", torn)
    for turn in range(2):
        check_restorable(store, settled, tmp_path / f"next{turn}", push(store, settled).summary.name)


@pytest.mark.parametrize("change", CHANGES)
def test_h31_what_changed_between_the_walk_and_the_read_is_right_in_the_next_backup(
    settled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    store = MemoryStore()
    push(store, settled)
    real = contents.find_parent

    def find(*arguments: object) -> object:
        CHANGES[change](settled / BIG)
        return real(*arguments)  # type: ignore[arg-type] # the same, passed on

    with monkeypatch.context() as patched:
        patched.setattr(contents, "find_parent", find)
        push(store, settled)
    check_restorable(store, settled, tmp_path / "next", push(store, settled).summary.name)


def test_h30_a_copy_that_has_the_inode_numbers_and_times_of_the_original_is_read(
    settled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a volume that was cloned block by block and changed on another host: only the machine differs."""
    store = MemoryStore()
    push(store, settled)
    status = (settled / BIG).stat()
    write(settled / BIG, PAGE, page(8))
    real = datadir._file
    monkeypatch.setattr(
        datadir,
        "_file",
        lambda path, seen: (
            replace(real(path, seen), mtime_ns=status.st_mtime_ns, ctime_ns=status.st_ctime_ns)
            if path == BIG
            else real(path, seen)
        ),
    )
    wrong = push(store, settled).summary.name
    with pytest.raises(AssertionError):  # here nothing can tell, so the case is what it should be
        check_restorable(store, settled, tmp_path / "wrong", wrong)
    monkeypatch.setattr("wal_e.backup.parent._machine", lambda: "another")
    check_restorable(store, settled, tmp_path / "right", push(store, settled).summary.name)


@dataclass
class Clock:
    """A clock that can be set, and a file system that stamps its files with it, in whole grains of nanoseconds."""

    grain: int
    now: int = 1_764_000_000_123_456_789
    stamps: dict[str, int] = field(default_factory=dict)

    def stamped(self, path: str, status: os.stat_result) -> FileEntry:
        """What the walk sees of a file; those that nobody wrote here are old."""
        at = self.stamps.get(path, 10**18)
        return replace(SEEN(path, status), mtime_ns=at, ctime_ns=at)

    def write(self, root: Path, name: str, seed: int) -> None:
        write(root / name, 0, page(seed))
        self.stamps[name] = self.now // self.grain * self.grain


SEEN = datadir._file
FINEST = 1
FILES = (BIG, "base/5/exact")
steps = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(FILES)),
    st.tuples(st.just("wait"), st.sampled_from([0, 1, 10**6, 999_999_999, 10**9, 2 * 10**9, 5 * 10**9])),
    st.tuples(st.just("set"), st.sampled_from([-3600, -5, 5, 3600])),
    st.tuples(st.just("back up"), st.none()),
    st.tuples(st.just("written while read"), st.sampled_from(FILES)),
)


@pytest.fixture
def clocked(own_tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    drop_spare_wal(own_tiny)
    return own_tiny


@pytest.mark.parametrize("grain", [FINEST, 10**7, 10**9, 2 * 10**9])
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=st.lists(steps, min_size=3, max_size=14), wanderings=st.randoms(use_true_random=True))
@example(story=[("write", BIG), ("back up", None), ("write", BIG), ("back up", None)], wanderings=random.Random(1))
@example(story=[("write", BIG), ("written while read", BIG), ("back up", None)], wanderings=random.Random(1))
@example(
    story=[("write", BIG), ("wait", 5 * 10**9), ("written while read", BIG), ("back up", None)],
    wanderings=random.Random(1),
)
@example(
    story=[("set", 3600), ("write", BIG), ("set", -3600), ("back up", None), ("write", BIG), ("back up", None)],
    wanderings=random.Random(1),
)
@pytest.mark.slow
def test_h30_no_clock_and_no_file_system_makes_a_backup_miss_a_write(
    clocked: Path,
    grain: int,
    story: list[tuple[str, Any]],
    wanderings: random.Random,
) -> None:
    """
    A clock may be set, and grains may be as coarse as 2 seconds; only both together are more than times can tell.

    (Set back into the very grain in which a file was written, a second write leaves the same time.)
    """
    clock, store = Clock(grain), MemoryStore()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(datadir, "_file", clock.stamped)
        patched.setattr(time, "time_ns", lambda: clock.now)
        for seed, (what, value) in enumerate([*story, ("back up", None)]):
            clock.now += wanderings.randrange(1, 10**6)
            match what:
                case "write":
                    clock.write(clocked, value, seed)
                case "wait":
                    clock.now += value
                case "set" if grain == FINEST or value > 0:
                    clock.now += value * 10**9 + wanderings.randrange(10**9)
                case "written while read":
                    back_up_while(clock, store, clocked, partial(clock.write, clocked, value, seed))
                case "back up":
                    check_next(store, clocked)


def back_up_while(clock: Clock, store: MemoryStore, root: Path, happens: Callable[[], None]) -> None:
    """A backup of which nothing is asked, with a write behind the look at its file, while the walk goes on."""

    def walk(*arguments: Any, **words: Any) -> datadir.Scan:
        found = datadir.scan(*arguments, **words)
        happens()
        clock.now += 5 * 10**9
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(contents, "scan", walk)
        push(store, root)


def check_next(store: MemoryStore, root: Path) -> None:
    name = push(store, root).summary.name
    with tempfile.TemporaryDirectory() as scratch:
        check_restorable(store, root, Path(scratch) / "out", name)
