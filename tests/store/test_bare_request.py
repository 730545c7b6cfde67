"""One request without a library's help: it ends in its time, follows nobody, and tells no address."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from lab.faultproxy import Answer
from lab.web import Web
from wal_e.store.drivers.bare_request import BareRequest, NoReplyError, send


@contextmanager
def trickling() -> Iterator[str]:
    """A service whose answer comes a byte at a time, each soon after the last."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection, suppress(OSError):
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while not ended.wait(0.05):
                    connection.sendall(b"x")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            ended.set()
            thread.join()


def test_an_answer_that_trickles_ends_in_its_time() -> None:
    """A thread that waits for credentials holds up all the others."""
    with trickling() as url:
        begun = time.monotonic()
        with pytest.raises(NoReplyError, match="too slowly") as caught:
            send(BareRequest("GET", url, direct=True, patience=0.5))
    assert caught.value.safe
    assert time.monotonic() - begun < 10  # all of it would take 50


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 400, 503])
def test_every_answer_is_handed_on_and_nobody_is_followed(status: int) -> None:
    with (
        Web(lambda *_: Answer(200)) as stranger,
        Web(lambda *_: Answer(status, {"Location": stranger.url}, b"said")) as web,
    ):
        assert send(BareRequest("GET", web.url, direct=True)) == (status, b"said")
    assert not stranger.asked


def test_an_address_that_cannot_be_one_is_not_told() -> None:
    with pytest.raises(NoReplyError) as caught:
        send(BareRequest("GET", "http://127.0.0.1:1/a secret\n", direct=True))
    assert "secret" not in str(caught.value)
