"""
Events as the original's log lines, on stderr and in syslog: people's scripts look for their shape.

    wal_e.main   ERROR    MSG: no storage prefix defined
            HINT: Set WALE_SWIFT_PREFIX or ...
            STRUCTURED: time=2026-11-23T10:00:00.000000-00 pid=1
"""

import contextlib
import os
import sys
import syslog
import threading
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Final, TypeVar

from wal_e.config import Option, Settings
from wal_e.config.rows import DEBUG, FOREIGN_LEVEL, LOG_DESTINATION, SYSLOG_FACILITY, TERSE
from wal_e.errors import UsageError, WalEError
from wal_e.events import Level, Message

T = TypeVar("T")
MAIN: Final = "wal_e.main"
CRITICAL: Final = 50
_INDENT: Final = "\n        "
_NAMES: Final = {level.value: level.name for level in Level} | {CRITICAL: "CRITICAL"}
_PRIORITIES: Final = {
    Level.DEBUG: syslog.LOG_DEBUG,
    Level.INFO: syslog.LOG_INFO,
    Level.WARNING: syslog.LOG_WARNING,
    Level.ERROR: syslog.LOG_ERR,
    CRITICAL: syslog.LOG_CRIT,
}


def format_message(message: Message, level: int, now: datetime, pid: int) -> str:
    """The lines of one message, without a line break at the end; `now` is an aware time."""
    time = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    fields = sorted(f"{name}={value}" for name, value in message.fields.items())
    parts = [f"MSG: {message.message}"]
    if message.detail is not None:
        parts.append(f"DETAIL: {message.detail}")
    if message.hint is not None:
        parts.append(f"HINT: {message.hint}")
    parts.append(" ".join([f"STRUCTURED: time={time}-00", f"pid={pid}", *fields]))
    lines = [line for part in parts for line in part.splitlines()]
    return f"{message.source:<12} {_NAMES[level]:<8} {_INDENT.join(lines)}"


def message_of(error: WalEError) -> Message:
    """What is logged about an error that ends a command."""
    return Message(MAIN, error.message, error.detail, error.hint, level=Level.ERROR)


def to_stderr(text: str) -> None:
    """Writes lines to stderr; a log that nobody reads any more stops no backup."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


class Log:
    """
    Writes messages of a level or above to where the user wants them; may be called from several threads.

    `facility` is a name such as `user` or `local0`. `show` is how a line gets to stderr, for a progress bar that
    must move out of its way.
    """

    def __init__(self, destinations: Collection[str], facility: str = "user", level: Level = Level.INFO) -> None:
        self.show: Callable[[str], None] = to_stderr
        self.level = level
        self._destinations = destinations
        self._facility: int = getattr(syslog, f"LOG_{facility.upper()}")
        self._lock = threading.Lock()

    def leave_stderr(self) -> None:
        """Writes there no more: it is wanted for something else."""
        self._destinations = frozenset(self._destinations) - {"stderr"}

    def write(self, message: Message, level: int | None = None) -> None:
        """Writes one message; `level` stands in for the message's own."""
        rank = message.level if level is None else level
        if rank < self.level:
            return
        text = format_message(message, rank, datetime.now(UTC), os.getpid())
        with self._lock:
            if "stderr" in self._destinations:
                self.show(text)
            if "syslog" in self._destinations:
                # NUL would end the text for the C library, and Python refuses it.
                syslog.syslog(self._facility | _PRIORITIES[rank], text.replace("\0", "\\0"))


def make_log(settings: Settings) -> tuple[Log, list[Message]]:
    """The log that the settings ask for; what is wrong with them is complained of, but stops no archiving."""
    complaints: list[Message] = []

    def lenient(option: Option[T], complaint: str) -> T:
        try:
            return settings[option]
        except UsageError as error:
            complaints.append(Message(MAIN, complaint, error.detail, error.hint, level=Level.WARNING))
            return option.default

    foreign = lenient(FOREIGN_LEVEL, "invalid log level specified")
    debug = lenient(DEBUG, "invalid debug setting specified") or foreign == "DEVEL"
    level = Level.DEBUG if debug else Level.INFO
    if lenient(TERSE, "invalid terse setting specified") or foreign == "ERROR":
        level = Level.WARNING
    destinations = lenient(LOG_DESTINATION, "invalid log destination specified")
    facility = lenient(SYSLOG_FACILITY, "invalid syslog facility level specified")
    return Log(destinations, facility, level), complaints
