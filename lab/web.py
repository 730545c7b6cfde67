"""A small service on loopback, in the test's process: a function answers each request, and all of them are kept."""

import http.server
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from lab.faultproxy import Head
from lab.faults import Answer


@dataclass(frozen=True, slots=True)
class Asked:
    """A request with its body."""

    head: Head
    body: str


Answering = Callable[[Head, str], Answer]


class Web:
    """Listens on a port of 127.0.0.1 while the `with` block lasts; also as a proxy, which gets whole addresses."""

    def __init__(self, answer: Answering, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.answer = answer
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True  # a client's idle connection holds nobody up
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def about(self, path: str) -> list[Asked]:
        """Return the requests in whose path the text stands."""
        return [asked for asked in self.asked if path in asked.head.path]

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def reply(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(int(headers.get("content-length", 0))).decode()
                head = Head(self.command, self.path, headers)
                web.asked.append(Asked(head, body))
                answer = web.answer(head, body)
                self.send_response_only(answer.status)
                for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = reply  # noqa: N815 - as http.server calls them

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler
