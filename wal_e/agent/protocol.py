"""
What a client and an agent say to each other: a request of fields, and an answer of lines.

`wal_e.client` has the other side, and docs/adr/0005-agent.md the reasons.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

from wal_e import client


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent: where it runs, its relevant variables as "NAME=VALUE", and its command line."""

    cwd: str
    entries: tuple[str, ...]
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer: the exit code, and lines for the client's stdout and stderr."""

    code: int
    out: tuple[str, ...] = ()
    err: tuple[str, ...] = ()


class Refused(Exception):
    """The client has to do the work itself; the text says why, in a word or two."""


Handler = Callable[[Request], Reply]


def parse_request(data: bytes) -> Request:
    """Reads a request; `Refused` where it is none, or one of another version of the protocol or the package."""
    fields = [os.fsdecode(part) for part in data.split(b"\0")]
    if fields[0] != client.PROTOCOL:
        raise Refused("another version")
    try:
        count = int(fields[2])
        entries, argv = fields[3 : 3 + count], fields[3 + count :]
    except (IndexError, ValueError):
        raise Refused("not a request") from None
    if count < 0 or len(entries) != count:
        raise Refused("not a request")
    return Request(fields[1], tuple(entries), tuple(argv))


def encode(reply: Reply) -> bytes:
    """The lines of a reply."""
    lines = [*(f">{line}" for line in _lines(reply.out)), *(f":{line}" for line in _lines(reply.err)), f"={reply.code}"]
    return b"".join(os.fsencode(line) + b"\n" for line in lines)


def _lines(texts: tuple[str, ...]) -> list[str]:
    return [line for text in texts for line in text.split("\n")]
