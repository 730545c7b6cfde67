"""The story with an agent behind `wal-push` and `wal-fetch`: what PostgreSQL sees is the same, only sooner."""

from collections.abc import Iterator

import pytest

from lab.postgres import Postgres
from tests.e2e.agents import Agents, with_agents
from tests.e2e.scene import FOOBAR, FOOBAR_ROWS, Scene, archive_all, promote, writer

pytestmark = pytest.mark.slow


@pytest.fixture
def agents(scene: Scene) -> Iterator[Agents]:
    """The scene's servers use agents."""
    with with_agents(scene) as agents:
        yield agents


def test_one_agent_serves_leader_and_followers(scene: Scene, agents: Agents) -> None:
    leader = scene.leader(15)
    archive_all(leader)
    agent = agents.one()
    assert scene.wal_e("agent", "status").returncode == 0
    with writer(leader):
        scene.backup(leader)
        leader.sql(FOOBAR)
    archive_all(leader)
    follower = scene.restore(15, "LATEST", "--standby").start()
    follower.wait_for("select count(*) from foobar", FOOBAR_ROWS)
    leader.sql("insert into foobar values (-1)")
    archive_all(leader)
    follower.wait_for("select count(*) from foobar", FOOBAR_ROWS + 1)
    assert agent.alive()
    assert not list((leader.data_directory / "pg_wal").glob(".*"))
    assert not list((follower.data_directory / "pg_wal").glob(".*"))
    scene.wal_e("agent", "stop")
    assert not agent.alive()


def test_eight_followers_at_once_share_an_archive(scene: Scene, agents: Agents) -> None:
    leader = _leader_with_history(scene, segments=4)
    small = {"shared_buffers": "1MB", "max_connections": "30", "wal_retrieve_retry_interval": "200ms"}
    copies = [scene.restore(15, "LATEST", "--standby", conf=small) for _ in range(8)]
    for copy in copies:
        copy.start(wait=False)
    for copy in copies:
        copy.wait_ready()
    leader.sql("insert into foobar values (-1)")
    archive_all(leader)
    for copy in copies:
        copy.wait_for("select count(*) from foobar", FOOBAR_ROWS + 1)
    assert agents.running()


@pytest.mark.parametrize("megabytes", [1, 64, 1024], ids=lambda size: f"{size}MB")
def test_every_size_of_segment(scene: Scene, agents: Agents, megabytes: int) -> None:
    """H12: what is kept ahead is bounded in bytes, and the size comes from the segments themselves."""
    conf = {"max_wal_size": "4GB", "min_wal_size": f"{2 * max(megabytes, 16)}MB"}
    leader = scene.leader(15, conf, segment_size_mb=megabytes)
    scene.backup(leader)
    leader.sql(FOOBAR)
    archive_all(leader)
    follower = scene.restore(15, "LATEST", "--standby").start()
    follower.wait_for("select count(*) from foobar", FOOBAR_ROWS)
    assert agents.running()


def test_an_old_leader_is_rewound_and_follows(scene: Scene, agents: Agents) -> None:
    """H16, H17: no segment of the time before the switch is left over, in memory or in pg_wal."""
    leader = scene.leader(15, {"wal_log_hints": "on"})
    leader.sql("create table steps as select 1 as step")
    scene.backup(leader)
    archive_all(leader)
    heir = scene.restore(15, "LATEST", "--standby").start()
    promote(heir)
    heir.sql("insert into steps values (2)")
    archive_all(heir)
    leader.sql("insert into steps values (666)")
    leader.sql("select pg_switch_wal()")
    leader.sql("insert into steps values (667)")
    leader.stop()

    fetch = scene.command('wal-fetch "%f" "%p"')
    leader.configure({"restore_command": fetch})
    leader.run_tool(
        "pg_rewind",
        "--restore-target-wal",
        f"--target-pgdata={leader.data_directory}",
        f"--source-server=host={heir.socket_directory} port={heir.port} dbname=postgres",
    )
    (leader.data_directory / "standby.signal").touch()
    rewound = Postgres.restored(15, leader.data_directory, conf={"restore_command": fetch})
    scene.stack.callback(rewound.close)
    rewound.start(wait=False)  # it is consistent where the heir was during the rewind, and that is not archived yet
    heir.sql("insert into steps values (3)")
    archive_all(heir)
    rewound.wait_ready()
    rewound.wait_for("select array_agg(step order by step) from steps", [1, 2, 3])
    assert agents.running()


def _leader_with_history(scene: Scene, *, segments: int) -> Postgres:
    leader = scene.leader(15)
    scene.backup(leader)
    leader.sql(FOOBAR)
    for _ in range(segments):
        archive_all(leader)
    return leader
