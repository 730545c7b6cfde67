"""Giving memory back when a process has been quiet for a while."""

import ctypes
import threading
import time
from collections.abc import Callable
from typing import Final

QUIET: Final = 10.0
"""Seconds without work after which a process rests: a follower at the end of the archive asks every 5 seconds."""

_M_ARENA_MAX: Final = -8  # malloc.h of glibc


class Rest:
    """Calls `release` once the last `stir` is `quiet` seconds ago; has a thread only while it waits for that."""

    def __init__(self, release: Callable[[], None], quiet: float = QUIET) -> None:
        self._release = release
        self._quiet = quiet
        self._lock = threading.Lock()
        self._last = 0.0
        self._waiting = False

    def stir(self) -> None:
        """There is work: the rest is put off."""
        with self._lock:
            self._last = time.monotonic()
            if not self._waiting:
                self._waiting = True
                threading.Thread(target=self._wait, name="rest", daemon=True).start()

    def _wait(self) -> None:
        while True:
            with self._lock:
                left = self._last + self._quiet - time.monotonic()
                if left <= 0:
                    self._waiting = False
                    break
            time.sleep(left)
        self._release()
        trim()


def use_one_arena() -> None:
    """
    Has the C library keep one heap for all threads; to be called before the first one is started.

    `trim` returns the free end of the main heap only: with a heap for each thread an agent kept 264 MB, with one 40.
    """
    options = getattr(ctypes.CDLL(None), "mallopt", None)
    if options is not None:
        options(_M_ARENA_MAX, 1)


def trim() -> None:
    """Has the C library return freed memory to the system, where it knows how: glibc's malloc_trim(3)."""
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if give_back is not None:
        give_back(0)
