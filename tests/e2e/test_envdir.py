"""A directory with one file for each variable: by `envdir` of daemontools in the original, by ourselves here."""

import pytest

from lab.account import give_to_server
from tests.e2e.scene import Scene, archive_all

pytestmark = pytest.mark.slow


def test_the_story_with_an_envdir_and_no_variables(scene: Scene) -> None:
    envdir = give_to_server(scene.directory / "env")
    for name, value in scene.env.items():
        (envdir / name).write_text(f"{value}\n")
        (envdir / name).chmod(0o644)
    scene.env = {}
    push = f'{scene.program} --envdir {envdir} wal-push "%p"'
    leader = scene.leader(15, {"archive_command": push})
    leader.sql("create table kept as select generate_series(1, 100)")
    scene.wal_e("--envdir", envdir, "backup-push", leader.data_directory, server=leader)
    archive_all(leader)
    target = scene.new_path("copy")
    scene.wal_e("--envdir", envdir, "backup-fetch", target, "LATEST", "--standby")
    follower = scene.adopt(15, target).start()
    follower.wait_for("select count(*) from kept", 100)
