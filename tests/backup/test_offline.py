"""A backup of a stopped cluster: what is refused, what is waited for, and names that do not collide."""

import struct
from datetime import timedelta
from pathlib import Path

import google_crc32c
import pytest

from tests.backup.tiny import Listener, check_restorable, push
from tests.faults.faulty_store import FaultyStore
from wal_e.backup import archived, contents, offline
from wal_e.backup.archived import wait_for_wal
from wal_e.backup.run import free_name
from wal_e.errors import Corrupt, DataDirectoryError, LeaseHeld, LeaseLost, WalMissing, WrongCluster
from wal_e.events import Level, Message, Progress, silent
from wal_e.pg.control import read_control
from wal_e.pg.wal import SegmentName
from wal_e.rate import RateLimit
from wal_e.repo.catalogue import list_backups, load_manifest
from wal_e.repo.layout import LEASE_PREFIX, PACK, wal_key
from wal_e.repo.lease import Lease
from wal_e.store.api import Body, ObjectInfo
from wal_e.store.drivers.memory import MemoryStore
from wal_e.units import MIB


def patch_control(root: Path, offset: int, value: bytes) -> None:
    """Changes a field of pg_control and its CRC."""
    path = root / "global/pg_control"
    data = bytearray(path.read_bytes())
    data[offset : offset + len(value)] = value
    struct.pack_into("<I", data, 288, google_crc32c.value(bytes(data[:288])))
    path.write_bytes(data)


def test_a_backup_with_a_tablespace_restores_byte_for_byte(tiny_with_tablespace: Path, tmp_path: Path) -> None:
    store = MemoryStore()
    result = push(store, tiny_with_tablespace)
    manifest = load_manifest(store, result.summary.name)
    assert result.summary.size == sum(file.size for file in manifest.files)
    assert result.summary.stored == sum(info.size for info in store.list() if "/pack-" in info.key)
    assert result.summary.offline
    (tmp_path / "data/pg_tblspc").mkdir(parents=True)
    (tmp_path / "data/pg_tblspc/16400").symlink_to(tmp_path / "space")
    check_restorable(store, tiny_with_tablespace, tmp_path / "data")


def test_h25_a_backup_does_not_run_while_another_run_has_the_archive(tiny: Path) -> None:
    store = MemoryStore()
    push(store, tiny)
    before = {info.key for info in store.list()}
    with Lease(store, "delete", silent) as lease:
        lease.acquire()
        with pytest.raises(LeaseHeld, match="one backup or one deletion at a time") as error:
            push(store, tiny)
        assert '"delete", process ' in str(error.value.detail)
    assert {info.key for info in store.list()} == before


@pytest.mark.usefixtures("small_packs")
def test_h46_a_backup_that_lost_its_lease_is_not_committed(tiny: Path) -> None:
    class Robbed(FaultyStore):
        def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
            if PACK in key:
                self.inner.delete([info.key for info in self.inner.list(LEASE_PREFIX)])
            return super().put(key, body, create_only=create_only)

    store = MemoryStore()
    with pytest.raises(LeaseLost):
        push(Robbed(store, call=1 << 40), tiny)
    assert list_backups(store) == []


def test_progress_reaches_the_end(tiny: Path) -> None:
    heard = Listener()
    push(MemoryStore(), tiny, emit=heard)
    progress = [event for event in heard.events if isinstance(event, Progress)]
    assert progress[-1].done == progress[-1].total > 0
    assert [event.done for event in progress] == sorted(event.done for event in progress)


def test_h24_backups_of_one_position_get_names_of_their_own(tiny: Path, tmp_path: Path) -> None:
    store = MemoryStore()
    names = [push(store, tiny).summary.name for _ in range(3)]
    assert len(set(names)) == 3
    assert [entry.name for entry in list_backups(store)] == sorted(names)
    for name in names:
        check_restorable(store, tiny, tmp_path / name, name)


def test_h24_two_standby_backups_never_share_a_name() -> None:
    names = {free_name(MemoryStore(), 1, 0x2000028, 16 * MIB, standby=True) for _ in range(20)}
    assert len(names) == 20


def test_h36_a_cluster_that_may_run_is_refused(own_tiny: Path) -> None:
    (own_tiny / "postmaster.pid").write_text("1\n")
    store = MemoryStore()
    with pytest.raises(DataDirectoryError, match="not shut down cleanly"):
        push(store, own_tiny)
    assert list(store.list()) == []


def test_a_cluster_that_crashed_is_refused(own_tiny: Path) -> None:
    patch_control(own_tiny, 16, struct.pack("<I", 6))
    with pytest.raises(DataDirectoryError, match="not shut down cleanly") as error:
        push(MemoryStore(), own_tiny)
    assert "in production" in (error.value.detail or "")


