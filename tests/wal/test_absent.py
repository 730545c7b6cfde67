""" "Absent" ends recoveries: it is said only where the archive itself said so."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.faulty_store import ALWAYS, FaultyStore
from tests.wal.asking import NAME, RECOVERY, STANDBY, fetch, nothing_at, put, segments
from tests.wal.material import (
    FIRST,
    HISTORY_2,
    SIZE,
    segment,
    write_data_directory,
)
from wal_e.errors import (
    ArchiveError,
    Misconfigured,
    NotFound,
    Unavailable,
    WalMissing,
)
from wal_e.pg.wal import SegmentName
from wal_e.store.api import Body
from wal_e.store.drivers.file import FolderStore
from wal_e.store.drivers.memory import MemoryStore
from wal_e.wal.asker import RecoveryMode, exit_code_for
from wal_e.wal.fetch import Absent, FetchOptions


@pytest.fixture
def archive() -> MemoryStore:
    return segments((1, FIRST.number))


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return write_data_directory(tmp_path / "pg") / "RECOVERYXLOG"


@pytest.mark.parametrize("options", [RECOVERY, STANDBY, FetchOptions()])
def test_the_end_of_the_archive_is_absent(destination: Path, archive: MemoryStore, options: FetchOptions) -> None:
    for name in (FIRST.next(), "00000002.history", SegmentName(2, 6, SIZE), f"{NAME}.partial"):
        assert fetch(archive, destination, name, options) == Absent(str(name))
    assert nothing_at(destination)


def test_absent_costs_a_standby_two_requests(destination: Path) -> None:
    """In standby mode PostgreSQL polls: 404s must be cheap (POSTGRES 2.8)."""
    store = FaultyStore(segments((1, 4), (1, 5)), call=ALWAYS)
    assert not fetch(store, destination, SegmentName(1, 6, SIZE), STANDBY).found
    assert [verb for verb, _ in store.log] == ["get", "list"]


def test_h14_an_empty_place_is_no_archive(destination: Path, tmp_path: Path) -> None:
    """An empty mount point, or a wrong prefix."""
    folder = tmp_path / "mnt"
    folder.mkdir()
    for store in (MemoryStore(), FolderStore(folder), FolderStore(tmp_path / "missing")):
        for name in (NAME, "00000002.history"):
            with pytest.raises(Misconfigured):
                fetch(store, destination, name)


@pytest.mark.parametrize("key", ["basebackups_005/x", "basebackups_006/x", "wal_005/000000010000000000000001.lzo"])
def test_h14_any_trace_of_an_archive_makes_absent_an_answer(destination: Path, key: str) -> None:
    store = MemoryStore()
    store.put(key, Body.of(b"x"))
    assert not fetch(store, destination, SegmentName(1, 0x500, SIZE)).found


@pytest.mark.parametrize("suffix", [".lzo", ".lz4", ".br", "", ".zst.age"])
def test_h14_what_other_tools_stored_is_not_absent(destination: Path, archive: MemoryStore, suffix: str) -> None:
    for name in (FIRST.next(), "00000002.history"):
        archive.put(f"wal_005/{name}{suffix}", Body.of(b"x"))
        with pytest.raises(ArchiveError, match="WAL-E or WAL-G in a form"):
            fetch(archive, destination, name)


class Forgetful(MemoryStore):
    """Says that there is no such object for the first `denials` gets of WAL, and lists it."""

    def __init__(self, denials: int) -> None:
        super().__init__()
        self.denials = denials

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        if key.startswith("wal_005/") and self.denials:
            self.denials -= 1
            raise NotFound(key)
        return super().get(key, start=start, length=length)


@pytest.mark.parametrize(("name", "content"), [(NAME, segment()), ("00000002.history", HISTORY_2)])
def test_h18_h19_get_and_list_must_agree_on_absence(destination: Path, name: str, content: bytes) -> None:
    waits: list[float] = []
    options = FetchOptions(mode=RecoveryMode.RECOVERY, pauses=(1, 2), wait=waits.append)
    store = Forgetful(2)
    put(store, name, content)
    assert fetch(store, destination, name, options).found
    assert waits == [1, 2]
    destination.unlink()
    store.denials = 3
    with pytest.raises(Unavailable, match="does not return it"):
        fetch(store, destination, name, options)
    assert nothing_at(destination)


def test_h18_a_hole_is_an_error_and_no_end(destination: Path) -> None:
    waits: list[float] = []
    options = FetchOptions(mode=RecoveryMode.RECOVERY, pauses=(1, 2), wait=waits.append)
    store, hole = segments((1, 5), (1, 7)), SegmentName(1, 6, SIZE)
    with pytest.raises(WalMissing) as caught:
        fetch(store, destination, hole, options)
    assert waits == [1, 2]
    assert exit_code_for(caught.value, RecoveryMode.RECOVERY) > 125
    assert str(hole) in str(caught.value)
    with pytest.raises(WalMissing) as caught:
        fetch(store, destination, hole, STANDBY)
    assert exit_code_for(caught.value, RecoveryMode.STANDBY) == 1


def test_h18_a_segment_that_arrives_within_the_window_is_fetched(destination: Path) -> None:
    store, late = segments((1, 5), (1, 7)), SegmentName(1, 6, SIZE)
    options = FetchOptions(pauses=(1,), wait=lambda _seconds: put(store, late, segment(late)))
    assert fetch(store, destination, late, options).found


def test_a_hole_may_end_the_recovery_on_request_or_where_the_server_has_the_segment(destination: Path) -> None:
    store, hole = segments((1, 5), (1, 7)), SegmentName(1, 6, SIZE)
    asked = FetchOptions(mode=RecoveryMode.RECOVERY, end_at_gap=True)
    assert not fetch(store, destination, hole, asked).found
    (destination.parent / str(hole)).write_bytes(segment(hole))
    assert not fetch(store, destination, hole).found


@pytest.mark.parametrize(
    ("switch", "ancestor_has_it", "missing"),
    [
        (b"1\t0/680000\tx\n", True, True),  # left inside of segment 6: the parent's may go on into another future
        (b"1\t0/680000\tx\n", False, True),
        (b"1\t0/600000\tx\n", True, True),  # left where segment 6 begins: the parent's is of another future
        (b"1\t0/880000\tx\n", True, False),  # timeline 2 begins later, the parent's segment is the one
    ],
)
def test_h18_a_timeline_falls_back_on_its_ancestors(
    destination: Path, switch: bytes, ancestor_has_it: bool, missing: bool
) -> None:
    store, wanted = segments((1, 5), (2, 9), *([(1, 6)] if ancestor_has_it else [])), SegmentName(2, 6, SIZE)
    put(store, "00000002.history", switch)
    if missing:
        with pytest.raises(WalMissing):
            fetch(store, destination, wanted)
    else:
        assert not fetch(store, destination, wanted).found


@pytest.mark.parametrize(("switch", "missing"), [(b"1\t0/880000\tx\n", True), (b"1\t0/680000\tx\n", False)])
def test_h18_a_descendant_that_left_later_proves_a_hole(destination: Path, switch: bytes, missing: bool) -> None:
    """The old primary's last segments never arrived: ending there would promote without the new one's WAL."""
    store, wanted = segments((1, 5), (2, 8), (2, 9)), SegmentName(1, 6, SIZE)
    put(store, "00000002.history", switch)
    if missing:
        with pytest.raises(WalMissing, match="is missing"):
            fetch(store, destination, wanted)
        assert not fetch(store, destination, wanted, STANDBY).found
    else:
        assert not fetch(store, destination, wanted).found


def test_a_stranger_s_timeline_proves_nothing(destination: Path) -> None:
    store = segments((1, 5), (3, 9))
    put(store, "00000003.history", b"2\t0/880000\tx\n")
    assert not fetch(store, destination, SegmentName(1, 6, SIZE)).found
