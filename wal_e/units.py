"""Sizes and times as people write them, and back."""

import re
from datetime import UTC, datetime, timedelta

from wal_e.errors import UsageError

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

_SIZE = re.compile(r"(\d+)\s*(?:([KMGT])i?B?|B)?", re.IGNORECASE)
_FACTORS = {"": 1, "K": KIB, "M": MIB, "G": GIB, "T": 1024 * GIB}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)?", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "s": 1, "": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}


def parse_size(text: str) -> int:
    """Reads `4096`, `64MB`, `1 GiB` as bytes; K, M, G and T are powers of 1024, as in PostgreSQL."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f'"{text}" is not a size', hint="Write a number of bytes, or one with KB, MB, GB or TB.")
    return int(match[1]) * _FACTORS[(match[2] or "").upper()]


def format_size(count: int) -> str:
    """Writes bytes as `17.2 MiB`; below one KiB as `17 B`."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < KIB:
            return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= KIB
    return f"{size:.1f} TiB"


def parse_duration(text: str) -> timedelta:
    """Reads `90`, `90s`, `15min`, `1h`, `2d`; a bare number is seconds."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise UsageError(f'"{text}" is not a duration', hint="Write a number of seconds, or one with s, min, h or d.")
    return timedelta(seconds=float(match[1]) * _SECONDS[(match[2] or "").lower()])


def format_timestamp(when: datetime) -> str:
    """ISO 8601 in UTC with microseconds and `Z`: the one spelling in everything that we store."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_timestamp(text: str) -> datetime:
    """Reads ISO 8601; a time without a zone is refused, for whose zone would it be (H54)."""
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(
            f'"{text}" is not a time',
            hint='Write it like "2026-11-23 14:30:00+00", with the offset from UTC.',
        ) from None
    if when.tzinfo is None:
        raise UsageError(
            f'the time "{text}" has no time zone',
            hint=f'Append the offset from UTC, for example "{text}+00".',
        )
    return when
