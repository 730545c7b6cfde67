"""archive_command: what is durable, what is refused, and what a fault leaves behind."""

import os
import signal
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.faulty_store import ALWAYS, FaultyStore, Mode
from tests.wal.material import (
    CLUSTER,
    FIRST,
    HISTORY_2,
    LABEL,
    OTHER_CLUSTER,
    SIZE,
    Listener,
    header,
    segment,
    write_data_directory,
    write_segment,
)
from wal_e.errors import (
    ArchiveConflict,
    Corrupt,
    DataDirectoryError,
    Misconfigured,
    StoreError,
    UsageError,
    WalEError,
    WrongCluster,
)
from wal_e.events import Message, silent
from wal_e.pg.wal import SegmentName
from wal_e.repo.cluster import ensure_identity, read_identity
from wal_e.repo.wal import get_wal
from wal_e.store.api import Body, ObjectInfo, Store
from wal_e.store.drivers.file import FolderStore
from wal_e.store.drivers.memory import MemoryStore
from wal_e.units import MIB
from wal_e.wal.push import Pushed, PushOptions, push_file

NAME = str(FIRST)
OPTIONS = PushOptions(level=1)
SILENT_MODES: list[Mode] = ["fail", "cut", "flip", "lost"]


def push(store: Store, path: Path) -> Pushed:
    return push_file(store, path, OPTIONS, silent)


def stored(store: Store, name: str = NAME) -> bytes:
    return b"".join(get_wal(store, name))


def keys(store: Store) -> set[str]:
    return {info.key for info in store.list()}


