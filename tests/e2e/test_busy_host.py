"""A backup that is stopped, or that loses its server, leaves nothing behind, and the next one works."""

import signal
import subprocess
from pathlib import Path

import pytest

from lab.account import clean_environment, identity
from lab.postgres import Postgres
from lab.processes import wait_until
from tests.e2e.scene import FOOBAR, Scene

pytestmark = pytest.mark.slow
SESSIONS = "select count(*) from pg_stat_activity where application_name = 'wal-e'"


def start_backup(scene: Scene, leader: Postgres, rate: str) -> "subprocess.Popen[str]":
    """Begins a backup whose store is slow, and returns in the middle of its first upload."""
    process = subprocess.Popen(
        [str(scene.program), "backup-push", f"--upload-rate-limit={rate}", str(leader.data_directory)],
        env=clean_environment({**scene.env, **leader.dsn_environment()}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=scene.directory,
        **identity(),
    )
    wait_until(lambda: unfinished(scene), "an upload to be under way")
    assert leader.value(SESSIONS) == 1
    return process


def unfinished(scene: Scene) -> list[Path]:
    return list((scene.directory / "archive" / "basebackups_006").rglob(".*.tmp"))


def test_h47_h36_signals_and_a_lost_session_leave_nothing_behind(scene: Scene) -> None:
    leader = scene.leader(15)
    leader.sql(FOOBAR)
    with start_backup(scene, leader, "50KB") as process:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)  # the upload alone would take a minute and more
    assert process.returncode == -signal.SIGTERM, said
    assert "MSG: stopped by SIGTERM" in said
    leader.wait_for(SESSIONS, 0)
    assert unfinished(scene) == []
    assert scene.names() == []
    with start_backup(scene, leader, "1MB") as process:
        leader.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'wal-e'")
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "MSG: the session with PostgreSQL was lost" in said
    assert "must be taken again" in said
    assert scene.names() == []
    done = scene.wal_e("--terse", "backup-push", "--nice=5", "--ionice=idle", leader.data_directory, server=leader)
    assert (done.stdout, done.stderr) == ("", "")
    assert len(scene.names()) == 1
