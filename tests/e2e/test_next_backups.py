"""
Backups in a row of a server under pgbench's load, each building on the one before: PostgreSQL is the judge (H26, H30).

What each restores is compared at a point that is known: a restore point made right after it, for a table that only
this test writes; and in pgbench's own tables, whose sums agree with each other at any moment.
"""

import json
import os
import random
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import pytest

from lab.account import clean_environment, identity
from lab.postgres import Postgres
from lab.processes import wait_until
from tests.e2e.scene import Scene, archive_all

pytestmark = pytest.mark.slow
PGBENCH_SUMS = """
    select (select sum(abalance) from pgbench_accounts), (select sum(bbalance) from pgbench_branches),
           (select sum(tbalance) from pgbench_tellers), (select coalesce(sum(delta), 0) from pgbench_history)
"""
OWN_SUMS = """
    select (select sum(hashtext(p::text)) from pages p), (select sum(hashtext(s::text)) from swapped s),
           (select count(*) from emptied)
"""
FILL = "select n, repeat(md5(n::text), 20) as filler from generate_series(1, 3000) n"


@dataclass(frozen=True)
class Taken:
    """A backup, and what its tables must sum up to at the restore point of the same number."""

    name: str
    number: int
    sums: list[tuple[int, ...]]


@contextmanager
def load(server: Postgres) -> Iterator[None]:
    """pgbench at a steady rate as long as the block lasts."""
    command = [server.tool("pgbench"), "-n", "-c", "2", "-R", "150", "-T", "600"]
    bench = subprocess.Popen(
        command, env=clean_environment(server.dsn_environment()), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        **identity(),
    )  # fmt: skip
    try:
        server.wait_for("select count(*) > 20 from pgbench_history")
        yield
        assert bench.poll() is None, "the load ended before the backups did"
    finally:
        bench.terminate()
        bench.wait()


def prepare(server: Postgres) -> None:
    made = server.run_tool("pgbench", "-i", "-q", "-s", "1")
    assert made.returncode == 0, made.stderr
    for table in ("pages", "swapped", "emptied"):
        server.sql(f"create table {table} as {FILL}")
    server.sql("create index on pages (n)")


def updated(server: Postgres) -> None:
    server.sql("update pages set filler = md5(filler) where n % 50 = 1")
    server.sql("vacuum pages")
    server.sql("truncate emptied")


def remade(server: Postgres) -> None:
    server.sql("delete from pages where n > 2800")
    server.sql("vacuum (full) pages")
    server.sql("drop table swapped")
    server.sql(f"create table swapped as {FILL.replace('md5', 'quote_literal')}")
    server.sql(f"insert into emptied {FILL}")


def back_up(scene: Scene, server: Postgres, number: int) -> Taken:
    name = scene.backup(server)
    server.sql(f"select pg_create_restore_point('after{number}')")
    return Taken(name, number, server.sql(OWN_SUMS))


def kill_a_backup(scene: Scene, server: Postgres) -> None:
    """A backup that ends by SIGKILL once it has stored something; its lease is left behind."""
    backups = scene.directory / "archive" / "basebackups_006"
    before = set(backups.iterdir())
    run = subprocess.Popen(
        [scene.program, "backup-push", "--cluster-read-rate-limit=2000000", server.data_directory],
        env=clean_environment(scene.env | server.dsn_environment()), stderr=subprocess.DEVNULL, start_new_session=True,
        **identity(),
    )  # fmt: skip
    try:
        leases = scene.directory / "archive" / "leases"
        wait_until(lambda: leases.is_dir() and any(leases.rglob("*.json")), "the lease of a backup", 60)
        server.wait_for("select count(*) > 0 from pg_stat_activity where application_name ~ 'wal-e'")
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    server.wait_for("select count(*) from pg_stat_activity where application_name ~ 'wal-e'", 0)
    assert not [path for path in set(backups.iterdir()) - before if (path / "manifest.json.zst").exists()]


def check(scene: Scene, server: Postgres, taken: Taken) -> None:
    copy = scene.restore(server.major, taken.name, f"--target-name=after{taken.number}", "--target-action=promote")
    copy.start()
    copy.wait_for("select pg_is_in_recovery()", expected=False)
    assert copy.sql(OWN_SUMS) == taken.sums
    (sums,) = copy.sql(PGBENCH_SUMS)
    assert len(set(sums)) == 1, sums
    checked = copy.run_tool("pg_amcheck", "--all", "--install-missing", "--heapallindexed")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    copy.close()


@pytest.mark.parametrize("major", [15, 18], ids=lambda major: f"pg{major}")
def test_each_of_a_row_of_backups_under_load_is_right(scene: Scene, major: int) -> None:
    leader = scene.leader(major)
    prepare(leader)
    with load(leader):
        taken = [back_up(scene, leader, 0)]
        updated(leader)
        if major == 15:  # once is enough
            kill_a_backup(scene, leader)
        taken.append(back_up(scene, leader, 1))
        remade(leader)
        taken.append(back_up(scene, leader, 2))
    archive_all(leader)
    for before, one in pairwise(taken):
        shown = json.loads(scene.wal_e("backup-show", "--json", one.name).stdout)
        assert shown["parent"] == before.name
        assert shown["shared_bytes"] > 0
        assert shown["added_bytes"] < shown["size_bytes"] / 5
    random.Random(major).shuffle(taken)
    for number, one in enumerate(taken):
        check(scene, leader, one)
        if number < len(taken) - 1:
            scene.wal_e("delete", "--confirm", "backup", one.name)
