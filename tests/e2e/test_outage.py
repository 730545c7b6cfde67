"""H14: a store that cannot be reached never looks like the end of the archive."""

from collections.abc import Callable

import pytest

from lab.chaosproxy import ChaosProxy, Fault
from lab.postgres import Postgres
from lab.swift import SwiftInfo
from tests.e2e.scene import Scene, archive_all, swift_scene

pytestmark = pytest.mark.slow
PATIENCE = {"WALE_FETCH_TIMEOUT": "3"}


def test_recovery_stops_while_a_folder_is_away_and_ends_whole_when_it_is_back(scene: Scene) -> None:
    scene.env |= PATIENCE
    archive = scene.directory / "archive"
    away = scene.directory / "away"
    _outage(scene, lambda: archive.rename(away), lambda: away.rename(archive))


def test_recovery_stops_while_swift_is_away_and_ends_whole_when_it_is_back(
    swift_chaos: tuple[ChaosProxy, SwiftInfo], swift_container: str
) -> None:
    proxy, swift = swift_chaos
    with swift_scene(swift_container, swift.environment() | PATIENCE) as scene:
        _outage(scene, lambda: proxy.set(Fault(refuse=True)), proxy.clear)


def test_an_outage_in_the_middle_of_recovery_stops_it_too(
    swift_chaos: tuple[ChaosProxy, SwiftInfo], swift_container: str
) -> None:
    proxy, swift = swift_chaos
    middle = Fault(reset_after=0, direction="down", match=b"000000010000000000000004")
    with swift_scene(swift_container, swift.environment() | PATIENCE) as scene:
        _outage(scene, lambda: proxy.set(middle), proxy.clear)


def test_a_hole_in_the_archive_stops_recovery_until_it_is_filled(scene: Scene) -> None:
    """A segment that is missing before others that are there is no end either: all after it would be lost."""
    scene.env |= PATIENCE
    segment = scene.directory / "archive" / "wal_005" / "000000010000000000000005.zst"
    away = scene.directory / "away"
    _outage(scene, lambda: segment.rename(away), lambda: away.rename(segment))


def test_a_standby_waits_for_the_store(scene: Scene) -> None:
    leader = _leader(scene)
    archive, away = scene.directory / "archive", scene.directory / "away"
    scene.env |= PATIENCE
    follower = scene.restore(15, "LATEST", "--standby")
    follower.start()
    archive.rename(away)
    leader.sql("insert into marks select generate_series(1, 10)")
    leader.sql("select pg_switch_wal()")
    leader.wait_for("select failed_count > 0 from pg_stat_archiver")
    assert follower.value("select pg_is_in_recovery()")
    away.rename(archive)
    follower.wait_for("select count(*) from marks", 10 * 8 + 10)


def _leader(scene: Scene) -> Postgres:
    leader = scene.leader(15)
    leader.sql("create table marks (n int)")
    scene.backup(leader)
    for _ in range(8):
        leader.sql("insert into marks select generate_series(1, 10)")
        archive_all(leader)
    return leader


def _outage(scene: Scene, go: Callable[[], object], come_back: Callable[[], object]) -> None:
    _leader(scene).stop()
    fetch = scene.command('wal-fetch "%f" "%p"')
    copy = scene.restore(15, "LATEST", conf={"restore_command": fetch, "archive_mode": "off"})
    go()
    copy.start(wait=False)
    assert copy.wait_stopped() != 0
    assert not list((copy.data_directory / "pg_wal").glob("00000002*"))
    come_back()
    copy.start()
    copy.wait_for("select pg_is_in_recovery()", expected=False)
    assert copy.value("select count(*) from marks") == 80
