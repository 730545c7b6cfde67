"""Both thin clients against an agent that says what a test wants: one protocol, and never an answer that is none."""

import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from wal_e import client
from wal_e.cli.parser import all_options

BIN = Path(sys.executable).parent
CLIENTS = [BIN / "wal-e", BIN / "wal-e-python"]
WORDS = ["--terse", "wal-push", "pg_wal/0000000100000000000000A1"]


class Scripted:
    """Listens where the agent of `env` is expected, keeps the request, and says `answer`."""

    def __init__(self, directory: Path, answer: bytes) -> None:
        self.env = {"PATH": os.defpath, "WALE_AGENT_DIR": str(directory), "WALE_S3_PREFIX": "", "HOME": "/nowhere"}
        words, _ = client.split(WORDS)
        self.path = client.socket_path(words, client.relevant(self.env))
        self.request = b""
        self._answer = answer
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.request = _all(connection)
                connection.sendall(self._answer)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def directory() -> Iterator[Path]:
    """A private directory with a short name: a socket's path has room for 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="wal-e-test-") as name:
        yield Path(name)


def _all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def _run(program: Path, agent: Scripted, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([program, *WORDS], env=agent.env, cwd=cwd, capture_output=True, check=False, timeout=60)


@pytest.mark.parametrize("program", CLIENTS, ids=lambda path: path.name)
def test_an_answer_is_passed_on_as_it_is(program: Path, directory: Path) -> None:
    agent = Scripted(directory, b".\n:one\n>out \xff\n.\n:\n:two\n=73\nafterwards\n")
    try:
        done = _run(program, agent, directory)
    finally:
        agent.close()
    assert (done.returncode, done.stdout, done.stderr) == (73, b"out \xff\n", b"one\n\ntwo\n")
    assert agent.request == client.request(WORDS, str(directory.resolve()), client.relevant(agent.env))


@pytest.mark.parametrize("answer", [b"", b"=0", b":text\n", b"!busy\n", b"=\n", b"=256\n", b"=-1\n", b"x\n=0\n", b"\n"])
@pytest.mark.parametrize("program", CLIENTS, ids=lambda path: path.name)
def test_what_is_no_answer_has_the_work_done_here(program: Path, answer: bytes, directory: Path) -> None:
    """H04: success is what the agent said in full, or what this process did itself; here it has no archive to use."""
    agent = Scripted(directory, answer)
    try:
        done = _run(program, agent, directory)
    finally:
        agent.close()
    assert done.returncode == 1
    assert b"no storage prefix defined" in done.stderr


@pytest.mark.parametrize("program", CLIENTS, ids=lambda path: path.name)
@pytest.mark.parametrize("fault", ["others may write", "link", "off"])
def test_an_agent_in_a_doubtful_place_is_not_asked(program: Path, fault: str, directory: Path) -> None:
    """Whoever can put a socket there could say that a segment is durable."""
    agent = Scripted(directory, b"=0\n")
    try:
        if fault == "off":
            agent.env["WALE_AGENT"] = "off"
        elif fault == "others may write":
            directory.chmod(0o777)
        else:
            place = directory / "place"
            place.symlink_to(directory)
            agent.env["WALE_AGENT_DIR"] = str(place)
            there = Path(client.socket_path(["--terse"], client.relevant(agent.env)))
            Path(agent.path).rename(directory / there.name)
        done = _run(program, agent, directory)
    finally:
        agent.close()
    assert done.returncode == 1
    assert agent.request == b""


def test_the_python_client_imports_next_to_nothing() -> None:
    code = "import sys; before = set(sys.modules); import wal_e.entry; print(*sorted(set(sys.modules) - before))"
    found = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert set(found) <= {"_socket", "zlib", "wal_e", "wal_e.client", "wal_e.entry"}


def test_every_variable_of_the_option_table_is_part_of_the_configuration() -> None:
    variables = [name for option in all_options() for name in option.variables]
    assert variables
    for name in (*variables, "WALE_CONFIG"):
        assert client.relevant({name: "x"}) == [f"{name}=x"]
