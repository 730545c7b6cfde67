"""The walk over data directories made for the purpose; real ones are walked in test_real_clusters.py."""

import os
from pathlib import Path

import pytest

from tests.pg.synthetic import control_bytes
from wal_e.errors import DataDirectoryError
from wal_e.events import Event, Message
from wal_e.pg.datadir import Scan, read_major, scan

CATALOG = 202209061
VERSION = "PG_15_202209061"


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for name in ("base/5", "global", "pg_tblspc", "pg_wal/archive_status", "pg_replslot/old", "pg_xact", "pg_notify"):
        (root / name).mkdir(parents=True)
    for name in ("base/5/1259", "global/pg_filenode.map", "pg_wal/000000010000000000000001", "pg_xact/0000"):
        (root / name).write_bytes(b"x" * 10)
    (root / "pg_replslot/old/state").touch()
    (root / "postmaster.pid").touch()
    (root / "PG_VERSION").write_text("15\n")
    (root / "global/pg_control").write_bytes(control_bytes(1300, catalog=CATALOG))
    return root


def look(root: Path) -> tuple[Scan, list[Message]]:
    events: list[Event] = []
    found = scan(root, pg_version=150004, emit=events.append)
    return found, [event for event in events if isinstance(event, Message)]


def paths(found: Scan) -> list[str]:
    return [entry.path for entry in found.files]


def directories(found: Scan) -> list[str]:
    return [entry.path for entry in found.directories]


def tablespace(root: Path, location: Path, oid: int = 16384) -> Path:
    (location / VERSION / "5").mkdir(parents=True)
    (location / VERSION / "5" / "16400").write_bytes(b"data")
    (root / "pg_tblspc" / str(oid)).symlink_to(location)
    return location


def test_h56_a_plain_cluster(cluster: Path) -> None:
    found, messages = look(cluster)
    assert paths(found) == ["PG_VERSION", "base/5/1259", "global/pg_filenode.map", "pg_xact/0000"]
    assert directories(found) == [
        *("base", "base/5", "global", "pg_notify", "pg_replslot", "pg_tblspc"),
        *("pg_wal", "pg_wal/archive_status", "pg_xact"),
    ]
    assert found.size == 33
    assert found.root.path == "."
    assert messages == []


def test_entries_say_what_lstat_says(cluster: Path) -> None:
    (cluster / "base/5/1259").chmod(0o640)
    status = (cluster / "base/5/1259").stat()
    entry = next(entry for entry in look(cluster)[0].files if entry.path == "base/5/1259")
    assert (entry.size, entry.mode, entry.inode) == (10, 0o640, status.st_ino)
    assert (entry.mtime_ns, entry.ctime_ns) == (status.st_mtime_ns, status.st_ctime_ns)
    assert (entry.uid, entry.gid) == (status.st_uid, status.st_gid)


def test_h38_a_linked_pg_wal_is_a_directory(cluster: Path, tmp_path: Path) -> None:
    (cluster / "pg_wal").rename(tmp_path / "wal")
    (cluster / "pg_wal").symlink_to(tmp_path / "wal")
    found, messages = look(cluster)
    assert "pg_wal" in directories(found)
    assert "pg_wal/archive_status" in directories(found)
    assert not any(path.startswith("pg_wal") for path in paths(found))
    assert messages == []


def test_h38_only_our_directory_of_a_tablespace(cluster: Path, tmp_path: Path) -> None:
    location = tablespace(cluster, tmp_path / "space")
    (location / "PG_14_202107181" / "5").mkdir(parents=True)
    (location / "PG_14_202107181" / "5" / "1").touch()
    (location / "other").touch()
    found, _ = look(cluster)
    assert [path for path in paths(found) if "tblspc" in path] == [f"pg_tblspc/16384/{VERSION}/5/16400"]
    assert [path for path in directories(found) if "tblspc/" in path] == [
        f"pg_tblspc/16384/{VERSION}",
        f"pg_tblspc/16384/{VERSION}/5",
    ]
    (space,) = found.tablespaces
    assert (space.oid, space.location, space.path) == (16384, str(location), "pg_tblspc/16384")


