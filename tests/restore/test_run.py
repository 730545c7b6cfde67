"""A whole restore: hostile manifests (H51), full disks (H52), the skeleton (H56), owners, modes and tablespaces."""

import errno
import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.backup.tiny import TABLESPACE, check_restorable, expected_tree, fetch, push, restored_tree
from tests.repo.stored import packed
from wal_e.codec.compress import decompress
from wal_e.errors import Corrupt, DataDirectoryError, NoSuchBackup, UsageError, WalEError
from wal_e.events import silent
from wal_e.pg.control import CONTROL_PATH
from wal_e.repo.catalogue import list_backups, load_manifest
from wal_e.repo.layout import CLUSTER_KEY, manifest_key
from wal_e.repo.manifest import DirectoryRecord, Manifest, Tablespace, encode_manifest
from wal_e.restore import blocks, directory
from wal_e.restore.run import RestoreRequest, restore_backup
from wal_e.restore.tablespaces import Placing, RestoreSpec
from wal_e.store.api import Body, read_object
from wal_e.store.drivers.memory import MemoryStore

EMPTIED = ("pg_wal", "pg_wal/archive_status", "pg_notify", "pg_replslot", "pg_dynshmem", "pg_serial", "pg_snapshots")


@pytest.fixture
def store(tiny: Path) -> MemoryStore:
    store = MemoryStore()
    push(store, tiny)
    return store


@pytest.fixture
def spaced(tiny_with_tablespace: Path) -> MemoryStore:
    store = MemoryStore()
    push(store, tiny_with_tablespace)
    return store


def manifest_of(store: MemoryStore) -> Manifest:
    return load_manifest(store, list_backups(store)[0].name)


def restore(
    store: MemoryStore, manifest: Manifest, target: Path, placing: Placing | RestoreSpec = Placing.DEFAULT
) -> None:
    restore_backup(store, manifest, RestoreRequest(target, threads=2, placing=placing), silent)


def test_a_restore_is_byte_for_byte(store: MemoryStore, tiny: Path, tmp_path: Path) -> None:
    check_restorable(store, tiny, tmp_path / "data")
    check_restorable(store, tiny, tmp_path / "deep/er/data")
    (tmp_path / "empty").mkdir()
    check_restorable(store, tiny, tmp_path / "empty")


def test_h49_the_same_restore_again_is_refused_and_harms_nothing(
    store: MemoryStore, tiny: Path, tmp_path: Path
) -> None:
    fetch(store, tmp_path / "data")
    with pytest.raises(DataDirectoryError, match="is not empty"):
        fetch(store, tmp_path / "data")
    assert restored_tree(tmp_path / "data") == expected_tree(tiny)


@pytest.mark.parametrize("mode", [0o700, 0o750])
def test_h56_skeleton_modes_and_owners(own_tiny: Path, tmp_path: Path, mode: int) -> None:
    files = 0o640 if mode == 0o750 else 0o600
    for path in own_tiny.rglob("*"):
        path.chmod(mode if path.is_dir() else files)
        if os.geteuid() == 0:
            os.chown(path, own_tiny.stat().st_uid or 65534, own_tiny.stat().st_gid)
    own_tiny.chmod(mode)
    store = MemoryStore()
    push(store, own_tiny)
    target = tmp_path / "data"
    fetch(store, target)
    assert stat.S_IMODE(target.stat().st_mode) == mode
    for name in EMPTIED:
        assert stat.S_IMODE((target / name).stat().st_mode) == mode
    assert {stat.S_IMODE(path.stat().st_mode) for path in target.rglob("*") if path.is_dir()} == {mode}
    assert stat.S_IMODE((target / CONTROL_PATH).stat().st_mode) == files
    assert len({(path.stat().st_uid, path.stat().st_gid) for path in (target, *target.rglob("*"))}) == 1


def test_a_root_of_a_mode_that_postgresql_refuses_becomes_0700(store: MemoryStore, tmp_path: Path) -> None:
    manifest = manifest_of(store)
    others = tuple(record for record in manifest.directories if record.path != ".")
    restore(store, replace(manifest, directories=(DirectoryRecord(".", 0o777), *others)), tmp_path / "data")
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_tablespaces_go_where_links_say(spaced: MemoryStore, tiny_with_tablespace: Path, tmp_path: Path) -> None:
    target, space = tmp_path / "data", tmp_path / "space"
    (target / "pg_tblspc").mkdir(parents=True)
    (target / "pg_tblspc" / str(TABLESPACE)).symlink_to(space)
    check_restorable(spaced, tiny_with_tablespace, target)
    assert (target / "pg_tblspc" / str(TABLESPACE)).readlink() == space
    assert [path.name.startswith("PG_15_") for path in space.iterdir()] == [True]


