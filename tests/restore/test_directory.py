"""The directory that a restore fills: what is refused (H49), what is resumed, what room it needs (H52)."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from wal_e.errors import DataDirectoryError
from wal_e.restore import directory
from wal_e.restore.directory import (
    UNFINISHED_PATH,
    Owner,
    check_space,
    choose_owner,
    is_unfinished,
    mark_version,
    prepare,
    publish_control,
    refuse_used,
    unmark_version,
)

CONTROL = "global/pg_control"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "data"


def names(path: Path) -> set[str]:
    return {os.fspath(found.relative_to(path)) for found in path.rglob("*")}


@pytest.mark.parametrize("mode", [0o700, 0o750])
def test_h56_a_missing_target_is_made_with_its_mode(target: Path, mode: int) -> None:
    prepare(target, mode)
    assert target.stat().st_mode & 0o777 == mode
    assert names(target) == {"global", UNFINISHED_PATH}
    assert is_unfinished(target)


def make_file(target: Path) -> None:
    (target / "PG_VERSION").touch()


def make_hidden(target: Path) -> None:
    (target / ".precious").touch()


def make_folder(target: Path) -> None:
    (target / "base").mkdir()


def make_cluster(target: Path) -> None:
    (target / "global").mkdir()
    (target / CONTROL).touch()


def make_cluster_with_mark(target: Path) -> None:
    make_cluster(target)
    (target / UNFINISHED_PATH).touch()


def make_tablespace_folder(target: Path) -> None:
    (target / "pg_tblspc/16400").mkdir(parents=True)


def make_linked_pg_tblspc(target: Path) -> None:
    (target / "pg_tblspc").symlink_to(target.parent)


def make_linked_global(target: Path) -> None:
    (target / "global").symlink_to(target.parent / "elsewhere")


@pytest.mark.parametrize(
    "fill",
    [
        make_file,
        make_hidden,
        make_folder,
        make_cluster,
        make_cluster_with_mark,
        make_tablespace_folder,
        make_linked_pg_tblspc,
        make_linked_global,
    ],
)
def test_h49_a_target_that_is_not_empty_is_refused_and_stays_as_it_is(
    target: Path, fill: Callable[[Path], None]
) -> None:
    target.mkdir()
    fill(target)
    before = names(target)
    for check in (refuse_used, lambda path: prepare(path, 0o700)):
        with pytest.raises(DataDirectoryError, match="is not empty"):
            check(target)
    assert names(target) == before


@pytest.mark.parametrize("unfinished", [True, False])
def test_h49_a_running_server_is_refused_whatever_else_is_there(target: Path, unfinished: bool) -> None:
    target.mkdir()
    if unfinished:
        prepare(target, 0o700)
    (target / "postmaster.pid").write_text("1\n")
    with pytest.raises(DataDirectoryError, match="may be running"):
        prepare(target, 0o700)
    assert (target / "postmaster.pid").exists()


def test_a_target_that_is_a_file_is_refused(target: Path) -> None:
    target.touch()
    with pytest.raises(DataDirectoryError, match="not a directory"):
        refuse_used(target)


@pytest.mark.parametrize("left", [[], [f".{Path(UNFINISHED_PATH).name}.0123456789ab.tmp"]])
def test_a_restore_that_died_while_it_marked_the_target_is_begun_again(target: Path, left: list[str]) -> None:
    (target / "global").mkdir(parents=True)
    for name in left:
        (target / "global" / name).touch()
    prepare(target, 0o700)
    assert names(target) == {"global", UNFINISHED_PATH}


def test_an_unfinished_restore_is_emptied_but_for_the_links_that_say_where_tablespaces_go(
    target: Path, tmp_path: Path
) -> None:
    ours, others, foreign = tmp_path / "ours", tmp_path / "others", tmp_path / "foreign"
    prepare(target, 0o700)
    (target / "pg_tblspc").mkdir()
    for number, place in enumerate((ours, others, foreign)):
        (place / "PG_15_1/5").mkdir(parents=True)
        (place / "PG_14_1").mkdir()
        (target / f"pg_tblspc/{number}").symlink_to(place)
    mark_version(ours / "PG_15_1", target)
    mark_version(foreign / "PG_15_1", tmp_path / "another-restore")
    (target / "pg_tblspc/9").mkdir()
    (target / "base/5").mkdir(parents=True)
    (target / "base/5/1").touch()
    prepare(target, 0o700)
    assert names(target) == {"global", UNFINISHED_PATH, "pg_tblspc", *(f"pg_tblspc/{n}" for n in range(3))}
    assert names(ours) == {"PG_14_1"}
    assert {"PG_15_1", "PG_15_1/5"} <= names(others)
    assert {"PG_15_1", "PG_15_1/5"} <= names(foreign)


def test_a_mark_goes_when_the_restore_is_complete(target: Path, tmp_path: Path) -> None:
    version = tmp_path / "space/PG_15_1"
    version.mkdir(parents=True)
    mark_version(version, target)
    assert len(names(tmp_path / "space")) == 2
    for _ in range(2):
        unmark_version(version)
        assert names(tmp_path / "space") == {"PG_15_1"}


def test_pg_control_appears_whole_with_its_mode_in_place_of_the_mark(target: Path) -> None:
    prepare(target, 0o700)
    publish_control(target, b"control", 0o640, Owner(os.geteuid(), os.getegid()))
    assert (target / CONTROL).read_bytes() == b"control"
    assert (target / CONTROL).stat().st_mode & 0o777 == 0o640
    assert names(target) == {"global", CONTROL}
    assert not is_unfinished(target)


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_h52_room_is_added_up_for_each_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory.shutil, "disk_usage", lambda _path: Usage(100, 0, 100))
    check_space([(tmp_path / "missing/deeper", 60), (tmp_path, 40)])
    with pytest.raises(DataDirectoryError, match="not enough room") as error:
        check_space([(tmp_path / "missing/deeper", 60), (tmp_path, 41)])
    assert "101 bytes, 100 are free" in (error.value.detail or "")


def test_a_target_that_cannot_be_made_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataDirectoryError, match="could not write"):
        prepare(tmp_path / "file/data", 0o700)


def test_root_gives_files_to_the_owner_of_the_target_or_of_the_backup(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert choose_owner(target, ("root", "root")) == Owner(0, 0)
    with pytest.raises(DataDirectoryError, match='no user "nobody-of-this-name"'):
        choose_owner(target, ("nobody-of-this-name", "x"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert choose_owner(target, ("nobody-of-this-name", "x")) is None


def test_the_owner_of_an_existing_target_is_kept(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target.mkdir()
    if os.geteuid() == 0:
        os.chown(target, 4711, 4712)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    status = target.stat()
    expected = Owner(status.st_uid, status.st_gid)
    assert choose_owner(target, ("root", "root")) == (expected if status.st_uid else Owner(0, 0))
    shutil.rmtree(target)
