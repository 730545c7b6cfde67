"""SIGTERM and SIGINT as an exception in the main thread, so that every `finally` on the way out runs (H47)."""

import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Final, NoReturn, Self

from wal_e.errors import Interrupted
from wal_e.stop import Stop

_CAUGHT: Final = (signal.SIGTERM, signal.SIGINT)
_GRACE: Final = 3.0
"""Seconds that threads have to take away what they began to write, before the process ends over their heads."""


class Signals:
    """
    While the block lasts, the first of the two signals raises `Interrupted` and requests `stop`.

    A second one ends the process at once where `impatient` is set, as it is for commands that take long; otherwise it
    does not disturb the cleanup. One that comes while `closing` is set, when all is done but the report, counts as a
    second one. `received` is the signal that came. In other threads than the main one nothing is changed.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.impatient = False
        self.closing = False
        self.stop = Stop()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _CAUGHT:
                # A SIGINT that our parent told us to ignore stays ignored, as for a job in the background.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._raise)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _raise(self, number: int, _frame: FrameType | None) -> None:
        if self.received is None and not self.closing:
            self.received = number
            self.stop.requested = True
            raise Interrupted(f"stopped by {signal.Signals(number).name}")
        if self.impatient:
            end_by(number)


def end_by(number: int) -> NoReturn:
    """Ends the process by the signal, so that whoever asked us to stop sees that we did."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    raise AssertionError("a signal with its default action ends the process")


def settle_threads() -> None:
    """Gives threads that still run a short time to come to their end."""
    deadline = time.monotonic() + _GRACE
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(max(0.0, deadline - time.monotonic()))
