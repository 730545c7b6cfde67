"""Restores over a copy that is there: it becomes what the backup is, and nothing beyond it is touched (H49, H50)."""

import hashlib
import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.backup.tiny import Listener, expected_tree, fetch, push, restored_tree
from tests.faults.faulty_store import FaultyStore
from tests.restore.damaged import CHANGED, STRANGE, bare, copy_of, damage
from wal_e.errors import Corrupt, DataDirectoryError
from wal_e.events import silent
from wal_e.pg.control import CONTROL_PATH
from wal_e.repo.blockmap import BLOCK_SIZE
from wal_e.repo.catalogue import list_backups, load_manifest
from wal_e.restore import survey
from wal_e.restore.delta import check_tablespaces, holds_copy
from wal_e.restore.directory import UNFINISHED_PATH, claimed, prepare
from wal_e.restore.run import RestoreRequest, plan_backup, restore_backup
from wal_e.restore.select import BackupQuery
from wal_e.store.drivers.memory import MemoryStore


@pytest.fixture(params=["plain", "tablespace"])
def source(request: pytest.FixtureRequest, tiny: Path, tiny_with_tablespace: Path) -> Path:
    return tiny if request.param == "plain" else tiny_with_tablespace


@pytest.fixture
def store(source: Path) -> MemoryStore:
    store = MemoryStore()
    push(store, source)
    return store


def request_for(target: Path) -> RestoreRequest:
    return RestoreRequest(target, threads=2, delta=True)


def everything(place: Path) -> dict[str, tuple[int, int, str]]:
    """Names, modes, times and content of all below, links as links."""
    found = {}
    for path in sorted(place.rglob("*")):
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(status.st_mode) else ""
        found[os.fspath(path.relative_to(place))] = (status.st_mode, status.st_mtime_ns, content)
    return found


def test_a_damaged_copy_becomes_what_the_backup_is(store: MemoryStore, source: Path, tmp_path: Path) -> None:
    target = damage(copy_of(source, tmp_path))
    planned = plan_backup(store, BackupQuery(), request_for(target), silent)
    report = fetch(store, target, request=request_for(target)).report
    assert report == planned
    assert restored_tree(target) == expected_tree(source)
    assert not any((target / name).exists() for name in STRANGE)
    assert not os.path.lexists(target / "pg_tblspc/999")
    assert not (target / UNFINISHED_PATH).exists()
    assert report.kept.count > report.changed.count > 3
    assert report.fetched < 30 * BLOCK_SIZE


def test_a_copy_that_is_right_is_not_written_and_no_pack_is_read_twice(
    store: MemoryStore, source: Path, tmp_path: Path
) -> None:
    target = copy_of(source, tmp_path)
    before = {path: (target / path).stat().st_mtime_ns for path in (CHANGED, "PG_VERSION")}
    report = fetch(store, target, request=request_for(target)).report
    assert (report.made.count, report.changed.count, report.fetched) == (0, 0, 0)
    assert {path: (target / path).stat().st_mtime_ns for path in before} == before
    assert restored_tree(target) == expected_tree(source)


def test_a_dry_run_changes_nothing(store: MemoryStore, source: Path, tmp_path: Path) -> None:
    target = damage(copy_of(source, tmp_path))
    before = everything(tmp_path)
    plan_backup(store, BackupQuery(), request_for(target), silent)
    assert everything(tmp_path) == before
    missing = tmp_path / "missing"
    report = plan_backup(store, BackupQuery(), RestoreRequest(missing), silent) if not _spaced(source) else None
    assert not missing.exists()
    assert report is None or report.fetched == report.made.size > 0


def _spaced(source: Path) -> bool:
    return any((source / "pg_tblspc").iterdir())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_change_to_any_file_is_undone(
    tiny: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    place = tmp_path_factory.mktemp("changed")
    source, store = bare(tiny, place / "whole"), MemoryStore()
    push(store, source)
    target = copy_of(source, place / "changed")
    paths = sorted(os.fspath(p.relative_to(target)) for p in target.rglob("*") if p.is_file())
    for path in data.draw(st.lists(st.sampled_from([p for p in paths if p != CONTROL_PATH]), max_size=6, unique=True)):
        content = bytearray((target / path).read_bytes())
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 20000))] = data.draw(st.binary(max_size=3)) * 5000
        (target / path).write_bytes(content)
    fetch(store, target, request=request_for(target))
    assert restored_tree(target) == expected_tree(source)


