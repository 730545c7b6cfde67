"""The catalogue: a backup exists when its manifest does, and the manifest is only written when the packs are there."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.faults.faulty_store import FaultyStore
from tests.repo.drawn import NAME, PACKS, one_manifest
from wal_e.errors import Corrupt, Exists, NoSuchBackup, ShortRead, Unavailable, WalEError
from wal_e.repo.catalogue import commit, list_backups, load_manifest, load_summary, name_is_taken
from wal_e.repo.layout import BACKUP_PREFIX, event_key, manifest_key, pack_key
from wal_e.repo.manifest import Manifest, encode_manifest
from wal_e.store.api import Body, ObjectInfo
from wal_e.store.drivers.memory import MemoryStore

OTHER = "base_000000010000000000000003_00000040"
SUFFIXED = NAME + "_0123abcd"


def with_packs(manifest: Manifest = one_manifest()) -> MemoryStore:  # noqa: B008 - a frozen value
    store = MemoryStore()
    for pack in manifest.packs:
        store.put(pack.key, Body.of(bytes(pack.size)))
    return store


def named(name: str) -> Manifest:
    manifest = one_manifest()
    return replace(manifest, summary=replace(manifest.summary, name=name), packs=(), files=())


def test_h22_a_committed_backup_is_listed_and_read() -> None:
    store = with_packs()
    assert list_backups(store) == []
    commit(store, one_manifest())
    (entry,) = list_backups(store)
    head = store.head(manifest_key(NAME))
    assert (entry.name, entry.size, entry.last_modified) == (NAME, head.size, head.last_modified)
    assert load_manifest(store, NAME) == one_manifest()
    assert load_summary(store, NAME) == one_manifest().summary


@pytest.mark.parametrize("number", range(len(PACKS)))
@pytest.mark.parametrize("size", [None, 0, -1, +1])
def test_h22_a_pack_that_is_missing_or_of_another_size_forbids_the_manifest(number: int, size: int | None) -> None:
    store = with_packs()
    pack = PACKS[number]
    if size is None:
        store.delete([pack.key])
    else:
        store.put(pack.key, Body.of(bytes(pack.size + size if size else 0)))
    with pytest.raises(ShortRead, match=f"pack-0000000{number}") as error:
        commit(store, one_manifest())
    assert "not committed" in error.value.hint
    assert list_backups(store) == []


class _Lagging(MemoryStore):
    """Its listings do not show what was put a moment ago (H18)."""

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        return iter([info for info in super().list(prefix, after=after) if not info.key.endswith("pack-00000002")])


def test_h18_a_listing_that_lags_behind_does_not_forbid_the_manifest() -> None:
    store = _Lagging()
    for pack in PACKS:
        store.put(pack.key, Body.of(bytes(pack.size)))
    commit(store, one_manifest())
    assert load_manifest(store, NAME) == one_manifest()


def test_h24_a_second_commit_of_one_name_is_refused_and_changes_nothing() -> None:
    store = with_packs()
    commit(store, one_manifest())
    other = replace(one_manifest(), backup_label="another")
    with pytest.raises(Exists):
        commit(store, other)
    assert load_manifest(store, NAME) == one_manifest()


@pytest.mark.parametrize("mode", ["fail", "cut", "lost"])
def test_every_fault_in_a_commit_leaves_nothing_or_all_of_it(mode: str) -> None:
    for call in (1, 2):
        inner = with_packs()
        with pytest.raises(WalEError):
            commit(FaultyStore(inner, call=call, mode=mode), one_manifest())  # type: ignore[arg-type] # one of Mode
        assert len(list_backups(inner)) == (1 if (mode, call) == ("lost", 2) else 0)


def test_only_complete_backups_are_listed_among_everything_else() -> None:
    store = with_packs()
    commit(store, one_manifest())
    commit(store, named(SUFFIXED))
    commit(store, named(OTHER))
    when = one_manifest().summary.stop_time
    store.put(event_key(NAME, when, "pinned"), Body.of(b"{}"))
    store.put(event_key("base_000000010000000000000009_00000000", when, "pinned"), Body.of(b"{}"))
    for number in range(5):
        store.put(pack_key("base_000000010000000000000001_00000000", number), Body.of(b"left by a crash"))
    store.put(f"{BACKUP_PREFIX}stray", Body.of(b""))
    store.put(f"{BACKUP_PREFIX}stray/manifest.json.zst.bak", Body.of(b""))
    assert [entry.name for entry in list_backups(store)] == sorted([NAME, SUFFIXED, OTHER])


def test_a_list_costs_one_request_for_each_backup_not_for_each_pack() -> None:
    inner = MemoryStore()
    for name in (NAME, OTHER):
        for number in range(50):
            inner.put(pack_key(name, number), Body.of(b"x"))
        inner.put(manifest_key(name), Body.of(b"x"))
    store = FaultyStore(inner, call=1 << 30)
    assert len(list_backups(store)) == 2
    assert store.calls == 3


def test_absent_backups_are_no_such_backup_and_outages_are_not() -> None:
    store = MemoryStore()
    for load in (load_manifest, load_summary):
        with pytest.raises(NoSuchBackup) as error:
            load(store, NAME)
        assert "backup-list" in error.value.hint
        with pytest.raises(Unavailable):
            load(FaultyStore(store, call=1, mode="fail"), NAME)


@pytest.mark.parametrize(
    "data", [b"", b"garbage", encode_manifest(one_manifest())[:-3], encode_manifest(one_manifest())[:9]]
)
def test_a_damaged_manifest_is_corrupt(data: bytes) -> None:
    store = MemoryStore()
    store.put(manifest_key(NAME), Body.of(data))
    with pytest.raises(Corrupt):
        list(load_manifest(store, NAME).files)


def test_a_summary_beyond_the_first_range_is_read_too() -> None:
    manifest = one_manifest()
    noise = "".join(chr(0x4E00 + (n * 7919) % 20000) for n in range(40_000))
    manifest = replace(manifest, summary=replace(manifest.summary, label=noise))
    store = with_packs()
    commit(store, manifest)
    assert store.head(manifest_key(NAME)).size > 1 << 15
    assert load_summary(store, NAME) == manifest.summary


def test_a_name_is_taken_by_whatever_lies_under_it() -> None:
    store = MemoryStore()
    assert not name_is_taken(store, NAME)
    store.put(pack_key(SUFFIXED, 0), Body.of(b""))
    assert not name_is_taken(store, NAME)
    store.put(pack_key(NAME, 0), Body.of(b""))
    assert name_is_taken(store, NAME)