@pytest.fixture(params=["memory", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else folder(tmp_path / "archive")


def folder(path: Path) -> FolderStore:
    path.mkdir()
    return FolderStore(path)


def test_an_archive_whose_folder_is_missing_is_not_made_anew(tmp_path: Path) -> None:
    """An unmounted disk looks like this: WAL would be archived onto the wrong one."""
    with pytest.raises(Misconfigured, match="does not exist"):
        push(FolderStore(tmp_path / "archive"), write_segment(tmp_path))


@pytest.mark.parametrize("size", [MIB << power for power in range(7)])
def test_h04_h12_segments_of_every_size_are_archived(tmp_path: Path, store: Store, size: int) -> None:
    name = SegmentName(3, 4096 // (size // MIB) + 2, size)
    result = push(store, write_segment(tmp_path, name))
    assert result == Pushed(str(name), f"wal_005/{name}.zst", fresh=True, size=size, stored=result.stored)
    assert stored(store, str(name)) == segment(name)
    identity = read_identity(store)
    assert identity is not None
    assert identity.system_identifier == CLUSTER


def test_h01_the_same_content_again_is_success_and_other_content_is_refused(tmp_path: Path, store: Store) -> None:
    path = write_segment(tmp_path)
    push(store, path)
    assert not push(store, path).fresh
    write_segment(tmp_path, seed=1)
    with pytest.raises(ArchiveConflict):
        push(store, path)
    assert stored(store) == segment()


def test_h02_wal_of_another_cluster_is_refused(tmp_path: Path, store: Store) -> None:
    push(store, write_segment(tmp_path))
    before = keys(store)
    with pytest.raises(WrongCluster):
        push(store, write_segment(tmp_path, FIRST.next(), OTHER_CLUSTER))
    assert keys(store) == before


def test_h02_wal_that_is_not_of_the_directory_it_lies_in_is_refused(tmp_path: Path, store: Store) -> None:
    pg_wal = write_data_directory(tmp_path / "pg")
    with pytest.raises(WrongCluster):
        push(store, write_segment(pg_wal, cluster=OTHER_CLUSTER))
    assert not keys(store)


def test_h13_a_segment_of_another_size_than_the_cluster_s_is_refused(tmp_path: Path) -> None:
    pg_wal = write_data_directory(tmp_path / "pg", segment_size=16 * MIB)
    with pytest.raises(Corrupt, match="segment of 1048576 bytes"):
        push(MemoryStore(), write_segment(pg_wal))


def test_a_relative_path_is_seen_from_the_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_segment(write_data_directory(tmp_path / "pg"), cluster=OTHER_CLUSTER)
    monkeypatch.chdir(tmp_path / "pg")
    with pytest.raises(WrongCluster):
        push(MemoryStore(), Path("pg_wal") / NAME)


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"x",
        segment()[:-1],
        segment() + b"\0",
        segment()[: SIZE // 2],
        b"\0" * SIZE,
        segment(FIRST.next()),
        segment(SegmentName(2, FIRST.number, SIZE)),
        b"<html>" * 1000,
    ],
)
def test_h05_h13_files_that_are_not_the_segment_are_refused(tmp_path: Path, bad: bytes) -> None:
    store, path = MemoryStore(), tmp_path / NAME
    path.write_bytes(bad)
    with pytest.raises(Corrupt):
        push(store, path)
    assert not keys(store)


@given(st.binary(max_size=100))
def test_arbitrary_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    for name in (NAME, "00000002.history", f"{NAME}.00000028.backup", f"{NAME}.partial"):
        path = tmp_path_factory.getbasetemp() / name
        path.write_bytes(data)
        with pytest.raises(WalEError):
            push(MemoryStore(), path)


def test_a_segment_may_carry_its_parent_s_timeline_in_its_header(tmp_path: Path) -> None:
    child = SegmentName(2, 8, SIZE)
    path = tmp_path / str(child)
    path.write_bytes(header(child, timeline=1).ljust(SIZE, b"\0"))
    assert push(MemoryStore(), path).fresh


@pytest.mark.parametrize(
    "name",
    [
        "x",
        "RECOVERYXLOG",
        "00000001000000000000000g",
        f"{NAME}.zst",
        f"{NAME}.ready",
        f"{NAME}\n",
        f"{NAME} ",
        "1.history",
    ],
)
def test_h60_other_names_are_refused_before_anything_is_looked_at(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="not the name of a WAL file"):
        push(MemoryStore(), tmp_path / name)


def test_h06_histories_labels_and_partials_are_archived(tmp_path: Path, store: Store) -> None:
    pg_wal = write_data_directory(tmp_path / "pg")
    files = {"00000002.history": HISTORY_2, f"{NAME}.00000028.backup": LABEL, f"{NAME}.partial": segment()}
    for name, content in files.items():
        (pg_wal / name).write_bytes(content)
        assert push(store, pg_wal / name).fresh
        assert not push(store, pg_wal / name).fresh
        assert stored(store, name) == content


def test_h06_a_second_partial_is_stored_aside_and_said(tmp_path: Path) -> None:
    store, path, heard = MemoryStore(), tmp_path / f"{NAME}.partial", Listener()
    for seed in (0, 1):
        path.write_bytes(segment(seed=seed))
        result = push_file(store, path, OPTIONS, heard)
    assert result.fresh
    assert result.key != f"wal_005/{NAME}.partial.zst"
    assert "stored a partial segment aside" in heard.messages


def test_h09_a_history_is_never_overwritten(tmp_path: Path, store: Store) -> None:
    pg_wal = write_data_directory(tmp_path / "pg")
    path = pg_wal / "00000002.history"
    path.write_bytes(HISTORY_2)
    push(store, path)
    path.write_bytes(HISTORY_2.replace(b"8", b"9"))
    with pytest.raises(ArchiveConflict):
        push(store, path)
    assert stored(store, path.name) == HISTORY_2


def test_a_text_from_nowhere_does_not_claim_an_archive(tmp_path: Path) -> None:
    store, path = MemoryStore(), tmp_path / "00000002.history"
    path.write_bytes(HISTORY_2)
    with pytest.raises(DataDirectoryError, match="which cluster"):
        push(store, path)
    assert not keys(store)
    ensure_identity(store, CLUSTER)
    assert push(store, path).fresh


def test_h02_a_text_of_another_cluster_is_refused(tmp_path: Path) -> None:
    store, pg_wal = MemoryStore(), write_data_directory(tmp_path / "pg", OTHER_CLUSTER)
    ensure_identity(store, CLUSTER)
    (pg_wal / "00000002.history").write_bytes(HISTORY_2)
    with pytest.raises(WrongCluster):
        push(store, pg_wal / "00000002.history")


def test_a_file_that_cannot_be_read_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataDirectoryError, match="could not read") as caught:
        push(MemoryStore(), tmp_path / NAME)
    assert "%p" in str(caught.value.hint)
    (tmp_path / NAME).mkdir()
    with pytest.raises(DataDirectoryError, match="not a regular file"):
        push(MemoryStore(), tmp_path / NAME)
    big = tmp_path / "00000002.history"
    big.write_bytes(b"#" * (2 * MIB))
    with pytest.raises(Corrupt, match="too many"):
        push(MemoryStore(), big)


def test_a_file_that_vanishes_on_the_way_is_a_clear_error(tmp_path: Path) -> None:
    path = write_segment(tmp_path)
    store = MemoryStore()
    ensure_identity(store, CLUSTER)
    with pytest.raises(DataDirectoryError, match="could not read"):
        push_file(store, path, OPTIONS, lambda _event: path.unlink())
    assert keys(store) == {"cluster.json"}


@pytest.mark.parametrize("in_memory", [True, False])
def test_h13_a_file_that_changes_before_it_is_stored_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: bool
) -> None:
    """What was checked is not what would be stored: nothing is."""
    monkeypatch.setattr("wal_e.repo.source.IN_MEMORY", SIZE if in_memory else SIZE - 1)
    store = MemoryStore()
    ensure_identity(store, CLUSTER)
    for content in (b"x" * SIZE, segment()[:-1], b""):
        path = write_segment(tmp_path)
        os.utime(path, ns=(1, 1))
        change = partial(path.write_bytes, content)
        with pytest.raises(DataDirectoryError, match="changed while it was archived"):
            push_file(store, path, OPTIONS, lambda _event, change=change: change())  # type: ignore[misc]
        assert keys(store) == {"cluster.json"}


