"""Looking after the session while files are copied: a backup whose session is lost is worth nothing any more (H36)."""

import time
from collections.abc import Callable
from typing import Final

from wal_e.events import Event, Progress, Sink
from wal_e.pg.server import Server

_EVERY: Final = 5.0
"""Seconds between two questions to the server."""


def watching(server: Server, emit: Sink, *, now: Callable[[], float] = time.monotonic) -> Sink:
    """
    A sink that hands every event on, and asks the server now and then, as the copy goes on, whether it is there.

    It raises `ServerError` once the session is lost, so that hours of copying do not follow for nothing.
    """
    asked = now()

    def watched(event: Event) -> None:
        nonlocal asked
        emit(event)
        if isinstance(event, Progress) and now() - asked >= _EVERY:
            server.ping()
            asked = now()

    return watched
