"""Agents of a scene: switched on for its servers, found by pid, killed on request, ended with the scene."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.account import give_to_server
from lab.processes import Process, end, wait_until
from tests.e2e.scene import Scene


@dataclass(frozen=True, slots=True)
class Agents:
    """All agents whose sockets lie in `directory`, whoever started them."""

    directory: Path

    def running(self) -> list[Process]:
        """Return the agents that live now."""
        mark = f"WALE_AGENT_DIR={self.directory}".encode()
        return [process for process in _all_agents() if mark in _read(process, "environ").split(b"\0")]

    def one(self) -> Process:
        """Wait until there is exactly one agent, and return it."""

        def single() -> Process | None:
            found = self.running()
            return found[0] if len(found) == 1 else None

        return wait_until(single, "exactly one agent")

    def kill(self) -> None:
        """End all agents as a crash does."""
        for process in self.running():
            process.signal(signal.SIGKILL)


@contextmanager
def with_agents(scene: Scene) -> Iterator[Agents]:
    """Let every `wal-push` and `wal-fetch` of the scene use agents; they end with the block."""
    agents = Agents(give_to_server(scene.directory / "agents"))
    scene.env |= {"WALE_AGENT": "auto", "WALE_AGENT_DIR": str(agents.directory)}
    try:
        yield agents
    finally:
        end(agents.running())


def _all_agents() -> Iterator[Process]:
    for entry in Path("/proc").iterdir():
        process = Process.of(int(entry.name)) if entry.name.isdigit() else None
        if process is not None and process.pid != os.getpid():
            words = _read(process, "cmdline").split(b"\0")
            if b"agent" in words and b"run" in words:
                yield process


def _read(process: Process, name: str) -> bytes:
    try:
        return Path("/proc", str(process.pid), name).read_bytes()
    except OSError:
        return b""  # it ended meanwhile
