"""Tablespaces that lie outside the data directory: never on top of a cluster that lives, always where the user says."""

import json
from pathlib import Path

import pytest

from lab.account import as_postgres, give_to_server
from lab.postgres import Postgres
from tests.e2e.scene import Scene, archive_all

pytestmark = pytest.mark.slow


@pytest.fixture(params=[10, 15, 18], ids=lambda major: f"pg{major}")
def leader(request: pytest.FixtureRequest, scene: Scene) -> Postgres:
    """A cluster with a table in a tablespace, and a backup of it in the archive."""
    place = give_to_server(scene.directory / "fast")
    leader = scene.leader(request.param)
    leader.sql(f"create tablespace fast location '{place}'")
    leader.sql("create table outside tablespace fast as select generate_series(1, 10000) as id")
    scene.backup(leader)
    archive_all(leader)
    return leader


def oid(leader: Postgres) -> str:
    return str(leader.value("select oid from pg_tablespace where spcname = 'fast'"))


def assert_whole(copy: Postgres) -> None:
    copy.start()
    copy.wait_for("select pg_is_in_recovery()", expected=True)
    assert copy.value("select count(*) from outside") == 10000


def test_a_place_in_use_is_refused_before_anything_is_written(leader: Postgres, scene: Scene) -> None:
    """H49, H50: the first cluster's tables stay its own."""
    target = scene.new_path("copy")
    done = scene.run("backup-fetch", target, "LATEST", "--standby")
    assert done.returncode == 1
    assert "already holds a tablespace" in done.stderr
    assert "--restore-spec" in done.stderr
    assert not target.exists()
    assert leader.value("select count(*) from outside") == 10000


def test_a_place_that_is_free_again_is_used(leader: Postgres, scene: Scene) -> None:
    leader.stop()
    place = scene.directory / "fast"
    place.rename(scene.directory / "moved")
    give_to_server(place)
    copy = scene.restore(leader.major, "LATEST", "--standby")
    assert_whole(copy)
    assert (copy.data_directory / "pg_tblspc" / oid(copy)).readlink() == place


def test_a_restore_specification_gives_another_place(leader: Postgres, scene: Scene) -> None:
    elsewhere = give_to_server(scene.directory / "elsewhere")
    spec = _readable(
        scene.directory / "spec.json", {"tablespaces": [oid(leader)], oid(leader): {"loc": f"{elsewhere}/"}}
    )
    copy = scene.restore(leader.major, "LATEST", "--standby", f"--restore-spec={spec}")
    assert_whole(copy)
    assert (copy.data_directory / "pg_tblspc" / oid(leader)).resolve() == elsewhere
    assert any(elsewhere.iterdir())
    assert leader.value("select count(*) from outside") == 10000


def test_a_blind_restore_keeps_everything_in_the_data_directory(leader: Postgres, scene: Scene) -> None:
    copy = scene.restore(leader.major, "LATEST", "--standby", "--blind-restore")
    inside = copy.data_directory / "pg_tblspc" / oid(leader)
    assert inside.is_dir()
    assert not inside.is_symlink()
    assert_whole(copy)


def _readable(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document))
    path.chmod(0o644)
    assert as_postgres(["cat", path]).returncode == 0
    return path
