"""
Whether the WAL that recoveries need is there: facts in, report out. Pure: no store, no clock.

A recovery follows the path of a timeline: its ancestors, each up to where it was left, then the timeline itself.
For each segment there is one right name, that of the newest timeline on the path which begins in it or before: the
copy of a parent ends, as far as the path is concerned, where the parent was left. Needed is what lies between the
oldest backup that fits the path and the newest stored segment of its timeline, so what was not archived yet is no
gap, and what is absent before something stored is. A segment in which an older timeline was left is needed in the
child's copy only, for that of the parent is often a `.partial` one.
"""

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from wal_e.maintain.runs import NOTHING, Run, Runs
from wal_e.maintain.wal_facts import TimelineFacts, WalFacts, known_histories
from wal_e.pg.history import History
from wal_e.pg.wal import Lsn, SegmentName
from wal_e.repo.manifest import Summary


class State(enum.StrEnum):
    """What is the matter with a range of segments."""

    FOUND = "FOUND"
    MISSING = "MISSING"
    FOREIGN = "FOREIGN"
    """There, in WAL-E's or WAL-G's form, which wal-fetch does not read."""
    DAMAGED = "DAMAGED"


class Status(enum.StrEnum):
    """What is the matter with a timeline; the first that holds, in this order but for OK."""

    OK = "ok"
    GAP = "gap"
    UNREADABLE = "unreadable"
    """Segments, or the history, are there and cannot be used."""
    MISSING_HISTORY = "missing history"
    UNREACHABLE = "no backup"
    """No backup can be brought to it, so nothing of it is needed."""


@dataclass(frozen=True, slots=True)
class Span:
    """Segments of one timeline, both ends included, that are all in one state."""

    first: SegmentName
    last: SegmentName
    state: State

    @property
    def count(self) -> int:
        """How many segments."""
        return self.last.number - self.first.number + 1

    def __str__(self) -> str:
        return str(self.first) if self.count == 1 else f"{self.first} to {self.last}"


@dataclass(frozen=True, slots=True)
class TimelineVerdict:
    """One timeline: its ancestry, as far as it is known, and all segments of it that recoveries need, in order."""

    timeline: int
    status: Status
    history: History | None
    history_damage: str | None
    spans: tuple[Span, ...]

    @property
    def bad(self) -> tuple[Span, ...]:
        """What recoveries need and cannot have."""
        return tuple(span for span in self.spans if span.state is not State.FOUND)


@dataclass(frozen=True, slots=True)
class BackupVerdict:
    """
    How far a recovery of one backup gets: on `timeline`, the newest that it can follow, up to `lsn`.

    `stopped_by` is the segment that is not there and must be, None where the recovery gets to the end.
    `restorable` is false where it does not even reach the end of the backup, which is then of no use.
    """

    summary: Summary
    restorable: bool
    timeline: int
    lsn: Lsn
    stopped_by: SegmentName | None


@dataclass(frozen=True, slots=True)
class WalReport:
    """The verdicts on all timelines and all backups, each in ascending order (backups: of their completion)."""

    segment_size: int
    timelines: tuple[TimelineVerdict, ...]
    backups: tuple[BackupVerdict, ...]

    @property
    def newest(self) -> TimelineVerdict | None:
        """The timeline that a recovery follows by default."""
        return self.timelines[-1] if self.timelines else None

    @property
    def good(self) -> bool:
        """Whether nothing is missing or damaged; a timeline that was left may be out of reach, the newest not."""
        fine = {Status.OK, Status.UNREACHABLE}
        return (
            bool(self.backups)
            and all(backup.restorable for backup in self.backups)
            and all(verdict.status in fine for verdict in self.timelines)
            and (self.newest is None or self.newest.status is Status.OK)
        )


def judge(wal: WalFacts, summaries: Sequence[Summary], damaged: Mapping[int, Runs] | None = None) -> WalReport:
    """
    The report on an archive with these backups; `damaged` are stored segments, by timeline, that cannot be read.

    All summaries must be of the archive's segment size.
    """
    return _Archive(wal, tuple(sorted(summaries, key=_order)), damaged or {}).report()


@dataclass(frozen=True, slots=True)
class _Stretch:
    """The segments of a path whose right name is of one timeline; `last` is None on the path's own."""

    timeline: int
    first: int
    last: int | None


