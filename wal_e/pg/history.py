"""
Timeline histories: from which timelines a timeline descends, and where it left each of them.

A history file (`0000000A.history`, the name is hexadecimal) has one line per ancestor, oldest first: the
ancestor's number in decimal, the position at which it was left, and a reason. The first timeline has no file.

The positions need not ascend: where recovery followed timeline 2 and stopped before the point at which 2 had
left 1, the new timeline 3 says "1 until X, 2 until Y" with Y before X. What counts is then the lowest position from an
entry on, which is how the server itself searches (newest first, tliOfPointInHistory).
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from wal_e.errors import Corrupt
from wal_e.pg.wal import Lsn, SegmentName

_LINE: Final = re.compile(r"[ \t]*(\d{1,10})[ \t]+([0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8})(?:[ \t]+(.*))?", re.ASCII)
_MAX_TIMELINE: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Switch:
    """One ancestor: its timeline, the position at which it was left, and why."""

    timeline: int
    lsn: Lsn
    reason: str = ""


@dataclass(frozen=True, slots=True)
class History:
    """A timeline and its ancestors, oldest first."""

    timeline: int
    entries: tuple[Switch, ...] = ()

    @property
    def ancestors(self) -> tuple[int, ...]:
        """The timelines from which this one descends, oldest first."""
        return tuple(entry.timeline for entry in self.entries)

    @property
    def begin(self) -> Lsn:
        """Where the timeline itself begins."""
        return self.entries[-1].lsn if self.entries else Lsn(0)

    def __contains__(self, timeline: object) -> bool:
        return timeline == self.timeline or timeline in self.ancestors

    def switch_point(self, timeline: int) -> Lsn | None:
        """
        Where the path to this timeline leaves an ancestor for good; None for a timeline that is never left.

        None is the answer for the timeline itself and for one that is no ancestor: ask `in` first.
        """
        for index, entry in enumerate(self.entries):
            if entry.timeline == timeline:
                return min(later.lsn for later in self.entries[index:])
        return None

    def usable(self, timeline: int, stop_lsn: int) -> bool:
        """Whether a backup taken on `timeline` that ended at `stop_lsn` can be brought to this timeline."""
        if timeline not in self:
            return False
        left = self.switch_point(timeline)
        return left is None or stop_lsn <= left

    def timeline_at(self, lsn: int) -> int:
        """The timeline that wrote the byte at a position on the path to this timeline."""
        for begin, timeline in reversed(self._spans()):
            if lsn >= begin:
                return timeline
        return self.timeline

    def candidates(self, number: int, segment_size: int) -> tuple[SegmentName, ...]:
        """
        The names under which the server looks for a segment, in its order: newest timeline first.

        Timelines that begin after the segment are left out. The child's copy of the segment in which it begins
        repeats its parent's bytes, so it comes first; the parent's serves where there is none.
        """
        return tuple(
            SegmentName(timeline, number, segment_size)
            for begin, timeline in reversed(self._spans())
            if number >= begin // segment_size
        )

    def segments(self, start: int, stop: int, segment_size: int) -> Iterator[SegmentName]:
        """The first choice of name for each segment with bytes from `start` up to, not including, `stop`."""
        for number in range(start // segment_size, max(start, stop - 1) // segment_size + 1):
            yield self.candidates(number, segment_size)[0]

    def contains_segment(self, name: SegmentName) -> bool:
        """Whether a segment holds bytes of the path to this timeline (or repeats some of them)."""
        begins = dict(zip((*self.ancestors, self.timeline), self._begins(), strict=True))
        if name.timeline not in begins or name.end <= begins[name.timeline]:
            return False
        left = self.switch_point(name.timeline)
        return left is None or name.start < left

    def _begins(self) -> tuple[Lsn, ...]:
        return (Lsn(0), *(entry.lsn for entry in self.entries))

    def _spans(self) -> list[tuple[Lsn, int]]:
        return list(zip(self._begins(), (*self.ancestors, self.timeline), strict=True))


def parse_history(timeline: int, data: bytes) -> History:
    """
    Reads the content of the history file of `timeline`; anything that PostgreSQL would not read is `Corrupt`.

    Reasons are free text in an unknown encoding; bytes that are not UTF-8 survive a round trip.
    """
    entries = tuple(_entries(timeline, data.decode("utf-8", "surrogateescape")))
    for earlier, later in itertools.pairwise(entries):
        if later.timeline <= earlier.timeline:
            raise Corrupt(f"the history of timeline {timeline} is damaged: its timelines do not ascend")
    if not entries:
        raise Corrupt(f"the history of timeline {timeline} is damaged: it names no ancestor")
    if entries[-1].timeline >= timeline:
        raise Corrupt(f"the history of timeline {timeline} is damaged: it names {entries[-1].timeline} as ancestor")
    return History(timeline, entries)


def render_history(history: History) -> bytes:
    """The content of the history file, as PostgreSQL writes it."""
    lines = (f"{entry.timeline}\t{entry.lsn}\t{entry.reason}\n" for entry in history.entries)
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def _entries(timeline: int, text: str) -> Iterator[Switch]:
    for line in text.split("\n"):
        stripped = line.strip(" \t\r\f\v")
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(line.rstrip("\r"))
        if match is None or not 0 < int(match[1]) <= _MAX_TIMELINE:
            raise Corrupt(
                f"the history of timeline {timeline} is damaged", detail=f"This line does not parse: {stripped[:80]!r}."
            )
        yield Switch(int(match[1]), Lsn.parse(match[2]), match[3] or "")
