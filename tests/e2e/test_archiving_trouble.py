"""A base backup exists only when its WAL does: archiving that is off or broken is told, and leaves no backup behind."""

import pytest

from tests.e2e.scene import Scene, archive_all

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("conf", "said"),
    [({"archive_mode": "off"}, "archive_mode is off"), ({"archive_command": ""}, "archive_command is empty")],
)
def test_archiving_that_is_off_is_told_at_once(scene: Scene, conf: dict[str, str], said: str) -> None:
    leader = scene.leader(15, conf)
    done = scene.run("backup-push", leader.data_directory, server=leader)
    assert done.returncode == 1
    assert said in done.stderr
    assert "HINT:" in done.stderr
    assert scene.names() == []


def test_archiving_that_fails_ends_the_backup_at_the_deadline(scene: Scene) -> None:
    """H23: no manifest before the WAL is there, and a repeat succeeds."""
    leader = scene.leader(15, {"archive_command": "false"})
    done = scene.run("backup-push", leader.data_directory, server=leader, env={"WALE_BACKUP_WAL_TIMEOUT": "3"})
    assert done.returncode == 1
    assert "did not arrive in the archive" in done.stderr
    assert "The archiver failed" in done.stderr
    assert scene.names() == []
    assert not leader.sql("select 1 from pg_stat_activity where query like '%backup%' and pid <> pg_backend_pid()")

    push = scene.command('wal-push "%p"').replace("'", "''")
    leader.sql(f"alter system set archive_command = '{push}'")
    leader.reload()
    name = scene.backup(leader)
    archive_all(leader)
    scene.restore(15, name, "--standby").start()


@pytest.mark.parametrize("major", [10, 15, 18], ids=lambda major: f"pg{major}")
def test_a_stopped_cluster_is_backed_up_offline(scene: Scene, major: int) -> None:
    leader = scene.leader(major, {"archive_mode": "off"})
    leader.sql("create table kept as select generate_series(1, 1000)")
    refused = scene.run("backup-push", "--while-offline", leader.data_directory)
    assert refused.returncode == 1
    leader.stop()
    name = scene.backup(leader, "--while-offline")
    copy = scene.restore(major, name).start()
    copy.wait_for("select pg_is_in_recovery()", expected=False)
    assert copy.value("select count(*) from kept") == 1000
