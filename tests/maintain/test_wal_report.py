"""What the archive holds of the WAL and what is missing: held against a model that looks at every segment."""

import functools
import itertools
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults.faulty_store import FaultyStore, Mode
from tests.wal.material import LABEL, header, segment
from wal_e.codec.compress import compress
from wal_e.errors import Corrupt, NoSuchBackup, StoreError, WalMissing
from wal_e.events import Progress, silent
from wal_e.maintain.runs import NOTHING, Collector, Run, Runs
from wal_e.maintain.wal_facts import FROM_HEADER, FROM_HISTORY, FROM_LATER_HISTORY, TimelineFacts, WalFacts, show_wal
from wal_e.maintain.wal_report import State, Status, WalReport, judge
from wal_e.maintain.wal_verify import Verification, VerifyOptions, verify_wal
from wal_e.pg.history import History, Switch, render_history
from wal_e.pg.wal import Lsn, SegmentName, history_name
from wal_e.repo import layout
from wal_e.repo.cluster import ensure_identity
from wal_e.repo.manifest import Manifest, Summary, encode_manifest
from wal_e.repo.wal import list_wal
from wal_e.store.api import Body, Store
from wal_e.store.drivers.memory import MemoryStore
from wal_e.units import MIB

SIZE = MIB
CLUSTER = 7
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
AT_ONCE = VerifyOptions(pauses=())
READING = VerifyOptions(read=True, threads=2, pauses=())


def summary(
    start: int, stop: int, *, timeline: int = 1, size: int = SIZE, hours: int = 0, offline: bool = False
) -> Summary:
    begin = SegmentName.containing(timeline, start, size)
    when = LONG_AGO + timedelta(hours=hours)
    return Summary(
        name=layout.backup_name(begin, start),
        system_identifier=CLUSTER,
        pg_version=150000,
        segment_size=size,
        timeline=timeline,
        start_lsn=Lsn(start),
        stop_lsn=Lsn(stop),
        start_time=when,
        stop_time=when,
        stop_xmax=1000,
        from_standby=False,
        offline=offline,
        data_directory="/data",
        size=1,
        stored=1,
        tablespaces=(),
        label="",
        checksum_failures=0,
    )


def backup(first: int, last: int, *, timeline: int = 1, size: int = SIZE, hours: int = 0) -> Summary:
    """A backup that needs the segments from `first` to `last`."""
    return summary(first * size + 40, last * size + 400, timeline=timeline, size=size, hours=hours)


def facts(
    timeline: int, numbers: Sequence[int], history: History | None = None, foreign: Sequence[int] = ()
) -> TimelineFacts:
    return TimelineFacts(
        timeline,
        100,
        LONG_AGO,
        LONG_AGO,
        segments=Runs.of((n, n) for n in numbers),
        foreign=Runs.of((n, n) for n in foreign),
        histories=int(history is not None),
        history=history,
    )


def child(timeline: int, *entries: tuple[int, int]) -> History:
    return History(timeline, tuple(Switch(parent, Lsn(lsn)) for parent, lsn in entries))


def states(report: WalReport) -> dict[tuple[int, int], State]:
    """The state of every needed segment, one by one."""
    return {
        (verdict.timeline, number): span.state
        for verdict in report.timelines
        for span in verdict.spans
        for number in range(span.first.number, span.last.number + 1)
    }


def bad(report: WalReport) -> set[tuple[int, int]]:
    return {place for place, state in states(report).items() if state is not State.FOUND}


def statuses(report: WalReport) -> dict[int, Status]:
    return {verdict.timeline: verdict.status for verdict in report.timelines}


# --- runs


NUMBERS = st.sets(st.integers(0, 30))


def as_runs(numbers: set[int]) -> Runs:
    return Runs.of((n, n) for n in numbers)


def as_set(runs: Runs) -> set[int]:
    return {n for run in runs for n in range(run.first, run.last + 1)}


@given(NUMBERS, NUMBERS)
def test_runs_are_sets(one: set[int], other: set[int]) -> None:
    left, right = as_runs(one), as_runs(other)
    assert as_set(left) == one
    assert all(a.last + 1 < b.first for a, b in itertools.pairwise(left))
    assert left.union(right) == as_runs(one | other)
    assert left.minus(right) == as_runs(one - other)
    assert left.common(right) == as_runs(one & other)
    assert left.holes() == as_runs(set(range(min(one, default=0), max(one, default=0))) - one)
    assert (left.count, left.first, left.last) == (len(one), min(one, default=None), max(one, default=None))
    assert bool(left) == bool(one)
    for number in range(33):
        assert (number in left) == (number in one)
        assert left.first_absent(number) == next(n for n in itertools.count(number) if n not in one)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30))))
