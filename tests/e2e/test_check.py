"""`wal-e check` against real servers: who may only read, a broken archive_command, a container that is missing."""

from collections.abc import Callable, Mapping

import pytest

from lab.keystone import KeystoneInfo
from lab.swift import request
from tests.e2e.checked import bad, checked
from tests.e2e.scene import Scene, swift_scene

pytestmark = pytest.mark.slow


def test_a_reader_of_a_real_swift_gets_the_rights_that_the_policy_names(
    keystone_swift: KeystoneInfo, container_name: Callable[[], str]
) -> None:
    container = container_name()
    with swift_scene(container, keystone_swift.environment()) as scene:
        reader = {"SWIFT_USER": keystone_swift.reader, "SWIFT_PASSWORD": keystone_swift.reader_password}

        code, found = checked(scene, "--no-postgres")
        assert (code, bad(found)) == (1, {"container": "failed"})
        assert f"swift post {container}" in found["container"][1]
        code, found = checked(scene, "--no-postgres", "--create", env=reader)
        assert (code, list(bad(found))) == (1, ["created"])
        code, found = checked(scene, "--no-postgres", "--create")
        assert (code, bad(found)) == (0, {})
        assert found["created"][0] == found["credentials"][0] == found["bulk delete"][0] == "ok"
        assert scene.names() == []

        code, found = checked(scene, "--no-postgres", env=reader)
        assert code == 1
        assert bad(found) == {"list": "failed"}
        assert found["credentials"][0] == "ok"
        assert "swift post" in found["list"][1]

        read, write = _acl(scene, reader)
        _set_acl(keystone_swift, container, {"X-Container-Read": read})
        code, found = checked(scene, "--no-postgres", env=reader)
        assert code == 1
        assert bad(found) == {
            "put": "failed",
            "create-only": "failed",
            "delete": "warning",
            "bulk delete": "warning",
        }
        _set_acl(keystone_swift, container, {"X-Container-Read": read, "X-Container-Write": write})
        code, found = checked(scene, "--no-postgres", env=reader)
        assert (code, bad(found)) == (0, {})

        code, found = checked(scene, "--no-postgres", env={"SWIFT_PASSWORD": "wrong"})
        assert (code, bad(found)) == (1, {"credentials": "failed"})
        assert "SWIFT_PASSWORD" in found["credentials"][1]


def _acl(scene: Scene, env: Mapping[str, str]) -> tuple[str, str]:
    """The lists to read and to write in the last line of the policy."""
    words = scene.wal_e("check", "--policy", env=env).stdout.splitlines()[-1].split()
    return words[words.index("--read-acl") + 1], words[words.index("--write-acl") + 1]


def _set_acl(cloud: KeystoneInfo, container: str, headers: Mapping[str, str]) -> None:
    storage_url, token = cloud.authenticate()
    request("POST", f"{storage_url}/{container}", {"X-Auth-Token": token, **headers}).close()


def test_a_broken_archive_command_is_found_and_a_right_one_passes(scene: Scene) -> None:
    leader = scene.leader(15, {"archive_command": "false wal-push %p"})
    code, found = checked(scene, "--timeout=2", server=leader)
    assert code == 1
    assert bad(found) == {"arrival": "failed", "archiver": "failed"}
    assert "The archiver failed" in found["arrival"][1]

    push = scene.command('wal-push "%p"').replace("'", "''")
    leader.sql(f"alter system set archive_command = '{push}'")
    leader.reload()
    code, found = checked(scene, server=leader)
    assert (code, bad(found)) == (0, {})
    assert "is in the archive" in found["arrival"][1]
    assert "this cluster" in found["cluster"][1] or "nobody" in found["cluster"][1]

    leader.sql("create role watcher login")
    before = leader.value("select pg_current_wal_lsn()")
    code, found = checked(scene, "--no-switch", server=leader, env={"PGUSER": "watcher"})
    assert (code, bad(found)) == (1, {"privileges": "failed"})
    assert "GRANT EXECUTE ON FUNCTION pg_backup_start" in found["privileges"][1]
    assert found["arrival"][0] == "skipped"
    assert leader.value("select pg_current_wal_lsn()") == before

    other = scene.leader(16, {"archive_mode": "off"})
    scene.wal_e("backup-push", leader.data_directory, server=leader)
    code, found = checked(scene, server=other)
    assert code == 1
    assert bad(found) == {"archive_mode": "failed", "cluster": "failed"}
    assert found["arrival"][0] == "skipped"

    follower = scene.restore(15, "LATEST", "--standby").start()
    code, found = checked(scene, server=follower)
    assert (code, bad(found)) == (0, {})
    assert found["arrival"][0] == "skipped"
    assert "standby" in found["arrival"][1]
