"""The agent's socket against clients of all kinds: who may ask, what they hear, and how it ends."""

import socket
import stat
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.processes import wait_until
from wal_e import client
from wal_e.agent import server as server_module
from wal_e.agent.place import AlreadyRunning, Lock, is_locked, lock_path, make_directory
from wal_e.agent.protocol import Handler, Refused, Reply, Request, parse_request
from wal_e.agent.server import CONNECTIONS, LARGEST_REQUEST, Server, Timing
from wal_e.errors import Misconfigured

WORDS = ["wal-push", "pg_wal/x"]
QUICK = Timing(idle=None, alive=0.05, end=30.0)


@dataclass
class Running:
    """A server in a thread of its own."""

    server: Server
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self.server.serve, daemon=True)
        self.thread.start()

    def ask(self, *words: str) -> client.Answer | None:
        return client.converse(self.server.path, client.request(words or WORDS, "/", []))

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(60)
        connection.connect(self.server.path)
        return connection

    def end(self) -> None:
        self.server.stop()
        self.thread.join(60)
        assert not self.thread.is_alive()


@pytest.fixture
def place() -> Iterator[str]:
    """Where a socket may be."""
    with tempfile.TemporaryDirectory(prefix="wal-e-test-") as name:
        yield f"{name}/agent.sock"


@pytest.fixture
def serve(place: str) -> Iterator[Callable[..., Running]]:
    """Starts servers, which end with the test."""
    started: list[Running] = []

    def start(handler: Handler, timing: Timing = QUICK, *, busy: Callable[[], bool] = lambda: False) -> Running:
        started.append(Running(Server(place, handler, timing, busy)))
        return started[-1]

    yield start
    for each in started:
        each.end()


def test_lines_come_through_as_they_were(serve: Callable[..., Running]) -> None:
    running = serve(lambda _: Reply(7, ("a\nb", ""), ("=0", "\udcff!", ".")))
    answer = running.ask()
    assert answer is not None
    assert (answer.code, answer.out, answer.err) == (7, b"a\nb\n\n", b"=0\n\xff!\n.\n")


def test_the_handler_gets_what_was_sent(serve: Callable[..., Running]) -> None:
    seen: list[Request] = []

    def handler(request: Request) -> Reply:
        seen.append(request)
        return Reply(0)

    running = serve(handler)
    assert client.converse(running.server.path, client.request(["a", "", "\udcff"], "/c d", ["A=1\n2"])) is not None
    assert seen == [Request("/c d", ("A=1\n2",), ("a", "", "\udcff"))]


@pytest.mark.parametrize("error", [Refused("no"), Refused("no\n=0"), ValueError("x"), OSError("=0\n")])
def test_an_error_of_the_handler_is_no_answer(serve: Callable[..., Running], error: Exception) -> None:
    """H04: nothing that a handler raises may read as success."""

    def handler(_request: Request) -> Reply:
        raise error

    running = serve(handler)
    with running.connect() as connection:
        connection.sendall(client.request(WORDS, "/", []))
        connection.shutdown(socket.SHUT_WR)
        said = b"".join(iter(lambda: connection.recv(100), b"")).replace(b".\n", b"")
    assert said.startswith(b"!")
    assert said.count(b"\n") == 1
    assert running.ask() is None


def test_a_socket_is_the_owners_alone(serve: Callable[..., Running]) -> None:
    running = serve(lambda _: Reply(0))
    assert stat.S_IMODE(Path(running.server.path).stat().st_mode) == 0o600


def test_another_user_is_not_answered(serve: Callable[..., Running], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "_peer", lambda _connection: 12345)
    running = serve(lambda _: Reply(0))
    assert running.ask() is None


def test_the_credentials_are_the_kernels() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        raw = one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        assert server_module._peer(other) == struct.unpack("3i", raw)[1]


def test_the_ninth_is_sent_away_and_the_others_are_answered(serve: Callable[..., Running]) -> None:
    go = threading.Event()

    def handler(_request: Request) -> Reply:
        assert go.wait(60)
        return Reply(0)

    running = serve(handler)
    answers: list[client.Answer | None] = []
    askers = [threading.Thread(target=lambda: answers.append(running.ask())) for _ in range(CONNECTIONS)]
    for asker in askers:
        asker.start()
    wait_until(lambda: running.server.requests == CONNECTIONS, "all connections to be taken")
    assert running.ask() is None
    go.set()
    for asker in askers:
        asker.join()
    assert [answer is not None and answer.code for answer in answers] == [0] * CONNECTIONS