def test_a_blind_restore_makes_plain_directories(
    spaced: MemoryStore, tiny_with_tablespace: Path, tmp_path: Path
) -> None:
    target = tmp_path / "data"
    restore(spaced, manifest_of(spaced), target, Placing.BLIND)
    assert not (target / "pg_tblspc" / str(TABLESPACE)).is_symlink()
    found, expected = restored_tree(target), expected_tree(tiny_with_tablespace)
    assert {path for path in found if path not in expected} == {f"pg_tblspc/{TABLESPACE}"}
    assert {k: v for k, v in found.items() if k in expected and k != "postgresql.auto.conf"} == {
        k: v for k, v in expected.items() if k != "postgresql.auto.conf"
    }
    assert "allow_in_place_tablespaces" in (target / "postgresql.auto.conf").read_text()


def test_h49_a_blind_restore_does_not_write_through_a_link_that_is_there(spaced: MemoryStore, tmp_path: Path) -> None:
    target, space = tmp_path / "data", tmp_path / "space"
    space.mkdir()
    (target / "pg_tblspc").mkdir(parents=True)
    (target / "pg_tblspc" / str(TABLESPACE)).symlink_to(space)
    restore(spaced, manifest_of(spaced), target, Placing.BLIND)
    assert list(space.iterdir()) == []
    assert not (target / "pg_tblspc" / str(TABLESPACE)).is_symlink()


def test_h50_a_specification_moves_tablespaces_and_the_source_is_not_touched(
    spaced: MemoryStore, tiny_with_tablespace: Path, tmp_path: Path
) -> None:
    target, space = tmp_path / "data", tmp_path / "moved"
    restore(spaced, manifest_of(spaced), target, RestoreSpec({TABLESPACE: str(space)}))
    assert restored_tree(target) == expected_tree(tiny_with_tablespace)
    assert (target / "pg_tblspc" / str(TABLESPACE)).readlink() == space
    before = expected_tree(tiny_with_tablespace)
    with pytest.raises(DataDirectoryError, match="already holds a tablespace"):
        restore(spaced, manifest_of(spaced), tmp_path / "second", Placing.SOURCE)
    assert expected_tree(tiny_with_tablespace) == before
    assert not (tmp_path / "second" / CONTROL_PATH).exists()


@pytest.mark.parametrize("location", ["relative", "", "/a\0b", "{target}/inside", "/"])
def test_h51_a_manifest_with_a_hostile_tablespace_is_refused(store: MemoryStore, tmp_path: Path, location: str) -> None:
    manifest = manifest_of(store)
    target = tmp_path / "data"
    hostile = Tablespace(7, location.format(target=target))
    changed = replace(manifest, summary=replace(manifest.summary, tablespaces=(hostile,)))
    with pytest.raises(UsageError):
        restore(store, changed, target)
    assert not target.exists()


@pytest.mark.parametrize("path", ["../escaped", "/tmp/escaped", "base/../../escaped", "a\0b", ""])  # noqa: S108 - never written
@pytest.mark.parametrize("kind", ["files", "directories"])
def test_h51_a_manifest_with_a_hostile_path_restores_nothing(
    store: MemoryStore, tmp_path: Path, path: str, kind: str
) -> None:
    key = manifest_key(list_backups(store)[0].name)
    document = json.loads(decompress(read_object(store, key), limit=1 << 24))
    document[kind][-1]["path"] = path
    store.put(key, Body.of(packed(document)))
    with pytest.raises(Corrupt, match="leaves the data directory"):
        fetch(store, tmp_path / "in" / "data")
    assert list(tmp_path.iterdir()) == []


def test_h51_a_file_twice_or_a_file_in_the_place_of_a_directory_is_refused(store: MemoryStore, tmp_path: Path) -> None:
    manifest = manifest_of(store)
    first = next(iter(manifest.files))
    for number, more in enumerate((first, replace(first, path="base"))):
        files = (*manifest.files, more)
        target = tmp_path / str(number)
        with pytest.raises(WalEError):
            restore(store, replace(manifest, files=files), target)
        assert not (target / CONTROL_PATH).exists()


