"""
What the archive holds of each timeline: which segments, what is missing between them, how large, since when.

One listing under `wal_005/`, which is read as it streams and kept as runs; the histories; and the names of the base
backups. Nothing is judged here: whether what is missing matters is for `wal_report` to say.
"""

import contextlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from wal_e.errors import ArchiveError, Corrupt, NoSuchBackup, NotFound, ShortRead, UsageError
from wal_e.legacy.catalogue import list_legacy
from wal_e.maintain.runs import NOTHING, Collector, Runs
from wal_e.pg.history import History
from wal_e.pg.wal import (
    DEFAULT_SEGMENT_SIZE,
    Lsn,
    SegmentName,
    is_backup_label,
    is_history,
    is_partial,
    is_segment,
)
from wal_e.repo.catalogue import list_backups, load_summary
from wal_e.repo.layout import parse_backup_name
from wal_e.repo.wal import WalObject, list_wal, read_header, read_history
from wal_e.store.api import Store

FROM_HISTORY: Final = "history"
FROM_LATER_HISTORY: Final = "later history"
FROM_HEADER: Final = "segment header"


@dataclass(frozen=True, slots=True)
class TimelineFacts:
    """
    What is stored of one timeline; sizes in bytes as stored, times by the store's clock.

    `segments` are those in our form, `foreign` those that are there in WAL-E's or WAL-G's alone. `size` and the times
    are of all files of the timeline. `unplaced` counts names that cannot be segments of this archive's size.
    `history` is None where there is no history file, and where `history_damage` says why it cannot be used.
    """

    timeline: int
    size: int
    first_stored: datetime
    last_stored: datetime
    segments: Runs = NOTHING
    foreign: Runs = NOTHING
    histories: int = 0
    labels: int = 0
    partials: int = 0
    unplaced: int = 0
    history: History | None = None
    history_damage: str | None = None

    @property
    def stored(self) -> Runs:
        """The segments in whatever form."""
        return self.segments.union(self.foreign)


@dataclass(frozen=True, slots=True)
class WalFacts:
    """Everything under `wal_005/`, by timeline in ascending order; `segment_size` in bytes."""

    segment_size: int
    timelines: tuple[TimelineFacts, ...]

    def name(self, timeline: int, number: int) -> str:
        """A segment's name."""
        return str(SegmentName(timeline, number, self.segment_size))


@dataclass(frozen=True, slots=True)
class Origin:
    """From which timeline one came, where it left it (None: not known), and what told so."""

    parent: int
    lsn: Lsn | None
    source: str


@dataclass(frozen=True, slots=True)
class ShownTimeline:
    """One timeline with what lies around it: its origin, where known, and the names of the backups that begin on it."""

    facts: TimelineFacts
    origin: Origin | None
    backups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShownWal:
    """What `wal-show` shows."""

    segment_size: int
    timelines: tuple[ShownTimeline, ...]


def show_wal(store: Store) -> ShownWal:
    """The facts about the archive's WAL; any error of the store ends it, so that nothing is shown that is not all."""
    names = [entry.name for entry in list_backups(store)]
    segment_size = _size_of_backups(store, names) or size_of_segments(store)
    wal = read_wal(store, segment_size)
    on = [(int(parse_backup_name(name).segment[:8], 16), name) for name in names]
    on += [(int(backup.start_segment[:8], 16), backup.name) for backup in list_legacy(store)]
    histories = known_histories(wal.timelines)
    shown = (
        ShownTimeline(
            facts,
            _origin(store, wal, facts, histories),
            tuple(name for timeline, name in on if timeline == facts.timeline),
        )
        for facts in wal.timelines
    )
    return ShownWal(segment_size, tuple(shown))


def read_wal(store: Store, segment_size: int) -> WalFacts:
    """Reads the listing to its end, and the histories; memory goes with the number of gaps."""
    timelines: list[TimelineFacts] = []
    for timeline, files in itertools.groupby(list_wal(store), key=lambda file: int(file.name[:8], 16)):
        timelines.append(_with_history(store, _tally(timeline, files, segment_size)))
    return WalFacts(segment_size, tuple(timelines))


