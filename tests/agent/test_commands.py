"""`agent run`, `status` and `stop`, and calls around an agent that dies, changes or is in the way."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.processes import Process, wait_until

WAL_E = Path(sys.executable).parent / "wal-e"
FETCH = ("wal-fetch", "000000010000000000000001", "pg_wal/RECOVERYXLOG")


@dataclass
class Home:
    """A place with an archive and agents of its own."""

    directory: Path
    env: dict[str, str]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [WAL_E, *words], env=self.env, cwd=self.directory, capture_output=True, text=True, check=False, timeout=60
        )

    def start(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [WAL_E, *words],
            env=self.env,
            cwd=self.directory,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def status(self, *words: str) -> Any:
        """What the agent says of itself, None without one."""
        return json.loads(self.run(*words, "agent", "status", "--json").stdout)

    def agent(self, *words: str) -> Any:
        """The same of one that there is, or will be: the call that starts it waits ten seconds for it, no longer."""
        return wait_until(lambda: self.status(*words), "an agent")

    def process(self, *words: str) -> Process:
        found = Process.of(self.agent(*words)["pid"])
        assert found is not None
        return found


@pytest.fixture
def home() -> Iterator[Home]:
    """An empty archive, and a directory with `pg_wal`; agents end with the test."""
    with tempfile.TemporaryDirectory(prefix="wal-e-test-") as name:
        directory = Path(name)
        for each in ("archive", "pg_wal", "env"):
            (directory / each).mkdir()
        env = {
            "PATH": os.defpath,
            "WALE_AGENT_DIR": f"{name}/agents",
            "WALE_FILE_PREFIX": f"file://localhost{name}/archive",
            "WALE_LOG_DESTINATION": "stderr",
        }
        here = Home(directory, dict(env))
        yield here
        here.env = env
        for words in ((), ("--envdir", "env"), ("--terse",)):
            here.run(*words, "agent", "stop")


def test_a_call_starts_an_agent_that_answers_the_next(home: Home) -> None:
    assert home.run("agent", "status").returncode == 1
    assert home.status() is None
    first = home.run(*FETCH)
    agent = home.agent()
    assert first.returncode == home.run(*FETCH).returncode
    assert first.returncode != 0
    assert f"pid={agent['pid']} " in home.run(*FETCH).stderr
    assert home.status()["pid"] == agent["pid"]
    assert home.status()["answered"] == agent["answered"] + 2
    assert "archive: file://localhost" in home.run("agent", "status").stdout


def test_stop_ends_it(home: Home) -> None:
    home.run(*FETCH)
    agent = home.process()
    assert home.run("agent", "stop").returncode == 0
    assert not agent.alive()
    assert home.run("agent", "status").returncode == 1
    assert home.run("agent", "stop").returncode == 0


def test_a_killed_agent_is_replaced(home: Home) -> None:
    expected = home.run(*FETCH)
    agent = home.process()
    agent.signal(signal.SIGKILL)
    wait_until(lambda: not agent.alive(), "the agent to end")
    again = home.run(*FETCH)
    assert again.returncode == expected.returncode
    assert home.agent()["pid"] != agent.pid


@pytest.mark.slow
def test_an_agent_that_hangs_delays_and_does_no_harm(home: Home) -> None:
    expected = home.run(*FETCH)
    agent = home.process()
    agent.signal(signal.SIGSTOP)
    try:
        stop = home.start("agent", "stop")
        assert home.run(*FETCH).returncode == expected.returncode
        _, told = stop.communicate(timeout=60)
        assert stop.returncode == 1
        assert "MSG: the agent does not answer" in told
        assert agent.alive()
    finally:
        agent.signal(signal.SIGCONT)


@pytest.mark.parametrize("change", ["edit", "add", "remove"])
def test_a_changed_envdir_replaces_it(home: Home, change: str) -> None:
    env = home.directory / "env"
    (env / "WALE_TERSE").write_text("0")
    home.run("--envdir", "env", *FETCH)
    before = home.process("--envdir", "env")
    match change:
        case "edit":
            (env / "WALE_TERSE").write_text("false")
        case "add":
            (env / "WALE_RETRIES").write_text("3")
        case _:
            (env / "WALE_TERSE").unlink()
    home.run("--envdir", "env", *FETCH)
    assert home.process("--envdir", "env").pid != before.pid
    wait_until(lambda: not before.alive(), "the old agent to end")


def test_another_configuration_is_another_agent(home: Home) -> None:
    home.run(*FETCH)
    home.run("--terse", *FETCH)
    assert home.agent("--terse")["pid"] != home.agent()["pid"]


def test_options_after_the_command_are_not_the_agents(home: Home) -> None:
    home.run(*FETCH)
    before = home.agent()["answered"]
    assert home.run(FETCH[0], "--terse", *FETCH[1:]).returncode == home.run(*FETCH).returncode
    assert home.status()["answered"] == before + 1


def test_off_means_none(home: Home) -> None:
    home.env["WALE_AGENT"] = "off"
    home.run(*FETCH)
    assert not (home.directory / "agents").exists()
    (home.directory / "env" / "WALE_AGENT").write_text("off")
    del home.env["WALE_AGENT"]
    home.run("--envdir", "env", *FETCH)
    assert not (home.directory / "agents").exists()


def test_an_error_is_the_one_of_the_command_itself(home: Home) -> None:
    """H06: the reason reaches the server's log with an agent as without."""
    home.run("wal-push", "pg_wal/000000010000000000000009")
    by_agent = home.run("wal-push", "pg_wal/000000010000000000000009")
    home.env["WALE_AGENT"] = "off"
    alone = home.run("wal-push", "pg_wal/000000010000000000000009")
    assert by_agent.returncode == alone.returncode == 1
    assert "DETAIL: The system says: No such file or directory." in by_agent.stderr
    assert alone.stderr.splitlines()[1:3] == by_agent.stderr.splitlines()[1:3]


def test_a_directory_of_others_is_told(home: Home) -> None:
    (home.directory / "agents").mkdir()
    (home.directory / "agents").chmod(0o777)
    done = home.run("agent", "run")
    assert done.returncode == 1
    assert "is not only ours" in done.stderr
    assert "HINT" in done.stderr


def test_without_requests_it_ends(home: Home) -> None:
    home.env["WALE_AGENT_IDLE"] = "200ms"
    agent = home.start("agent", "run")
    _, told = agent.communicate(timeout=60)
    assert agent.returncode == 0, told
    assert home.status() is None


def test_as_a_service_it_reports_and_takes_the_place_of_another(home: Home) -> None:
    home.run(*FETCH)
    started_by_need = home.process()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{home.directory}/notify")
        manager.settimeout(30)
        variables = {"NOTIFY_SOCKET": f"{home.directory}/notify", "WATCHDOG_USEC": "200000"}
        service = subprocess.Popen(
            [WAL_E, "agent", "run"], env=home.env | variables, cwd=home.directory, stderr=subprocess.DEVNULL
        )
        try:
            assert manager.recv(100) == b"READY=1"
            assert not started_by_need.alive()
            assert home.status()["pid"] == service.pid
            assert manager.recv(100) == b"WATCHDOG=1"
            service.send_signal(signal.SIGTERM)
            said = b"WATCHDOG=1"
            while said == b"WATCHDOG=1":
                said = manager.recv(100)
            assert said == b"STOPPING=1"
            assert service.wait(30) == 0
        finally:
            service.kill()
            service.wait()
