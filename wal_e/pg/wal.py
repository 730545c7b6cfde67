"""
Positions, segments and their names: WAL arithmetic for every segment size, without any I/O.

A segment is `segment_size` bytes of WAL, a power of two from 1 MiB to 1 GiB; its name is timeline, high part and
low part, eight upper-case hex digits each (PostgreSQL's XLogFileName, xlog_internal.h).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from wal_e.errors import UsageError
from wal_e.units import GIB, MIB

DEFAULT_SEGMENT_SIZE: Final = 16 * MIB
_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
_SEGMENT = re.compile(r"[0-9A-F]{24}")
_HISTORY = re.compile(r"([0-9A-F]{8})\.history")
_PARTIAL = re.compile(r"([0-9A-F]{24})\.partial")
_LABEL = re.compile(r"([0-9A-F]{24})\.([0-9A-F]{8})\.backup")


class Lsn(int):
    """A position in the WAL, in bytes from its beginning; prints as PostgreSQL does, `2/A1B2C3D4`."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> "Lsn":
        """Reads `2/A1B2C3D4`."""
        match = _LSN.fullmatch(text.strip())
        if match is None:
            raise UsageError(f'"{text}" is not a WAL position', hint="An LSN looks like 2/A1B2C3D4.")
        return cls(int(match[1], 16) << 32 | int(match[2], 16))

    def __str__(self) -> str:
        return f"{self >> 32:X}/{self & 0xFFFFFFFF:X}"

    def __repr__(self) -> str:
        return f"Lsn({self})"


def check_segment_size(size: int) -> int:
    """Returns the size in bytes, or raises `UsageError` where no server could have it."""
    if not MIB <= size <= GIB or size & (size - 1):
        raise UsageError(f"{size} bytes cannot be the size of a WAL segment")
    return size


@dataclass(frozen=True, slots=True, order=True)
class SegmentName:
    """One segment's place: its timeline and its number, counted in segments from the beginning of the WAL."""

    timeline: int
    number: int
    segment_size: int = DEFAULT_SEGMENT_SIZE

    @classmethod
    def parse(cls, text: str, segment_size: int = DEFAULT_SEGMENT_SIZE) -> "SegmentName":
        """Reads a 24-digit name; a low part that cannot occur with this segment size raises `UsageError`."""
        if _SEGMENT.fullmatch(text) is None:
            raise UsageError(f'"{text}" is not the name of a WAL segment')
        per_file = (1 << 32) // check_segment_size(segment_size)
        low = int(text[16:], 16)
        if low >= per_file:
            raise UsageError(f'"{text}" cannot be a segment of {segment_size // MIB} MiB')
        return cls(int(text[:8], 16), int(text[8:16], 16) * per_file + low, segment_size)

    @classmethod
    def containing(cls, timeline: int, lsn: int, segment_size: int) -> "SegmentName":
        """The segment in which the byte at `lsn` lies."""
        return cls(timeline, lsn // segment_size, segment_size)

    @property
    def start(self) -> Lsn:
        """The position of its first byte."""
        return Lsn(self.number * self.segment_size)

    @property
    def end(self) -> Lsn:
        """The position after its last byte."""
        return Lsn((self.number + 1) * self.segment_size)

    def next(self) -> "SegmentName":
        """The following segment on the same timeline."""
        return SegmentName(self.timeline, self.number + 1, self.segment_size)

    def __str__(self) -> str:
        high, low = divmod(self.number, (1 << 32) // self.segment_size)
        return f"{self.timeline:08X}{high:08X}{low:08X}"


def segments_between(timeline: int, start: int, stop: int, segment_size: int) -> Iterator[SegmentName]:
    """
    The segments that hold the bytes from `start` up to, not including, `stop`.

    A stop position on a boundary does not need the segment that begins there (barman#1041).
    """
    last = max(start, stop - 1) // segment_size
    for number in range(start // segment_size, last + 1):
        yield SegmentName(timeline, number, segment_size)


def is_segment(name: str) -> bool:
    """Whether the name is that of a complete segment."""
    return _SEGMENT.fullmatch(name) is not None


def is_history(name: str) -> bool:
    """Whether the name is that of a timeline history file."""
    return _HISTORY.fullmatch(name) is not None


def is_partial(name: str) -> bool:
    """Whether the name is that of the unfinished last segment of a timeline that was left."""
    return _PARTIAL.fullmatch(name) is not None


def is_backup_label(name: str) -> bool:
    """Whether the name is that of a backup history file."""
    return _LABEL.fullmatch(name) is not None


def is_archivable(name: str) -> bool:
    """Whether PostgreSQL would ever hand a file of this name to archive_command (H60: nothing else is accepted)."""
    return is_segment(name) or is_history(name) or is_partial(name) or is_backup_label(name)


def history_name(timeline: int) -> str:
    """The name of a timeline's history file."""
    return f"{timeline:08X}.history"
