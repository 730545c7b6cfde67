"""Backups of a standby: its WAL comes by way of the primary, and whatever changes its place spoils them (H39)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from lab.postgres import Postgres
from tests.e2e.scene import FOOBAR, FOOBAR_ROWS, Scene, archive_all, file_scene, promote
from wal_e.backup.contents import BackupRequest
from wal_e.backup.run import push_backup
from wal_e.errors import ServerError, WalMissing
from wal_e.events import Event, Message, Sink, silent
from wal_e.repo.catalogue import list_backups, load_summary
from wal_e.store.api import Body, ObjectInfo
from wal_e.store.drivers.file import FolderStore

pytestmark = pytest.mark.slow


class Meanwhile(FolderStore):
    """The archive, where something happens when the first pack is sent: in the middle of the backup."""

    def __init__(self, base: Path, happens: Callable[[], None]) -> None:
        super().__init__(base)
        self._happens: Callable[[], None] | None = happens

    def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
        if self._happens and "/pack-" in key:
            happens, self._happens = self._happens, None
            happens()
        return super().put(key, body, create_only=create_only)


@dataclass
class Cluster:
    """A leader, a standby of its archive, and that archive."""

    scene: Scene
    leader: Postgres
    standby: Postgres
    archive: Path
    names: set[str] = field(default_factory=set)

    def push(self, store: FolderStore, *, timeout: float = 60, emit: Sink = silent) -> str:
        request = BackupRequest(self.standby.data_directory, threads=2, wal_timeout=timedelta(seconds=timeout))
        return push_backup(store, request, emit).summary.name

    def assert_nothing_new(self) -> None:
        assert {entry.name for entry in list_backups(FolderStore(self.archive))} == self.names
        self.standby.wait_for("select count(*) from pg_stat_activity where application_name ~ 'wal-e'", 0)


@pytest.fixture
def cluster(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Of a major; the standby streams, too, or has the archive alone."""
    major, streaming = request.param
    with file_scene() as scene:
        leader = scene.leader(major)
        leader.sql(FOOBAR)
        scene.backup(leader)
        archive_all(leader)
        stream = {"primary_conninfo": f"host={leader.socket_directory} port={leader.port} user=postgres"}
        standby = scene.restore(major, "LATEST", "--standby", conf=stream if streaming else None).start()
        standby.wait_for("select count(*) from foobar", FOOBAR_ROWS)
        for name, value in standby.dsn_environment().items():
            monkeypatch.setenv(name, value)
        archive = scene.directory / "archive"
        names = {entry.name for entry in list_backups(FolderStore(archive))}
        yield Cluster(scene, leader, standby, archive, names)


@pytest.mark.parametrize("cluster", [(18, True)], indirect=True)
def test_the_wal_is_awaited_from_the_primary_which_has_to_switch(cluster: Cluster) -> None:
    """H23: on a quiet primary the last segment comes only when somebody ends it there."""
    store = FolderStore(cluster.archive)
    cluster.leader.sql("create table late as select 1")
    cluster.leader.sql("checkpoint")
    cluster.standby.wait_for("select count(*) from pg_class where relname = 'late'", 1)
    cluster.standby.sql("checkpoint")  # what it streamed, and no archive has, is on its disk now
    with pytest.raises(WalMissing, match="did not arrive") as error:
        cluster.push(store, timeout=0)
    assert "on the primary, SELECT pg_switch_wal()" in (error.value.hint or "")
    cluster.assert_nothing_new()

    def switch(event: Event) -> None:
        if isinstance(event, Message) and event.message == "blocking on sending WAL segments":
            cluster.leader.sql("select pg_switch_wal()")

    name = cluster.push(store, emit=switch)
    assert all(cluster.scene.holds(str(segment)) for segment in load_summary(store, name).segments())


@pytest.mark.parametrize("cluster", [(15, False)], indirect=True)
def test_h39_a_promotion_during_the_backup_spoils_it(cluster: Cluster) -> None:
    store = Meanwhile(cluster.archive, lambda: promote(cluster.standby))
    with pytest.raises(ServerError, match="changed its timeline during the base backup") as error:
        cluster.push(store)
    assert error.value.detail == "It was on timeline 1, and is on 2 after a promotion."
    assert "not committed" in (error.value.hint or "")
    cluster.assert_nothing_new()


@pytest.mark.parametrize("cluster", [(18, False)], indirect=True)
def test_h39_a_standby_that_follows_another_timeline_meanwhile_spoils_it_too(cluster: Cluster) -> None:
    """It is in recovery before and after; only the timeline tells."""
    other = cluster.scene.restore(cluster.leader.major, "LATEST", "--standby").start()

    def follow() -> None:
        promote(other)
        other.sql("create table later as select 1")
        archive_all(other)
        cluster.standby.wait_for("select count(*) from pg_class where relname = 'later'", 1)
        cluster.standby.sql("checkpoint")

    with pytest.raises(ServerError, match="changed its timeline during the base backup") as error:
        cluster.push(Meanwhile(cluster.archive, follow))
    assert error.value.detail == "It was on timeline 1, and is on 2."
    cluster.assert_nothing_new()
