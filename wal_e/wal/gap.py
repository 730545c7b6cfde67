"""
The end of the archive, or a hole in it.

A segment that is absent ends a recovery. That is right where nothing comes after it, and the silent loss of all
that does come after it otherwise. So before a segment is called absent the archive is asked whether there must
have been one: a later segment of its timeline, or a timeline that left this one further on.
"""

from wal_e.errors import WalMissing
from wal_e.pg.history import History
from wal_e.pg.wal import DEFAULT_SEGMENT_SIZE, SegmentName, is_segment
from wal_e.repo.wal import Neighbours, list_wal, next_timeline, read_header, read_history, wal_exists
from wal_e.store.api import Store


def find_gap(store: Store, name: str, near: Neighbours) -> WalMissing | None:
    """
    The error for a segment that is absent and must have existed; None where it may be the end of the archive.

    `near` is what the listing shows around the segment. A segment before the one in which its timeline
    begins is no hole where an ancestor has it: the server asks for that one next.
    """
    if near.later is not None:
        if _held_by_ancestor(store, SegmentName.parse(name, _segment_size(store))):
            return None
        return _missing(name, f"Segment {near.later}, which comes after it, is in the archive.")
    return _left_further_on(store, name, near.next_timeline)


def _held_by_ancestor(store: Store, place: SegmentName) -> bool:
    history = read_history(store, place.timeline) or History(place.timeline)
    if history.entries and history.contains_segment(place):
        return False  # the timeline begins here or before: a copy of its parent's may go on into another future
    others = (name for name in history.candidates(place.number, place.segment_size) if name.timeline != place.timeline)
    return any(history.contains_segment(name) and wal_exists(store, str(name)) for name in others)


def _left_further_on(store: Store, name: str, timeline: int | None) -> WalMissing | None:
    """Looks through the higher timelines for one that descends from this one and left it after the segment."""
    parent = int(name[:8], 16)
    while timeline is not None:
        history = read_history(store, timeline)
        left = history.switch_point(parent) if history else None
        if left is not None and left >= SegmentName.parse(name, _segment_size(store)).end:
            return _missing(name, f"Timeline {timeline} left timeline {parent} only at {left}, which is after it.")
        timeline = next_timeline(store, timeline)
    return None


def _segment_size(store: Store) -> int:
    """The cluster's, from the first segment that can be read; the original's own archives have the default."""
    for entry in list_wal(store):
        if entry.readable and is_segment(entry.name):
            return read_header(store, entry.name).segment_size
    return DEFAULT_SEGMENT_SIZE


def _missing(name: str, detail: str) -> WalMissing:
    return WalMissing(
        f"WAL segment {name} is missing in the archive",
        detail=f"{detail} To end the recovery here would lose what was written since.",
        hint=f"If a server still has the segment, push it: wal-e wal-push pg_wal/{name}",
    )
