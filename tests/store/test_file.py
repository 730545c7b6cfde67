"""What a folder does when the file system does not play along."""

import errno
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from wal_e import fsio
from wal_e.errors import Denied, Exists, Misconfigured, NotFound, StoreError, Unavailable
from wal_e.store.api import Body, read_object
from wal_e.store.drivers.file import FolderStore


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def names(store: FolderStore) -> list[str]:
    return [info.key for info in store.list()]


def test_the_base_is_made_where_its_parent_is(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "archive")
    with pytest.raises(Misconfigured, match="does not exist"):
        names(store)
    store.put("a/b/c", Body.of(b"1"))
    assert names(store) == ["a/b/c"]
    assert (tmp_path / "archive").stat().st_mode & 0o077 == 0
    assert (tmp_path / "archive/a/b/c").stat().st_mode & 0o077 == 0


def test_a_missing_mount_is_not_an_empty_archive_h14(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "mnt" / "nas" / "archive")
    with pytest.raises(Misconfigured) as caught:
        store.put("k", Body.of(b"1"))
    assert "Mount" in (caught.value.hint or "")
    assert list(tmp_path.iterdir()) == []


def test_unfinished_puts_are_never_seen_h05(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put("a/k", Body.of(b"1"))
    left = tmp_path / "a" / ".l.0123456789ab.tmp"  # what a crash leaves
    left.write_bytes(b"half")
    assert names(store) == ["a/k"]
    assert [info.key for info in store.list("a/.")] == []
    for request in (
        lambda: store.head("a/.l.0123456789ab.tmp"),
        lambda: store.put("a/.l.0123456789ab.tmp", Body.of(b"")),
    ):
        with pytest.raises(Misconfigured):
            request()


def test_empty_directories_go_with_their_last_object(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "archive")
    store.put("a/b/c/d", Body.of(b"1"))
    store.put("a/e", Body.of(b"1"))
    store.delete(["a/b/c/d"])
    assert [path.name for path in (tmp_path / "archive/a").iterdir()] == ["e"]
    store.delete(["a/e"])
    assert list((tmp_path / "archive").iterdir()) == []


def test_puts_and_deletes_in_one_directory_do_not_trip_over_each_other(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    failures: list[StoreError] = []

    def come_and_go(number: int) -> None:
        for _ in range(100):
            try:
                store.put(f"a/b/{number}", Body.of(b"1"))
            except StoreError as error:
                failures.append(error)
            store.delete([f"a/b/{number}"])

    threads = [threading.Thread(target=come_and_go, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_key_is_a_file_or_a_folder_never_both(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put("a/b", Body.of(b"1"))
    with pytest.raises(Misconfigured):
        store.put("a/b/c", Body.of(b"1"))
    with pytest.raises((Misconfigured, Exists)):
        store.put("a", Body.of(b"1"))
    with pytest.raises(NotFound):
        store.head("a")
    with pytest.raises(NotFound):
        read_object(store, "a")
    assert files(tmp_path) == ["a/b"]


@pytest.mark.parametrize(
    ("number", "error", "hint"),
    [
        (errno.ENOSPC, Unavailable, "Free space"),
        (errno.EDQUOT, Unavailable, "quota"),
        (errno.EACCES, Denied, "permissions"),
        (errno.EROFS, Denied, "mount options"),
        (errno.EIO, Unavailable, "dmesg"),
        (errno.ESTALE, Unavailable, "dmesg"),
    ],
)
@pytest.mark.parametrize("create_only", [False, True])
def test_errors_at_fsync_leave_nothing_behind_h52(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Denied], hint: str, create_only: bool
) -> None:
    store = FolderStore(tmp_path)
    store.put("a/before", Body.of(b"1"))

    def fail(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fsio.os, "fsync", fail)
    with pytest.raises(error) as caught:
        store.put("a/k", Body.of(bytes(100_000)), create_only=create_only)
    assert type(caught.value) is error
    assert hint in (caught.value.hint or "")
    assert os.strerror(number) in (caught.value.detail or "")
    assert files(tmp_path) == ["a/before"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.slow
def test_a_full_disk_is_said_and_what_is_there_stays_h52(small_disk: Path) -> None:
    store = FolderStore(small_disk / "archive")
    store.put("a", Body.of(bytes(700_000)))
    with pytest.raises(Unavailable, match='could not store "b"') as caught:
        store.put("b", Body.of(bytes(700_000)))
    assert "Free space" in (caught.value.hint or "")
    assert names(store) == ["a"]
    assert files(small_disk) == ["archive/a"]
    store.delete(["a"])
    store.put("b", Body.of(bytes(700_000)))


def test_a_put_is_on_disk_before_it_returns_h04(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FolderStore(tmp_path / "archive")
    steps: list[str] = []
    fsync, link = os.fsync, os.link

    def noted_fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        steps.append("directory " + path.name if path.is_dir() else "file")
        fsync(descriptor)

    def noted_link(source: Path, target: Path) -> None:
        steps.append("link")
        link(source, target)

    monkeypatch.setattr(fsio.os, "fsync", noted_fsync)
    monkeypatch.setattr(fsio.os, "link", noted_link)
    store.put("a/b/k", Body.of(b"1"), create_only=True)
    assert steps == [f"directory {tmp_path.name}", "directory archive", "directory a", "file", "link", "directory b"]
    steps.clear()
    store.delete(["a/b/k"])
    assert steps == ["directory archive"]
