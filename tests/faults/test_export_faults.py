"""export with a fault at each call of the store: the right bytes and success, or an error."""

import itertools
from pathlib import Path

import pytest

from tests.backup.tiny import push, restored_tree
from tests.faults.faulty_store import FaultyStore, Mode
from tests.restore.test_export import on_timeline_3
from wal_e.errors import WalEError
from wal_e.events import silent
from wal_e.pg.control import CONTROL_PATH
from wal_e.restore.export import ExportRequest, export_plain, export_tar
from wal_e.restore.tablespaces import Placing
from wal_e.store.api import Store
from wal_e.store.drivers.memory import MemoryStore

REQUEST = ExportRequest("LATEST", wal=True, threads=2)
FEWEST_CALLS = 15


@pytest.fixture
def archive(tiny_with_tablespace: Path, small_packs: None) -> MemoryStore:  # noqa: ARG001 - for its effect
    store = MemoryStore()
    push(store, tiny_with_tablespace)
    on_timeline_3(store)
    return store


def tar_of(store: Store) -> bytes:
    return b"".join(export_tar(store, REQUEST, silent))


@pytest.mark.parametrize("mode", ["fail", "cut", "flip", "lost"])
def test_a_tar_is_right_or_there_is_an_error(archive: MemoryStore, mode: Mode) -> None:
    expected = tar_of(archive)
    raised = 0
    for call in itertools.count(1):
        store = FaultyStore(archive, call=call, mode=mode)
        try:
            assert tar_of(store) == expected
        except WalEError:
            raised += 1
        if not store.reached:
            break
    assert call > FEWEST_CALLS
    assert raised > (5 if mode == "flip" else FEWEST_CALLS - 2)


@pytest.mark.parametrize("mode", ["fail", "cut", "flip", "lost"])
def test_a_directory_is_right_or_cannot_be_started_and_the_repeat_succeeds(
    archive: MemoryStore, tmp_path: Path, mode: Mode
) -> None:
    export_plain(archive, REQUEST, tmp_path / "expected", Placing.BLIND, silent)
    expected = restored_tree(tmp_path / "expected")
    for call in itertools.count(1):
        store = FaultyStore(archive, call=call, mode=mode)
        target = tmp_path / str(call)
        try:
            export_plain(store, REQUEST, target, Placing.BLIND, silent)
        except WalEError:
            assert not (target / CONTROL_PATH).exists()
            export_plain(archive, REQUEST, target, Placing.BLIND, silent)
        assert restored_tree(target) == expected
        if not store.reached:
            break
    assert call > FEWEST_CALLS
