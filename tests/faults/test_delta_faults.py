"""
backup-fetch --delta with a fault at each call of the store and at each step on disk.

It leaves the old copy as it was, or nothing that could be started, or the right cluster; never a mixture of two.
"""

import errno
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.backup.tiny import Tree, expected_tree, fetch, push, restored_tree
from tests.faults.faulty_store import FaultyStore, Mode
from tests.faults.forked import was_killed
from tests.restore.damaged import bare, copy_of, damage
from wal_e.errors import WalEError
from wal_e.restore.run import RestoreRequest
from wal_e.store.api import Store
from wal_e.store.drivers.memory import MemoryStore

CONTROL = "global/pg_control"
FEWEST_CALLS = 8
STEPS = ("pwrite", "ftruncate", "fchmod", "fsync", "rename", "replace", "unlink", "rmdir", "mkdir", "symlink")
CHANGING = ("pwrite", "ftruncate", "rename", "replace", "unlink", "rmdir", "mkdir", "symlink")


class Source:
    """A small cluster, a backup of it, and a damaged copy to make others of."""

    def __init__(self, place: Path, tiny: Path) -> None:
        self.whole = bare(tiny, place / "whole")
        self.archive = MemoryStore()
        push(self.archive, self.whole)
        self.damaged = copy_of(damage(copy_of(self.whole, place / "damaged")), place / "owned")
        self.before = restored_tree(self.damaged)
        self.expected = expected_tree(self.whole)


@pytest.fixture
def source(tiny_with_tablespace: Path, small_packs: None, tmp_path: Path) -> Source:  # noqa: ARG001 - for its effect
    return Source(tmp_path, tiny_with_tablespace)


class Copy:
    """A damaged copy of the cluster, and what it may be after a fault."""

    def __init__(self, place: Path, source: Source) -> None:
        self.directory = copy_of(source.damaged, place)
        self.before = source.before
        self.expected = source.expected

    def restore(self, store: Store) -> None:
        fetch(store, self.directory, request=RestoreRequest(self.directory, threads=2, delta=True))

    def check_no_mixture(self) -> None:
        if (self.directory / CONTROL).exists():
            assert self.tree() in (self.before, self.expected)

    def check_repeat(self, archive: Store) -> None:
        self.restore(archive)
        assert self.tree() == self.expected

    def tree(self) -> Tree:
        return restored_tree(self.directory)


@pytest.mark.parametrize("mode", ["fail", "cut", "flip", "lost", "kill"])
def test_h49_a_fault_at_any_call_of_the_store_leaves_no_mixture(source: Source, tmp_path: Path, mode: Mode) -> None:
    failed = 0
    for call in itertools.count(1):
        copy = Copy(tmp_path / str(call), source)
        store = FaultyStore(source.archive, call=call, mode=mode)
        if mode == "kill":
            went_wrong = was_killed(lambda copy=copy, store=store: copy.restore(store))  # type: ignore[misc] # mypy cannot infer the defaults
        else:
            went_wrong = _fails(copy, store)
        failed += went_wrong
        copy.check_no_mixture()
        copy.check_repeat(source.archive)
        if not went_wrong and (mode == "kill" or not store.reached):
            break
    assert call > FEWEST_CALLS
    assert failed > (3 if mode == "flip" else FEWEST_CALLS - 1)


def _fails(copy: Copy, store: Store) -> bool:
    try:
        copy.restore(store)
    except WalEError:
        return True
    return False


class _Steps:
    """Does something instead of the N-th call of any of the functions of `os` that it stands for."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], at: int, act: Callable[[], None]
    ) -> None:
        self.left = at
        self._act = act
        for name in names:
            monkeypatch.setattr(os, name, self._watched(getattr(os, name)))

    def _watched(self, function):  # type: ignore[no-untyped-def] # any signature  # noqa: ANN001, ANN202
        def wrapper(*arguments, **words):  # type: ignore[no-untyped-def] # the same  # noqa: ANN002, ANN003, ANN202
            self.left -= 1
            if self.left == 0:
                self._act()
            return function(*arguments, **words)

        return wrapper


def test_h49_a_process_killed_at_any_step_on_disk_leaves_no_mixture(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for at in itertools.count(1):
        copy = Copy(tmp_path / str(at), source)

        def killable(at: int = at, copy: Copy = copy) -> None:
            _Steps(monkeypatch, CHANGING, at, lambda: os.kill(os.getpid(), 9))
            copy.restore(source.archive)

        killed = was_killed(killable)
        copy.check_no_mixture()
        copy.check_repeat(source.archive)
        if not killed:
            break
    assert at > 40


def test_h52_a_disk_that_is_full_at_any_step_leaves_no_mixture(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    failed = 0
    for at in itertools.count(1):
        copy = Copy(tmp_path / str(at), source)
        with monkeypatch.context() as patch:
            steps = _Steps(patch, STEPS, at, fail)
            failed += _fails(copy, source.archive)
        copy.check_no_mixture()
        copy.check_repeat(source.archive)
        if steps.left > 0:
            break
    assert at > 60
    assert failed > 50
