"""restore_command: the whole file or nothing at all."""

import errno
import os
import resource
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.wal.asking import NAME, fetch, nothing_at, put, segments
from tests.wal.material import (
    CLUSTER,
    FIRST,
    HISTORY_2,
    LABEL,
    OTHER_CLUSTER,
    SIZE,
    Listener,
    segment,
    write_data_directory,
)
from wal_e import fsio
from wal_e.codec.compress import compress
from wal_e.errors import (
    Corrupt,
    DataDirectoryError,
    UsageError,
    WalEError,
    WrongCluster,
)
from wal_e.pg.wal import SegmentName
from wal_e.repo.cluster import ensure_identity
from wal_e.store.api import Body
from wal_e.store.drivers.memory import MemoryStore
from wal_e.units import MIB
from wal_e.wal.asker import RecoveryMode, exit_code_for
from wal_e.wal.fetch import Fetched, FetchOptions, fetch_file


@pytest.fixture
def archive() -> MemoryStore:
    return segments((1, FIRST.number))


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return write_data_directory(tmp_path / "pg") / "RECOVERYXLOG"


@pytest.mark.parametrize("size", [MIB << power for power in range(7)])
def test_h12_segments_of_every_size_come_back(tmp_path: Path, size: int) -> None:
    store, name = MemoryStore(), SegmentName(3, 4096 // (size // MIB) + 2, size)
    ensure_identity(store, CLUSTER)
    put(store, name, segment(name))
    destination = write_data_directory(tmp_path / "pg", segment_size=size) / "RECOVERYXLOG"
    assert fetch(store, destination, name) == Fetched(str(name), size)
    assert destination.read_bytes() == segment(name)
    assert [entry.name for entry in destination.parent.iterdir()] == ["RECOVERYXLOG"]


def test_other_files_come_back(destination: Path, archive: MemoryStore) -> None:
    files = {"00000002.history": HISTORY_2, f"{NAME}.00000028.backup": LABEL, f"{NAME}.partial": segment()[: SIZE // 2]}
    for name, content in files.items():
        put(archive, name, content)
        assert fetch(archive, destination, name) == Fetched(name, len(content))
        assert destination.read_bytes() == content


def test_what_was_at_the_destination_is_replaced(destination: Path, archive: MemoryStore) -> None:
    destination.write_bytes(b"old")
    fetch(archive, destination)
    assert destination.read_bytes() == segment()


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"<html>502 Bad Gateway</html>",
        compress(segment())[:-1],
        compress(segment()) + b"x",
        compress(b""),
        compress(segment()[:20]),
        compress(segment()[:-1]),
        compress(segment()[: SIZE // 2]),
        compress(segment() + b"\0"),
        compress(segment() * 2),
        compress(b"\0" * SIZE),
        compress(segment(FIRST.next())),
        compress(b"not WAL" * 10_000),
    ],
)
def test_h15_h16_h20_what_is_not_the_segment_is_never_shown(
    destination: Path, archive: MemoryStore, stored: bytes
) -> None:
    archive.put(f"wal_005/{NAME}.zst", Body.of(stored))
    with pytest.raises(Corrupt):
        fetch(archive, destination)
    assert nothing_at(destination)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.booleans(), st.sampled_from([NAME, "00000002.history", f"{NAME}.00000028.backup"]))
@example(b"START WAL LOCATION: ", True, f"{NAME}.00000028.backup")
def test_arbitrary_objects_are_never_shown(destination: Path, data: bytes, packed: bool, name: str) -> None:
    store = segments()
    store.put(f"wal_005/{name}.zst", Body.of(compress(data) if packed else data))
    with pytest.raises(WalEError):
        fetch(store, destination, name)
    assert nothing_at(destination)


def test_h02_wal_of_another_cluster_is_never_shown(tmp_path: Path, destination: Path, archive: MemoryStore) -> None:
    put(archive, NAME, segment(cluster=OTHER_CLUSTER))
    with pytest.raises(WrongCluster):
        fetch(archive, destination)
    assert nothing_at(destination)
    elsewhere = write_data_directory(tmp_path / "other", OTHER_CLUSTER) / "RECOVERYXLOG"
    with pytest.raises(WrongCluster):
        fetch(segments((1, FIRST.number)), elsewhere)
    assert nothing_at(elsewhere)


def test_h02_without_an_owner_the_asking_cluster_decides(tmp_path: Path) -> None:
    store = MemoryStore()
    put(store, NAME, segment())
    assert fetch(store, write_data_directory(tmp_path / "pg") / "RECOVERYXLOG").found
    with pytest.raises(WrongCluster):
        fetch(store, write_data_directory(tmp_path / "other", OTHER_CLUSTER) / "RECOVERYXLOG")
    assert fetch(store, tmp_path / "anywhere").found


@pytest.mark.parametrize("name", ["RECOVERYXLOG", "x", f"../{NAME}", f"{NAME}.zst", f"{NAME}\n", "", "%f"])
def test_h60_other_names_are_refused(destination: Path, archive: MemoryStore, name: str) -> None:
    with pytest.raises(UsageError, match="not the name of a WAL file"):
        fetch(archive, destination, name)


def test_a_missing_destination_directory_is_a_clear_error(tmp_path: Path, archive: MemoryStore) -> None:
    with pytest.raises(DataDirectoryError, match="does not exist") as caught:
        fetch(archive, tmp_path / "missing" / "RECOVERYXLOG")
    assert "%p" in str(caught.value.hint)


def test_a_full_disk_is_a_clear_error(destination: Path, archive: MemoryStore) -> None:
    """A file size limit stands for the full disk: write(2) fails in the middle of the file."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE // 2, limit[1]))
    try:
        with pytest.raises(DataDirectoryError, match="could not write") as caught:
            fetch(archive, destination)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    assert nothing_at(destination)
    assert exit_code_for(caught.value, RecoveryMode.RECOVERY) > 125


def test_no_space_left_is_a_clear_error(
    destination: Path, archive: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object, **_options: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(fsio, "write_atomically", full)
    with pytest.raises(DataDirectoryError) as caught:
        fetch(archive, destination)
    assert "No space left on device" in str(caught.value.detail)


def test_h17_leftovers_of_killed_fetches_are_swept(destination: Path, archive: MemoryStore) -> None:
    old, new = (destination.with_name(f".RECOVERYXLOG.{tag}.tmp") for tag in ("aa", "bb"))
    for leftover in (old, new):
        leftover.write_bytes(b"x")
    os.utime(old, (0, 0))
    fetch(archive, destination)
    assert sorted(entry.name for entry in destination.parent.iterdir()) == [new.name, "RECOVERYXLOG"]


def test_the_original_s_words(destination: Path, archive: MemoryStore) -> None:
    heard = Listener()
    options = FetchOptions(location="file://localhost/archive")
    fetch_file(archive, NAME, destination, options, heard)
    fetch_file(archive, "00000002.history", destination, options, heard)
    assert heard.messages == [
        "begin wal restore",
        "complete wal restore",
        "begin wal restore",
        "could no longer locate object while performing wal restore",
    ]
    fields = {getattr(event, "fields", {})["state"] for event in heard.events}
    assert fields == {"begin", "complete", "absent"}
