"""backup-push with a fault at each call of the store: no backup, or all of it is there, and a repeat succeeds."""

import itertools
from pathlib import Path

import pytest

from tests.backup.tiny import check_restorable, push
from tests.faults.faulty_store import ALWAYS, FaultyStore, Mode
from tests.faults.forked import was_killed
from wal_e.errors import WalEError
from wal_e.repo.catalogue import list_backups, load_manifest
from wal_e.repo.cluster import read_identity
from wal_e.repo.layout import backup_prefix, parse_backup_key
from wal_e.store.api import Store
from wal_e.store.drivers.file import FolderStore
from wal_e.store.drivers.memory import MemoryStore

pytestmark = pytest.mark.usefixtures("small_packs")
FEWEST_CALLS = 8


def check_nothing_or_whole(store: Store, source: Path, scratch: Path) -> int:
    """Every backup that can be seen can be restored byte for byte; returns how many there are."""
    entries = list_backups(store)
    for number, entry in enumerate(entries):
        check_restorable(store, source, scratch / f"seen{number}", entry.name)
    return len(entries)


def check_repeat(store: Store, source: Path, scratch: Path) -> None:
    """A backup taken after the fault is whole, and shares no object with what the fault left unfinished."""
    whole = tuple(backup_prefix(entry.name) for entry in list_backups(store))
    left = {info.key for info in store.list("basebackups_006/") if not info.key.startswith(whole or ("?",))}
    name = push(store, source).summary.name
    assert not left & {pack.key for pack in load_manifest(store, name).packs}
    check_restorable(store, source, scratch / "repeat", name)


@pytest.mark.parametrize("mode", ["fail", "cut", "flip", "lost"])
def test_h22_a_fault_at_any_call_leaves_nothing_or_a_whole_backup(tiny: Path, tmp_path: Path, mode: Mode) -> None:
    raised = 0
    for call in itertools.count(1):
        inner = MemoryStore()
        store = FaultyStore(inner, call=call, mode=mode)
        scratch = tmp_path / str(call)
        try:
            push(store, tiny)
        except WalEError:
            raised += 1
            assert check_nothing_or_whole(inner, tiny, scratch) <= (1 if mode == "lost" else 0)
            check_repeat(inner, tiny, scratch)
        else:
            if mode != "flip" or not store.reached:
                check_restorable(inner, tiny, scratch / "whole")
        if not store.reached:
            break
    assert call > FEWEST_CALLS
    assert raised > (FEWEST_CALLS // 2 if mode == "flip" else FEWEST_CALLS - 2)


def test_an_outage_that_lasts_leaves_no_backup(tiny: Path) -> None:
    for call in range(1, FEWEST_CALLS):
        inner = MemoryStore()
        with pytest.raises(WalEError, match="injected"):
            push(FaultyStore(inner, call=call, mode="fail", last=ALWAYS), tiny)
        assert list_backups(inner) == []


@pytest.mark.parametrize("mode", ["kill", "killed"])
def test_h41_a_process_killed_at_any_call_leaves_no_manifest_or_a_whole_backup(
    tiny: Path, tmp_path: Path, mode: Mode
) -> None:
    seen = 0
    for call in itertools.count(1):
        scratch = tmp_path / str(call)
        inner = FolderStore(scratch / "archive")
        (scratch / "archive").mkdir(parents=True)
        store = FaultyStore(inner, call=call, mode=mode)
        if not was_killed(lambda store=store: push(store, tiny)):  # type: ignore[misc] # mypy cannot infer the default
            break
        seen += check_nothing_or_whole(inner, tiny, scratch)
        check_repeat(inner, tiny, scratch)
    # After the manifest there is only the release of the lease.
    assert seen == (2 if mode == "killed" else 1)
    assert call > (FEWEST_CALLS if mode == "kill" else FEWEST_CALLS // 2)


def test_h02_a_fault_while_the_archive_is_claimed_does_not_change_its_owner(tiny: Path) -> None:
    inner = MemoryStore()
    push(inner, tiny)
    identity = read_identity(inner)
    for call in range(1, FEWEST_CALLS):
        with pytest.raises(WalEError):
            push(FaultyStore(inner, call=call, mode="fail"), tiny)
        assert read_identity(inner) == identity


def test_h24_what_a_killed_backup_left_is_not_overwritten(tiny: Path, tmp_path: Path) -> None:
    inner = FolderStore(tmp_path / "archive")
    (tmp_path / "archive").mkdir()
    assert was_killed(lambda: push(FaultyStore(inner, call=FEWEST_CALLS + 4, mode="kill"), tiny))
    left = {info.key: info for info in inner.list("basebackups_006/")}
    first = push(inner, tiny).summary.name
    second = push(inner, tiny).summary.name
    names = {parsed.backup for key in left if (parsed := parse_backup_key(key))}
    assert left
    assert len(names | {first, second}) == 3
    assert {key: inner.head(key) for key in left} == left
