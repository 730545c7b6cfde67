"""The main job on every major: archive, back up under load, make a follower from the archive alone, promote it."""

import pytest

from tests.e2e.scene import FOOBAR, FOOBAR_ROWS, Scene, archive_all, promote, writer

pytestmark = pytest.mark.slow


def test_a_follower_made_from_the_archive_alone(pg_major: int, scene: Scene) -> None:
    leader = scene.leader(pg_major)
    leader.sql(FOOBAR)
    with writer(leader) as written:
        scene.backup(leader)
    archive_all(leader)

    follower = scene.restore(pg_major, "LATEST", "--standby")
    assert (follower.data_directory / ("recovery.conf" if pg_major < 12 else "standby.signal")).exists()
    follower.start()
    assert follower.value("select count(*) from foobar") == FOOBAR_ROWS
    follower.wait_for("select count(*) from visits", written())

    leader.sql("insert into foobar select generate_series(1, 1000)")
    archive_all(leader)
    follower.wait_for("select count(*) from foobar", FOOBAR_ROWS + 1000)

    promote(follower)
    follower.sql("insert into foobar values (0)")
    assert follower.value("select count(*) from foobar") == FOOBAR_ROWS + 1001
    archive_all(follower)
    assert scene.holds("00000002.history")
