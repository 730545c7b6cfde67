"""Recovery to each kind of target, on a version with recovery.conf and on two with a signal file."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from lab.postgres import Postgres
from tests.e2e.scene import Scene, archive_all, file_scene

pytestmark = pytest.mark.slow
KINDS = ("time", "lsn", "xid", "name")


@dataclass
class History:
    """A leader that wrote `before` and then `after`; `marks` holds the moment between, as each kind names it."""

    scene: Scene
    leader: Postgres
    marks: dict[str, str]


@pytest.fixture(scope="module", params=[10, 15, 18], ids=lambda major: f"pg{major}")
def history(request: pytest.FixtureRequest) -> Iterator[History]:
    with file_scene() as scene:
        leader = scene.leader(request.param)
        leader.sql("create table log (what text)")
        scene.backup(leader)
        with leader.connect() as connection, connection.transaction():
            connection.execute("insert into log values ('before')")
            (xid,) = connection.execute("select txid_current()").fetchone() or (0,)
        time, lsn = leader.sql("select clock_timestamp()::text, pg_current_wal_lsn()::text")[0]
        leader.sql("select pg_create_restore_point('between')")
        leader.sql("insert into log values ('after')")
        archive_all(leader)
        yield History(scene, leader, {"time": time, "lsn": lsn, "xid": str(xid), "name": "between"})


@pytest.mark.parametrize("kind", KINDS)
def test_recovery_stops_at_the_target(history: History, kind: str) -> None:
    copy = history.scene.restore(
        history.leader.major, "LATEST", f"--target-{kind}={history.marks[kind]}", "--target-action=promote"
    )
    copy.start()
    copy.wait_for("select pg_is_in_recovery()", expected=False)
    assert copy.sql("select what from log") == [("before",)]


def test_the_immediate_target_is_the_end_of_the_backup(history: History) -> None:
    copy = history.scene.restore(history.leader.major, "LATEST", "--target-immediate", "--target-action=promote")
    copy.start()
    copy.wait_for("select pg_is_in_recovery()", expected=False)
    assert copy.sql("select what from log") == []


def test_a_copy_at_a_point_in_time_does_not_archive(history: History) -> None:
    """H03: it would write another timeline into the archive of the cluster it was made from."""
    copy = history.scene.restore(history.leader.major, "LATEST", "--target-name=between", "--target-action=promote")
    copy.start()
    copy.wait_for("select pg_is_in_recovery()", expected=False)
    assert copy.value("show archive_mode") == "off"
    copy.sql("select pg_switch_wal()")
    assert not history.scene.holds("00000002.history")


@pytest.mark.parametrize("target", ["--target-time=2001-02-03 04:05:06+00", "--target-lsn=0/1000028"])
def test_a_target_outside_the_window_is_refused_before_a_download(history: History, target: str) -> None:
    directory = history.scene.new_path("copy")
    done = history.scene.run("backup-fetch", directory, "LATEST", target)
    assert done.returncode == 1
    assert "HINT:" in done.stderr
    assert "Traceback" not in done.stderr
    assert not directory.exists() or not list(directory.iterdir())


def test_without_an_action_the_copy_waits_read_only(history: History) -> None:
    copy = history.scene.restore(history.leader.major, "LATEST", "--target-name=between")
    copy.start()
    copy.wait_for("select pg_is_wal_replay_paused()", expected=True)
    assert copy.sql("select what from log") == [("before",)]
