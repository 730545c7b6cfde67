"""A limit on bytes per second that several threads share: on what is read from the disk, sent, or fetched."""

import threading
import time
from collections.abc import Callable


class RateLimit:
    """
    Lets through `rate` bytes per second on average, whichever thread asks.

    Each request reserves its time on one line that all threads share, and waits until that time has come.
    """

    def __init__(
        self, rate: int, *, clock: Callable[[], float] = time.monotonic, wait: Callable[[float], None] = time.sleep
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._wait = wait
        self._lock = threading.Lock()
        self._free_at = clock()

    def take(self, count: int) -> None:
        """Waits until `count` more bytes may pass."""
        with self._lock:
            now = self._clock()
            begin = max(now, self._free_at)
            self._free_at = begin + count / self._rate
        if begin > now:
            self._wait(begin - now)
