"""Promotion, the new timeline in the archive, and a follower that crosses the switch with nothing but the archive."""

import pytest

from tests.e2e.scene import Scene, archive_all, promote

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("major", [11, 15, 18], ids=lambda major: f"pg{major}")
def test_a_follower_crosses_a_timeline_switch(scene: Scene, major: int) -> None:
    leader = scene.leader(major)
    leader.sql("create table steps as select 1 as step")
    scene.backup(leader)
    archive_all(leader)
    heir = scene.restore(major, "LATEST", "--standby").start()
    follower = scene.restore(major, "LATEST", "--standby").start()

    leader.sql("insert into steps values (2)")
    archive_all(leader)
    heir.wait_for("select count(*) from steps", 2)
    leader.stop()
    promote(heir)
    heir.sql("insert into steps values (3)")
    archive_all(heir)
    assert scene.holds("00000002.history")
    follower.wait_for("select count(*) from steps", 3)
    assert follower.value("select pg_is_in_recovery()")

    # A backup on timeline 1 leads to the end of timeline 2, and so does one that the heir takes now.
    old = scene.restore(major, scene.names()[0], "--standby").start()
    old.wait_for("select count(*) from steps", 3)
    name = scene.backup(heir)
    assert name.startswith("base_00000002")
    heir.sql("insert into steps values (4)")
    archive_all(heir)
    new = scene.restore(major, name, "--standby").start()
    for copy in (new, old, follower):
        copy.wait_for("select count(*) from steps", 4)


def test_the_old_timeline_stays_reachable(scene: Scene) -> None:
    leader = scene.leader(15)
    leader.sql("create table steps as select 1 as step")
    scene.backup(leader)
    archive_all(leader)
    heir = scene.restore(15, "LATEST", "--standby").start()
    promote(heir)
    heir.sql("insert into steps values (2)")
    archive_all(heir)
    leader.sql("insert into steps values (10), (11)")
    archive_all(leader)

    copy = scene.restore(15, scene.names()[0], "--standby", "--target-timeline=1").start()
    copy.wait_for("select array_agg(step order by step) from steps", [1, 10, 11])
