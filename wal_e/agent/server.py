"""
The agent's socket: who may ask, one thread for each request, signs of life, and an orderly end.

Nothing here knows of WAL: a handler turns a request into a reply. Whatever goes wrong with one request ends that
request with "do it yourself", and the caller does: so a server need never be careful at the cost of being late.
"""

import contextlib
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from wal_e.agent.place import Lock, lock_path
from wal_e.agent.protocol import Handler, Refused, encode, parse_request

CONNECTIONS: Final = 8
LARGEST_REQUEST: Final = 1024 * 1024
_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid
_PIECE: Final = 65536


@dataclass(frozen=True, slots=True)
class Timing:
    """
    All in seconds: a server without requests ends after `idle` (None: never), a request under way gives a sign of
    life every `alive`, a client has `hello` to send its request, `end` is the most that requests under way are
    waited for at the end. `pulse` is how often `beat` is called while the server waits, None for never.
    """

    idle: float | None = 300.0
    alive: float = 1.0
    hello: float = 10.0
    end: float = 60.0
    pulse: float | None = None


@dataclass(eq=False)
class Server:
    """
    Serves one socket until it has been idle for long enough, or is told to stop.

    `busy` says whether there is work under way that no request waits for; `beat` is called at each `pulse`.
    """

    path: str
    handler: Handler
    timing: Timing = field(default_factory=Timing)
    busy: Callable[[], bool] = lambda: False
    beat: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self._lock = Lock(lock_path(self.path))
        self._changed = threading.Condition()
        self._under_way = 0
        self._working: set[socket.socket] = set()
        self._pulsing = False
        self._last = time.monotonic()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_writer.settimeout(0)
        self._open = True
        self._listener = self._listen()

    def serve(self) -> None:
        """Answers until the end; the socket is gone then, and the requests under way have ended or had their time."""
        try:
            with selectors.DefaultSelector() as selector:
                for readable in (self._listener, self._wake_reader):
                    selector.register(readable, selectors.EVENT_READ)
                self._loop(selector)
        finally:
            self.give_way()
            with self._changed:
                self._changed.wait_for(lambda: not self._under_way, self.timing.end)
            self._wake_reader.close()
            self._wake_writer.close()

    def stop(self) -> None:
        """Has `serve` end; may be called from a signal handler and from a handler of requests."""
        self._open = False
        with contextlib.suppress(OSError):  # a full buffer wakes just as well
            self._wake_writer.send(b"\0")

    def give_way(self) -> None:
        """Removes the socket and releases the lock, so that a successor can begin; what is under way goes on."""
        with self._changed:
            if self._listener.fileno() < 0:
                return
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)  # noqa: PTH108  a string, as everywhere here
            self._listener.close()
            self._lock.release()
        self.stop()

    @property
    def requests(self) -> int:
        """How many requests are under way."""
        return self._under_way

    def _listen(self) -> socket.socket:
        """The lock is held, so a socket that is there was left by a dead agent."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)  # noqa: PTH108  a string, as everywhere here
            before = os.umask(0o177)
            try:
                listener.bind(self.path)
            finally:
                os.umask(before)
            listener.listen(CONNECTIONS)
            listener.settimeout(0)
        except OSError:
            listener.close()
            self._lock.release()
            raise
        return listener

    def _loop(self, selector: selectors.BaseSelector) -> None:
        while self._open:
            wait = self._patience()
            if wait is not None and wait <= 0:
                if not self.busy() and not self._under_way:
                    return
                self._last = time.monotonic()
                continue
            ready = selector.select(wait if self.timing.pulse is None else min(wait or 1e9, self.timing.pulse))
            self.beat()
            if any(key.fileobj is self._listener for key, _ in ready):
                self._accept()

    def _patience(self) -> float | None:
        return None if self.timing.idle is None else self._last + self.timing.idle - time.monotonic()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return  # the client went away, or the server gave way, meanwhile
        connection.settimeout(self.timing.hello)
        if _peer(connection) != os.geteuid():
            connection.close()
            return
        with self._changed:
            admitted = self._under_way < CONNECTIONS
            self._under_way += admitted
        if not admitted:
            _send(connection, b"!busy\n")
            connection.close()
            return
        try:
            threading.Thread(target=self._serve_one, args=(connection,), name="request", daemon=True).start()
        except RuntimeError:  # no thread to be had
            connection.close()
            self._ended()

    def _serve_one(self, connection: socket.socket) -> None:
        try:
            with connection:
                self._answer(connection)
        finally:
            self._ended()

    def _ended(self) -> None:
        with self._changed:
            self._under_way -= 1
            self._last = time.monotonic()
            self._changed.notify_all()

    def _answer(self, connection: socket.socket) -> None:
        try:
            request = parse_request(_receive(connection, time.monotonic() + self.timing.hello))
            with self._shown_alive(connection):
                reply = self.handler(request)
        except Refused as refusal:
            _send(connection, f"!{' '.join(str(refusal).split())}\n".encode())
        except Exception as error:  # noqa: BLE001  the client does the work itself, and meets the error in full
            _send(connection, f"!{type(error).__name__}\n".encode())
        else:
            _send(connection, encode(reply))

    @contextlib.contextmanager
    def _shown_alive(self, connection: socket.socket) -> Iterator[None]:
        """While the block lasts, the client gets a sign of life now and then; none once it has ended."""
        with self._changed:
            self._working.add(connection)
            if not self._pulsing:
                threading.Thread(target=self._pulse, name="alive", daemon=True).start()
                self._pulsing = True
        try:
            yield
        finally:
            with self._changed:
                self._working.discard(connection)

    def _pulse(self) -> None:
        """One thread for all requests, which ends when there is none."""
        with self._changed:
            while True:
                until = time.monotonic() + self.timing.alive
                while (left := until - time.monotonic()) > 0:
                    self._changed.wait(left)
                if not self._working:
                    self._pulsing = False
                    return
                for connection in self._working:
                    with contextlib.suppress(OSError):
                        connection.send(b".\n", socket.MSG_DONTWAIT)


def _peer(connection: socket.socket) -> int:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid: int = _CREDENTIALS.unpack(credentials)[1]
    return uid


def _receive(connection: socket.socket, deadline: float) -> bytes:
    data = b""
    try:
        while piece := connection.recv(_PIECE):
            data += piece
            if len(data) > LARGEST_REQUEST or time.monotonic() > deadline:
                raise Refused("too long")
    except OSError:
        raise Refused("no request") from None
    return data


def _send(connection: socket.socket, data: bytes) -> None:
    """A client that went away has no use for an answer."""
    with contextlib.suppress(OSError):
        connection.sendall(data)
