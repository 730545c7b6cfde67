"""
A TCP proxy that misbehaves on request, between a client and a real server, inside the test's own process.

It rewrites nothing. Tempauth names the address by which it was asked, so the whole of a client's traffic stays on the
proxy; behind Keystone, put the proxy's URL into the catalog (`KeystoneInfo.add_region`).
"""

import selectors
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

Direction = Literal["up", "down"]
METHODS = (b"GET ", b"PUT ", b"POST", b"HEAD", b"DELE")
CHUNK = 65536


@dataclass(frozen=True, slots=True)
class Fault:
    """
    What goes wrong. Byte counts are of one request (up) or of all answers since the last request (down).

    `latency` seconds before each chunk is passed on; `reset_after` bytes: both sides get RST; `cut_after` bytes: both
    are closed as if all had been said; `hang_after` bytes: nothing moves any more; `refuse`: connections are reset.
    `match` is looked for in the first line and headers of the request; `times` disarms the fault after so many hits.
    """

    latency: float = 0
    reset_after: int | None = None
    cut_after: int | None = None
    hang_after: int | None = None
    refuse: bool = False
    direction: Literal["up", "down", "both"] = "both"
    match: bytes = b""
    times: int | None = None

    def limit(self) -> int | None:
        """Return the byte count at which it strikes, None where it only delays."""
        return next((at for at in (self.reset_after, self.cut_after, self.hang_after) if at is not None), None)


@dataclass(slots=True)
class Tally:
    """What passed through: connections, requests, bytes by direction, and how often a fault struck."""

    connections: int = 0
    requests: int = 0
    up: int = 0
    down: int = 0
    faults: int = 0


@dataclass(slots=True)
class _Exchange:
    """One client connection with its server connection, and the request that is under way on it."""

    client: socket.socket
    server: socket.socket
    head: bytes = b""
    passed: dict[str, int] = field(default_factory=lambda: {"up": 0, "down": 0})

    def begin_request(self, data: bytes) -> None:
        self.head = data
        self.passed = {"up": 0, "down": 0}


class ChaosProxy:
    """Listens on a port of 127.0.0.1 while the `with` block lasts; `fault` may be set and cleared at any time."""

    def __init__(self, target_port: int, target_host: str = "127.0.0.1") -> None:
        self.target = (target_host, target_port)
        self.tally = Tally()
        self._fault: Fault | None = None
        self._left: int | None = None
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._run(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    @property
    def url(self) -> str:
        """The proxy's address as the start of a URL."""
        return f"http://127.0.0.1:{self.port}"

    def set(self, fault: Fault) -> None:
        """Arm a fault in place of any other; it holds for connections that are open, too."""
        with self._lock:
            self._fault, self._left = fault, fault.times

    def clear(self) -> None:
        """Behave."""
        with self._lock:
            self._fault = None

    def _run(self, work: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        self._listener.settimeout(0.05)
        while not self._closing.is_set():
            with suppress(TimeoutError):
                client, _ = self._listener.accept()
                self._count("connections")
                self._run(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client:
            fault = self._armed("up", b"")
            if fault and fault.refuse:
                self._hit()
                _reset(client)
                return
            try:
                server = socket.create_connection(self.target, 10)
            except OSError:
                _reset(client)
                return
            with server, suppress(OSError):
                server.settimeout(None)
                client.settimeout(None)
                self._relay(_Exchange(client, server))

    def _relay(self, exchange: _Exchange) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(exchange.client, selectors.EVENT_READ, "up")
            selector.register(exchange.server, selectors.EVENT_READ, "down")
            while not self._closing.is_set() and selector.get_map():
                for key, _ in selector.select(0.05):
                    source = exchange.client if key.data == "up" else exchange.server
                    data = source.recv(CHUNK)
                    if not data:
                        selector.unregister(source)
                        _end_of_stream(exchange.server if key.data == "up" else exchange.client)
                    elif not self._pass_on(exchange, key.data, data):
                        return

    def _pass_on(self, exchange: _Exchange, direction: Direction, data: bytes) -> bool:
        if direction == "up" and data.startswith(METHODS):
            exchange.begin_request(data)
            self._count("requests")
        target = exchange.server if direction == "up" else exchange.client
        fault = self._armed(direction, exchange.head)
        if fault and fault.latency:
            self._closing.wait(fault.latency)
        exchange.passed[direction] += len(data)
        limit = fault.limit() if fault else None
        if fault is None or limit is None or exchange.passed[direction] <= limit:
            target.sendall(data)
            self._count(direction, len(data))
            return True
        self._hit()
        self._strike(exchange, fault, target, data[: max(0, len(data) - (exchange.passed[direction] - limit))])
        return False

    def _strike(self, exchange: _Exchange, fault: Fault, target: socket.socket, rest: bytes) -> None:
        if fault.reset_after is not None:
            _reset(exchange.client)
            _reset(exchange.server)
            return
        target.sendall(rest)
        if fault.hang_after is not None:
            while not self._closing.is_set() and not _gone(exchange.client):
                self._closing.wait(0.05)

    def _armed(self, direction: Direction, head: bytes) -> Fault | None:
        with self._lock:
            fault = self._fault
        if fault is None or fault.direction not in {direction, "both"} or fault.match not in head:
            return None
        return fault

    def _hit(self) -> None:
        with self._lock:
            self.tally.faults += 1
            if self._left is not None:
                self._left -= 1
                if self._left <= 0:
                    self._fault = None

    def _count(self, what: str, size: int = 1) -> None:
        with self._lock:
            setattr(self.tally, what, getattr(self.tally, what) + size)


def _reset(connection: socket.socket) -> None:
    # Lingering for no time makes the close a reset.
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _end_of_stream(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)


def _gone(connection: socket.socket) -> bool:
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