def test_a_cluster_that_is_started_meanwhile_is_not_committed(own_tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = offline.copy_files

    def copy_and_start(*arguments: object, **words: object) -> object:
        result = real(*arguments, **words)  # type: ignore[arg-type] # passed on
        (own_tiny / "postmaster.pid").write_text("1\n")
        return result

    monkeypatch.setattr(offline, "copy_files", copy_and_start)
    store = MemoryStore()
    with pytest.raises(DataDirectoryError):
        push(store, own_tiny)
    assert list_backups(store) == []


def test_h27_an_archive_of_another_cluster_is_refused(tiny: Path, own_tiny: Path) -> None:
    patch_control(own_tiny, 0, struct.pack("<Q", 4711))
    store = MemoryStore()
    push(store, tiny)
    before = [info.key for info in store.list()]
    with pytest.raises(WrongCluster):
        push(store, own_tiny)
    assert [info.key for info in store.list()] == before


def test_h35_a_damaged_pg_control_is_never_backed_up(own_tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = own_tiny / "global/pg_control"
    path.write_bytes(path.read_bytes()[:100] + b"\xff" + path.read_bytes()[101:])
    monkeypatch.setattr("wal_e.pg.control.time.sleep", lambda _seconds: None)
    with pytest.raises(Corrupt, match="pg_control"):
        push(MemoryStore(), own_tiny)


def test_the_segment_of_the_shutdown_checkpoint_must_be_there(own_tiny: Path) -> None:
    control = read_control(own_tiny)[1]
    segment = SegmentName.containing(control.timeline, control.redo, control.wal_segment_size)
    (own_tiny / "pg_wal" / str(segment)).unlink()
    with pytest.raises(DataDirectoryError, match=str(segment)):
        push(MemoryStore(), own_tiny)


SEGMENTS = [SegmentName(1, number, 16 * MIB) for number in (2, 3)]


def test_h23_wal_that_does_not_arrive_is_missed_by_name() -> None:
    store = MemoryStore()
    store.put(wal_key(str(SEGMENTS[0])), Body.of(b"x"))
    heard = Listener()
    with pytest.raises(WalMissing, match="did not arrive") as error:
        wait_for_wal(
            store, SEGMENTS, timedelta(0), heard, standby=False, explain=lambda: "The archiver failed 3 times."
        )
    assert str(SEGMENTS[1]) in (error.value.detail or "")
    assert str(SEGMENTS[0]) not in (error.value.detail or "")
    assert "The archiver failed 3 times." in (error.value.detail or "")
    assert "blocking on sending WAL segments" in heard.text


def test_h23_wal_that_is_there_is_not_waited_for() -> None:
    store = MemoryStore()
    for segment in SEGMENTS:
        store.put(wal_key(str(segment)), Body.of(b"x"))
    wait_for_wal(store, SEGMENTS, timedelta(0), silent, standby=False, explain=lambda: pytest.fail("nobody asked"))


def test_h23_a_long_wait_says_once_what_to_do_on_the_primary(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    now = 0.0

    def sleep(_seconds: float) -> None:
        nonlocal now
        now += 20
        if now >= 100:
            for segment in SEGMENTS:
                store.put(wal_key(str(segment)), Body.of(b"x"))

    monkeypatch.setattr(archived.time, "monotonic", lambda: now)
    monkeypatch.setattr(archived.time, "sleep", sleep)
    heard = Listener()
    wait_for_wal(store, SEGMENTS, timedelta(minutes=10), heard, standby=True, explain=lambda: None)
    (warning,) = [event for event in heard.events if isinstance(event, Message) and event.level is Level.WARNING]
    assert "still waiting" in warning.message
    assert str(SEGMENTS[0]) in (warning.detail or "")
    assert "on the primary, SELECT pg_switch_wal()" in (warning.hint or "")


def test_a_rate_limit_spreads_requests_over_time() -> None:
    now, waited = 0.0, []

    def wait(seconds: float) -> None:
        nonlocal now
        waited.append(seconds)
        now += seconds

    limit = RateLimit(1000, clock=lambda: now, wait=wait)
    for _ in range(4):
        limit.take(500)
    assert now == pytest.approx(1.5)
    assert sum(waited) == pytest.approx(1.5)


def test_owners_without_a_name_are_kept_as_numbers() -> None:
    assert contents._owner(4_000_001, 4_000_002) == ("4000001", "4000002")
    assert contents._owner(0, 4_000_002) == ("root", "4000002")
    assert contents._owner(0, 0) == ("root", "root")
