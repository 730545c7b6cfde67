"""Backups of a standby: the WAL comes from the primary, and two backups may begin at the same position."""

import pytest

from tests.e2e.scene import FOOBAR, FOOBAR_ROWS, Scene, archive_all

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("major", [10, 15, 18], ids=lambda major: f"pg{major}")
def test_two_standby_backups_with_one_start_position_do_not_collide(scene: Scene, major: int) -> None:
    """H24: the second would overwrite the first."""
    leader = scene.leader(major)
    leader.sql(FOOBAR)
    primary = scene.backup(leader)
    archive_all(leader)
    standby = scene.restore(major, "LATEST", "--standby").start()
    standby.wait_for("select count(*) from foobar", FOOBAR_ROWS)
    leader.sql("checkpoint")
    checkpoint = leader.value("select pg_current_wal_lsn()")
    archive_all(leader)
    # A first backup that began before this checkpoint was replayed would begin at the one before it.
    standby.wait_for(f"select pg_last_wal_replay_lsn() >= '{checkpoint}'")
    first = scene.backup(standby)
    second = scene.backup(standby)
    assert len({primary, first, second}) == 3
    assert first.split("_")[:3] == second.split("_")[:3]
    export = scene.new_path("export")
    scene.wal_e("export", "--wal", "--output", export, first)
    alone = scene.adopt(major, export, {"archive_mode": "off"}).start()
    assert alone.value("select count(*) from foobar") == FOOBAR_ROWS
    assert not alone.value("select pg_is_in_recovery()")
    alone.stop()
    for name in (first, second):
        copy = scene.restore(major, name, "--standby").start()
        copy.wait_for("select count(*) from foobar", FOOBAR_ROWS)
