"""The protocol from the clients' side, C and Python alike: what they send, to whom, and what counts as an answer."""

import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from lab.place import PROJECT
from lab.processes import wait_until
from tests.client.fake import DIRECT, PROTOCOL, Client, FakeAgent, Speak, say, socket_name

WORDS = (b"wal-push", b"pg_wal/0000000100000000000000A1")
ANSWER = b".\n:one\n>out \xff\n:\n=73\n"
Make = Callable[[Speak], FakeAgent]


def _is_left_to_the_program(answer: tuple[int, bytes, bytes], words: tuple[bytes, ...] = WORDS) -> bool:
    """Whether the client printed nothing, and became the whole program with the same words."""
    return answer == (DIRECT, b"".join(word + b"\0" for word in (b"direct", *words)), b"")


def _has_left(connection: socket.socket) -> bool:
    """Says nothing until the client is gone, which is more than that it has said all: poll(2) calls it POLLHUP."""
    poll = select.poll()
    poll.register(connection, 0)
    return bool(poll.poll(60_000))


def test_the_request_has_all_that_matters_and_nothing_else(
    client: Client, agent: Make, env: dict[bytes, bytes], tmp_path: Path
) -> None:
    """H60: any bytes in a value or a name arrive as they are; the order is that of the bytes."""
    env |= {
        b"SWIFT_PASSWORD": b"a\nb %20 \xff=c",
        b"OS_AUTH_URL": b"",
        b"HOME": b"/home/a b",
        b"no_proxy": b"x",
        b"WALE_\xc3\xa4": b"1",
    }
    odd = tmp_path / "a b\n%f"
    odd.mkdir()
    words = (b"wal-push", b"-p", b"2", b"a b\n%f'\"\xff")
    with agent(say(b"=0\n")) as asked:
        others = {
            b"PATH": b"/bin",
            b"LANG": b"C.UTF-8",
            b"PGDATA": b"/x",
            b"WAL": b"1",
            b"XWALE_A": b"1",
            b"HOMES": b"1",
        }
        assert client.run(*words, env=env | others, cwd=odd) == (0, b"", b"")
    entries = sorted(name + b"=" + value for name, value in env.items())
    fields = [PROTOCOL, bytes(odd), str(len(entries)).encode(), *entries, *words]
    assert asked.requests == [b"\0".join(fields)]


def test_the_words_before_the_command_and_the_variables_name_the_socket(
    client: Client, sockets: Path, env: dict[bytes, bytes]
) -> None:
    env |= {b"WALE_B": b"2", b"WALE_A": b"1"}
    entries = [name + b"=" + value for name, value in env.items()]
    name = socket_name([b"--envdir", b"/e\xff", b"--terse"], entries)
    with FakeAgent(sockets / name, say(b"=3\n")):
        assert client.run("--envdir", b"/e\xff", "--terse", "wal-fetch", "x", "y", env=env)[0] == 3
        for words in (WORDS, (b"--terse", *WORDS), (b"--envdir", b"/e\xff", *WORDS)):
            assert _is_left_to_the_program(client.run(*words, env=env), words)


@pytest.mark.parametrize("words", [(), (b"backup-list",), (b"agent", b"status"), (b"--terse", b"agent", b"wal-push")])
def test_other_commands_ask_nobody(
    client: Client, agent: Make, env: dict[bytes, bytes], words: tuple[bytes, ...]
) -> None:
    with agent(say(b"=0\n")) as asked:
        assert _is_left_to_the_program(client.run(*words, env=env), words)
    assert not asked.connections


@pytest.mark.parametrize("value", [b"off", b" OFF\n", b"0", b"No", b"\tfalse"])
def test_every_spelling_of_off_asks_nobody(client: Client, sockets: Path, value: bytes) -> None:
    env = {b"WALE_AGENT_DIR": bytes(sockets), b"WALE_AGENT": value}
    name = socket_name([], [key + b"=" + text for key, text in env.items()])
    with FakeAgent(sockets / name, say(b"=0\n")) as asked:
        assert _is_left_to_the_program(client.run(*WORDS, env=env))
    assert not asked.connections


def test_h04_an_answer_that_is_cut_at_any_byte_is_none(client: Client, agent: Make, env: dict[bytes, bytes]) -> None:
    """H07, H14: what was said until then is not printed either, and no exit code is made of it."""
    lengths = iter(range(len(ANSWER)))
    with agent(lambda connection: connection.sendall(ANSWER[: next(lengths)])) as asked:
        for _ in range(len(ANSWER)):
            assert _is_left_to_the_program(client.run(*WORDS, env=env))
    assert asked.connections == len(ANSWER)


