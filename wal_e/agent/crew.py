"""Threads that come when there is work, and go when there has been none for a while."""

import threading
import time
from collections.abc import Callable
from typing import Final

IDLE: Final = 5.0  # seconds without work after which a thread ends and gives its memory back
Job = Callable[[], None]


class Crew:
    """
    Up to `size` threads that take jobs from `next_job` until it has none.

    `changed` is the owner's condition, and guards what `next_job` looks at: it is called with it held. The owner
    notifies when there may be a job that there was not. A job must not raise.
    """

    def __init__(self, size: int, changed: threading.Condition, next_job: Callable[[], Job | None]) -> None:
        self._size = size
        self._changed = changed
        self._next_job = next_job
        self._threads: set[threading.Thread] = set()
        self._resting: set[threading.Thread] = set()  # those that have looked and found nothing
        self._dismissed = False

    def __len__(self) -> int:
        return len(self._threads)

    @property
    def idle(self) -> bool:
        """Whether no thread is at work or about to look for it; the condition is held."""
        return self._resting == self._threads

    def call(self) -> None:
        """Has one more thread look for work: one that rests, else a new one where there may be one; with it held."""
        self._changed.notify_all()
        woken = len(self._resting)
        self._resting.clear()
        if woken or self._dismissed or len(self._threads) >= self._size:
            return
        thread = threading.Thread(target=self._work, name="ahead", daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:  # the system has no thread to give: the work is done by whoever asks for it
            self._threads.discard(thread)

    def dismiss(self, patience: float) -> None:
        """Waits until every thread has finished its job, `patience` seconds at most; no job is begun any more."""
        until = time.monotonic() + patience
        with self._changed:
            self._dismissed = True
            self._changed.notify_all()
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        with self._changed:
            try:
                while (job := self._await_job()) is not None:
                    self.call()  # where there was one job there may be more
                    self._changed.release()
                    try:
                        job()
                    finally:
                        self._changed.acquire()
            finally:
                self._threads.discard(threading.current_thread())
                self._changed.notify_all()

    def _await_job(self) -> Job | None:
        until = time.monotonic() + IDLE
        while not self._dismissed:
            job = self._next_job()
            if job is not None:
                return job
            left = until - time.monotonic()
            if left <= 0:
                return None
            self._resting.add(threading.current_thread())
            try:
                self._changed.wait(left)
            finally:
                self._resting.discard(threading.current_thread())
        return None