def test_h04_a_file_that_changes_while_it_is_stored_is_no_success(tmp_path: Path) -> None:
    path = write_segment(tmp_path)
    os.utime(path, ns=(1, 1))

    class Slow(MemoryStore):
        def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
            if key != "cluster.json":
                path.write_bytes(segment(seed=1))
            return super().put(key, body, create_only=create_only)

    store = Slow()
    with pytest.raises(DataDirectoryError, match="changed while it was archived"):
        push(store, path)
    assert stored(store) == segment()


def test_h10_archive_status_is_never_touched(tmp_path: Path) -> None:
    pg_wal = write_data_directory(tmp_path / "pg")
    status = pg_wal / "archive_status"
    status.mkdir()
    (status / f"{NAME}.ready").touch()
    push(MemoryStore(), write_segment(pg_wal))
    assert [entry.name for entry in status.iterdir()] == [f"{NAME}.ready"]


def test_the_original_s_words(tmp_path: Path) -> None:
    heard = Listener()
    path = write_segment(tmp_path)
    push_file(MemoryStore(), path, PushOptions(location="swift://c/p/"), heard)
    begin, complete = heard.events
    assert isinstance(begin, Message)
    assert isinstance(complete, Message)
    url = f"swift://c/p/wal_005/{NAME}.zst"
    assert (begin.source, begin.message) == ("wal_e.worker.upload", "begin archiving a file")
    assert begin.detail == f'Uploading "{path}" to "{url}".'
    assert begin.fields == {"action": "push-wal", "key": url, "prefix": "p/", "seg": NAME, "state": "begin"}
    assert complete.message == "completed archiving to a file"
    assert str(complete.detail).startswith(f'Archiving to "{url}" complete at ')
    assert complete.fields["state"] == "complete"
    assert complete.fields["rate"]


@pytest.mark.parametrize("mode", SILENT_MODES)
def test_h04_a_fault_at_any_call_leaves_nothing_or_the_whole(tmp_path: Path, mode: Mode) -> None:
    path = write_segment(tmp_path)
    for prepared in (False, True):
        for call in range(1, 20):
            inner = MemoryStore()
            if prepared:
                push(inner, path)
            faulty = FaultyStore(inner, call=call, mode=mode)
            done = push_or_error(faulty, path)
            assert keys(inner) <= {"cluster.json", f"wal_005/{NAME}.zst"}
            if done or f"wal_005/{NAME}.zst" in keys(inner):
                assert stored(inner) == segment()
            push(inner, path)
            assert stored(inner) == segment()
            if not faulty.reached:
                break
        else:
            pytest.fail("the push never ends")


def push_or_error(store: Store, path: Path) -> bool:
    try:
        push(store, path)
    except (StoreError, Corrupt, WrongCluster):
        return False
    return True


def test_h04_an_outage_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        push(FaultyStore(MemoryStore(), last=ALWAYS), write_segment(tmp_path))


@pytest.mark.parametrize("mode", ["kill", "killed"])
def test_h04_sigkill_at_any_call_leaves_nothing_or_the_whole(tmp_path: Path, mode: Mode) -> None:
    path = write_segment(tmp_path)
    for call in range(1, 20):
        archive = folder(tmp_path / f"archive{call}")
        child = os.fork()
        if not child:
            _push_and_exit(FaultyStore(archive, call=call, mode=mode), path)
        status = os.waitpid(child, 0)[1]
        if f"wal_005/{NAME}.zst" in keys(archive):
            assert stored(archive) == segment()
        push(archive, path)
        assert stored(archive) == segment()
        if status == 0:
            assert call > 3
            return
        assert os.WTERMSIG(status) == signal.SIGKILL
    pytest.fail("the push never ends")


def _push_and_exit(store: Store, path: Path) -> None:
    try:
        push(store, path)
        os._exit(0)
    finally:
        os._exit(1)