def test_who_says_nothing_too_much_or_leaves_harms_nobody(serve: Callable[..., Running]) -> None:
    running = serve(lambda _: Reply(0), replace(QUICK, hello=1.0))
    with running.connect() as silent, running.connect() as gone, running.connect() as loud:
        gone.sendall(b"wal-e-agent/1")
        gone.close()
        try:
            loud.sendall(b"x" * (LARGEST_REQUEST + 1_000_000))
            loud.recv(100)
        except OSError:
            pass  # it was cut off before all was sent
        assert silent.recv(100).startswith(b"!")
        answer = running.ask()
    assert answer is not None
    assert answer.code == 0
    wait_until(lambda: running.server.requests == 0, "all connections to be given back")


def test_signs_of_life_come_while_it_works_and_end_with_the_answer(serve: Callable[..., Running]) -> None:
    go = threading.Event()

    def handler(_request: Request) -> Reply:
        assert go.wait(60)
        return Reply(3, err=("text",))

    running = serve(handler)
    with running.connect() as connection:
        connection.sendall(client.request(WORDS, "/", []))
        connection.shutdown(socket.SHUT_WR)
        said = b""
        while said.count(b".\n") < 3:
            said += connection.recv(100)
        go.set()
        said += b"".join(iter(lambda: connection.recv(100), b""))
    assert said.replace(b".\n", b"") == b":text\n=3\n"
    assert said.endswith(b"=3\n")


def test_it_ends_when_idle_but_not_while_busy(serve: Callable[..., Running]) -> None:
    busy = threading.Event()
    busy.set()
    looked = threading.Event()

    def at_work() -> bool:
        looked.set()
        return busy.is_set()

    running = serve(lambda _: Reply(0), Timing(idle=0.05), busy=at_work)
    assert looked.wait(60)
    looked.clear()
    assert looked.wait(60)
    assert running.thread.is_alive()
    busy.clear()
    running.thread.join(60)
    assert not running.thread.is_alive()
    assert not Path(running.server.path).exists()


def test_giving_way_lets_a_successor_begin_while_requests_finish(serve: Callable[..., Running]) -> None:
    go = threading.Event()

    def handler(_request: Request) -> Reply:
        assert go.wait(60)
        return Reply(1)

    first = serve(handler)
    answers: list[client.Answer | None] = []
    asker = threading.Thread(target=lambda: answers.append(first.ask()))
    asker.start()
    wait_until(lambda: first.server.requests == 1, "the request to be under way")
    first.server.give_way()
    second = serve(lambda _: Reply(2))
    newer = second.ask()
    assert newer is not None
    assert newer.code == 2
    go.set()
    asker.join()
    assert answers[0] is not None
    assert answers[0].code == 1
    first.end()
    assert second.ask() is not None


def test_one_agent_for_a_place_and_a_dead_ones_socket_is_taken_over(serve: Callable[..., Running], place: str) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(place)
    running = serve(lambda _: Reply(0))
    assert running.ask() is not None
    assert is_locked(lock_path(place))
    with pytest.raises(AlreadyRunning):
        Lock(lock_path(place))
    running.end()
    assert not is_locked(lock_path(place))
    Lock(lock_path(place)).release()


def test_a_handler_may_stop_it(serve: Callable[..., Running]) -> None:
    def handler(_request: Request) -> Reply:
        running.server.stop()
        return Reply(0)

    running = serve(handler)
    assert running.ask() is not None
    running.thread.join(60)
    assert not running.thread.is_alive()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    try:
        request = parse_request(data)
    except Refused:
        return
    assert client.request(request.argv, request.cwd, request.entries) == data


_FIELDS = st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=5)


@given(_FIELDS, _FIELDS)
def test_a_request_is_read_as_it_was_written(argv: list[str], entries: list[str]) -> None:
    assert parse_request(client.request(argv, "/x", entries)) == Request("/x", tuple(entries), tuple(argv))


def test_a_directory_that_others_could_use_is_refused(tmp_path: Path) -> None:
    for name, mode in (("open", 0o777), ("group", 0o770)):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
        with pytest.raises(Misconfigured, match="is not only ours"):
            make_directory(str(tmp_path / name))
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(Misconfigured, match="is not only ours"):
        make_directory(str(tmp_path / "link"))
    make_directory(str(tmp_path / "new"))
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
