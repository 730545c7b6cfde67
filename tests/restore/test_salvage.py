"""Some files of a backup, and nothing else."""

from pathlib import Path

import pytest

from tests.backup.tiny import TABLESPACE, push
from wal_e.errors import DataDirectoryError, UsageError, WalEError
from wal_e.events import silent
from wal_e.pg.control import CONTROL_PATH
from wal_e.repo.catalogue import list_backups
from wal_e.restore.directory import prepare
from wal_e.restore.salvage import SalvageRequest, fetch_files, plan_files
from wal_e.restore.select import BackupQuery
from wal_e.store.drivers.memory import MemoryStore


@pytest.fixture
def store(tiny_with_tablespace: Path) -> MemoryStore:
    store = MemoryStore()
    push(store, tiny_with_tablespace)
    return store


def salvage(store: MemoryStore, target: Path, *patterns: str) -> dict[str, bytes]:
    request = SalvageRequest(target, patterns, threads=2)
    planned = plan_files(store, BackupQuery(), request, silent)
    assert fetch_files(store, BackupQuery(list_backups(store)[0].name), request, silent) == planned
    found = {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    assert planned.made.count == len(found)
    return found


def test_files_that_fit_come_with_their_content(store: MemoryStore, tiny_with_tablespace: Path, tmp_path: Path) -> None:
    found = salvage(store, tmp_path / "some", "base/5/b*", f"pg_tblspc/{TABLESPACE}/*/inside", "PG_VERSION")
    assert len(found) == 3
    assert found == {path: (tiny_with_tablespace / path).read_bytes() for path in found}
    assert not (tmp_path / "some/pg_tblspc" / str(TABLESPACE)).is_symlink()
    assert not (tmp_path / "some/global").exists()


def test_everything_that_fits_is_still_no_cluster(store: MemoryStore, tmp_path: Path) -> None:
    found = salvage(store, tmp_path / "all", "*")
    assert "PG_VERSION" in found
    assert CONTROL_PATH not in found
    assert not any("wal-e" in path for path in found)


def test_an_interrupted_run_is_repeated(store: MemoryStore, tmp_path: Path) -> None:
    target = tmp_path / "some"
    prepare(target, 0o700)
    (target / "base").mkdir()
    (target / "base/half").write_bytes(b"half")
    assert set(salvage(store, target, "PG_VERSION")) == {"PG_VERSION"}


def test_what_cannot_be_done_is_refused_before_anything_is_written(store: MemoryStore, tmp_path: Path) -> None:
    target = tmp_path / "some"
    for pattern in ("base/5/none", CONTROL_PATH):
        with pytest.raises(UsageError, match="no file of"):
            salvage(store, target, pattern)
    assert not target.exists()
    target.mkdir()
    (target / "precious").touch()
    with pytest.raises(DataDirectoryError, match="is not empty"):
        salvage(store, target, "*")
    store.delete([info.key for info in store.list() if "/pack-" in info.key])
    with pytest.raises(WalEError):
        salvage(store, tmp_path / "other", "*")
