"""The session of a base backup with real servers of every major."""

import os
from pathlib import Path

import pytest

from lab.postgres import Postgres
from lab.processes import free_ports
from tests.pg.copying import session
from tests.plugins.postgres import PostgresFactory
from wal_e.errors import ServerError, UsageError
from wal_e.pg.control import State, read_control
from wal_e.pg.server import Server
from wal_e.pg.wal import SegmentName

pytestmark = pytest.mark.slow


def test_h36_a_backup_has_a_label_and_no_timeouts(pg_major: int, postgres_factory: PostgresFactory) -> None:
    timeouts = dict.fromkeys(("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"), "99s")
    cluster = postgres_factory(pg_major, conf=timeouts | ({"idle_session_timeout": "98s"} if pg_major >= 14 else {}))
    with session(cluster) as server:
        facts = server.identify()
        assert (facts.major, facts.in_recovery, facts.timeline) == (pg_major, False, 1)
        assert facts.data_directory == str(cluster.data_directory)
        assert (facts.segment_size, facts.wal_level, facts.archive_mode) == (16 << 20, "replica", "off")
        assert (facts.archive_library is None) == (pg_major < 15)
        assert facts.data_checksums
        left = server._rows("SELECT name FROM pg_settings WHERE name ~ '_timeout$' AND source = 'configuration file'")
        assert [name for (name,) in left if name in (*timeouts, "idle_session_timeout")] == []
        start = server.start_backup("täglich: it's 100%", fast=True)
        control = read_control(cluster.data_directory)[1]
        assert (control.system_identifier, control.state) == (facts.system_identifier, State.IN_PRODUCTION)
        assert control.checkpoint >= start.lsn
        burnt = int(cluster.value("select txid_current()"))
        stop = server.stop_backup()
    assert stop.lsn > start.lsn
    assert stop.time > start.time
    assert stop.xmax == burnt + 1
    name = SegmentName.containing(1, start.lsn, facts.segment_size)
    assert f"START WAL LOCATION: {start.lsn} (file {name})\n".encode() in stop.backup_label
    assert "LABEL: täglich: it's 100%\n".encode() in stop.backup_label
    assert stop.tablespace_map == b""


def test_missing_privileges_come_with_the_grants_that_help(pg_major: int, postgres_factory: PostgresFactory) -> None:
    cluster = postgres_factory(pg_major)
    cluster.sql('create role "back Up" login')
    with session(cluster, user="'back Up'") as server:
        assert server.identify().data_directory is None
        lacking = server.privileges()
        assert len(lacking.missing) == 3
        with pytest.raises(ServerError, match="privilege") as caught:
            server.start_backup("x")
    assert caught.value.hint is not None
    assert caught.value.hint == lacking.grants
    cluster.sql(caught.value.hint.partition(": ")[2])
    with session(cluster, user="'back Up'") as server:
        assert server.privileges().missing == ()
        assert server.identify().data_directory == str(cluster.data_directory)
        server.start_backup("x")
        server.stop_backup()
        server.switch_wal()


def test_tablespaces_and_their_map(postgres_factory: PostgresFactory, pg_tmp: Path) -> None:
    conf = {"allow_in_place_tablespaces": "on"}
    cluster = postgres_factory(15, conf=conf)
    outside = _directory(cluster, pg_tmp / "back\\slash")
    quoted = str(outside)
    cluster.sql(f"create tablespace one location '{quoted}'")
    cluster.sql("create tablespace two location ''")
    with session(cluster) as server:
        one, two = server.identify().tablespaces
        server.start_backup("x")
        stop = server.stop_backup()
    assert (one.name, one.location) == ("one", quoted)
    assert (two.name, two.location) == ("two", "")
    assert stop.tablespace_map == f"{one.oid} {quoted}\n".replace("\\", "\\\\").encode()


def test_h36_a_lost_session_is_noticed_and_cannot_commit(postgres_factory: PostgresFactory) -> None:
    cluster = postgres_factory(15)
    with session(cluster) as server:
        server.start_backup("x")
        server.ping()
        cluster.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'wal-e'")
        with pytest.raises(ServerError, match="lost"):
            server.ping()
        with pytest.raises(ServerError, match="lost"):
            server.stop_backup()


def test_an_aborted_backup_leaves_the_server_free(postgres_factory: PostgresFactory) -> None:
    cluster = postgres_factory(14)
    with session(cluster) as server:
        server.start_backup("x")
        server.abort()
        server.abort()
        with pytest.raises(ServerError):
            server.stop_backup()
    with session(cluster) as server:
        server.start_backup("y")
        server.stop_backup()


def test_a_backup_that_never_started_cannot_stop(postgres_factory: PostgresFactory) -> None:
    with session(postgres_factory(16)) as server:
        with pytest.raises(ServerError, match="no base backup"):
            server.stop_backup()
        for label in ("two\nlines", "x" * 1024):
            with pytest.raises(UsageError):
                server.start_backup(label)


@pytest.mark.parametrize("major", [10, 15, 18])
def test_wal_level_minimal_comes_with_a_hint(postgres_factory: PostgresFactory, major: int) -> None:
    cluster = postgres_factory(major, conf={"wal_level": "minimal", "max_wal_senders": "0"})
    with session(cluster) as server, pytest.raises(ServerError) as caught:
        server.start_backup("x")
    assert caught.value.hint is not None
    assert "wal_level" in caught.value.hint


def test_the_archiver_and_other_segment_sizes(postgres_factory: PostgresFactory) -> None:
    conf = {"archive_mode": "on", "archive_command": "false"}
    cluster = postgres_factory(17, segment_size_mb=1, conf=conf)
    with session(cluster) as server:
        facts = server.identify()
        assert (facts.segment_size, facts.archive_mode, facts.archive_command) == (1 << 20, "on", "false")
        server.switch_wal()
        cluster.wait_for("select failed_count > 0 from pg_stat_archiver")
        statistics = server.archiver()
        assert statistics.last_failed_wal == cluster.value("select last_failed_wal from pg_stat_archiver")
        assert statistics.last_failed_time is not None


def test_no_server_is_an_error_with_a_hint() -> None:
    (port,) = free_ports(1)
    with pytest.raises(ServerError, match="connect") as caught:
        Server.connect(f"host=127.0.0.1 port={port}")
    assert caught.value.hint is not None
    with pytest.raises(ServerError, match="connect"):
        Server.connect("no=such option")


def _directory(cluster: Postgres, path: Path) -> Path:
    path.mkdir()
    owner = cluster.data_directory.stat()
    os.chown(path, owner.st_uid, owner.st_gid)
    return path


def test_databases_have_their_names_unless_one_is_not_text(postgres_factory: PostgresFactory) -> None:
    cluster = postgres_factory(15)
    cluster.sql('create database "it\'s größer"')
    with session(cluster) as server:
        assert {"postgres", "template0", "template1", "it's größer"} == {name for _, name in server.databases()}
        assert {oid for oid, _ in server.databases()} > {1}
    cluster.sql("create database latin encoding 'LATIN1' locale 'C' template template0")
    with cluster.connect("latin") as connection:
        connection.execute("set client_encoding to latin1")
        connection.execute('create database "größer"')
    with session(cluster) as server:
        assert server.databases() == ()
        server.start_backup("goes on")
        assert server.stop_backup().backup_label