def known_histories(timelines: Iterable[TimelineFacts]) -> dict[int, History]:
    """
    The histories of all timelines of which there is one, their own or in that of a later timeline.

    A history names all ancestors, and what stands before an ancestor is that one's own history.
    """
    own = {facts.timeline: facts.history for facts in timelines if facts.history is not None}
    found: dict[int, History] = {}
    for history in own.values():
        for at, entry in enumerate(history.entries):
            found[entry.timeline] = History(entry.timeline, history.entries[:at])
    return found | own


@dataclass(slots=True)
class _Tally:
    size: int = 0
    times: list[datetime] = field(default_factory=list)
    histories: int = 0
    labels: int = 0
    partials: int = 0
    unplaced: int = 0
    segments: Collector = field(default_factory=Collector)
    foreign: Collector = field(default_factory=Collector)

    def add(self, file: WalObject, segment_size: int) -> None:
        self.size += file.size
        when = file.last_modified
        self.times = [min([when, *self.times]), max([when, *self.times])]
        self.histories += is_history(file.name)
        self.labels += is_backup_label(file.name)
        self.partials += is_partial(file.name)
        if is_segment(file.name):
            self._place(file, segment_size)

    def _place(self, file: WalObject, segment_size: int) -> None:
        try:
            number = SegmentName.parse(file.name, segment_size).number
        except UsageError:
            self.unplaced += 1
        else:
            (self.segments if file.readable else self.foreign).add(number)


def _tally(timeline: int, files: Iterable[WalObject], segment_size: int) -> TimelineFacts:
    tally = _Tally()
    for file in files:
        tally.add(file, segment_size)
    segments = tally.segments.runs()
    first_stored, last_stored = tally.times
    return TimelineFacts(
        timeline,
        tally.size,
        first_stored,
        last_stored,
        segments=segments,
        foreign=tally.foreign.runs().minus(segments),
        histories=tally.histories,
        labels=tally.labels,
        partials=tally.partials,
        unplaced=tally.unplaced,
    )


def _with_history(store: Store, facts: TimelineFacts) -> TimelineFacts:
    """A history that the listing does not show is asked for by name all the same: listings may lag behind (H18)."""
    if facts.timeline == 1 and not facts.histories:
        return facts
    try:
        history = read_history(store, facts.timeline)
    except (ArchiveError, ShortRead) as error:
        return replace(facts, histories=1, history_damage=error.message)
    return facts if history is None else replace(facts, histories=1, history=history)


def _origin(store: Store, wal: WalFacts, facts: TimelineFacts, histories: Mapping[int, History]) -> Origin | None:
    history = histories.get(facts.timeline)
    if history is not None and history.entries:
        last = history.entries[-1]
        return Origin(last.timeline, last.lsn, FROM_LATER_HISTORY if facts.history is None else FROM_HISTORY)
    if history is not None or facts.timeline == 1 or facts.segments.first is None:
        return None
    # The segment in which a timeline begins repeats its parent's bytes, and so begins with the parent's number.
    with contextlib.suppress(ArchiveError, NotFound, ShortRead):
        parent = read_header(store, wal.name(facts.timeline, facts.segments.first)).timeline
        return Origin(parent, None, FROM_HEADER) if parent < facts.timeline else None
    return None


def _size_of_backups(store: Store, names: Sequence[str]) -> int | None:
    for name in reversed(names):
        with contextlib.suppress(Corrupt, NoSuchBackup):
            return load_summary(store, name).segment_size
    return None


def size_of_segments(store: Store) -> int:
    """The segment size in bytes as the first readable segment tells it; archives of WAL-E's have the default."""
    for entry in list_wal(store):
        if entry.readable and is_segment(entry.name):
            with contextlib.suppress(Corrupt, NotFound, ShortRead):
                return read_header(store, entry.name).segment_size
    return DEFAULT_SEGMENT_SIZE
