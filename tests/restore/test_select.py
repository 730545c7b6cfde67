"""Finding a backup in an archive: by what its manifest says, never by when the store got it (H21)."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.backup.tiny import Listener
from tests.faults.faulty_store import FaultyStore
from tests.repo.drawn import one_manifest
from wal_e.errors import ArchiveError, Corrupt, NoSuchBackup, Unavailable
from wal_e.events import silent
from wal_e.legacy.catalogue import sentinel_key
from wal_e.pg.wal import Lsn, SegmentName
from wal_e.repo.catalogue import commit
from wal_e.repo.layout import backup_name, manifest_key, pack_key, wal_key
from wal_e.repo.manifest import Summary
from wal_e.restore.select import BackupQuery, select_backup
from wal_e.store.api import Body
from wal_e.store.drivers.memory import MemoryStore
from wal_e.units import MIB

SIZE = 16 * MIB


def summary(number: int) -> Summary:
    """A backup in segment `number`, which ended that many hours after the first."""
    base = one_manifest().summary
    segment = SegmentName(1, number, SIZE)
    return replace(
        base,
        name=backup_name(segment, segment.start + 40),
        segment_size=SIZE,
        timeline=1,
        start_lsn=Lsn(segment.start + 40),
        stop_lsn=Lsn(segment.start + 400),
        stop_time=base.stop_time + timedelta(hours=number),
        tablespaces=(),
    )


def archive(numbers: list[int]) -> MemoryStore:
    """Backups committed in this order, and all the WAL of them."""
    store = MemoryStore()
    for number in numbers:
        commit(store, replace(one_manifest(), summary=summary(number), packs=(), files=()))
    for number in range(min(numbers), max(numbers) + 1):
        store.put(wal_key(str(SegmentName(1, number, SIZE))), Body.of(b"x"))
    return store


@pytest.mark.parametrize("order", [[3, 4, 5], [5, 4, 3], [4, 5, 3]])
def test_h21_latest_is_the_one_that_ended_last_whatever_the_store_got_last(order: list[int]) -> None:
    assert select_backup(archive(order), BackupQuery(), silent).summary.name == summary(5).name


def test_h21_a_backup_without_a_manifest_is_never_latest() -> None:
    store = archive([3])
    store.put(pack_key(summary(9).name, 0), Body.of(b"left by a crash"))
    assert select_backup(store, BackupQuery(), silent).summary.name == summary(3).name
    with pytest.raises(NoSuchBackup):
        select_backup(store, BackupQuery(summary(9).name), silent)


def test_a_damaged_manifest_is_passed_over_and_said() -> None:
    store, heard = archive([3, 4]), Listener()
    store.put(manifest_key(summary(4).name), Body.of(b"damaged"))
    assert select_backup(store, BackupQuery(), heard).summary.name == summary(3).name
    assert f'the manifest of "{summary(4).name}" is damaged' in heard.text
    with pytest.raises(Corrupt):
        select_backup(store, BackupQuery(summary(4).name), silent)


def test_h14_an_outage_is_never_taken_for_the_absence_of_backups() -> None:
    inner = archive([3, 4])
    for call in range(1, 20):
        store = FaultyStore(inner, call=call)
        try:
            found = select_backup(store, BackupQuery(), silent)
        except Unavailable:
            continue
        assert found.summary.name == summary(4).name
        assert not store.reached
        break
    else:
        pytest.fail("it never came to its end")


def test_a_backup_by_name_is_that_one() -> None:
    store = archive([3, 4, 5])
    assert select_backup(store, BackupQuery(summary(4).name), silent).summary == summary(4)


def test_a_backup_of_the_original_is_refused_by_name_and_a_name_that_nobody_wrote_is_just_absent() -> None:
    store = archive([3])
    name = summary(9).name
    with pytest.raises(NoSuchBackup):
        select_backup(store, BackupQuery(name), silent)
    store.put(sentinel_key(name), Body.of(b"{}"))
    with pytest.raises(ArchiveError, match="written by another program"):
        select_backup(store, BackupQuery(name), silent)
