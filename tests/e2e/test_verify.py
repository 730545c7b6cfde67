"""PostgreSQL's own judges on what a restore leaves: pg_verifybackup, pg_checksums, pg_amcheck."""

import pytest

from lab import majors
from tests.e2e.scene import FOOBAR, FOOBAR_ROWS, Scene, archive_all, writer

pytestmark = pytest.mark.slow
WITH_TOOLS = sorted({majors.DEBIAN_MAJOR, *majors.TOOL_WHEELS})


@pytest.mark.parametrize("major", WITH_TOOLS, ids=lambda major: f"pg{major}")
def test_the_tools_of_postgresql_accept_a_restored_cluster(scene: Scene, major: int) -> None:
    leader = scene.leader(major)
    leader.sql(FOOBAR)
    leader.sql("create table keyed (id int primary key, what text)")
    leader.sql("insert into keyed select id, md5(id::text) from generate_series(1, 20000) as id")
    with writer(leader):
        name = scene.backup(leader)
    archive_all(leader)

    copy = scene.restore(major, name)
    verified = copy.run_tool("pg_verifybackup", "--no-parse-wal", copy.data_directory)
    assert verified.returncode == 0, verified.stderr

    copy = scene.restore(major, name, "--target-immediate", "--target-action=promote")
    copy.start()
    copy.wait_for("select pg_is_in_recovery()", expected=False)
    assert copy.value("select count(*) from foobar") == FOOBAR_ROWS
    checked = copy.run_tool("pg_amcheck", "--all", "--install-missing", "--heapallindexed")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    copy.stop()
    summed = copy.run_tool("pg_checksums", "--check", "-D", copy.data_directory)
    assert summed.returncode == 0, summed.stdout + summed.stderr
