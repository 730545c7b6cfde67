"""What a fault proxy can do to a request and its answer, and which requests it does that to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Answer:
    """
    The proxy answers, and the server is not asked.

    As a server does that reads no further, it answers after `read` bytes of the request's body and hangs up; None: it
    reads them all.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    read: int | None = None


@dataclass(frozen=True, slots=True)
class BreakRequest:
    """Both sides get a RST after so many bytes of the request's body."""

    after: int = 0


@dataclass(frozen=True, slots=True)
class LoseAnswer:
    """The server does what it was asked to, and the client gets a RST in place of the answer."""


@dataclass(frozen=True, slots=True)
class BreakAnswer:
    """The client gets the head, so many bytes of the body, and a RST."""

    after: int = 0


@dataclass(frozen=True, slots=True)
class CutAnswer:
    """The head announces the whole body, so many bytes come, and the connection ends as if that were all."""

    after: int = 0


@dataclass(frozen=True, slots=True)
class SlowAnswer:
    """The body comes `size` bytes at a time, with `pause` seconds before each, and with `head` the head does, too."""

    size: int
    pause: float
    head: bool = False


@dataclass(frozen=True, slots=True)
class SlowRequest:
    """The request's body is taken `size` bytes at a time, with `pause` seconds before each."""

    size: int
    pause: float


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """Something is done before the request is passed on; the answer is the server's."""

    action: Callable[[], object]


@dataclass(frozen=True, slots=True)
class FlipAnswer:
    """One bit of the body's first byte is wrong."""


@dataclass(frozen=True, slots=True)
class ChangeHeaders:
    """The headers with these names (in lower case) get other values."""

    changes: Mapping[str, Callable[[str], str]]


Fault = (
    Answer
    | BreakRequest
    | LoseAnswer
    | BreakAnswer
    | CutAnswer
    | SlowAnswer
    | SlowRequest
    | Meanwhile
    | FlipAnswer
    | ChangeHeaders
)


@dataclass(frozen=True, slots=True)
class Rule:
    """The fault strikes from the `first` to the `last` (None: every later one) of the requests that `match` finds."""

    fault: Fault
    first: int = 1
    last: int | None = None
    match: str = ""  # a regular expression, for "METHOD /path?query"

    @classmethod
    def at(cls, number: int, fault: Fault, match: str = "") -> "Rule":
        """Strike once."""
        return cls(fault, number, number, match)
