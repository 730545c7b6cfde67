"""
`--json`: what happens, as JSON for programs: one object for each line, in the shapes that docs/operations.md promises.

The lines go to stdout; those of an export whose tar goes there, to stderr, where no log lines are then. Whoever does
not read them any more stops no backup.
"""

import json
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from wal_e.errors import WalEError
from wal_e.events import Event, Level, Message, Progress, Result
from wal_e.units import format_timestamp

VERSION: Final = 1
"""Raised when a member goes away or changes its meaning; new members and new kinds of events do not raise it."""
_EVERY: Final = 1.0
"""Seconds between two lines about progress."""


class EventStream:
    """Writes each event as a line; may be called from several threads."""

    def __init__(
        self, command: str, write: Callable[[str], None], *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._command = command
        self._write = write
        self._now = now
        self._lock = threading.Lock()
        self._read = True
        self._begun = self._told = now()
        self._last: Progress | None = None

    def start(self) -> None:
        """The first line."""
        self._line("start", {"command": self._command})

    def __call__(self, event: Event) -> None:
        """One event; of progress no more than one line in a second, and the last of each operation."""
        match event:
            case Progress():
                self._progress(event)
            case Message():
                self._settle()
                self._line("message", _message(event))
            case Result():
                self._settle()
                self._line("result", {"command": self._command, **event.fields})

    def end(self, code: int, number: int | None, error: Exception | None) -> None:
        """The last line: the exit code, the signal that ends the process instead, and the error if there was one."""
        self._settle()
        known = error if isinstance(error, WalEError) else None
        described = (
            None
            if error is None
            else {
                "message": str(error),
                "detail": known.detail if known else None,
                "hint": known.hint if known else None,
            }
        )
        name = None if number is None else signal.Signals(number).name
        self._line("end", {"command": self._command, "exit_code": code, "signal": name, "error": described})

    def _progress(self, event: Progress) -> None:
        with self._lock:
            first = self._last is None and self._told == self._begun
            if not first and self._now() - self._told < _EVERY:
                self._last = event
                return
            self._told, self._last = self._now(), None
        self._tell(event)

    def _settle(self) -> None:
        """Tells the state of an operation that ended between two lines."""
        with self._lock:
            last, self._last = self._last, None
        if last is not None:
            self._tell(last)

    def _tell(self, event: Progress) -> None:
        seconds = self._now() - self._begun
        rate = event.done / seconds if seconds > 0 else None
        left = (event.total - event.done) / rate if rate else None
        self._line(
            "progress",
            {
                "what": event.what,
                "done": event.done,
                "total": event.total,
                "transferred": event.transferred,
                "reused": event.reused,
                "seconds": round(seconds, 3),
                "bytes_per_second": None if rate is None else round(rate),
                "seconds_left": None if left is None else round(left, 1),
            },
        )

    def _line(self, kind: str, members: dict[str, Any]) -> None:
        head = {"version": VERSION, "event": kind, "time": format_timestamp(datetime.now(UTC))}
        text = json.dumps({**head, **members}, default=str)
        with self._lock:
            if not self._read:
                return
            try:
                self._write(f"{text}\n")
            except WalEError:
                self._read = False


def _message(message: Message) -> dict[str, Any]:
    return {
        "level": Level(message.level).name.lower(),
        "source": message.source,
        "message": message.message,
        "detail": message.detail,
        "hint": message.hint,
        "fields": dict(message.fields),
    }
