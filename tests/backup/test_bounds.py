"""
Memory that does not grow with the cluster: very many files, as entries without any file behind them.

What does grow is bounded by bytes for each file, so the bounds tell about a million files as well.
"""

import random
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.backup.tiny import push
from wal_e.backup import contents
from wal_e.backup.copy import Copier
from wal_e.backup.records import Recorder
from wal_e.backup.tasks import Piece
from wal_e.pg.datadir import scan
from wal_e.pg.filetable import FileEntry, FileTable
from wal_e.repo.catalogue import load_manifest
from wal_e.store.drivers.memory import MemoryStore

BACKLOG = 6000
"""4096 that may wait before they are pushed on, and what the tasks under way bring: 4 of 128 files, for two threads."""
THEN = 10**18


def entry(number: int, size: int) -> FileEntry:
    return FileEntry(f"base/5/{number:08}", size, 0o600, 1001, 1001, THEN + number, THEN + number, 10**7 + number)


class Crowd:
    """Files that exist in the answers of the walk and of reading only; how many, how large, what inode."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 25_000
        self.size: Callable[[int], int] = lambda _number: 5
        self.inode: Callable[[int], int] = lambda _number: 1
        real_read = Copier._read

        def found(root: Path, **words: object) -> object:
            seen = scan(root, **words)  # type: ignore[arg-type] # the same, passed on
            table = FileTable(
                replace(entry(number, self.size(number)), inode=self.inode(number)) for number in range(self.count)
            )
            for file in seen.files:
                table.add(file)
            table.sort()
            return replace(seen, files=table)

        def read(copier: Copier, piece: Piece) -> object:
            if piece.file.gid != 1001:
                return real_read(copier, piece)
            return random.Random(piece.file.path + str(piece.file.inode)).randbytes(piece.length), ()

        monkeypatch.setattr(contents, "scan", found)
        monkeypatch.setattr(Copier, "_read", read)


@pytest.fixture
def crowd(monkeypatch: pytest.MonkeyPatch) -> Crowd:
    return Crowd(monkeypatch)


@pytest.fixture
def backlogs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many records waited each time when another one was finished."""
    seen: list[int] = [0]
    real = Recorder._finish

    def finish(recorder: Recorder, *arguments: object) -> None:
        seen[0] = max(seen[0], recorder.backlog)
        real(recorder, *arguments)  # type: ignore[arg-type] # the same, passed on

    monkeypatch.setattr(Recorder, "_finish", finish)
    return seen


@pytest.mark.slow
def test_one_changed_page_does_not_hold_back_the_records_of_all_files_behind_it(
    settled: Path, crowd: Crowd, backlogs: list[int]
) -> None:
    """Its frame would not be full before the end."""
    store = MemoryStore()
    first = push(store, settled).summary
    crowd.inode = lambda number: 1 + (number == 0)
    second = push(store, settled).summary
    assert second.size == first.size
    assert 4000 < backlogs[0] < BACKLOG
    assert [file.path for file in load_manifest(store, second.name).files] == [
        file.path for file in load_manifest(store, first.name).files
    ]


def test_neither_do_empty_files_wait_for_it(settled: Path, crowd: Crowd, backlogs: list[int]) -> None:
    crowd.size = lambda number: 5 * (number == 0)
    push(MemoryStore(), settled)
    assert 4000 < backlogs[0] < BACKLOG


@contextmanager
def peak() -> Iterator[list[int]]:
    """The most bytes that Python's objects took during the block, beyond what they took before."""
    result = [0]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    try:
        yield result
        result[0] = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def test_the_walk_keeps_a_file_in_130_bytes() -> None:
    """A path of 18 characters is a string of 67 bytes; with its place in the list and 42 of numbers, 117."""
    count = 50_000
    with peak() as most:
        table = FileTable(
            FileEntry(f"base/{16384 + n % 7}/{100_000 + n}", n * 8192, 0o600, 1001, 1001, THEN + n, THEN + n, THEN + n)
            for n in range(count)
        )
    assert len(table) == count
    assert most[0] < 130 * count
    with peak() as more:  # for the order: 48 bytes of numbers, 32 of paths, and one column
        table.sort()
    assert more[0] < 100 * count


@pytest.mark.slow
def test_a_backup_takes_250_bytes_for_each_further_file(settled: Path, crowd: Crowd) -> None:
    """The walk's columns, and two compressed lists of files; nothing else that there is one of for each file."""
    peaks = []
    for crowd.count in (5000, 10000):
        store = MemoryStore()
        push(store, settled)
        with peak() as most:
            push(store, settled)
        peaks.append(most[0])
    assert peaks[1] - peaks[0] < 250 * 5000
