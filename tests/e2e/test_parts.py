"""Restores of a part of a cluster, and over a copy that is there, started by real servers."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from lab.account import as_postgres
from lab.place import LabError
from lab.postgres import Postgres
from tests.e2e.scene import Scene, archive_all

pytestmark = pytest.mark.slow

SUM = "select count(*), sum(hashtext(t::text)) from wanted t"
AMCHECK_SINCE = 14


@pytest.fixture(params=[10, 15, 18], ids=lambda major: f"pg{major}")
def leader(request: pytest.FixtureRequest, scene: Scene) -> Iterator[Postgres]:
    """A cluster with two databases, written to before and after its backup."""
    leader = scene.leader(request.param)
    for name in ("one", "other"):
        leader.sql(f"create database {name}")
        leader.sql("create table wanted as select i, md5(i::text) from generate_series(1, 20000) i", name)
        leader.sql("create index on wanted (i)", name)
    leader.sql("checkpoint")
    scene.backup(leader)
    for name in ("one", "other"):
        leader.sql("update wanted set md5 = md5(md5) where i % 50 = 0", name)
        leader.sql("insert into wanted select i, 'new' from generate_series(20001, 21000) i", name)
        leader.sql("create table later as select 1 as one", name)
    archive_all(leader)
    return leader


def lead(copy: Postgres) -> None:
    copy.start()
    copy.wait_for("select pg_is_in_recovery()", expected=False)


def check_pages(copy: Postgres, database: str) -> None:
    if copy.major < AMCHECK_SINCE:
        return
    try:
        done = copy.run_tool("pg_amcheck", "--install-missing", "--heapallindexed", database)
    except LabError:
        return  # this lab has the client for some majors only
    assert done.returncode == 0, done.stdout + done.stderr


def test_one_database_comes_back_whole_and_the_others_can_be_dropped(leader: Postgres, scene: Scene) -> None:
    expected = leader.sql(SUM, "one")
    options = ("--only-database", "one", "--target-timeline", "latest")
    copy = scene.restore(leader.major, "LATEST", *options)
    shells = [
        path for path in copy.data_directory.glob("base/*/*") if path.stat().st_size > path.stat().st_blocks * 512
    ]
    assert shells
    assert not (copy.data_directory / "backup_manifest").exists()
    lead(copy)
    assert copy.sql(SUM, "one") == expected
    assert copy.value("select one from later", "one") == 1
    assert copy.sql("select count(*) from pg_class", "postgres") != [(0,)]
    with pytest.raises(psycopg.OperationalError):
        copy.connect("other")
    copy.sql("drop database other")
    copy.sql("create database other")
    copy.sql("checkpoint")
    check_pages(copy, "one")


def test_a_delta_restore_brings_a_leader_that_went_on_back_to_a_target(leader: Postgres, scene: Scene) -> None:
    """H49: the directory is refused while its server runs, and afterwards holds nothing of what came later."""
    expected = leader.sql(SUM, "one")
    target = leader.value("select pg_current_wal_lsn()")
    leader.sql("delete from wanted where i % 3 = 0", "one")
    leader.sql("create table unwanted as select generate_series(1, 5000)", "one")
    leader.sql("checkpoint")
    archive_all(leader)
    arguments = ("backup-fetch", "--delta", "--target-lsn", target, "--target-action", "promote")
    done = scene.run(*arguments, leader.data_directory, "LATEST")
    assert done.returncode == 1
    assert "a server may be running" in done.stderr
    pidfile = leader.data_directory / "postmaster.pid"
    hidden = pidfile.read_bytes()
    pidfile.unlink()
    done = scene.run(*arguments, leader.data_directory, "LATEST")
    assert done.returncode == 1
    assert "a server is running" in done.stderr
    pidfile.write_bytes(hidden)
    shutil.chown(pidfile, leader.data_directory.owner(), leader.data_directory.group())
    leader.stop()
    said = scene.wal_e(*arguments, "--dry-run", leader.data_directory, "LATEST").stdout
    assert "kept:" in said
    assert "removed:" in said
    assert (leader.data_directory / "global/pg_control").exists()
    scene.wal_e(*arguments, leader.data_directory, "LATEST")
    if leader.major >= 13:
        checked = leader.run_tool("pg_verifybackup", "-n", "-i", "postgresql.auto.conf", leader.data_directory)
        assert checked.returncode == 0, checked.stderr
    lead(leader)
    assert leader.sql(SUM, "one") == expected
    assert leader.value("select to_regclass('unwanted') is null", "one")
    check_pages(leader, "one")


def test_h50_a_copy_made_with_cp_does_not_overwrite_the_tablespaces_of_the_original(scene: Scene) -> None:
    place = scene.directory / "fast"
    place.mkdir()
    shutil.chown(place, "postgres", "postgres")
    leader = scene.leader(15)
    leader.sql(f"create tablespace fast location '{place}'")
    leader.sql("create table outside tablespace fast as select generate_series(1, 10000) as id")
    scene.backup(leader)
    archive_all(leader)
    copy = scene.new_path("copy")
    as_postgres(["cp", "-a", leader.data_directory, copy], check=True)
    (copy / "postmaster.pid").unlink()
    done = scene.run("backup-fetch", "--delta", copy, "LATEST")
    assert done.returncode == 1
    assert "a running server has a tablespace" in done.stderr
    assert (copy / "global/pg_control").exists()
    assert leader.value("select count(*) from outside") == 10000


def test_files_are_salvaged_from_a_backup_without_a_cluster(scene: Scene) -> None:
    leader = scene.leader(15)
    leader.sql("create table wanted as select i, md5(i::text) from generate_series(1, 20000) i")
    leader.sql("checkpoint")
    path = Path(leader.value("select pg_relation_filepath('wanted')"))
    expected = (leader.data_directory / path).read_bytes()
    scene.backup(leader)
    target = scene.new_path("some")
    plan = scene.wal_e("backup-fetch", "--only-file", f"{path}*", "--dry-run", target, "LATEST").stdout
    assert str(path) in plan
    assert not target.exists()
    scene.wal_e("backup-fetch", "--only-file", f"{path}*", "--only-file", "PG_VERSION", target, "LATEST")
    found = {str(item.relative_to(target)) for item in target.rglob("*") if item.is_file()}
    assert {str(path), "PG_VERSION"} <= found
    assert "global/pg_control" not in found
    assert len((target / path).read_bytes()) == len(expected)
    done = scene.run("backup-fetch", "--only-file", "*", "--standby", target, "LATEST")
    assert done.returncode == 1
    assert "goes with no option" in done.stderr