def no_cluster(store: MemoryStore) -> None:
    store.delete([CLUSTER_KEY])


def bad_cluster(store: MemoryStore) -> None:
    store.put(CLUSTER_KEY, Body.of(b"{}"))


def other_cluster(store: MemoryStore) -> None:
    document = json.loads(read_object(store, CLUSTER_KEY))
    store.put(CLUSTER_KEY, Body.of(json.dumps(document | {"system_identifier": "1"}).encode()))


def other_seed(store: MemoryStore) -> None:
    document = json.loads(read_object(store, CLUSTER_KEY))
    store.put(CLUSTER_KEY, Body.of(json.dumps(document | {"digest_seed": "1"}).encode()))


def no_packs(store: MemoryStore) -> None:
    store.delete([info.key for info in store.list() if "/pack-" in info.key])


@pytest.mark.parametrize("damage", [no_cluster, bad_cluster, other_cluster, other_seed, no_packs])
def test_an_archive_that_lacks_something_is_corrupt(
    store: MemoryStore, tmp_path: Path, damage: Callable[[MemoryStore], None]
) -> None:
    damage(store)
    with pytest.raises(Corrupt):
        fetch(store, tmp_path / "data")
    assert not (tmp_path / "data" / CONTROL_PATH).exists()


def test_a_backup_without_pg_control_is_corrupt(store: MemoryStore, tmp_path: Path) -> None:
    manifest = manifest_of(store)
    files = tuple(record for record in manifest.files if record.path != CONTROL_PATH)
    with pytest.raises(Corrupt, match="no pg_control"):
        restore(store, replace(manifest, files=files), tmp_path / "data")


def test_an_empty_archive_has_no_backup(tmp_path: Path) -> None:
    with pytest.raises(NoSuchBackup):
        fetch(MemoryStore(), tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("step", ["pwrite", "room", "small files"])
def test_h52_a_full_disk_is_said_clearly_and_the_repeat_works(
    store: MemoryStore, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_arguments: object, **_words: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if step == "pwrite":
            patch.setattr(blocks.os, "pwrite", full)
        elif step == "room":
            patch.setattr(directory.shutil, "disk_usage", lambda _path: type("", (), {"free": 10}))
        else:
            patch.setattr("wal_e.restore.skeleton.write_atomically", full)
        with pytest.raises(DataDirectoryError, match=r"No space left|not enough room") as error:
            fetch(store, tmp_path / "data")
    assert error.value.hint
    assert not (tmp_path / "data" / CONTROL_PATH).exists()
    check_restorable(store, tiny, tmp_path / "data")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_damage_to_any_object_gives_the_right_content_or_an_error(
    store: MemoryStore, tiny: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    copy = MemoryStore()
    keys = []
    for info in store.list():
        copy.put(info.key, Body.of(read_object(store, info.key)))
        keys.append(info.key)
    key = data.draw(st.sampled_from(keys))
    content = bytearray(read_object(store, key))
    if data.draw(st.booleans()):
        bit = data.draw(st.integers(0, len(content) * 8 - 1))
        content[bit // 8] ^= 1 << bit % 8
    else:
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    copy.put(key, Body.of(content))
    target = tmp_path_factory.mktemp("damaged") / "data"
    try:
        fetch(copy, target)
    except WalEError:
        assert not (target / CONTROL_PATH).exists()
    else:
        assert restored_tree(target) == expected_tree(tiny)


@pytest.mark.parametrize("field", ["mtime_ns", "ctime_ns", "inode"])
@pytest.mark.parametrize("value", [-(10**18), 0, 10**30, -(10**30)])
def test_wild_times_in_a_manifest_do_not_matter(store: MemoryStore, tmp_path: Path, field: str, value: int) -> None:
    manifest = manifest_of(store)
    files = tuple(replace(record, **{field: value}) for record in manifest.files)  # type: ignore[arg-type] # integers all
    changed = replace(manifest, files=files)
    store.put(manifest_key(manifest.summary.name), Body.of(encode_manifest(changed)))
    fetch(store, tmp_path / "data")
    assert (tmp_path / "data" / CONTROL_PATH).exists()
