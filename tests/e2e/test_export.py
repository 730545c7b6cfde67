"""An export is what pg_basebackup would have written: PostgreSQL's own tools check it, and it starts without us."""

import json
from pathlib import Path

import pytest

from lab.account import as_postgres, give_to_server
from lab.postgres import Postgres
from tests.e2e.scene import FOOBAR, FOOBAR_ROWS, Scene, writer

pytestmark = pytest.mark.slow
SUMS = "select count(*), sum(generate_series) from foobar"
OUTSIDE = "select count(*), sum(id) from outside"
ALONE = {"archive_mode": "off", "restore_command": "false"}


@pytest.fixture(params=[15, 16, 18], ids=lambda major: f"pg{major}")
def leader(request: pytest.FixtureRequest, scene: Scene) -> Postgres:
    """A cluster with a tablespace, backed up while somebody writes."""
    place = give_to_server(scene.directory / "fast")
    leader = scene.leader(request.param)
    leader.sql(FOOBAR)
    leader.sql(f"create tablespace fast location '{place}'")
    leader.sql("create table outside tablespace fast as select generate_series(1, 10000) as id")
    with writer(leader):
        scene.backup(leader)
    return leader


def verify(leader: Postgres, directory: Path, *options: str) -> None:
    done = leader.run_tool("pg_verifybackup", *options, directory)
    assert done.returncode == 0, done.stdout + done.stderr


def assert_starts_alone(scene: Scene, leader: Postgres, directory: Path) -> None:
    """With the archive out of reach."""
    (scene.directory / "archive").rename(scene.directory / "gone")
    try:
        copy = scene.adopt(leader.major, directory, ALONE).start()
        assert copy.sql(SUMS) == leader.sql(SUMS)
        assert copy.sql(SUMS)[0][0] == FOOBAR_ROWS
        assert copy.sql(OUTSIDE) == leader.sql(OUTSIDE)
        assert copy.value("select pg_is_in_recovery()") is False
        copy.sql("create table mine as select 1")
        copy.stop()
    finally:
        (scene.directory / "gone").rename(scene.directory / "archive")


def test_both_forms_verify_and_start_by_themselves(leader: Postgres, scene: Scene) -> None:
    oid = leader.value("select oid from pg_tablespace where spcname = 'fast'")
    spec = scene.directory / "spec.json"
    spec.write_text(json.dumps({"tablespaces": [str(oid)], str(oid): {"loc": str(scene.directory / "elsewhere")}}))
    spec.chmod(0o644)
    plain = scene.new_path("plain")
    scene.wal_e("export", "--wal", f"--restore-spec={spec}", "--output", plain, "LATEST")
    verify(leader, plain)
    assert (plain / "pg_tblspc" / str(oid)).is_symlink()
    assert_starts_alone(scene, leader, plain)

    unpacked = give_to_server(scene.new_path("unpacked"))
    pipe = f"set -o pipefail; {scene.command('export --wal LATEST')} | tar -x -C {unpacked}"
    done = as_postgres(["bash", "-c", pipe])
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("tar:")] == []
    verify(leader, unpacked)
    assert_starts_alone(scene, leader, unpacked)

    file, bare = scene.new_path("file").with_suffix(".tar"), give_to_server(scene.new_path("bare"))
    scene.wal_e("export", "-o", file, "LATEST")
    assert as_postgres(["tar", "-x", "-f", file, "-C", bare]).returncode == 0
    verify(leader, bare, "--no-parse-wal")
    assert list((bare / "pg_wal").glob("0*")) == []
    assert leader.run_tool("pg_verifybackup", bare).returncode != 0
    again = scene.run("export", "-o", file, "LATEST")
    assert again.returncode == 1
    assert "exists already" in again.stderr