@pytest.mark.parametrize("content", [b"\1" * 8192, b"", b"short"])
@pytest.mark.parametrize("name", [CONTROL_PATH, UNFINISHED_PATH])
def test_h49_another_clusters_directory_is_refused_and_stays_as_it_is(
    store: MemoryStore, source: Path, tmp_path: Path, content: bytes, name: str
) -> None:
    target = copy_of(source, tmp_path)
    (target / CONTROL_PATH).unlink()
    (target / name).write_bytes(content)
    before = everything(tmp_path)
    with pytest.raises(DataDirectoryError, match="is not a copy of the cluster"):
        fetch(store, target, request=request_for(target))
    assert everything(tmp_path) == before


def test_h49_a_directory_without_any_sign_of_a_cluster_is_refused(
    store: MemoryStore, source: Path, tmp_path: Path
) -> None:
    target = copy_of(source, tmp_path)
    (target / CONTROL_PATH).unlink()
    assert not holds_copy(target)
    with pytest.raises(DataDirectoryError, match="is not empty"):
        fetch(store, target, request=request_for(target))
    shutil.rmtree(target / "global")
    (target / "global").symlink_to(source / "global")
    with pytest.raises(DataDirectoryError, match="is not a copy") as error:
        fetch(store, target, request=request_for(target))
    assert "not a plain directory" in (error.value.detail or "")
    assert (source / CONTROL_PATH).exists()


def test_wal_that_was_never_archived_is_said_before_it_goes(tiny: Path, tmp_path: Path) -> None:
    store, heard = MemoryStore(), Listener()
    push(store, tiny)
    target = copy_of(tiny, tmp_path)
    plan_backup(store, BackupQuery(), request_for(target), heard)
    assert "never archived" not in heard.text
    (target / "pg_wal/archive_status/000000010000000000000007.ready").touch()
    plan_backup(store, BackupQuery(), request_for(target), heard)
    assert "1 WAL files in pg_wal were never archived" in heard.text


def test_h49_a_server_or_another_restore_is_not_disturbed(store: MemoryStore, source: Path, tmp_path: Path) -> None:
    target = copy_of(source, tmp_path)
    (target / "postmaster.pid").write_text("1\n")
    with pytest.raises(DataDirectoryError, match="may be running"):
        fetch(store, target, request=request_for(target))
    (target / "postmaster.pid").unlink()
    with claimed(target), pytest.raises(DataDirectoryError, match="another restore is working"):
        fetch(store, target, request=request_for(target))
    assert (target / CONTROL_PATH).exists()


def test_h50_a_place_that_a_running_server_uses_is_refused(tmp_path: Path) -> None:
    served, space, link = tmp_path / "served", tmp_path / "space", tmp_path / "link"
    (served / "pg_tblspc").mkdir(parents=True)
    space.mkdir()
    link.symlink_to(space)
    (served / "pg_tblspc/16400").symlink_to(link)
    for place in (space, link):
        with pytest.raises(DataDirectoryError, match="a running server has a tablespace"):
            check_tablespaces(tmp_path / "copy", {7: place}, [served])
    check_tablespaces(tmp_path / "copy", {7: tmp_path / "own", 8: None}, [served])


def test_h51_what_other_names_or_links_lead_to_is_not_written(tiny: Path, tmp_path: Path) -> None:
    """pg_upgrade --link leaves files that two clusters share."""
    store = MemoryStore()
    push(store, tiny)
    target = copy_of(tiny, tmp_path)
    victim, outside = tmp_path / "victim", tmp_path / "outside"
    (target / CHANGED).write_bytes(b"another cluster's too")
    os.link(target / CHANGED, victim)
    (target / "pg_xact").rename(outside)
    (target / "pg_xact").symlink_to(outside)
    before = everything(outside)
    fetch(store, target, request=request_for(target))
    assert victim.read_bytes() == b"another cluster's too"
    assert everything(outside) == before
    assert restored_tree(target) == expected_tree(tiny)


