"""This machine's clock against a service's. Pure."""

from datetime import datetime, timedelta
from typing import Final

from wal_e.finding import Finding, failed, ok, warning

NAME: Final = "clock"
_DRIFT: Final = timedelta(seconds=30)
"""A clock that is off by more gets a warning."""
_REFUSED: Final = timedelta(minutes=15)
"""S3 and Azure refuse what is signed by a clock that is off by more; Google's logins end within minutes, too."""


def judge_clock(told: datetime, before: datetime, after: datetime) -> Finding:
    """What a time means that a service told between two times of this machine; some services count full seconds."""
    ahead = before - timedelta(seconds=1) - told
    behind = told - after
    off = max(ahead, behind, timedelta())
    if off <= _DRIFT:
        return ok(NAME, "it agrees with the store's")
    word = "ahead of" if ahead > behind else "behind"
    judged = warning if off < _REFUSED else failed
    return judged(
        NAME,
        f"this machine is {round(off.total_seconds())} s {word} the store",
        "Set the clock by NTP (timedatectl set-ntp true). Tokens, signatures and retention go by it.",
    )
