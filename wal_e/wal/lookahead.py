"""
What a server will ask for next, and how far ahead of it to fetch: decisions only, without any I/O.

A server in recovery asks for segment after segment, each on the newest timeline of its target's history that may
have it (`pg.history`, H16). Texts and partial segments are never among the names that are fetched ahead: they are
rare, small, and an old answer about a history costs a timeline (H19).

The window is the number of segments after the one that was asked for. It starts small, is doubled when the server
had to wait, and shrinks by one while segments lie ready for long before they are asked for. What would not be kept
until the server comes to it is not among them.
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Final

from wal_e.pg.history import History
from wal_e.pg.wal import SegmentName

START: Final = 2
# What was read so many seconds ago and was not asked for since is dropped: memory is not kept for a server that
# streams or is gone, and the store has the word about what may have been deleted meanwhile. An agent that nobody asks
# gives its memory back after as long (`agent.rest`).
HELD_FOR: Final = 10.0
# A segment that lies ready for a second, at 16 MiB, belongs to a server that replays slowly: no network and no disk
# is as slow as that, and the memory is of use to others.
_LONG: Final = 1.0


@dataclass(frozen=True, slots=True)
class Pace:
    """
    How one ask went, all in seconds: what the window's depth is decided by.

    `waited`: the segment was not ready when it was asked for. `rested`: how long it had lain ready. `delivery`: how
    long the store took for it. `interval`: the time since the ask before.
    """

    waited: bool
    rested: float
    delivery: float
    interval: float


def path_of(asked: SegmentName, known: History | None) -> History:
    """The history along which the asker goes: the one that is known where the segment lies on it, else none at all."""
    return known if known is not None and known.contains_segment(asked) else History(asked.timeline)


def names_ahead(
    asked: SegmentName, history: History, absent: Collection[SegmentName], depth: int
) -> tuple[SegmentName, ...]:
    """
    The segments to have ready after `asked`, in the server's order, `depth` of them at most.

    For each place the server tries the newest timeline first and never one older than it has read from already. What
    is known to be `absent` is passed over, and where no timeline is left for a place, the archive ends for now.
    """
    names: list[SegmentName] = []
    before = asked
    for number in count(asked.number + 1):
        name = next(_choices(before, number, history, absent), None)
        if name is None or len(names) >= depth:
            break
        names.append(name)
        before = name
    return tuple(names)


def deepest(ahead: int, room: int, segment_size: int) -> int:
    """
    How many segments may be kept ahead in `room` bytes, and never more than the `ahead` that the user allows.

    A segment counts twice: while it is on its way, its compressed form is in memory as well.
    """
    return max(0, min(ahead, room // (2 * segment_size)))


def next_depth(depth: int, pace: Pace, most: int) -> int:
    """The window's new depth, up to `most`; 0 where that is 0, and for a server that comes less than every 10 s."""
    most = min(most, int(HELD_FOR / max(pace.interval, 1e-6)))
    needed = min(most, math.ceil(pace.delivery / max(pace.interval, 1e-6)))
    if pace.waited:
        depth = max(2 * depth, needed)
    elif pace.rested > max(_LONG, 2 * pace.delivery) and depth > needed:
        depth -= 1
    return min(most, max(1, depth))


def _choices(
    before: SegmentName, number: int, history: History, absent: Collection[SegmentName]
) -> Iterator[SegmentName]:
    for name in history.candidates(number, before.segment_size):
        if name.timeline >= before.timeline and name not in absent and history.contains_segment(name):
            yield name
