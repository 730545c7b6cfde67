"""
Whether the process was asked to stop: a flag that a signal handler sets, and that threads look at while they wait.

The main thread hears of a signal by an exception. Other threads may sleep for a limit on bytes per second, or for the
next try of an upload that is worth nothing any more: they wait here, and read here before each piece of it.
"""

import time
from collections.abc import Callable
from typing import Final

from wal_e.errors import Interrupted

_SLICE: Final = 0.1
"""Seconds between two looks at the flag: the longest that a waiting thread holds up the end of the process."""


class Stop:
    """
    The flag. Setting it is one assignment, for a handler that takes a lock may find its own thread holding it (H47).

    `now` and `sleep` are in seconds, injected so that tests need not wait.
    """

    def __init__(
        self, *, now: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.requested = False
        self._now = now
        self._sleep = sleep

    def check(self) -> None:
        """Raises `Interrupted` once the process was asked to stop."""
        if self.requested:
            raise Interrupted("stopped by a signal")

    def wait(self, seconds: float) -> None:
        """Waits so many seconds; raises `Interrupted` soon after the process was asked to stop."""
        deadline = self._now() + seconds
        self.check()
        while (left := deadline - self._now()) > 0:
            self._sleep(min(left, _SLICE))
            self.check()
