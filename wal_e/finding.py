"""What a look at the surroundings found, as a value: settings, a store, a server, a segment's way into the archive."""

import enum
from dataclasses import dataclass

from wal_e.errors import WalEError


class Verdict(enum.StrEnum):
    """What a finding means for archiving."""

    OK = "ok"
    SKIPPED = "skipped"
    """Not looked at, for the reason that the finding gives."""
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One thing that was looked at: its `name`, the verdict, what was seen, and what to do where it is not well.

    `seen` follows the style of a message (lower case, no full stop) as far as names allow; `hint` is a sentence.
    """

    name: str
    verdict: Verdict
    seen: str
    hint: str | None = None


def ok(name: str, seen: str) -> Finding:
    """All is well."""
    return Finding(name, Verdict.OK, seen)


def skipped(name: str, reason: str) -> Finding:
    """Not looked at."""
    return Finding(name, Verdict.SKIPPED, reason)


def warning(name: str, seen: str, hint: str | None = None) -> Finding:
    """It works, and should be different."""
    return Finding(name, Verdict.WARNING, seen, hint)


def failed(name: str, seen: str, hint: str | None = None) -> Finding:
    """It does not work."""
    return Finding(name, Verdict.FAILED, seen, hint)


def failure(name: str, error: WalEError) -> Finding:
    """What an error says, as a finding."""
    return failed(name, explained(error), error.hint)


def explained(error: WalEError) -> str:
    """An error's message with its detail, in one line."""
    return f"{error.message}: {error.detail.rstrip('.')}" if error.detail else error.message
