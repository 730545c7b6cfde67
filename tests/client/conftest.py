"""Both clients, with a stand-in for the whole program, and a directory for sockets."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.place import PROJECT, remove_tree
from tests.client.fake import DIRECT, Client, FakeAgent, Speak, socket_name
from wal_e import __version__

_SIBLING = f"""#!/bin/sh
printf 'direct\\0'
for word; do printf '%s\\0' "$word"; done
exit {DIRECT}
"""
_SCRIPT = f"""#!{sys.executable}
import os, sys, types
main = types.ModuleType("wal_e.cli.main")
def run():
    os.write(1, b"".join(os.fsencode(word) + b"\\0" for word in ("direct", *sys.argv[1:])))
    os._exit({DIRECT})
main.main = run
sys.path.insert(0, {str(PROJECT)!r})
sys.modules["wal_e.cli.main"] = main
from wal_e import client, entry
client.SILENCE = {{silence}}
entry.main()
"""


@pytest.fixture(scope="session")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Client]:
    """Makes a client, "python" or "native", that takes so many milliseconds for silence."""
    made: dict[tuple[str, int], Client] = {}

    def make(kind: str, silence: int) -> Client:
        if (kind, silence) not in made:
            folder = tmp_path_factory.mktemp(kind)
            made[kind, silence] = _native(folder, silence) if kind == "native" else _python(folder, silence)
        return made[kind, silence]

    return make


@pytest.fixture(scope="session", params=["python", "native"])
def client(request: pytest.FixtureRequest, clients: Callable[[str, int], Client]) -> Client:
    """The program in Python, then the one in C."""
    return clients(request.param, 10_000)


@pytest.fixture(scope="session", params=["python", "native"])
def impatient(request: pytest.FixtureRequest, clients: Callable[[str, int], Client]) -> Client:
    """The same, with little patience for a silent agent."""
    return clients(request.param, 50)


@pytest.fixture(scope="session", params=["python", "native"])
def patient(request: pytest.FixtureRequest, clients: Callable[[str, int], Client]) -> Client:
    """The same, with two seconds of patience: longer than a busy machine keeps a thread from running."""
    return clients(request.param, 2_000)


@pytest.fixture(scope="session")
def native(clients: Callable[[str, int], Client]) -> Client:
    """The program in C."""
    return clients("native", 10_000)


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A private directory with a short name: the path of a socket has 107 bytes at most."""
    directory = Path(tempfile.mkdtemp(prefix="wal-e-"))
    yield directory
    remove_tree(directory)


@pytest.fixture
def env(sockets: Path) -> dict[bytes, bytes]:
    """An environment whose sockets are in the private directory."""
    return {b"WALE_AGENT_DIR": bytes(sockets)}


@pytest.fixture
def agent(sockets: Path, env: dict[bytes, bytes]) -> Callable[[Speak], FakeAgent]:
    """Makes the agent of that environment, and of no global words."""

    def make(speak: Speak) -> FakeAgent:
        return FakeAgent(sockets / socket_name([], [name + b"=" + value for name, value in env.items()]), speak)

    return make


def _python(folder: Path, silence: int) -> Client:
    return Client(_program(folder / "wal-e", _SCRIPT.format(silence=silence / 1000)))


def _native(folder: Path, silence: int) -> Client:
    _program(folder / "wal-e-python", _SIBLING)
    source, program = PROJECT / "native" / "wal-e.c", folder / "wal-e"
    flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror", f"-DSILENCE_MS={silence}"]
    subprocess.run(["cc", *flags, f'-DWAL_E_VERSION="{__version__}"', source, "-o", program], check=True)
    return Client(program)


def _program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path
