"""backup-fetch with a fault at each call of the store: no cluster that could be started, or the right one."""

import itertools
import os
import shutil
from pathlib import Path

import pytest

from tests.backup.tiny import Tree, expected_tree, fetch, push, restored_tree
from tests.faults.faulty_store import FaultyStore, Mode
from tests.faults.forked import was_killed
from wal_e import fsio
from wal_e.errors import WalEError
from wal_e.restore import directory, skeleton
from wal_e.restore.files import TargetFiles
from wal_e.store.drivers.memory import MemoryStore

FEWEST_CALLS = 8
CONTROL = "global/pg_control"


@pytest.fixture(params=["plain", "tablespace"])
def source(request: pytest.FixtureRequest, tiny: Path, tiny_with_tablespace: Path) -> Path:
    return tiny if request.param == "plain" else tiny_with_tablespace


@pytest.fixture
def archive(source: Path, small_packs: None) -> MemoryStore:  # noqa: ARG001 - for its effect
    store = MemoryStore()
    push(store, source)
    return store


class Target:
    """A place to restore to: its tablespace has been moved by a link that is already there."""

    def __init__(self, place: Path, source: Path) -> None:
        self.directory = place / "data"
        place.mkdir()
        for link in (source / "pg_tblspc").iterdir():
            (self.directory / "pg_tblspc").mkdir(parents=True)
            (self.directory / "pg_tblspc" / link.name).symlink_to(place / "space")

    @property
    def startable(self) -> bool:
        return (self.directory / CONTROL).exists()

    def tree(self) -> Tree:
        return restored_tree(self.directory)


@pytest.mark.parametrize("mode", ["fail", "cut", "flip", "lost"])
def test_h52_a_fault_at_any_call_leaves_nothing_to_start_and_a_repeat_succeeds(
    archive: MemoryStore, source: Path, tmp_path: Path, mode: Mode
) -> None:
    expected = expected_tree(source)
    raised = 0
    for call in itertools.count(1):
        store = FaultyStore(archive, call=call, mode=mode)
        target = Target(tmp_path / str(call), source)
        try:
            fetch(store, target.directory)
        except WalEError:
            raised += 1
            assert not target.startable
            fetch(archive, target.directory)
        assert target.tree() == expected
        if not store.reached:
            break
    assert call > FEWEST_CALLS
    assert raised > (4 if mode == "flip" else FEWEST_CALLS - 1)


@pytest.mark.parametrize("mode", ["kill"])
def test_a_process_killed_at_any_call_can_be_repeated_into_the_same_directory(
    archive: MemoryStore, source: Path, tmp_path: Path, mode: Mode
) -> None:
    expected = expected_tree(source)
    for call in itertools.count(1):
        target = Target(tmp_path / str(call), source)
        store = FaultyStore(archive, call=call, mode=mode)
        killed = was_killed(lambda store=store, place=target.directory: fetch(store, place))  # type: ignore[misc] # mypy cannot infer the defaults
        assert target.startable != killed
        if killed:
            fetch(archive, target.directory)
        assert target.tree() == expected
        if not killed:
            break
    assert call > FEWEST_CALLS


class _Countdown:
    """Ends the process at the N-th step that changes names or durability, or counts the steps."""

    def __init__(self, at: int) -> None:
        self.at = at

    def __call__(self, *_arguments: object, **_words: object) -> None:
        self.at -= 1
        if self.at == 0:
            os.kill(os.getpid(), 9)


def _step_by_step(monkeypatch: pytest.MonkeyPatch, countdown: _Countdown) -> None:
    """Lets the countdown look on at every rename, unlink, mkdir and directory fsync of a restore."""

    def watched(function):  # type: ignore[no-untyped-def] # any signature  # noqa: ANN001, ANN202
        def wrapper(*arguments, **words):  # type: ignore[no-untyped-def] # the same  # noqa: ANN002, ANN003, ANN202
            countdown()
            return function(*arguments, **words)

        return wrapper

    for name in ("replace", "unlink", "mkdir", "symlink_to"):
        monkeypatch.setattr(Path, name, watched(getattr(Path, name)))
    for module in (fsio, skeleton, directory):
        for name in ("fsync_directory", "write_atomically"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, watched(getattr(fsio, name)))
    monkeypatch.setattr(TargetFiles, "create", watched(TargetFiles.create))
    monkeypatch.setattr(shutil, "rmtree", watched(shutil.rmtree))


def test_a_process_killed_at_any_step_on_disk_can_be_repeated(
    tiny_with_tablespace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is not asked between the last block and the rename of pg_control, so steps on disk are counted too."""
    store = MemoryStore()
    push(store, tiny_with_tablespace)
    expected = expected_tree(tiny_with_tablespace)
    for at in itertools.count(1):
        target = Target(tmp_path / str(at), tiny_with_tablespace)

        def killable(at: int = at, place: Path = target.directory) -> None:
            _step_by_step(monkeypatch, _Countdown(at))
            fetch(store, place)

        killed = was_killed(killable)
        if not target.startable:
            fetch(store, target.directory)
        assert target.tree() == expected, f"killed at step {at}"
        if not killed:
            break
    assert at > 50
