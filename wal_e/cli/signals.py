"""SIGTERM and SIGINT as an exception in the main thread, so that every `finally` on the way out runs (H47)."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Final, Self

from wal_e.errors import Interrupted

_CAUGHT: Final = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """
    While the block lasts, the first of the two signals raises `Interrupted`; later ones do not disturb the cleanup.

    `received` is the signal that came. In other threads than the main one nothing is changed.
    """

    def __init__(self) -> None:
        self.received: int | None = None
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
        if self.received is None:
            self.received = number
            raise Interrupted(f"stopped by {signal.Signals(number).name}")
