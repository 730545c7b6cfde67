"""
An HTTP proxy that misbehaves at a request of one's choice, between a client and a real server, in the test's process.
What it can do wrong is in `lab.faults`.

`lab.chaosproxy` breaks connections; this one understands requests: it counts them, can answer in the server's place,
and changes answers. A test arms one rule for each number in turn until an operation no longer reaches it:

    for number in itertools.count(1):
        proxy.arm(Rule(Answer(503), first=number, last=number))
        ...
        if not proxy.struck:
            break

Requests are passed on as they came, the Host header too, so signatures stay valid, unless `rewrite` changes them. A
guard may look at each of them first, as a service's login does, and the client's side may have TLS.
"""

import contextlib
import http.client
import http.server
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from lab.faults import (
    Answer,
    BreakAnswer,
    BreakRequest,
    ChangeHeaders,
    CutAnswer,
    Fault,
    FlipAnswer,
    LoseAnswer,
    Meanwhile,
    Rule,
    SlowAnswer,
    SlowRequest,
)

CHUNK = 65536
NO_BODY = frozenset({204, 304})


@dataclass(frozen=True, slots=True)
class Head:
    """A request without its body; the names of headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]


Guard = Callable[[Head], Answer | Mapping[str, str]]
"""Answers a request in the server's place, or returns the headers that it is passed on with."""

Rewrite = Callable[[str, dict[str, str]], str]
"""Given a request's path and query, and its headers, which it may change, returns what is asked for instead."""