def test_runs_of_anything_are_its_union(pairs: list[tuple[int, int]]) -> None:
    assert as_set(Runs.of(pairs)) == {n for first, last in pairs for n in range(first, last + 1)}


@given(st.lists(st.integers(0, 30)))
def test_a_collector_makes_runs_of_what_a_listing_shows(numbers: list[int]) -> None:
    collector = Collector()
    for number in sorted(numbers):
        collector.add(number)
    assert collector.runs() == as_runs(set(numbers))


# --- the model: every segment, and every quarter of a segment, one by one

QUARTER = SIZE // 4
HIGHEST = 8


@dataclass(frozen=True)
class Drawn:
    """An archive as it was drawn: true ancestries, which history files are stored, which segments, which backups."""

    ancestry: dict[int, History]
    kept: frozenset[int]
    segments: dict[int, frozenset[int]]
    foreign: dict[int, frozenset[int]]
    damaged: dict[int, frozenset[int]]
    backups: tuple[Summary, ...]

    def wal(self) -> WalFacts:
        return WalFacts(
            SIZE,
            tuple(
                facts(
                    t,
                    sorted(self.segments[t]),
                    self.ancestry[t] if t in self.kept and t > 1 else None,
                    sorted(self.foreign[t]),
                )
                for t in sorted(self.ancestry)
                if self.segments[t] or self.foreign[t] or (t in self.kept and t > 1)
            ),
        )

    def path(self, timeline: int) -> History:
        told = any(timeline in self.ancestry[t] for t in self.kept if t > 1)
        return self.ancestry[timeline] if told else History(timeline)

    @functools.cached_property
    def known(self) -> set[int]:
        told = {t for kept in self.kept if kept > 1 for t in (kept, *self.ancestry[kept].ancestors)}
        stored = {t for t in self.ancestry if self.segments[t] or self.foreign[t]}
        return told | stored | {one.timeline for one in self.backups}

    def here(self, timeline: int) -> frozenset[int]:
        return self.segments[timeline] - self.damaged[timeline]

    def newest(self, timeline: int) -> int:
        return max(self.segments[timeline] | self.foreign[timeline], default=-1)

    def fitting(self, timeline: int) -> list[Summary]:
        return [b for b in self.backups if self.path(timeline).usable(b.timeline, b.stop_lsn)]

    def owner(self, timeline: int, number: int) -> int:
        return self.path(timeline).candidates(number, SIZE)[0].timeline

    def needed(self) -> set[tuple[int, int]]:
        found: set[tuple[int, int]] = set()
        for timeline in self.known:
            first = min((b.start_lsn // SIZE for b in self.fitting(timeline)), default=None)
            if first is not None:
                last = max(self.newest(timeline), self.path(timeline).begin // SIZE - 1)
                found |= {(self.owner(timeline, n), n) for n in range(first, last + 1)}
        for one in self.backups:
            if not any(self.restores(one, t) for t in self.known):
                last = max(one.start_lsn, one.stop_lsn - 1) // SIZE
                found |= {(self.owner(one.timeline, n), n) for n in range(one.start_lsn // SIZE, last + 1)}
        return found

    def readable(self, path: History, position: int) -> bool:
        """Whether a server that follows the path gets the right byte there: it takes the first file it finds."""
        for name in path.candidates(position // SIZE, SIZE):
            if name.number in self.here(name.timeline):
                left = path.switch_point(name.timeline)
                return left is None or position < left
        return False

    def reach(self, one: Summary, timeline: int) -> int:
        position = one.start_lsn // SIZE * SIZE
        while self.readable(self.path(timeline), position):
            position += QUARTER
        return max(position, one.stop_lsn) if one.offline else position

    def restores(self, one: Summary, timeline: int) -> bool:
        fits = self.path(timeline).usable(one.timeline, one.stop_lsn)
        return fits and self.reach(one, timeline) >= one.stop_lsn

    def status(self, timeline: int, needed: Mapping[tuple[int, int], State]) -> Status:
        found = {state for (t, _), state in needed.items() if t == timeline}
        if State.MISSING in found:
            return Status.GAP
        if found - {State.FOUND}:
            return Status.UNREADABLE
        if timeline > 1 and timeline not in self.kept:
            return Status.MISSING_HISTORY
        return Status.OK if self.fitting(timeline) else Status.UNREACHABLE

    def state(self, timeline: int, number: int) -> State:
        if number in self.here(timeline):
            return State.FOUND
        if number in self.segments[timeline]:
            return State.DAMAGED
        return State.FOREIGN if number in self.foreign[timeline] else State.MISSING


@st.composite
def archives(draw: st.DrawFn) -> Drawn:
    quarters = st.integers(1, HIGHEST * 4)
    ancestry = {1: History(1)}
    for timeline in range(2, draw(st.integers(1, 4)) + 1):
        # The switch may lie before the parent's own beginning: see pg.history.
        parent = draw(st.integers(1, timeline - 1))
        entries = (*ancestry[parent].entries, Switch(parent, Lsn(draw(quarters) * QUARTER)))
        ancestry[timeline] = History(timeline, entries)
    dense = st.frozensets(st.integers(0, HIGHEST), min_size=HIGHEST // 2)
    few = st.frozensets(st.integers(0, HIGHEST), max_size=2)
    segments = {t: draw(st.one_of(dense, st.just(frozenset(range(HIGHEST))), few)) for t in ancestry}
    backups = []
    for hours in range(draw(st.integers(1, 3))):
        start, length = draw(quarters), draw(st.integers(1, 6))
        backups.append(
            summary(
                start * QUARTER,
                (start + length) * QUARTER,
                timeline=draw(st.sampled_from(sorted(ancestry))),
                hours=hours,
                offline=draw(st.integers(0, 5)) == 0,
            )
        )
    return Drawn(
        ancestry,
        draw(st.frozensets(st.sampled_from(sorted(ancestry)))) if draw(st.booleans()) else frozenset(ancestry),
        segments,
        {t: draw(few) - segments[t] if draw(st.integers(0, 3)) == 0 else frozenset() for t in ancestry},
        {t: draw(few) & segments[t] if draw(st.integers(0, 3)) == 0 else frozenset() for t in ancestry},
        tuple(backups),
    )


@settings(max_examples=400, deadline=None)
@given(archives())
def test_the_report_is_what_a_look_at_every_segment_says(drawn: Drawn) -> None:
    """H12, H26, H28: ranges say what each segment by itself says, on every path that a recovery may follow."""
    report = judge(drawn.wal(), drawn.backups, {t: as_runs(set(some)) for t, some in drawn.damaged.items()})
    expected = {place: drawn.state(*place) for place in drawn.needed()}
    assert states(report) == expected
    for verdict in report.timelines:
        assert verdict.status is drawn.status(verdict.timeline, expected)
        for one, other in itertools.pairwise(verdict.spans):
            assert one.last.number < other.first.number
            assert one.state is not other.state or one.last.number + 1 < other.first.number
    shown = {verdict.timeline for verdict in report.timelines}
    files = {t for t in drawn.ancestry if drawn.segments[t] or drawn.foreign[t] or (t in drawn.kept and t > 1)}
    assert shown == files | {t for t, _ in expected} | {one.timeline for one in drawn.backups}


@settings(max_examples=400, deadline=None)
@given(archives())
def test_a_backup_gets_as_far_as_its_bytes_can_be_read(drawn: Drawn) -> None:
    """H23: a backup of whose own WAL anything is missing is of no use, and is said to be."""
    report = judge(drawn.wal(), drawn.backups, {t: as_runs(set(some)) for t, some in drawn.damaged.items()})
    assert [verdict.summary for verdict in report.backups] == list(drawn.backups)
    for verdict in report.backups:
        one = verdict.summary
        fitting = sorted(t for t in drawn.known if drawn.path(t).usable(one.timeline, one.stop_lsn))
        able = [t for t in fitting if drawn.restores(one, t)]
        assert verdict.restorable == bool(able)
        assert verdict.timeline == max(able or fitting)
        assert verdict.lsn == drawn.reach(one, verdict.timeline)
        number = next(
            n for n in itertools.count(one.start_lsn // SIZE) if n not in drawn.here(drawn.owner(verdict.timeline, n))
        )
        later = max(drawn.newest(verdict.timeline), drawn.path(verdict.timeline).begin // SIZE - 1)
        if number > later and able:
            assert verdict.stopped_by is None
        else:
            assert verdict.stopped_by == SegmentName(drawn.owner(verdict.timeline, number), number, SIZE)
    newest = max(statuses(report))
    fine = {Status.OK, Status.UNREACHABLE}
    assert report.good == (
        all(verdict.restorable for verdict in report.backups)
        and set(statuses(report).values()) <= fine
        and statuses(report)[newest] is Status.OK
    )


# --- scenes


@pytest.mark.parametrize("gone", range(2, 10))
def test_a_gap_at_each_position(gone: int) -> None:
    """H28: segments 2 to 9 are stored but one; the backups need 3 to 4 and 6 to 7."""
    wal = WalFacts(SIZE, (facts(1, [n for n in range(2, 10) if n != gone]),))
    report = judge(wal, [backup(3, 4), backup(6, 7, hours=1)])
    assert bad(report) == ({(1, gone)} if 3 <= gone <= 8 else set())
    assert report.good == (gone in {2, 9})
    first, second = report.backups
    assert first.restorable == (gone not in {3, 4})
    assert second.restorable == (gone not in {6, 7})
    assert first.lsn == (gone if gone >= 3 else 10) * SIZE
    assert second.lsn == (gone if gone >= 6 else 10) * SIZE


def test_what_was_not_archived_yet_is_no_gap() -> None:
    assert judge(WalFacts(SIZE, (facts(1, range(3, 7)),)), [backup(3, 5)]).good


def test_a_failover_leaves_a_partial_segment_and_no_gap() -> None:
    """Timeline 1 ends within segment 6, of which only timeline 2 has a whole copy."""
    wal = WalFacts(SIZE, (facts(1, range(2, 6)), facts(2, range(6, 9), child(2, (1, 6 * SIZE + 100)))))
    report = judge(wal, [backup(3, 4)])
    assert report.good
    assert report.backups[0].lsn == 9 * SIZE
    assert statuses(report) == {1: Status.OK, 2: Status.OK}


def test_a_backup_that_stopped_in_the_segment_of_the_switch_lives_on_the_copy_of_the_child() -> None:
    wal = WalFacts(SIZE, (facts(1, range(2, 6)), facts(2, range(6, 9), child(2, (1, 6 * SIZE + 800)))))
    report = judge(wal, [backup(3, 6)])
    assert report.good
    assert report.backups[0].restorable


def test_the_end_of_a_timeline_that_was_left_further_on_is_a_gap() -> None:
    wal = WalFacts(SIZE, (facts(1, range(2, 5)), facts(2, range(6, 9), child(2, (1, 6 * SIZE + 100)))))
    report = judge(wal, [backup(2, 3)])
    assert bad(report) == {(1, 5)}
    assert report.backups[0].lsn == 5 * SIZE


def test_an_old_primary_that_went_on_behind_the_switch() -> None:
    """As before pg_rewind: timeline 1 has WAL behind the point at which 2 left it, and a hole there is its own."""
    history = child(2, (1, 6 * SIZE + 100))
    whole = WalFacts(SIZE, (facts(1, range(2, 10)), facts(2, range(6, 9), history)))
    assert judge(whole, [backup(3, 4)]).good
    holed = WalFacts(SIZE, (facts(1, [2, 3, 4, 5, 6, 7, 9]), facts(2, range(6, 9), history)))
    report = judge(holed, [backup(3, 4)])
    assert statuses(report) == {1: Status.GAP, 2: Status.OK}
    assert bad(report) == {(1, 8)}
    assert report.backups[0].stopped_by is None
    assert report.backups[0].timeline == 2


def test_the_copy_of_the_parent_is_no_copy_of_the_child() -> None:
    """H14: behind the switch the parent's segment goes another way, and the child's later WAL does not follow it."""
    history = child(2, (1, 6 * SIZE + 100))
    report = judge(WalFacts(SIZE, (facts(1, range(2, 8)), facts(2, [7, 8], history))), [backup(3, 4)])
    assert bad(report) == {(2, 6)}
    assert report.backups[0].lsn == 6 * SIZE + 100


def test_a_backup_of_what_was_abandoned_reaches_the_end_of_its_own_timeline() -> None:
    history = child(2, (1, 6 * SIZE + 100))
    wal = WalFacts(SIZE, (facts(1, range(2, 10)), facts(2, range(6, 9), history)))
    report = judge(wal, [backup(3, 4), backup(7, 8, hours=1)])
    assert report.good
    assert [(one.timeline, one.lsn) for one in report.backups] == [(2, 9 * SIZE), (1, 10 * SIZE)]


def test_the_newest_timeline_must_be_within_reach_of_a_backup() -> None:
    history = child(2, (1, 6 * SIZE + 100))
    wal = WalFacts(SIZE, (facts(1, range(2, 10)), facts(2, range(6, 9), history)))
    report = judge(wal, [backup(7, 8)])
    assert statuses(report) == {1: Status.OK, 2: Status.UNREACHABLE}
    assert not report.good


def test_timelines_that_are_older_than_all_backups_are_not_needed() -> None:
    history = child(2, (1, 6 * SIZE + 100))
    report = judge(WalFacts(SIZE, (facts(1, [2, 5]), facts(2, range(6, 9), history))), [backup(7, 7, timeline=2)])
    assert statuses(report) == {1: Status.UNREACHABLE, 2: Status.OK}
    assert report.good


def test_h09_the_history_of_every_timeline_but_the_first_must_be_there() -> None:
    later = child(3, (1, 4 * SIZE + 100), (2, 6 * SIZE + 100))
    wal = WalFacts(SIZE, (facts(1, range(2, 5)), facts(2, range(4, 7)), facts(3, range(6, 9), later)))
    report = judge(wal, [backup(2, 3)])
    assert statuses(report) == {1: Status.OK, 2: Status.MISSING_HISTORY, 3: Status.OK}
    assert report.backups[0].lsn == 9 * SIZE
    assert not report.good


def test_an_archive_that_began_on_a_later_timeline_lacks_that_ones_history_only() -> None:
    report = judge(WalFacts(SIZE, (facts(3, range(6, 9)),)), [backup(6, 7, timeline=3)])
    assert statuses(report) == {3: Status.MISSING_HISTORY}
    assert report.backups[0].restorable


def test_millions_of_segments_are_a_run() -> None:
    wal = WalFacts(SIZE, (replace(facts(1, []), segments=Runs((Run(2, 10**12), Run(10**12 + 2, 10**13)))),))
    verdict = judge(wal, [backup(3, 4)]).timelines[0]
    gap = SegmentName(1, 10**12 + 1, SIZE)
    assert [(span.first, span.last) for span in verdict.bad] == [(gap, gap)]
    assert sum(span.count for span in verdict.spans) == 10**13 - 2


# --- from a store


def put(store: Store, name: str, data: bytes = b"x", suffix: str = ".zst") -> None:
    store.put(layout.wal_key(name, suffix), Body.of(data))


def commit(store: Store, one: Summary) -> str:
    manifest = Manifest(one, "", "", ("postgres", "postgres"), (), (), ())
    store.put(layout.manifest_key(one.name), Body.of(encode_manifest(manifest)))
    return one.name


def put_segments(store: Store, timeline: int, numbers: Sequence[int], size: int = SIZE) -> None:
    for number in numbers:
        put(store, str(SegmentName(timeline, number, size)))


def put_history(store: Store, history: History) -> None:
    put(store, history_name(history.timeline), compress(render_history(history)))


def real(store: Store, timeline: int, numbers: Sequence[int]) -> None:
    for number in numbers:
        name = SegmentName(timeline, number, SIZE)
        put(store, str(name), compress(segment(name, CLUSTER)))


def verify(store: Store, options: VerifyOptions = AT_ONCE) -> Verification:
    return verify_wal(store, options, silent)


@pytest.mark.parametrize("size", [1 * MIB, 16 * MIB, 64 * MIB, 1024 * MIB])
def test_h12_numbers_wrap_as_the_segment_size_says(size: int) -> None:
    """The names go on from 00000000.. to 00000001.. after 4096, 256, 64 or 4 segments: that is no gap."""
    store = MemoryStore()
    turn = (1 << 32) // size
    put_segments(store, 1, range(turn - 3, turn + 3), size)
    commit(store, backup(turn - 2, turn - 1, size=size))
    shown = show_wal(store)
    assert shown.segment_size == size
    assert shown.timelines[0].facts.segments == Runs((Run(turn - 3, turn + 2),))
    assert verify(store).problem is None
    store.delete([layout.wal_key(str(SegmentName(1, turn, size)))])
    assert show_wal(store).timelines[0].facts.stored.holes() == Runs((Run(turn, turn),))
    assert bad(verify(store).report) == {(1, turn)}


@pytest.mark.parametrize("size", [1 * MIB, 16 * MIB, 64 * MIB, 1024 * MIB])
def test_h12_without_a_backup_a_header_tells_the_segment_size(size: int) -> None:
    store = MemoryStore()
    name = SegmentName(1, 3, size)
    put(store, str(SegmentName(1, 2, size)), b"damaged")
    put(store, str(name), compress(header(name)))
    assert show_wal(store).segment_size == size
    with pytest.raises(NoSuchBackup):
        _raise(verify(store))


def _raise(verification: Verification) -> None:
    if verification.problem is not None:
        raise verification.problem


def test_everything_that_lies_there_is_counted() -> None:
    store = MemoryStore()
    put_segments(store, 1, [1, 2, 3])
    put(store, "000000010000000000000002", suffix=".lzo")
    put(store, "000000010000000000000005", suffix=".lz4")
    put(store, "000000010000000000000003.00000028.backup")
    put(store, "000000010000000000000006.partial")
    put(store, f"000000010000000000000006.partial.{'a' * 12}")
    put(store, "0000000100000000000FFFFF")
    store.put("wal_005/000000010000000000000000_delta", Body.of(b"not a WAL file"))
    put_history(store, child(2, (1, 6 * SIZE + 100)))
    name = commit(store, backup(1, 2))
    store.put("basebackups_005/base_000000010000000000000001_00000040_backup_stop_sentinel.json", Body.of(b"{}"))
    one, two = show_wal(store).timelines
    listed = [file for file in list_wal(store) if file.name.startswith("00000001")]
    assert (one.facts.segments, one.facts.foreign) == (Runs((Run(1, 3),)), Runs((Run(5, 5),)))
    assert (one.facts.histories, one.facts.labels, one.facts.partials, one.facts.unplaced) == (0, 1, 2, 1)
    assert one.facts.size == sum(file.size for file in listed)
    assert one.facts.first_stored == min(file.last_modified for file in listed)
    assert one.facts.last_stored == max(file.last_modified for file in listed)
    assert one.backups == (name, "base_000000010000000000000001_00000040")
    assert one.origin is None
    assert (two.facts.stored, two.facts.histories, two.backups) == (NOTHING, 1, ())


def test_the_parent_is_told_by_the_own_history_else_by_a_later_one_else_by_the_first_segment() -> None:
    store = MemoryStore()
    put_history(store, child(4, (1, 2 * SIZE), (3, 5 * SIZE)))
    put_segments(store, 3, [2, 3])
    name = SegmentName(6, 7, SIZE)
    put(store, str(name), compress(header(name, timeline=5)))
    put(store, str(SegmentName(7, 7, SIZE)), b"damaged")
    origins = {one.facts.timeline: one.origin for one in show_wal(store).timelines}
    assert {t: (o.parent, o.lsn, o.source) if o else None for t, o in origins.items()} == {
        3: (1, 2 * SIZE, FROM_LATER_HISTORY),
        4: (3, 5 * SIZE, FROM_HISTORY),
        6: (5, None, FROM_HEADER),
        7: None,
    }


def test_an_empty_archive() -> None:
    store = MemoryStore()
    assert show_wal(store).timelines == ()
    problem = verify(store).problem
    assert isinstance(problem, NoSuchBackup)
    assert "no base backup" in problem.message


def test_backups_of_others_are_told_and_not_verified() -> None:
    store = MemoryStore()
    put(store, "000000010000000000000002", suffix=".lzo")
    store.put("basebackups_005/base_000000010000000000000001_00000040_backup_stop_sentinel.json", Body.of(b"{}"))
    verification = verify(store)
    assert verification.legacy == 1
    assert isinstance(verification.problem, NoSuchBackup)
    assert "1 of WAL-E 1.x" in (verification.problem.detail or "")


def test_segments_in_another_form_stop_a_recovery() -> None:
    store = MemoryStore()
    put_segments(store, 1, [2, 3, 5])
    put(store, "000000010000000000000004", suffix=".lzo")
    commit(store, backup(2, 3))
    verification = verify(store)
    assert states(verification.report)[1, 4] is State.FOREIGN
    assert isinstance(verification.problem, Corrupt)
    assert "form" in verification.problem.message


def test_a_gap_names_what_is_lost_and_what_to_do() -> None:
    store = MemoryStore()
    put_segments(store, 1, [2, 4, 5, 8])
    lost = commit(store, backup(2, 3))
    stopped = commit(store, backup(4, 5, hours=1))
    problem = verify(store).problem
    assert isinstance(problem, WalMissing)
    assert problem.message == "the archive is not whole: 3 WAL segments missing"
    assert problem.detail == (
        "000000010000000000000003 missing; 000000010000000000000006 to 000000010000000000000007 missing."
    )
    assert problem.hint == (
        f"These backups cannot be restored: {lost}. A recovery ends at 0/600000 that begins with {stopped}. Push what "
        "a server still has: wal-e wal-push pg_wal/000000010000000000000003. Take a new base backup now: wal-e "
        "backup-push."
    )
    good = commit(store, backup(8, 8, hours=2))
    assert f"Recoveries that begin with {good} get to the end." in str(getattr(verify(store).problem, "hint", ""))


def test_many_gaps_are_not_all_told_in_one_message() -> None:
    store = MemoryStore()
    put_segments(store, 1, range(2, 60, 2))
    commit(store, backup(2, 2))
    problem = verify(store).problem
    assert problem is not None
    assert str(problem.detail).endswith("; and 20 more.")


def test_a_damaged_history_is_damage_and_no_absence() -> None:
    """H19."""
    store = MemoryStore()
    put_segments(store, 1, range(2, 6))
    put_segments(store, 2, range(5, 8))
    put(store, history_name(2), compress(b"nonsense"))
    commit(store, backup(2, 3))
    verification = verify(store)
    assert statuses(verification.report) == {1: Status.OK, 2: Status.UNREADABLE}
    assert [damage.name for damage in verification.damaged] == ["00000002.history.zst"]
    assert isinstance(verification.problem, Corrupt)


def test_a_damaged_manifest_hides_no_other_backup_and_is_told() -> None:
    store = MemoryStore()
    put_segments(store, 1, range(2, 6))
    name = commit(store, backup(2, 2))
    other = commit(store, backup(4, 4, hours=1))
    store.put(layout.manifest_key(name), Body.of(b"damaged"))
    verification = verify(store)
    assert [one.summary.name for one in verification.report.backups] == [other]
    assert [damage.name for damage in verification.damaged] == [name]
    assert isinstance(verification.problem, Corrupt)


def test_a_backup_of_another_segment_size_is_no_whole_one() -> None:
    store = MemoryStore()
    put_segments(store, 1, range(2, 6))
    odd = commit(store, backup(2, 2, size=16 * MIB))
    commit(store, backup(4, 4, hours=1))
    assert [damage.name for damage in verify(store).damaged_backups] == [odd]


def test_a_newest_timeline_without_a_backup_is_a_problem_of_its_own() -> None:
    store = MemoryStore()
    put_segments(store, 1, range(2, 10))
    put_segments(store, 2, range(6, 9))
    put_history(store, child(2, (1, 6 * SIZE + 100)))
    commit(store, backup(7, 8))
    problem = verify(store).problem
    assert problem is not None
    assert problem.message == "the archive is not whole: no base backup for the newest timeline"
    assert problem.detail == "Timeline 2 was begun where no base backup had been completed before."
    assert problem.hint == "Take a new base backup now: wal-e backup-push."


# --- segments that are on their way


def test_h18_what_an_agent_is_just_storing_is_asked_for_again() -> None:
    store = MemoryStore()
    put_segments(store, 1, [2, 3, 5, 7])
    commit(store, backup(2, 3))
    waited: list[float] = []

    def arrive(pause: float) -> None:
        waited.append(pause)
        put_segments(store, 1, [(4, 6)[len(waited) - 1]])

    assert verify(store, VerifyOptions(pauses=(1, 2), wait=arrive)).problem is None
    assert waited == [1, 2]
    store.delete([layout.wal_key("000000010000000000000004")])
    assert bad(verify(store, VerifyOptions(pauses=(1, 2), wait=lambda _: None)).report) == {(1, 4)}


def test_nobody_waits_for_what_is_whole_or_for_gaps_of_long_ago() -> None:
    store = MemoryStore()
    put_segments(store, 1, [2, 3, 4])
    commit(store, backup(2, 3))
    waited: list[float] = []
    options = VerifyOptions(pauses=(1,), wait=waited.append)
    assert verify(store, options).problem is None
    put_segments(store, 1, [1000])
    assert verify(store, options).problem is not None
    assert waited == [1]
    store.delete([layout.wal_key(str(SegmentName(1, 1000, SIZE)))])
    put_segments(store, 1, range(6, 300))
    assert bad(verify(store, options).report) == {(1, 5)}
    assert waited == [1]


# --- reading


def whole() -> MemoryStore:
    """Two timelines, with everything in it that is read."""
    store = MemoryStore()
    ensure_identity(store, CLUSTER)
    real(store, 1, range(2, 5))
    put(store, "000000010000000000000002.00000028.backup", compress(LABEL))
    partial = SegmentName(1, 5, SIZE)
    put(store, f"{partial}.partial", compress(header(partial, CLUSTER) + b"short"))
    put(store, f"{partial}.partial.{'a' * 12}", compress(header(partial, CLUSTER) + b"other"))
    put_history(store, child(2, (1, 5 * SIZE + 100)))
    real(store, 2, [5, 6])
    commit(store, backup(2, 3))
    return store


def test_reading_goes_through_every_object() -> None:
    store = whole()
    events: list[object] = []
    verification = verify_wal(store, READING, events.append)
    assert verification.problem is None
    assert verification.reading is not None
    assert verification.reading.objects == 9
    total = sum(file.size for file in list_wal(store))
    assert verification.reading.size == total
    progress = [event for event in events if isinstance(event, Progress)]
    assert [p.done for p in progress] == sorted(p.done for p in progress)
    assert (progress[-1].done, progress[-1].total) == (total, total)


OTHER_PLACE = segment(SegmentName(1, 9, SIZE), CLUSTER)
OTHER_CLUSTER = segment(SegmentName(1, 3, SIZE), 99)
CUT = compress(segment(SegmentName(1, 3, SIZE), CLUSTER))[:-5]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("000000010000000000000003", CUT),
        ("000000010000000000000003", b"<html>busy</html>"),
        ("000000010000000000000003", compress(OTHER_PLACE)),
        ("000000010000000000000003", compress(OTHER_CLUSTER)),
        ("000000010000000000000003", compress(segment(SegmentName(1, 3, SIZE), CLUSTER)[:-8192])),
        ("000000010000000000000002.00000028.backup", compress(b"no label")),
        ("000000010000000000000005.partial", compress(OTHER_CLUSTER)),
        (f"000000010000000000000005.partial.{'a' * 12}", b"garbage"),
    ],
)
def test_h20_h57_reading_finds_what_is_there_and_not_what_it_should_be(name: str, data: bytes) -> None:
    store = whole()
    put(store, name, data)
    assert verify(store).problem is None
    verification = verify(store, READING)
    assert isinstance(verification.problem, Corrupt)
    assert [damage.name for damage in verification.damaged] == [f"{name}.zst"]
    expected = {(1, 3)} if name == "000000010000000000000003" else set()
    assert bad(verification.report) == expected
    assert verification.report.backups[0].restorable == (not expected)


def test_a_listed_object_that_is_not_returned_is_damage() -> None:
    store = whole()

    class Forgetful(FaultyStore):
        def get(self, key: str, *, start: int = 0, length: int | None = None):  # type: ignore[no-untyped-def]  # noqa: ANN202
            if key.endswith("000000010000000000000003.zst"):
                key = "nothing"
            return super().get(key, start=start, length=length)

    verification = verify(Forgetful(store, call=1 << 60), READING)
    assert [damage.name for damage in verification.damaged] == ["000000010000000000000003.zst"]


# --- faults


@pytest.mark.parametrize("mode", ["fail", "cut"])
@pytest.mark.parametrize("options", [AT_ONCE, replace(READING, threads=1)])
def test_h45_a_part_of_the_archive_is_never_the_whole(mode: Mode, options: VerifyOptions) -> None:
    """An outage at any call is the outage's own error, and a cut object is never called good."""
    inner = whole()
    for call in itertools.count(1):
        store = FaultyStore(inner, call=call, mode=mode)
        try:
            verification = verify(store, options)
        except StoreError:
            continue
        if not store.reached:
            break
        verb, _ = store.log[call - 1]
        assert mode == "cut"
        assert verb == "get"
        # Read once more, an object may turn out to be good.
        assert verification.problem is not None or options.read
    assert call > 6


@pytest.mark.parametrize("mode", ["fail", "cut"])
def test_h45_nothing_is_shown_that_is_not_all(mode: Mode) -> None:
    inner = whole()
    expected = show_wal(inner)
    for call in itertools.count(1):
        store = FaultyStore(inner, call=call, mode=mode)
        try:
            shown = show_wal(store)
        except StoreError:
            continue
        if not store.reached:
            break
        assert [one.facts.segments for one in shown.timelines] == [one.facts.segments for one in expected.timelines]
        assert any(one.facts.history_damage for one in shown.timelines)
    assert call > 5


def test_the_header_of_a_segment_is_laid_out_as_these_tests_write_it() -> None:
    assert struct.calcsize("<HHIQI4xQII") == len(header(SegmentName(1, 1, SIZE)))
