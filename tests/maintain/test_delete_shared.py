"""Deletion among real backups that build on each other: in every order, what is left restores byte for byte (H26)."""

import itertools
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.backup.tiny import Tree, expected_tree, fetch, push, restored_tree
from wal_e.errors import ArchiveError
from wal_e.events import silent
from wal_e.maintain.delete import execute, plan_delete
from wal_e.maintain.retention import OneBackup, Retain
from wal_e.repo.blockmap import BLOCK_SIZE
from wal_e.repo.catalogue import list_backups, load_packs
from wal_e.repo.layout import backup_prefix
from wal_e.store.api import Store
from wal_e.store.drivers.memory import MemoryStore

LATER = datetime.now(UTC) + timedelta(days=3)
BACKUPS = 3
pytestmark = pytest.mark.usefixtures("small_packs")


def take(store: Store, cluster: Path) -> dict[str, Tree]:
    """Backups of the cluster as it changes, with what each must restore, oldest first."""
    taken = {}
    for turn in range(BACKUPS):
        with (cluster / "base/5/big").open("r+b") as file:
            file.seek(turn * 20 * BLOCK_SIZE)
            file.write(os.urandom(10 * BLOCK_SIZE))
        taken[push(store, cluster).summary.name] = expected_tree(cluster)
    return taken


def delete(store: Store, request: OneBackup | Retain) -> None:
    execute(store, plan_delete(store, request, LATER), silent)


@pytest.fixture
def store() -> Store:
    return MemoryStore()


def copy_of(store: MemoryStore) -> MemoryStore:
    other = MemoryStore()
    other._objects = dict(store._objects)
    return other


def test_h26_backups_that_share_packs_are_deleted_in_every_order(
    store: MemoryStore, own_tiny: Path, tmp_path: Path
) -> None:
    taken = take(store, own_tiny)
    first, *others = taken
    shared = {pack.key for name in others for pack in load_packs(store, name)}
    assert any(key.startswith(backup_prefix(first)) for key in shared)
    for number, order in enumerate(itertools.permutations(taken)):
        archive = copy_of(store)
        left = dict(taken)
        for name in order[:-1]:
            delete(archive, OneBackup(name))
            del left[name]
            assert {entry.name for entry in list_backups(archive)} == left.keys()
        ((name, tree),) = left.items()
        fetch(archive, tmp_path / f"restored{number}", name)
        assert restored_tree(tmp_path / f"restored{number}") == tree
        assert {info.key for info in archive.list() if "/pack-" in info.key} == {
            pack.key for pack in load_packs(archive, name)
        }
        with pytest.raises(ArchiveError, match="every base backup"):
            delete(archive, OneBackup(name))


def test_a_backup_after_a_deletion_builds_on_what_is_left(store: Store, own_tiny: Path, tmp_path: Path) -> None:
    taken = take(store, own_tiny)
    delete(store, Retain(1))
    next_one = push(store, own_tiny).summary
    assert next_one.parent == list(taken)[-1]
    assert next_one.shared > next_one.stored
    delete(store, OneBackup(next_one.parent))
    fetch(store, tmp_path / "restored", next_one.name)
    assert restored_tree(tmp_path / "restored") == expected_tree(own_tiny)