def test_a_fresh_restore_that_died_is_continued_with_what_is_there(tiny: Path, tmp_path: Path) -> None:
    store = MemoryStore()
    push(store, tiny)
    target = copy_of(tiny, tmp_path)
    (target / CONTROL_PATH).unlink()
    (target / UNFINISHED_PATH).write_bytes(b"unfinished\n")
    report = fetch(store, target, request=request_for(target)).report
    assert report.fetched == 0
    assert restored_tree(target) == expected_tree(tiny)


def test_an_empty_target_is_restored_afresh(tiny: Path, tmp_path: Path) -> None:
    store = MemoryStore()
    push(store, tiny)
    (tmp_path / "data").mkdir()
    assert fetch(store, tmp_path / "data", request=request_for(tmp_path / "data")).report.kept.count == 0
    assert restored_tree(tmp_path / "data") == expected_tree(tiny)


def test_without_delta_a_delta_restore_that_died_begins_anew(tiny: Path, tmp_path: Path) -> None:
    store = MemoryStore()
    push(store, tiny)
    target = damage(copy_of(tiny, tmp_path))
    (target / CONTROL_PATH).rename(target / UNFINISHED_PATH)
    (target / "pg_tblspc/999").unlink()  # links stay, for they say where tablespaces go
    assert plan_backup(store, BackupQuery(), RestoreRequest(target), silent).removed.count > 10
    fetch(store, target)
    assert restored_tree(target) == expected_tree(tiny)


def test_a_block_that_the_disk_cannot_read_is_fetched(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    push(store, tiny)
    target = copy_of(tiny, tmp_path)
    real = survey.Surveyor._read

    def broken(self: survey.Surveyor, path: str, start: int, length: int) -> bytes:
        if path == CHANGED:
            raise OSError(5, os.strerror(5))
        return real(self, path, start, length)

    monkeypatch.setattr(survey.Surveyor, "_read", broken)
    report = fetch(store, target, request=request_for(target)).report
    assert report.changed.names == [CHANGED]
    assert restored_tree(target) == expected_tree(tiny)


def test_only_the_frames_that_are_needed_are_fetched(tiny: Path, tmp_path: Path) -> None:
    store = MemoryStore()
    push(store, tiny)
    target = copy_of(tiny, tmp_path)
    with (target / CHANGED).open("r+b") as file:
        file.write(b"changed")
    watched = FaultyStore(store, call=1 << 62)
    fetch(watched, target, request=request_for(target))
    everything_read = FaultyStore(store, call=1 << 62)
    fetch(everything_read, tmp_path / "fresh")
    assert restored_tree(target) == expected_tree(tiny)
    assert len(watched.log) <= len(everything_read.log) + 2


def test_a_map_that_does_not_fit_leaves_the_copy_as_it_is(store: MemoryStore, source: Path, tmp_path: Path) -> None:
    """The survey is the first to read packs; what it finds damaged ends the restore before pg_control is gone."""
    target = copy_of(source, tmp_path)
    packs = {pack.key for pack in load_manifest(store, list_backups(store)[0].name).packs}
    store.delete(packs)
    with pytest.raises(Corrupt):
        fetch(store, target, request=request_for(target))
    assert (target / CONTROL_PATH).exists()


def test_h51_a_file_twice_leaves_the_copy_as_it_is(tiny: Path, tmp_path: Path) -> None:
    store = MemoryStore()
    push(store, tiny)
    target = copy_of(tiny, tmp_path)
    manifest = load_manifest(store, list_backups(store)[0].name)
    files = tuple(manifest.files)
    twice = replace(manifest, files=(*files, files[0]))
    before = everything(target)
    with pytest.raises(Corrupt, match="twice"):
        restore_backup(store, twice, request_for(target), silent)
    assert everything(target) == before


def test_prepare_does_not_take_a_delta_restore_for_an_empty_directory(tiny: Path, tmp_path: Path) -> None:
    target = copy_of(tiny, tmp_path)
    with pytest.raises(DataDirectoryError, match="is not empty"):
        prepare(target, 0o700)
