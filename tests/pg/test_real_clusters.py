"""What wal_e.pg reads and writes, against servers of every major."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.account import give_to_server
from lab.postgres import Postgres
from tests.pg.copying import archiving, back_up, configure, own, restoring, session
from tests.plugins.postgres import PostgresFactory
from wal_e.errors import ServerError
from wal_e.pg.backup_manifest import WalRange, manifest_version, render
from wal_e.pg.control import State, read_control
from wal_e.pg.datadir import scan
from wal_e.pg.exclusion import is_relation, relation_block_offset
from wal_e.pg.history import History, parse_history
from wal_e.pg.page import PAGE_SIZE, bad_pages
from wal_e.pg.recovery import SIGNALS_SINCE, RecoverySettings, Target
from wal_e.pg.segment import HEADER_SIZE, check_segment, parse_header
from wal_e.pg.wal import Lsn, is_segment

pytestmark = pytest.mark.slow
Restored = Callable[..., Postgres]


@pytest.fixture
def archive(pg_tmp: Path) -> Path:
    return give_to_server(pg_tmp / "archive")


def test_pg_control_agrees_with_the_server(pg_major: int, postgres_factory: PostgresFactory) -> None:
    cluster = postgres_factory(pg_major)
    cluster.sql("create table t as select generate_series(1, 100) as n; checkpoint")
    query = (
        "select system_identifier, pg_control_version, catalog_version_no, checkpoint_lsn::text, redo_lsn::text,"
        " timeline_id, next_xid, database_block_size, blocks_per_segment, bytes_per_wal_segment,"
        " data_page_checksum_version from pg_control_system(), pg_control_checkpoint(), pg_control_init()"
    )
    row = cluster.sql(query)[0]
    cluster.stop()
    control = read_control(cluster.data_directory, attempts=1)[1]
    assert control.state is State.SHUT_DOWN
    epoch, _, xid = str(row[6]).partition(":")
    assert control.next_xid >= int(epoch) << 32 | int(xid)
    assert control.checkpoint > Lsn.parse(row[3])
    assert (control.system_identifier, control.pg_control_version, control.catalog_version) == row[:3]
    assert (control.timeline, control.block_size, control.relation_segment_blocks) == (row[5], row[7], row[8])
    assert (control.wal_segment_size, control.data_checksums) == row[9:]
    cluster.start()
    again = read_control(cluster.data_directory)[1]
    row = cluster.sql(query)[0]
    assert (str(again.checkpoint), str(again.redo)) == (row[3], row[4])


@pytest.mark.parametrize("size", [1, 64])
def test_h12_segments_of_every_size_pass(size: int, postgres_factory: PostgresFactory) -> None:
    for major in (11, 18):
        _segments_pass(postgres_factory(major, segment_size_mb=size))


def test_h13_segments_of_every_major_pass(pg_major: int, postgres_factory: PostgresFactory) -> None:
    _segments_pass(postgres_factory(pg_major))


def _segments_pass(cluster: Postgres) -> None:
    cluster.sql("create table t as select generate_series(1, 40000) as n")
    identifier = read_control(cluster.data_directory)[1].system_identifier
    written = cluster.value("select pg_walfile_name(pg_current_wal_flush_lsn())")
    checked = 0
    for segment in (cluster.data_directory / "pg_wal").iterdir():
        if is_segment(segment.name) and segment.name <= written:
            with segment.open("rb") as file:
                header = parse_header(file.read(HEADER_SIZE))
            check_segment(segment.name, header, segment.stat().st_size, identifier, major=cluster.major)
            checked += 1
    assert checked


def test_h34_every_page_of_a_real_cluster_has_its_checksum(pg_major: int, postgres_factory: PostgresFactory) -> None:
    cluster = postgres_factory(pg_major)
    cluster.sql("create table t (n int primary key, x text); insert into t select n, n from generate_series(1, 9999) n")
    cluster.sql("vacuum t")
    cluster.stop()
    control = read_control(cluster.data_directory)[1]
    count = 0
    for file in scan(cluster.data_directory, pg_version=pg_major * 10000).files:
        data = (cluster.data_directory / file.path).read_bytes()
        if is_relation(file.path):
            assert bad_pages(data, relation_block_offset(file.path, control.relation_segment_blocks)) == [], file.path
            count += len(data) // PAGE_SIZE
    assert count > 1000


@pytest.mark.parametrize("major", [15, 16, 18])
def test_the_scan_lists_what_pg_basebackup_copies(major: int, postgres_factory: PostgresFactory, pg_tmp: Path) -> None:
    cluster = postgres_factory(major, conf={"allow_in_place_tablespaces": "on"})
    root = cluster.data_directory
    space = give_to_server(pg_tmp / "space")
    cluster.sql(f"create tablespace far location '{space}'")
    cluster.sql("create tablespace near location ''")
    cluster.sql(
        "create unlogged table gone (n int); create table far (n int) tablespace far;"
        " create table near (n int) tablespace near; create unlogged table fargone (n int) tablespace far"
    )
    give_to_server(space / "PG_9_1")
    for name in (
        "pgsql_tmp1",
        "log/a.log",
        "base/pgsql_tmp/x",
        "pg_stat_tmp/x",
        "pg_replslot/x/state",
        "standby.signal",
    ):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    own(root)
    copied = give_to_server(pg_tmp / "theirs")
    done = cluster.run_tool(
        "pg_basebackup", "-D", copied, "-X", "none", "-c", "fast", "--no-manifest", "-T", f"{space}={pg_tmp}/relocated"
    )
    assert done.returncode == 0, done.stderr
    ours = scan(root, pg_version=major * 10000)
    theirs = set(_walk(copied))
    assert [found.location for found in ours.tablespaces] == [str(space)]
    added = {"backup_label", "tablespace_map", "global/pg_control", "standby.signal"}
    assert {file.path for file in ours.files} == {path for path, directory in theirs if not directory} - added
    assert {entry.path for entry in ours.directories} == {path for path, directory in theirs if directory}


def test_h53_a_copy_recovers_on_a_new_timeline(
    pg_major: int, postgres_factory: PostgresFactory, restored_factory: Restored, pg_tmp: Path, archive: Path
) -> None:
    cluster = postgres_factory(pg_major, conf=archiving(archive))
    cluster.sql("create table t (n int); insert into t values (1)")
    copy = back_up(cluster, pg_tmp / "copy", during=lambda: _insert(cluster, 2))
    _insert(cluster, 3)
    _switch(cluster, archive)
    settings = RecoverySettings(restoring(archive), archive_mode_off=True)
    configure(pg_tmp / "copy", settings, pg_major)
    clone = restored_factory(pg_major, pg_tmp / "copy").start()
    clone.wait_for("select pg_is_in_recovery()", expected=False)
    assert clone.sql("select n from t order by n") == [(1,), (2,), (3,)]
    assert clone.value("show archive_mode") == "off"
    with session(clone) as server:
        assert server.identify().timeline == 2
    history = parse_history(2, (pg_tmp / "copy/pg_wal/00000002.history").read_bytes())
    assert history.usable(1, copy.stop.lsn)
    assert history.ancestors == (1,)


@pytest.mark.parametrize("kind", ["time", "lsn", "xid", "name", "immediate"])
@pytest.mark.parametrize("major", [10, 12, 15, 18])
def test_h54_each_target_is_reached_whatever_was_configured_before(
    major: int,
    kind: str,
    postgres_factory: PostgresFactory,
    restored_factory: Restored,
    pg_tmp: Path,
    archive: Path,
) -> None:
    cluster = postgres_factory(major, conf=archiving(archive) | {"timezone": "Asia/Kolkata"})
    cluster.sql("create table t (n int); insert into t values (1)")
    copy = back_up(cluster, pg_tmp / "copy")
    _insert(cluster, 2)
    targets = {
        "time": Target.at_time(cluster.value("select clock_timestamp()")),
        "lsn": Target.at_lsn(Lsn.parse(cluster.value("select pg_current_wal_insert_lsn()::text"))),
        "name": Target.at_name("before three"),
        "immediate": Target.immediate(),
    }
    cluster.sql("select pg_create_restore_point('before three')")
    _insert(cluster, 3)
    xid = int(cluster.value("select xmin::text from t where n = 3"))
    targets["xid"] = Target.at_xid(xid, inclusive=False)
    assert xid >= (copy.stop.xmax or 0)
    _switch(cluster, archive)
    if major >= 12:
        with (pg_tmp / "copy/postgresql.conf").open("a") as file:
            file.write("recovery_target_time = '2001-01-01'\n")
        with (pg_tmp / "copy/postgresql.auto.conf").open("a") as file:
            file.write("recovery_target_xid = '3'\nrecovery_target_action = 'shutdown'\n")
    settings = RecoverySettings(
        restoring(archive), target=targets[kind], target_action="promote", archive_mode_off=True
    )
    configure(pg_tmp / "copy", settings, major)
    clone = restored_factory(major, pg_tmp / "copy").start()
    clone.wait_for("select pg_is_in_recovery()", expected=False)
    expected = [(1,)] if kind == "immediate" else [(1,), (2,)]
    assert clone.sql("select n from t order by n") == expected


def test_h39_a_follower_can_be_backed_up_until_it_is_promoted(
    pg_major: int, postgres_factory: PostgresFactory, restored_factory: Restored, pg_tmp: Path, archive: Path
) -> None:
    cluster = postgres_factory(pg_major, conf=archiving(archive))
    cluster.sql("create table t (n int); insert into t values (1)")
    back_up(cluster, pg_tmp / "copy")
    settings = RecoverySettings(restoring(archive), standby=True, archive_mode_off=True)
    configure(pg_tmp / "copy", settings, pg_major)
    standby = restored_factory(pg_major, pg_tmp / "copy").start()
    with session(standby) as server:
        facts = server.identify()
        assert (facts.in_recovery, facts.timeline) == (True, 1)
        start = server.start_backup("one")
        stop = server.stop_backup()
        assert start.in_recovery
        assert b"BACKUP FROM: standby" in stop.backup_label
        assert stop.xmax is not None
        with pytest.raises(ServerError):
            server.switch_wal()
        server.start_backup("two")
        _promote(standby)
        with pytest.raises(ServerError):
            server.stop_backup()


@pytest.mark.parametrize("major", [15, 16, 18])
def test_pg_verifybackup_accepts_our_manifest(major: int, postgres_factory: PostgresFactory, pg_tmp: Path) -> None:
    cluster = postgres_factory(major)
    copy = back_up(cluster, pg_tmp / "copy")
    wal = [WalRange(1, copy.start.lsn, copy.stop.lsn)]
    for version in {1, manifest_version(major)}:
        identifier = copy.facts.system_identifier if version > 1 else None
        (pg_tmp / "copy/backup_manifest").write_bytes(render(copy.files, wal, identifier, version))
        done = cluster.run_tool("pg_verifybackup", "-n", pg_tmp / "copy")
        assert done.returncode == 0, done.stderr
    with (pg_tmp / "copy/PG_VERSION").open("a") as file:
        file.write("x")
    assert cluster.run_tool("pg_verifybackup", "-n", pg_tmp / "copy").returncode != 0


@pytest.mark.parametrize("major", [12, 18])
def test_a_target_before_its_timeline_begins_makes_positions_descend(
    major: int, postgres_factory: PostgresFactory, restored_factory: Restored, pg_tmp: Path, archive: Path
) -> None:
    cluster = postgres_factory(major, conf=archiving(archive))
    cluster.sql("create table t (n int)")
    back_up(cluster, pg_tmp / "early")
    shutil.copytree(pg_tmp / "early", pg_tmp / "late")
    own(pg_tmp / "late")
    places = {}
    history = History(1)
    for value, name in enumerate(("early", "late")):
        _insert(cluster, value)
        places[name] = Lsn.parse(cluster.value("select pg_current_wal_insert_lsn()::text"))
        _switch(cluster, archive)
    for name in ("late", "early"):
        target = Target.at_lsn(places[name])
        configure(pg_tmp / name, RecoverySettings(restoring(archive), target=target, target_action="promote"), major)
        clone = restored_factory(major, pg_tmp / name).start()
        clone.wait_for("select pg_is_in_recovery()", expected=False)
        timeline = {"late": 2, "early": 3}[name]
        clone.wait_for("select last_archived_wal is not null from pg_stat_archiver")
        history = parse_history(timeline, (archive / f"{timeline:08X}.history").read_bytes())
        clone.stop()
    assert history.ancestors == (1, 2)
    assert history.entries[0].lsn >= places["late"] > history.entries[1].lsn
    assert history.timeline_at(places["late"]) == 3
    assert not history.usable(1, places["late"])
    assert history.usable(1, history.entries[1].lsn)


def _insert(cluster: Postgres, value: int) -> None:
    cluster.sql(f"insert into t values ({value})")  # noqa: S608 - a number


def _switch(cluster: Postgres, archive: Path) -> None:
    """Archive everything up to now."""
    name = cluster.value("select pg_walfile_name(pg_switch_wal())")
    cluster.wait_for(f"select last_archived_wal >= '{name}' from pg_stat_archiver")  # noqa: S608 - the server's word
    assert (archive / name).exists()


def _promote(standby: Postgres) -> None:
    if standby.major >= SIGNALS_SINCE:
        assert standby.value("select pg_promote()")
    else:
        trigger = standby.data_directory / "promote"
        trigger.touch()
        own(standby.data_directory)
        postmaster = int((standby.data_directory / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGUSR1)
    standby.wait_for("select pg_is_in_recovery()", expected=False)


def _walk(root: Path) -> Iterator[tuple[str, bool]]:
    """Each path below, with whether it is a directory; the links of tablespaces are followed, and not listed."""
    for folder, directories, files in os.walk(root, followlinks=True):
        for name in directories:
            path = Path(folder, name)
            if not path.is_symlink():
                yield path.relative_to(root).as_posix(), True
        for name in files:
            yield Path(folder, name).relative_to(root).as_posix(), False
