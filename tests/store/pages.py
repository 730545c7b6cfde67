"""A web server in the test's own process, which answers as it is told: what a service says, or somebody else's page."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Answer = Callable[[str, str], tuple[int, str]]
"""Given a request's method and path (its address, for a proxy), the status and the text."""


@dataclass
class Page:
    """The server's address, and the requests that it got: method, path, body."""

    url: str
    requests: list[tuple[str, str, str]]


@contextmanager
def served(answer: Answer, *, ahead: timedelta = timedelta(), pem: Path | None = None) -> Iterator[Page]:
    """Serve on loopback, by TLS with `pem` (key and certificate for localhost); its clock is `ahead` of ours."""
    scheme = "https" if pem else "http"
    requests: list[tuple[str, str, str]] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(answer, ahead, requests)) as server:
        if pem:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pem)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Page(f"{scheme}://localhost:{server.server_address[1]}", requests)
        finally:
            server.shutdown()
            thread.join()


def _handler(answer: Answer, ahead: timedelta, requests: list[tuple[str, str, str]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            requests.append((self.command, self.path, body))
            status, text = answer(self.command, self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text.encode())

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = reply  # noqa: N815 - as http.server calls them

        def date_time_string(self, timestamp: float | None = None) -> str:  # noqa: ARG002 - now
            return format_datetime(datetime.now(UTC) + ahead, usegmt=True)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