class FaultProxy:
    """
    Listens on a port of 127.0.0.1 while the `with` block lasts; rules may be armed at any time.

    `rewrite` changes every request that is passed on; `requests` has them as they came.
    """

    def __init__(
        self,
        target_port: int,
        target_host: str = "127.0.0.1",
        *,
        guard: Guard | None = None,
        rewrite: Rewrite = lambda path, _headers: path,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.target = (target_host, target_port)
        self.guard = guard or (lambda head: head.headers)
        self.rewrite = rewrite
        self.requests: list[str] = []
        self.heads: list[Head] = []
        self.struck = 0
        self._rule: Rule | None = None
        self._matched = 0
        self._lock = threading.Lock()
        self._tls = tls is not None
        self._server = _Server(self)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.hang_up()
        self._server.server_close()

    @property
    def url(self) -> str:
        """The proxy's address as the start of a URL."""
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    def arm(self, rule: Rule | None = None) -> None:
        """Follow this rule (None: behave) from the next request on, and count from zero."""
        with self._lock:
            self._rule, self._matched, self.struck = rule, 0, 0
            self.requests, self.heads = [], []

    def strikes(self, head: Head) -> Fault | None:
        """Count a request, and return the fault that strikes it."""
        request = f"{head.method} {head.path}"
        with self._lock:
            self.requests.append(request)
            self.heads.append(head)
            rule = self._rule
            if rule is None or re.search(rule.match, request) is None:
                return None
            self._matched += 1
            if self._matched < rule.first or (rule.last is not None and self._matched > rule.last):
                return None
            self.struck += 1
            return rule.fault


class _Server(http.server.ThreadingHTTPServer):
    """A thread for each connection; `hang_up` ends those that are open, so that all threads can be joined."""

    daemon_threads = False

    def __init__(self, proxy: FaultProxy) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.proxy = proxy
        self.closing = threading.Event()
        self._open: set[socket.socket] = set()

    def hang_up(self) -> None:
        """End all connections."""
        self.closing.set()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        """See `socketserver`."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close without the goodbye that the standard library says: a RST is one only when nothing precedes it."""
        self._open.discard(request)
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """See `socketserver`; clients and servers that break off are what this is about."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            super().handle_error(request, client_address)


class _Handler(http.server.BaseHTTPRequestHandler):
    """Passes on the requests of one connection, one after the other."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def handle(self) -> None:
        """See `http.server`."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            super().handle()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name in the standard library
        """Say nothing."""

    def relay(self) -> None:
        """Serve one request."""
        head = Head(self.command, self.path, {name.lower(): value for name, value in self.headers.items()})
        fault = self.server.proxy.strikes(head)
        passed = fault if isinstance(fault, Answer) else self.server.proxy.guard(head)
        if isinstance(passed, Answer):
            fault = passed
            self.rfile.read(self._size() if fault.read is None else min(fault.read, self._size()))
            self.close_connection |= fault.read is not None
            self._head(fault.status, {"Content-Length": str(len(fault.body)), **fault.headers})
            if self.command != "HEAD":
                self.wfile.write(fault.body)
            return
        if isinstance(fault, Meanwhile):
            fault.action()
        upstream = http.client.HTTPConnection(*self.server.proxy.target, timeout=60)
        try:
            self._send(upstream, passed, fault)
            if not self.close_connection:
                self._return(upstream.getresponse(), fault)
        finally:
            upstream.close()

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = do_COPY = relay  # noqa: N815 - as http.server calls them

    def _size(self) -> int:
        return int(self.headers.get("Content-Length") or 0)

    def _send(self, upstream: http.client.HTTPConnection, passed: Mapping[str, str], fault: Fault | None) -> None:
        headers = dict(passed)
        path = self.server.proxy.rewrite(self.path, headers)
        upstream.putrequest(self.command, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            if name not in {"expect", "connection"}:
                upstream.putheader(name, value)
        upstream.endheaders()
        left = self._size()
        limit = fault.after if isinstance(fault, BreakRequest) else left
        most = fault.size if isinstance(fault, SlowRequest) else CHUNK
        if isinstance(fault, SlowRequest):  # else the system takes it all and keeps it
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, fault.size)
        while left and limit:
            if isinstance(fault, SlowRequest):
                self._pause(fault.pause)
            piece = self.rfile.read(min(left, limit, most))
            if not piece:
                raise ConnectionResetError("the client went away")
            upstream.send(piece)
            left, limit = left - len(piece), limit - len(piece)
        if isinstance(fault, BreakRequest):
            _linger_not(upstream.sock)
            self._reset()

    def _return(self, answer: http.client.HTTPResponse, fault: Fault | None) -> None:
        if isinstance(fault, LoseAnswer):
            answer.read()
            self._reset()
            return
        changes = fault.changes if isinstance(fault, ChangeHeaders) else {}
        hop = {"connection", "transfer-encoding", "keep-alive"}
        headers = [(name, changes.get(name.lower(), _same)(value)) for name, value in answer.getheaders()]
        headers = [(name, value) for name, value in headers if name.lower() not in hop]
        bodiless = self.command == "HEAD" or answer.status in NO_BODY
        chunked = not bodiless and answer.length is None
        slow = fault if isinstance(fault, SlowAnswer) and fault.head else None
        self._head(answer.status, dict(headers) | ({"Transfer-Encoding": "chunked"} if chunked else {}), slow)
        if bodiless:
            return
        for piece in self._pieces(answer, fault):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked and not self.close_connection:
            self.wfile.write(b"0\r\n\r\n")

    def _pieces(self, answer: http.client.HTTPResponse, fault: Fault | None) -> Iterator[bytes]:
        """Yield the body as the client gets it."""
        limit = fault.after if isinstance(fault, BreakAnswer | CutAnswer) else None
        first = True
        while limit is None or limit > 0:
            piece = answer.read(fault.size if isinstance(fault, SlowAnswer) else min(CHUNK, limit or CHUNK))
            if not piece:
                return
            if isinstance(fault, SlowAnswer):
                self._pause(fault.pause)
            if isinstance(fault, FlipAnswer) and first:
                piece = bytes([piece[0] ^ 1]) + piece[1:]
            first = False
            limit = None if limit is None else limit - len(piece)
            yield piece
        if isinstance(fault, BreakAnswer):
            self._reset()
        self.close_connection = True

    def _head(self, status: int, headers: Mapping[str, str], slow: SlowAnswer | None = None) -> None:
        lines = [f"HTTP/1.1 {status} {http.client.responses.get(status, '')}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        whole = "\r\n".join([*lines, "", ""]).encode("latin-1")
        if slow is None:
            self.wfile.write(whole)
            return
        for start in range(0, len(whole), slow.size):
            self._pause(slow.pause)
            self.wfile.write(whole[start : start + slow.size])

    def _pause(self, seconds: float) -> None:
        if self.server.closing.wait(seconds):
            raise ConnectionResetError("the proxy ends")

    def _reset(self) -> None:
        _linger_not(self.connection)
        self.close_connection = True


def _same(value: str) -> str:
    return value


def _linger_not(connection: socket.socket) -> None:
    """Make the close a RST: lingering for no time discards what is unsent."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
