"""backup-push of a running server, with a fault at each call of the store (H22, H23, H41)."""

import itertools
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from lab.postgres import Postgres
from lab.processes import wait_until
from tests.faults.faulty_store import FaultyStore, Mode
from tests.faults.forked import was_killed
from tests.plugins.postgres import PostgresFactory
from wal_e.backup.contents import BackupRequest
from wal_e.backup.run import push_backup
from wal_e.errors import ServerError, WalEError, WalMissing
from wal_e.events import silent
from wal_e.pg.control import read_control
from wal_e.repo.catalogue import list_backups, load_manifest
from wal_e.repo.layout import parse_wal_key
from wal_e.repo.source import Source
from wal_e.repo.wal import put_wal
from wal_e.restore.run import RestoreRequest, fetch_backup
from wal_e.restore.select import BackupQuery
from wal_e.store.api import ObjectInfo, Store
from wal_e.store.drivers.file import FolderStore
from wal_e.store.drivers.memory import MemoryStore

pytestmark = pytest.mark.slow


class Archiving(FaultyStore):
    """
    A store that has a segment as soon as it is asked for one: what archive_command copied to a folder is put first.

    So the number of calls does not depend on how fast the server archives.
    """

    def __init__(self, inner: Store, folder: Path, *, call: int = 1 << 62, mode: Mode = "fail") -> None:
        super().__init__(inner, call=call, mode=mode)
        self._folder = folder

    def head(self, key: str) -> ObjectInfo:
        stored = parse_wal_key(key)
        if stored is not None:
            wait_until((self._folder / f"{stored.name}.done").exists, f"{stored.name} to be archived", 30)
            put_wal(self.inner, stored.name, Source.of(self._folder / stored.name))
        return super().head(key)


@pytest.fixture
def folder(pg_tmp: Path) -> Path:
    folder = pg_tmp / "wal"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


@pytest.fixture
def server(postgres_factory: PostgresFactory, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Postgres]:
    command = f"cp %p {folder}/%f && touch {folder}/%f.done"
    server = postgres_factory(15, segment_size_mb=1, conf={"archive_mode": "on", "archive_command": command})
    for name, value in server.dsn_environment().items():
        monkeypatch.setenv(name, value)
    return server


def push(store: Store, server: Postgres, *, timeout: float = 30) -> str:
    request = BackupRequest(server.data_directory, threads=2, wal_timeout=timedelta(seconds=timeout))
    return push_backup(store, request, silent).summary.name


def check_whole(store: Store, target: Path, server: Postgres) -> None:
    """Every backup that can be seen is restored with all digests checked, and has its WAL."""
    for entry in list_backups(store):
        place = target / entry.name
        fetch_backup(store, BackupQuery(entry.name), RestoreRequest(place, threads=2), silent)
        manifest = load_manifest(store, entry.name)
        assert read_control(place)[1].system_identifier == manifest.summary.system_identifier
        assert (place / "backup_label").read_text() == manifest.backup_label
        done = server.run_tool("pg_verifybackup", "--no-parse-wal", place)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("mode", ["fail", "lost"])
def test_h22_a_fault_at_any_call_leaves_nothing_or_a_whole_backup(
    server: Postgres, folder: Path, pg_tmp: Path, mode: Mode
) -> None:
    for call in itertools.count(1):
        # An archive of its own: what a failed run leaves costs the next one more calls.
        inner = MemoryStore()
        store = Archiving(inner, folder, call=call, mode=mode)
        try:
            push(store, server)
        except WalEError:
            assert len(list_backups(inner)) <= (1 if mode == "lost" else 0)
        else:
            break
        finally:
            server.wait_for("select count(*) from pg_stat_activity where application_name ~ 'wal-e'", 0)
    assert call >= 7
    assert len(list_backups(inner)) == 1
    check_whole(inner, pg_tmp / "restored", server)


def test_h41_a_process_killed_at_any_call_leaves_nothing_or_a_whole_backup(
    server: Postgres, folder: Path, pg_tmp: Path
) -> None:
    seen = []
    for call in itertools.count(1):
        archive = pg_tmp / f"archive{call}"
        archive.mkdir()
        inner = FolderStore(archive)
        store = Archiving(inner, folder, call=call, mode="kill")
        if not was_killed(lambda store=store: push(store, server)):  # type: ignore[misc] # mypy cannot infer the default
            break
        seen.append(len(list_backups(inner)))
    # The last call is the release of the lease.
    assert seen == [0] * (call - 2) + [1]
    assert call >= 7
    check_whole(inner, pg_tmp / "restored", server)


def test_h23_wal_that_does_not_arrive_leaves_no_manifest(server: Postgres) -> None:
    server.sql("alter system set archive_command = 'false'")
    server.reload()
    server.wait_for("show archive_command", "false")
    store = MemoryStore()
    with pytest.raises(WalMissing, match="did not arrive") as error:
        push(store, server, timeout=0)
    assert "Missing: 0000000100000" in (error.value.detail or "")
    assert list_backups(store) == []
    assert any("/pack-" in info.key for info in store.list())


def test_a_server_without_archiving_is_refused_before_anything_is_stored(
    postgres_factory: PostgresFactory, server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    server.sql("alter system set archive_command = ''")
    server.reload()
    server.wait_for("show archive_command", "")
    with pytest.raises(ServerError, match="paused"):
        push(store, server)
    other = postgres_factory(15, segment_size_mb=1)
    for name, value in other.dsn_environment().items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ServerError, match="archiving is off"):
        push(store, other)
    assert list(store.list()) == []


def test_h36_a_session_that_is_lost_commits_nothing(server: Postgres, folder: Path) -> None:
    """The server forgets the backup with the session; the files are copied for nothing."""
    ended = threading.Event()

    class Ending(Archiving):
        def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
            if not ended.is_set() and prefix.startswith("basebackups_006/"):
                server.sql(
                    "select pg_terminate_backend(pid) from pg_stat_activity "
                    "where backend_type = 'client backend' and pid <> pg_backend_pid()"
                )
                ended.set()
            return super().list(prefix, after=after)

    inner = MemoryStore()
    with pytest.raises(ServerError):
        push(Ending(inner, folder), server)
    assert list_backups(inner) == []
