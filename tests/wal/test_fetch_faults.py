"""A fault at any call of a fetch: never "absent", never half a file."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.faulty_store import ALWAYS, FaultyStore, Mode
from tests.wal.asking import NAME, SILENT_MODES, fetch, nothing_at, put, segments
from tests.wal.material import (
    CLUSTER,
    FIRST,
    SIZE,
    segment,
    write_data_directory,
)
from wal_e.errors import (
    Denied,
    Misconfigured,
    StoreError,
    Unavailable,
    WalEError,
)
from wal_e.pg.wal import SegmentName
from wal_e.repo.cluster import ensure_identity
from wal_e.store.api import ObjectInfo, Store
from wal_e.store.drivers.file import FolderStore
from wal_e.store.drivers.memory import MemoryStore
from wal_e.wal.asker import RecoveryMode, exit_code_for
from wal_e.wal.fetch import Absent, Fetched


@pytest.fixture
def archive() -> MemoryStore:
    return segments((1, FIRST.number))


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return write_data_directory(tmp_path / "pg") / "RECOVERYXLOG"


@pytest.mark.parametrize("error", [Unavailable, Denied, Misconfigured])
def test_h14_an_error_at_every_call_is_never_absent(destination: Path, error: type[StoreError]) -> None:
    class Broken(MemoryStore):
        def _find(self, key: str) -> tuple[bytes, ObjectInfo]:
            raise error(key)

        def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
            raise error(prefix + after)

    for name in (NAME, "00000002.history"):
        with pytest.raises(error):
            fetch(Broken(), destination, name)
    assert nothing_at(destination)


def outcome_of(store: Store, destination: Path, name: object) -> Fetched | Absent | WalEError:
    try:
        return fetch(store, destination, name)
    except WalEError as error:
        return error


def worlds() -> list[tuple[Callable[[], MemoryStore], object, bool]]:
    """Archives, the file that is wanted, and whether it is there."""

    def with_history() -> MemoryStore:
        store = segments((1, 5), (1, 6), (2, 9))
        put(store, "00000002.history", b"1\t0/780000\tx\n")
        return store

    return [
        (lambda: segments((1, 5)), NAME, True),
        (with_history, "00000002.history", True),
        (lambda: segments((1, 5)), SegmentName(1, 6, SIZE), False),
        (lambda: segments((1, 5)), "00000002.history", False),
        (with_history, SegmentName(2, 6, SIZE), False),
    ]


@pytest.mark.parametrize("mode", SILENT_MODES)
@pytest.mark.parametrize("world", range(5))
def test_h14_h15_a_fault_at_any_call_is_never_absent_and_leaves_nothing(
    destination: Path, mode: Mode, world: int
) -> None:
    make, name, there = worlds()[world]
    for call in range(1, 30):
        inner = make()
        faulty = FaultyStore(inner, call=call, mode=mode)
        outcome = outcome_of(faulty, destination, name)
        if isinstance(outcome, WalEError):
            assert exit_code_for(outcome, RecoveryMode.RECOVERY) == 200
            assert nothing_at(destination)
        else:
            assert outcome.found == there
        assert fetch(inner, destination, name).found == there
        destination.unlink(missing_ok=True)
        if not faulty.reached:
            return
    pytest.fail("the fetch never ends")


@pytest.mark.parametrize("mode", SILENT_MODES)
def test_h14_an_outage_from_any_call_on_is_never_absent(destination: Path, mode: Mode) -> None:
    for make, name, there in worlds():
        for call in range(1, 30):
            faulty = FaultyStore(make(), call=call, mode=mode, last=ALWAYS)
            outcome = outcome_of(faulty, destination, name)
            if isinstance(outcome, WalEError):
                assert nothing_at(destination)
            else:
                assert outcome.found == there
            destination.unlink(missing_ok=True)
            if not faulty.reached:
                break


@pytest.mark.parametrize("mode", ["kill", "killed"])
def test_h15_sigkill_at_any_call_leaves_nothing_at_the_destination(tmp_path: Path, mode: Mode) -> None:
    folder = tmp_path / "archive"
    folder.mkdir()
    store = FolderStore(folder)
    ensure_identity(store, CLUSTER)
    put(store, NAME, segment())
    for call in range(1, 10):
        destination = write_data_directory(tmp_path / f"pg{call}") / "RECOVERYXLOG"
        child = os.fork()
        if not child:
            _fetch_and_exit(FaultyStore(store, call=call, mode=mode), destination)
        status = os.waitpid(child, 0)[1]
        assert not destination.exists() or destination.read_bytes() == segment()
        assert fetch(store, destination).found
        assert destination.read_bytes() == segment()
        if status == 0:
            return
        assert os.WTERMSIG(status) == signal.SIGKILL
    pytest.fail("the fetch never ends")


def _fetch_and_exit(store: Store, destination: Path) -> None:
    try:
        fetch(store, destination)
        os._exit(0)
    finally:
        os._exit(1)