def test_h38_an_in_place_tablespace_is_an_ordinary_directory(cluster: Path) -> None:
    inside = cluster / "pg_tblspc/16384" / VERSION / "5"
    inside.mkdir(parents=True)
    for name in ("16400", "16401", "16401_init"):
        (inside / name).touch()
    found, messages = look(cluster)
    assert [Path(path).name for path in paths(found) if "tblspc" in path] == ["16400", "16401_init"]
    assert found.tablespaces == ()
    assert messages == []


def test_a_tablespace_inside_the_data_directory_is_copied_once(cluster: Path) -> None:
    tablespace(cluster, cluster / "mine")
    found, _ = look(cluster)
    assert [path for path in paths(found) if "16400" in path] == [f"pg_tblspc/16384/{VERSION}/5/16400"]
    assert not any(path.startswith("mine") for path in directories(found))


def test_a_tablespace_whose_location_is_gone_ends_the_scan(cluster: Path, tmp_path: Path) -> None:
    (cluster / "pg_tblspc/16384").symlink_to(tmp_path / "unmounted")
    with pytest.raises(DataDirectoryError, match="16384"):
        look(cluster)


def test_a_tablespace_without_our_directory_is_reported(cluster: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (cluster / "pg_tblspc/16384").symlink_to(tmp_path / "empty")
    found, messages = look(cluster)
    assert len(found.tablespaces) == 1
    assert "skipping" in messages[0].message


@pytest.mark.parametrize("place", ["base/16999", "pg_xact/0001", "base/5/2000", "global/1000"])
def test_h38_a_link_where_data_must_be_ends_the_scan(cluster: Path, tmp_path: Path, place: str) -> None:
    (cluster / place).symlink_to(tmp_path)
    with pytest.raises(DataDirectoryError, match="symbolic link"):
        look(cluster)


@pytest.mark.parametrize("place", ["log", "postgresql.conf", "pg_tblspc/notes"])
def test_h38_other_links_are_reported(cluster: Path, tmp_path: Path, place: str) -> None:
    (cluster / place).symlink_to(tmp_path)
    found, messages = look(cluster)
    assert len(messages) == 1
    assert place in messages[0].message
    assert place not in paths(found) + directories(found)


def test_a_named_pipe_is_reported(cluster: Path) -> None:
    os.mkfifo(cluster / "pipe")
    assert "pipe" in look(cluster)[1][0].message


def test_h32_vanished_files_and_directories_are_fine(cluster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: [*listdir(path), "vanished"])
    found, messages = look(cluster)
    assert "base/5/1259" in paths(found)
    assert not any("vanished" in path for path in paths(found))
    assert messages == []


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")])
def test_h32_another_failure_is_not_vanished(cluster: Path, monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    listdir = os.listdir

    def fail(path: str) -> list[str]:
        if path.endswith("base/5"):
            raise error
        return listdir(path)

    monkeypatch.setattr(os, "listdir", fail)
    with pytest.raises(DataDirectoryError, match=str(error.strerror)):
        look(cluster)


def test_names_that_are_not_utf8_survive(cluster: Path) -> None:
    raw = os.fsencode(cluster) + b"/caf\xe9"
    Path(os.fsdecode(raw)).touch()
    (path,) = (path for path in paths(look(cluster)[0]) if path.startswith("caf"))
    assert os.fsencode(path) == b"caf\xe9"


@pytest.mark.parametrize("missing", ["global/pg_control", "global/pg_filenode.map", "PG_VERSION"])
def test_a_directory_without_the_essentials_is_refused(cluster: Path, missing: str) -> None:
    (cluster / missing).unlink()
    with pytest.raises(DataDirectoryError):
        look(cluster)


def test_another_majors_directory_is_refused(cluster: Path) -> None:
    (cluster / "PG_VERSION").write_text("14\n")
    with pytest.raises(DataDirectoryError, match="PostgreSQL 14"):
        look(cluster)
    (cluster / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(DataDirectoryError):
        read_major(cluster)


def test_h56_summaries_have_their_directory_from_17_on(cluster: Path) -> None:
    (cluster / "PG_VERSION").write_text("17\n")
    (cluster / "global/pg_control").write_bytes(control_bytes(1700))
    assert "pg_wal/summaries" in directories(scan(cluster, pg_version=170002))