class _Archive:
    def __init__(self, wal: WalFacts, summaries: Sequence[Summary], damaged: Mapping[int, Runs]) -> None:
        self._size: Final = wal.segment_size
        self._facts: Final = {facts.timeline: facts for facts in wal.timelines}
        self._damaged: Final = damaged
        self._summaries: Final = summaries
        self._usable: Final = {t: f.segments.minus(self._bad(t)) for t, f in self._facts.items()}
        named = known_histories(wal.timelines)
        known = sorted({*self._facts, *named, *(summary.timeline for summary in summaries)})
        self._paths: Final = {timeline: named.get(timeline, History(timeline)) for timeline in known}
        self._stretches: Final = {timeline: tuple(self._along(path)) for timeline, path in self._paths.items()}

    def report(self) -> WalReport:
        backups = tuple(self._backup(summary) for summary in self._summaries)
        lost = [verdict.summary for verdict in backups if not verdict.restorable]
        needed = self._needed(lost)
        shown = [t for t in self._paths if t in self._facts or needed[t] or self._has_backup(t)]
        return WalReport(self._size, tuple(self._timeline(t, needed[t]) for t in shown), backups)

    def _has_backup(self, timeline: int) -> bool:
        return any(summary.timeline == timeline for summary in self._summaries)

    def _bad(self, timeline: int) -> Runs:
        return self._damaged.get(timeline, NOTHING)

    def _here(self, timeline: int) -> Runs:
        """The segments that are there and can be read."""
        return self._usable.get(timeline, NOTHING)

    def _newest(self, timeline: int) -> int:
        """The number of the newest segment, in whatever state; -1 where there is none."""
        facts = self._facts.get(timeline)
        last = facts.stored.last if facts else None
        return -1 if last is None else last

    def _along(self, path: History) -> Iterator[_Stretch]:
        """The stretches of a path, newest first; a timeline that is left in the segment it begins in has none."""
        begins = (0, *(entry.lsn // self._size for entry in path.entries))
        after: int | None = None
        for timeline, begin in reversed(list(zip((*path.ancestors, path.timeline), begins, strict=True))):
            if after is None or begin < after:
                yield _Stretch(timeline, begin, None if after is None else after - 1)
                after = begin

    def _fitting(self, timeline: int) -> list[Summary]:
        path = self._paths[timeline]
        return [summary for summary in self._summaries if path.usable(summary.timeline, summary.stop_lsn)]

    def _needed(self, lost: Iterable[Summary]) -> dict[int, Runs]:
        """By timeline what recoveries need of it: on any path, and for the backups that are lost because of it."""
        runs: dict[int, list[tuple[int, int]]] = {timeline: [] for timeline in self._paths}
        for timeline in self._paths:
            fitting = self._fitting(timeline)
            if fitting:
                begin = min(summary.start_lsn for summary in fitting) // self._size
                self._add_path(runs, timeline, begin, self._newest(timeline))
        for summary in lost:
            last = max(summary.start_lsn, summary.stop_lsn - 1) // self._size
            self._add_path(runs, summary.timeline, summary.start_lsn // self._size, last)
        return {timeline: Runs.of(some) for timeline, some in runs.items()}

    def _add_path(self, runs: dict[int, list[tuple[int, int]]], timeline: int, begin: int, end: int) -> None:
        for stretch in self._stretches[timeline]:
            last = end if stretch.last is None else stretch.last
            runs[stretch.timeline].append((max(begin, stretch.first), last))

    def _timeline(self, timeline: int, needed: Runs) -> TimelineVerdict:
        facts = self._facts.get(timeline)
        path = self._paths[timeline]
        history = path if path.entries else None
        damage = facts.history_damage if facts else None
        spans = tuple(sorted(self._spans(timeline, needed), key=lambda span: span.first))
        status = self._status(timeline, {span.state for span in spans}, facts)
        return TimelineVerdict(timeline, status, history, damage, spans)

    def _spans(self, timeline: int, needed: Runs) -> Iterator[Span]:
        rest = needed
        facts = self._facts.get(timeline)
        for state, runs in (
            (State.FOUND, self._here(timeline)),
            (State.DAMAGED, self._bad(timeline)),
            (State.FOREIGN, facts.foreign if facts else NOTHING),
        ):
            yield from self._named(timeline, rest.common(runs), state)
            rest = rest.minus(runs)
        yield from self._named(timeline, rest, State.MISSING)

    def _named(self, timeline: int, runs: Iterable[Run], state: State) -> Iterator[Span]:
        for first, last in runs:
            yield Span(SegmentName(timeline, first, self._size), SegmentName(timeline, last, self._size), state)

    def _status(self, timeline: int, states: set[State], facts: TimelineFacts | None) -> Status:
        if State.MISSING in states:
            return Status.GAP
        if states - {State.FOUND} or (facts and facts.history_damage):
            return Status.UNREADABLE
        if timeline > 1 and (facts is None or facts.history is None):
            return Status.MISSING_HISTORY
        return Status.OK if self._fitting(timeline) else Status.UNREACHABLE

    def _backup(self, summary: Summary) -> BackupVerdict:
        """The best that can be had: the newest timeline on which the backup's end is reached, else the newest."""
        fitting = [t for t, path in self._paths.items() if path.usable(summary.timeline, summary.stop_lsn)]
        verdicts = [self._followed(summary, timeline) for timeline in reversed(fitting)]
        return next((verdict for verdict in verdicts if verdict.restorable), verdicts[0])

    def _followed(self, summary: Summary, timeline: int) -> BackupVerdict:
        number, complete = self._walk(timeline, summary.start_lsn // self._size)
        lsn = self._end(self._paths[timeline], number)
        if summary.offline:
            # It carries the one segment that it needs itself.
            lsn = max(lsn, summary.stop_lsn)
        restorable = lsn >= summary.stop_lsn
        absent = SegmentName(self._owner(timeline, number), number, self._size)
        return BackupVerdict(summary, restorable, timeline, lsn, None if complete and restorable else absent)

    def _walk(self, timeline: int, number: int) -> tuple[int, bool]:
        """The first segment from `number` on that is not there under its right name; whether nothing comes later."""
        for stretch in reversed(self._stretches[timeline]):
            if stretch.last is not None and stretch.last < number:
                continue
            number = self._here(stretch.timeline).first_absent(number)
            if stretch.last is None:
                return number, number > self._newest(timeline)
            if number <= stretch.last:
                return number, False
            number = stretch.last + 1
        raise AssertionError("a path ends with a stretch that has no end")

    def _owner(self, timeline: int, number: int) -> int:
        return next(stretch.timeline for stretch in self._stretches[timeline] if stretch.first <= number)

    def _end(self, path: History, number: int) -> Lsn:
        """Where a recovery ends that finds no segment `number`: an ancestor's copy serves up to where it was left."""
        end = SegmentName(path.timeline, number, self._size).start
        for name in path.candidates(number, self._size)[1:]:
            left = path.switch_point(name.timeline)
            if left is not None and number in self._here(name.timeline):
                end = max(end, left)
        return end


def _order(summary: Summary) -> tuple[object, ...]:
    return summary.stop_time, summary.stop_lsn, summary.name