def test_an_answer_in_pieces_is_one(client: Client, agent: Make, env: dict[bytes, bytes]) -> None:
    pieces = [ANSWER[start:end] for start, end in pairwise(range(len(ANSWER) + 1))]

    def slowly(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        say(*pieces)(connection)

    with agent(slowly):
        assert client.run(*WORDS, env=env) == (73, b"out \xff\n", b"one\n\n")


def test_a_long_answer_is_passed_on_whole(client: Client, agent: Make, env: dict[bytes, bytes]) -> None:
    line = b"x" * 300_000 + b"\n"
    with agent(say(b":" + line, b">" + line, b"=0\n")):
        assert client.run(*WORDS, env=env) == (0, line, line)


def test_a_silent_agent_is_left(impatient: Client, agent: Make, env: dict[bytes, bytes]) -> None:
    def silent(connection: socket.socket) -> None:
        connection.sendall(b":said\n")
        left.append(_has_left(connection))

    left: list[bool] = []
    with agent(silent):
        assert _is_left_to_the_program(impatient.run(*WORDS, env=env))
    assert left == [True]


def test_signs_of_life_are_waited_for(patient: Client, agent: Make, env: dict[bytes, bytes]) -> None:
    """The whole takes longer than this client's two seconds of silence; each dot begins them anew."""
    never = threading.Event()

    def at_work(connection: socket.socket) -> None:
        end = time.monotonic() + 2.2
        while time.monotonic() < end:
            connection.sendall(b".\n")
            never.wait(0.1)
        connection.sendall(b"=4\n")

    with agent(at_work):
        assert patient.run(*WORDS, env=env)[0] == 4


@pytest.fixture
def full(sockets: Path, env: dict[bytes, bytes]) -> Iterator[None]:
    """An agent that accepts nobody, and whose queue is full."""
    path = str(sockets / socket_name([], [name + b"=" + value for name, value in env.items()]))
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(path)
        listener.listen(0)
        first.connect(path)
        yield


@pytest.mark.usefixtures("full")
def test_a_full_queue_is_left(impatient: Client, env: dict[bytes, bytes]) -> None:
    assert _is_left_to_the_program(impatient.run(*WORDS, env=env))


def test_an_interrupt_ends_it_at_once(client: Client, agent: Make, env: dict[bytes, bytes]) -> None:
    """Without a word, and by the signal, as the shell that runs archive_command expects; where ignored, it is."""
    with agent(_has_left) as asked:
        with client.start(*WORDS, env=env) as process:
            assert asked.asked.wait(60)
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=60) == (b"", b"")
        assert process.returncode == -signal.SIGINT
    go = []
    with agent(lambda connection: wait_until(lambda: go, "the interrupt") and connection.sendall(b"=5\n")) as asked:
        with client.start(*WORDS, env=env, ignoring=True) as process:
            assert asked.asked.wait(60)
            process.send_signal(signal.SIGINT)
            go.append(True)
            process.communicate(timeout=60)
        assert process.returncode == 5


def test_h14_an_interrupt_waits_until_the_interpreter_has_started(
    native: Client, tmp_path: Path, env: dict[bytes, bytes]
) -> None:
    """Python ends with 1 where one comes while it starts, which of wal-fetch means that there is no such file."""
    alone = tmp_path / "wal-e"
    alone.write_bytes(native.program.read_bytes())
    alone.chmod(0o755)
    sibling = tmp_path / "wal-e-python"
    program = f"{sys.executable} -c 'from wal_e.entry import main; main()'"
    sibling.write_text(f"#!/bin/sh\nkill -s INT $$\necho held\nexec {program} version\n")
    sibling.chmod(0o755)
    assert Client(alone).run(b"version", env=env, cwd=PROJECT) == (-signal.SIGINT, b"held\n", b"")


@pytest.mark.parametrize(("command", "code"), [(b"wal-push", 2), (b"wal-fetch", 200), (b"backup-list", 2)])
def test_h07_h14_without_the_whole_program_the_code_says_try_again(
    native: Client, tmp_path: Path, env: dict[bytes, bytes], command: bytes, code: int
) -> None:
    """Never above 125 to an archiver, and never "not there" to a recovery."""
    alone = tmp_path / "wal-e"
    alone.write_bytes(native.program.read_bytes())
    alone.chmod(0o755)
    returned, out, err = Client(alone).run(command, b"x", b"y", env=env)
    assert (returned, out) == (code, b"")
    assert b"cannot run" in err
    assert b"this user must be able to read it" in err


def test_the_program_that_the_native_one_becomes_asks_no_second_time(
    clients: Callable[[str, int], Client], tmp_path: Path, agent: Make, env: dict[bytes, bytes]
) -> None:
    """A hung agent costs its ten seconds once; who merely inherits the mark of another process asks as ever."""
    for name, kind in (("wal-e", "native"), ("wal-e-python", "python")):
        (tmp_path / name).write_bytes(clients(kind, 10_000).program.read_bytes())
        (tmp_path / name).chmod(0o755)
    with agent(say(b"!no\n")) as asked:
        assert _is_left_to_the_program(Client(tmp_path / "wal-e").run(*WORDS, env=env))
        assert asked.connections == 1
        inherited = env | {b"WAL_E_ASKED": b"1"}
        assert _is_left_to_the_program(Client(tmp_path / "wal-e-python").run(*WORDS, env=inherited))
        assert asked.connections == 2
