"""Deletion on a real Swift, across a promotion: what the kept backup needs stays, what nobody can reach goes (H26)."""

import json

import pytest

from tests.e2e.scene import Scene, archive_all, promote

pytestmark = pytest.mark.slow


def test_h26_a_backup_of_the_new_leader_outlives_all_of_the_old_timeline(swift_scene_v3: Scene) -> None:
    scene = swift_scene_v3
    leader = scene.leader(15)
    leader.sql("create table kept as select generate_series(1, 1000) as n")
    first = scene.backup(leader)
    archive_all(leader)
    new_leader = scene.restore(15, "LATEST", "--standby").start()
    promote(new_leader)
    new_leader.sql("insert into kept select generate_series(1001, 2000)")
    archive_all(new_leader)
    second = scene.backup(new_leader)
    shown = json.loads(scene.wal_e("backup-show", "--json", second).stdout)
    assert shown["parent"] == first
    assert [origin["backup"] for origin in shown["packs"]] == [second, first]
    assert (shown["timeline"], shown["wal_missing"]) == (2, [])

    told = scene.wal_e("delete", "retain", "1").stderr
    assert f"{first}: There are 1 newer backups." in told
    assert set(scene.names()) == {first, second}
    scene.wal_e("delete", "--confirm", "retain", "1")
    assert scene.names() == [second]
    scene.wal_e("wal-verify")
    wal = {one["timeline"]: one for one in json.loads(scene.wal_e("wal-show", "--json").stdout)["timelines"]}
    assert wal[2]["first"] == shown["wal_first"]
    assert 1 not in wal or (wal[1]["first"] or "~")[8:] >= shown["wal_first"][8:]
    copy = scene.restore(15, second, "--standby").start()
    assert copy.value("select count(*) from kept") == 2000
