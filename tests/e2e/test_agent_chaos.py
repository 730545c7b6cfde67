"""Archiving and recovery while agents, the network and the store come and go: nothing missing, nothing wrong."""

import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.chaosproxy import ChaosProxy, Fault
from lab.postgres import Postgres
from lab.processes import Process, descendants, wait_until
from lab.swift import SwiftInfo
from tests.e2e.agents import Agents, with_agents
from tests.e2e.scene import Scene, archive_all, swift_scene, writer

pytestmark = pytest.mark.slow
SECONDS = 10
PATIENCE = {"WALE_PUSH_TIMEOUT": "3", "WALE_FETCH_TIMEOUT": "3", "WALE_STANDBY_FETCH_TIMEOUT": "1"}
FAULTS = (
    Fault(refuse=True),
    Fault(reset_after=0, direction="down"),
    Fault(reset_after=100_000, direction="up"),
    Fault(cut_after=50_000, direction="up"),
    Fault(cut_after=10, direction="down"),
    Fault(latency=0.02),
)


@pytest.fixture
def stormy(
    swift_chaos: tuple[ChaosProxy, SwiftInfo], swift_container: str
) -> Iterator[tuple[Scene, Agents, ChaosProxy]]:
    """An archive in a real Swift behind a proxy that misbehaves on request, and agents."""
    proxy, swift = swift_chaos
    with swift_scene(swift_container, swift.environment() | PATIENCE) as scene, with_agents(scene) as agents:
        yield scene, agents, proxy


def test_archiving_through_a_storm_loses_and_damages_nothing(stormy: tuple[Scene, Agents, ChaosProxy]) -> None:
    """H04, H05, H10: whatever is killed or cut, a segment that PostgreSQL let go of is in the archive as it was."""
    scene, agents, proxy = stormy
    plain = scene.directory / "plain"
    leader = _leader(scene, plain)
    dice = random.Random(20261124)
    with writer(leader):
        _storm(dice, [agents.kill, lambda: _kill_archive_command(leader), *_weather(proxy, dice)], leader)
    proxy.clear()
    archive_all(leader)
    leader.wait_for("select last_archived_time > coalesce(last_failed_time, '-infinity') from pg_stat_archiver")
    kept = _finished(plain)
    assert len(kept) > 10
    for name in kept:
        assert _archived(scene, name) == (plain / name).read_bytes(), name


def test_a_follower_comes_through_a_storm(stormy: tuple[Scene, Agents, ChaosProxy]) -> None:
    scene, agents, proxy = stormy
    leader = _leader(scene, scene.directory / "plain")
    scene.backup(leader)
    follower = scene.restore(15, "LATEST", "--standby", conf={"wal_retrieve_retry_interval": "200ms"}).start()
    dice = random.Random(15)
    with writer(leader) as committed:
        _storm(dice, [agents.kill, *_weather(proxy, dice)], leader)
    proxy.clear()
    archive_all(leader)
    follower.wait_for("select count(*) from visits", committed())
    scene.wal_e("wal-verify", "--read")
    assert follower.value("select pg_is_in_recovery()")


def test_recovery_with_agents_never_ends_early(stormy: tuple[Scene, Agents, ChaosProxy]) -> None:
    """H14: an outage stops the server; an agent that is killed in the middle does not even do that."""
    scene, agents, proxy = stormy
    plain = scene.directory / "plain"
    leader = _leader(scene, plain)
    leader.sql("create table marks (n int)")
    scene.backup(leader)
    for _ in range(8):
        leader.sql("insert into marks select generate_series(1, 10)")
        archive_all(leader)
    leader.stop()
    fetch = scene.command('wal-fetch "%f" "%p"')
    copy = scene.restore(15, "LATEST", conf={"restore_command": fetch, "archive_mode": "off"})
    segments = _finished(plain)
    for name in (segments[-6], segments[-3], "00000002.history"):
        proxy.set(Fault(reset_after=0, direction="down", match=name.encode()))
        copy.start(wait=False)
        assert copy.wait_stopped() != 0
        assert not list((copy.data_directory / "pg_wal").glob("00000002*"))
        agents.kill()
    proxy.set(Fault(latency=0.05))
    copy.start(wait=False)
    wait_until(agents.running, "an agent that answers the recovery")
    agents.kill()
    proxy.clear()
    copy.wait_ready()
    copy.wait_for("select pg_is_in_recovery()", expected=False)
    assert copy.value("select count(*) from marks") == 80


def _leader(scene: Scene, plain: Path) -> Postgres:
    """
    A leader whose segments are copied to `plain` before they are pushed, and switch often.

    A command that is killed may leave its `cp` behind, at work on a segment that the server takes for the next one
    meanwhile: so each has a temporary name of its own, and whoever is late replaces nothing.
    """
    push = scene.command('wal-push "%p"')
    temporary = f"{plain}/.%f.$$"
    copy = f'cp "%p" {temporary} && mv -n {temporary} {plain}/%f'
    keep = f"mkdir -p {plain} && {{ test -e {plain}/%f || {{ {copy}; }}; }}"
    return scene.leader(15, {"archive_command": f"{keep} && {push}"}, segment_size_mb=1)


def _finished(plain: Path) -> list[str]:
    """The files that were copied whole, by name; what begins with a dot was left by a command that was killed."""
    return sorted(path.name for path in plain.iterdir() if not path.name.startswith("."))


def _storm(dice: random.Random, actions: list[Callable[[], object]], leader: Postgres) -> None:
    """Bad luck, one piece after the other, for a bounded time; in between the leader goes on to new segments."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        dice.choice(actions)()
        leader.sql("select pg_switch_wal()")
        archived = leader.value("select archived_count + failed_count from pg_stat_archiver")
        pause = min(end, time.monotonic() + dice.uniform(0.1, 1.5))
        wait_until(
            lambda before=archived, until=pause: time.monotonic() > until or _attempts(leader) > before + 3,
            "the next piece of bad luck",
        )


def _attempts(leader: Postgres) -> int:
    attempts: int = leader.value("select archived_count + failed_count from pg_stat_archiver")
    return attempts


def _weather(proxy: ChaosProxy, dice: random.Random) -> list[Callable[[], object]]:
    return [proxy.clear, proxy.clear, lambda: proxy.set(dice.choice(FAULTS))]


def _kill_archive_command(leader: Postgres) -> None:
    """
    End archive_command with all that it runs; the archiver ends with it, and the server starts a new one.

    The archiver itself is not ended: it would live on for a minute without archiving anything (pgarch.c).
    """
    (pid,) = leader.sql("select pid from pg_stat_activity where backend_type = 'archiver'") or [(None,)]
    archiver = Process.of(pid[0]) if pid[0] else None
    for process in descendants(archiver) if archiver is not None else ():
        process.signal(signal.SIGKILL)


def _archived(scene: Scene, name: str) -> bytes:
    """The content of a WAL file in the archive."""
    target = scene.directory / "fetched"
    scene.wal_e("wal-fetch", name, target)
    return target.read_bytes()
