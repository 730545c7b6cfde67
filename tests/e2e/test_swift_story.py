"""The story on a real Swift behind Keystone, with the variables that the original's users have."""

import pytest

from lab.keystone import KeystoneInfo
from tests.e2e.scene import FOOBAR, FOOBAR_ROWS, Scene, archive_all, promote, swift_scene, writer

pytestmark = pytest.mark.slow


def test_the_story_with_identity_v3(swift_scene_v3: Scene) -> None:
    _story(swift_scene_v3)


def test_the_story_with_identity_v2_and_a_tenant(keystone_swift: KeystoneInfo) -> None:
    container = keystone_swift.create_container("story-v2", "RegionTwo")
    with swift_scene(container, keystone_swift.environment(2, "RegionTwo")) as scene:
        _story(scene)


def _story(scene: Scene) -> None:
    leader = scene.leader(15)
    leader.sql(FOOBAR)
    with writer(leader) as written:
        scene.backup(leader)
    archive_all(leader)
    follower = scene.restore(15, "LATEST", "--standby").start()
    assert follower.value("select count(*) from foobar") == FOOBAR_ROWS
    follower.wait_for("select count(*) from visits", written())
    leader.sql("insert into foobar select generate_series(1, 1000)")
    archive_all(leader)
    follower.wait_for("select count(*) from foobar", FOOBAR_ROWS + 1000)
    promote(follower)
    follower.sql("insert into foobar values (0)")
    archive_all(follower)
