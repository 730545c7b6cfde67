"""
What operations say while they work: frozen events, handed to a sink.

Log lines, progress bars and tests are renderings of this one stream. Operations never print and never log.
"""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


class Level(enum.IntEnum):
    """How loud a message is; the numbers are those of the standard library's logging."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


@dataclass(frozen=True, slots=True)
class Message:
    """One thing that happened, in the shape of the original's log lines: MSG, DETAIL, HINT, STRUCTURED."""

    source: str
    message: str
    detail: str | None = None
    hint: str | None = None
    fields: Mapping[str, object] = field(default_factory=dict)
    level: Level = Level.INFO


@dataclass(frozen=True, slots=True)
class Progress:
    """
    How far a long operation is: bytes of the data directory done, of how many, and bytes sent or fetched.

    `reused` of the bytes done were in the archive already, from an earlier backup.
    """

    what: str
    done: int
    total: int
    transferred: int
    reused: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """What an operation achieved, for programs; people read the message that says so."""

    what: str
    fields: Mapping[str, object]


Event = Message | Progress | Result
Sink = Callable[[Event], None]


def silent(_event: Event) -> None:
    """A sink for callers that do not listen."""
