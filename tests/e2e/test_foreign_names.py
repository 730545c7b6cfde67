"""A user of WAL-G changes one word of each command, and no variable."""

import pytest

from tests.e2e.scene import FOOBAR, FOOBAR_ROWS, Scene, archive_all

pytestmark = pytest.mark.slow


def test_a_user_of_wal_g_changes_one_word(scene: Scene) -> None:
    scene.env = {
        "WALG_FILE_PREFIX": str(scene.directory / "archive"),
        "WALG_COMPRESSION_METHOD": "lz4",
        "WALG_UPLOAD_CONCURRENCY": "2",
        "WALG_DOWNLOAD_CONCURRENCY": "2",
        "WALG_PREVENT_WAL_OVERWRITE": "true",
        "WALG_DISK_RATE_LIMIT": "104857600",
        "WALE_AGENT": "off",
    }
    assert scene.run("config", "--from-environment").returncode == 0
    leader = scene.leader(15)
    leader.sql(FOOBAR)
    name = scene.backup(leader)
    archive_all(leader)
    follower = scene.restore(15, name, "--standby").start()
    assert follower.value("select count(*) from foobar") == FOOBAR_ROWS
    refused = scene.run("backup-push", leader.data_directory, server=leader, env={"WALG_PGP_KEY_PATH": "/key"})
    assert refused.returncode == 1
    assert scene.names() == [name]
