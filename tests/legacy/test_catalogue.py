"""What WAL-E 1.x and WAL-G left is recognised by its keys."""

from datetime import UTC, datetime, timedelta

import pytest

from wal_e.errors import ArchiveError
from wal_e.legacy.catalogue import LegacyBackup, is_legacy_name, list_legacy, refuse, survey_legacy
from wal_e.store.api import Body, Store
from wal_e.store.drivers.memory import MemoryStore

WALE = "base_000000010000000000000005_00000040"
WALG = "base_00000002000000000000000A"
DELTA = "base_00000002000000000000000C_D_00000002000000000000000A"
UNFINISHED = "base_000000010000000000000001_00000040"
NOW = datetime(2026, 5, 1, tzinfo=UTC)


def archive(*keys: str) -> Store:
    store = MemoryStore()
    for key in keys:
        store.put("basebackups_005/" + key, Body.of(b"x"))
    return store


@pytest.fixture
def store() -> Store:
    return archive(
        f"{WALE}/extended_version.txt",
        f"{WALE}/tar_partitions/part_00000000.tar.lzo",
        f"{WALE}_backup_stop_sentinel.json",
        f"{WALG}/metadata.json",
        f"{WALG}/tar_partitions/part_001.tar.lz4",
        f"{WALG}_backup_stop_sentinel.json",
        f"{DELTA}/tar_partitions/part_001.tar.lz4",
        f"{DELTA}_backup_stop_sentinel.json",
        f"{UNFINISHED}/extended_version.txt",
        "notes.txt",
        "base_xyz/part",
        WALE,
    )


def test_only_backups_with_a_sentinel_are_listed(store: Store) -> None:
    assert [backup.name for backup in list_legacy(store)] == [WALE, WALG, DELTA]


def test_names_are_taken_apart(store: Store) -> None:
    wale, walg, delta = list_legacy(store)
    assert (wale.start_segment, wale.offset, wale.parent_segment) == ("000000010000000000000005", "00000040", None)
    assert (walg.start_segment, walg.offset, walg.parent_segment) == ("00000002000000000000000A", None, None)
    assert (delta.start_segment, delta.parent_segment) == ("00000002000000000000000C", "00000002000000000000000A")


def test_each_backup_s_keys_are_known_and_the_rest_is_unexplained(store: Store) -> None:
    listing = survey_legacy(store)
    objects = {entry.name: entry for entry in listing.objects}
    assert objects[WALE].committed
    assert objects[WALE].parts == (
        f"basebackups_005/{WALE}/extended_version.txt",
        f"basebackups_005/{WALE}/tar_partitions/part_00000000.tar.lzo",
    )
    assert not objects[UNFINISHED].committed
    assert set(listing.unexplained) == {f"basebackups_005/{k}" for k in ("notes.txt", "base_xyz/part", WALE)}


def test_the_newest_time_is_that_of_the_newest_object() -> None:
    store = archive(f"{WALE}/a", f"{WALE}/b")
    (entry,) = survey_legacy(store).objects
    assert entry.newest == max(info.last_modified for info in store.list())


@pytest.mark.parametrize(
    ("name", "certain"),
    [(WALE, True), (WALG, True), ("base_000000010000000000000050_00000050", False)],
)
def test_names_of_offline_backups_are_not_believed(name: str, certain: bool) -> None:
    assert LegacyBackup.of_name(name, NOW - timedelta(1)).start_certain is certain


def test_other_names_are_not_legacy() -> None:
    assert not is_legacy_name("base_000000010000000000000050_0000005")
    assert not is_legacy_name(f"{WALE}_0badcafe")
    with pytest.raises(ArchiveError):
        LegacyBackup.of_name("x", NOW)


def test_a_restore_is_refused_with_a_hint() -> None:
    error = refuse(WALG)
    assert WALG in str(error)
    assert "backup-list" in error.hint
