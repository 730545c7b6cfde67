"""Which WAL is needed: everything that a kept backup can be brought through, and as little else as is certain (H26)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from wal_e.maintain.needed_wal import Need, WalBounds, WalVerdict, judge_wal, needs_of, wal_bounds
from wal_e.maintain.retention import Decision, Directory, Held, Verdict, wal_order
from wal_e.pg.history import History, Switch
from wal_e.pg.wal import Lsn, SegmentName

SIZE = 1 << 24
FIRST = History(1)


def key(number: int, timeline: int = 1, suffix: str = ".zst") -> str:
    return f"wal_005/{SegmentName(timeline, number, SIZE)}{suffix}"


def history(timeline: int, *left: tuple[int, float]) -> History:
    """A timeline's history; where an ancestor was left is given in segments."""
    return History(timeline, tuple(Switch(ancestor, Lsn(int(place * SIZE))) for ancestor, place in left))


def need(timeline: int, start: int, stop: float | None = None) -> Need:
    return Need(timeline, start, int((start + 1 if stop is None else stop) * SIZE), 7)


def kept(bounds: WalBounds | None, timeline: int, numbers: range) -> list[int]:
    return [number for number in numbers if judge_wal(key(number, timeline), bounds) is WalVerdict.KEEP]


def test_wal_goes_from_below_the_oldest_start() -> None:
    bounds = wal_bounds([need(1, 5), need(1, 9)], {1: FIRST})
    assert kept(bounds, 1, range(12)) == list(range(5, 12))
    for suffix in (".zst", ".partial.zst", ".lzo", ".partial.0123456789ab.zst"):
        assert judge_wal(key(4, suffix=suffix), bounds) is WalVerdict.DROP_SEGMENT
        assert judge_wal(key(5, suffix=suffix), bounds) is WalVerdict.KEEP
    assert judge_wal(key(4, suffix=".00000028.backup.zst"), bounds) is WalVerdict.DROP_LABEL


def test_h26_a_descendant_is_needed_from_the_backup_s_start_on() -> None:
    """1 was left in 10 for 2, and 2 in 20 for 3; the backups are on 1 and on 3."""
    two, three = history(2, (1, 10.5)), history(3, (1, 10.5), (2, 20.5))
    bounds = wal_bounds([need(1, 5), need(3, 25)], {1: FIRST, 2: two, 3: three})
    assert kept(bounds, 1, range(12)) == list(range(5, 12))
    assert kept(bounds, 2, range(10, 23)) == list(range(10, 23))
    assert kept(bounds, 3, range(20, 30)) == list(range(20, 30))


def test_h26_a_timeline_that_nobody_reaches_goes_up_to_the_start_of_a_later_one() -> None:
    """The backup on 1 is gone. 2 is a branch that was left, and 1 ends where 3 began."""
    two, three = history(2, (1, 10.5)), history(3, (1, 15.5))
    bounds = wal_bounds([need(3, 25)], {1: FIRST, 2: two, 3: three})
    assert kept(bounds, 1, range(30)) == list(range(25, 30))
    assert kept(bounds, 2, range(10, 30)) == list(range(25, 30))
    assert kept(bounds, 3, range(15, 30)) == list(range(25, 30))


def test_h26_a_new_timeline_that_nobody_reaches_yet_loses_only_what_lies_before_every_backup() -> None:
    """A standby that lagged was promoted: 2 left 1 within the backup, and its own first backup is still to come."""
    bounds = wal_bounds([need(1, 5), need(1, 20, 22)], {1: FIRST, 2: history(2, (1, 5.5))})
    assert kept(bounds, 2, range(5, 40)) == list(range(5, 40))


def test_h26_without_a_history_the_oldest_start_of_all_is_the_bound() -> None:
    for histories in ({1: FIRST, 2: None, 3: None}, {1: FIRST}, {}):
        bounds = wal_bounds([need(1, 5), need(3, 25)], histories)
        assert kept(bounds, 2, range(30)) == list(range(5, 30))
        assert kept(bounds, 3, range(30)) == list(range(5, 30))


def test_h27_backups_of_two_clusters_make_every_descent_uncertain() -> None:
    """The history of 2 is that of one of them, which left 1 before the other's backup began there."""
    two = history(2, (1, 2.5))
    needs = [need(2, 20), Need(1, 3, 4 * SIZE, 8)]
    assert kept(wal_bounds(needs, {1: FIRST, 2: two}), 2, range(30)) == list(range(3, 30))


def test_h25_an_unfinished_backup_needs_its_wal() -> None:
    when = datetime(2026, 5, 1, tzinfo=UTC)
    segment = str(SegmentName(1, 9, SIZE))
    held = Held("key", "name", when, 10 * SIZE, segment, wal_order(segment), 7)
    underway = [Directory("young", "key", False, (), when, 4, 1)]
    bounds = wal_bounds(needs_of(Decision((Verdict(held, "why"),), ()), underway), {1: FIRST})
    assert kept(bounds, 1, range(12)) == list(range(4, 12))


def test_without_a_kept_backup_nothing_goes() -> None:
    underway = [Directory("young", "key", False, (), datetime(2026, 5, 1, tzinfo=UTC), 4, 1)]
    bounds = wal_bounds(needs_of(Decision((), ()), underway), {1: FIRST})
    assert bounds is None
    assert judge_wal(key(1), bounds) is WalVerdict.KEEP


def test_a_request_s_own_bound_spares_what_lies_behind_it() -> None:
    bounds = wal_bounds([need(1, 5), need(2, 9)], {1: FIRST, 2: history(2, (1, 7.5))}, limit=3)
    for timeline in (1, 2, 3):
        assert kept(bounds, timeline, range(12)) == list(range(3, 12))


def test_histories_never_go_and_unexpected_keys_are_told() -> None:
    bounds = WalBounds(1 << 60, {})
    for suffix in (".zst", ".lzo"):
        assert judge_wal(f"wal_005/00000002.history{suffix}", bounds) is WalVerdict.KEEP
    assert judge_wal("wal_005/readme", bounds) is WalVerdict.UNEXPECTED


def test_walg_s_own_files_go_with_the_last_segment_that_they_cover() -> None:
    delta_map = "wal_005/000000010000000000000010_delta.lz4"
    for name in (delta_map, "wal_005/00000001000000000000001.json"):
        assert judge_wal(name, WalBounds(0x1F, {})) is WalVerdict.KEEP
        assert judge_wal(name, WalBounds(0x20, {})) is WalVerdict.DROP_SEGMENT


@dataclass(frozen=True)
class Drawn:
    """Timelines that descend from each other, and backups on them."""

    histories: Mapping[int, History]
    needs: tuple[Need, ...]
    unknown: frozenset[int]


@st.composite
def archives(draw: st.DrawFn) -> Drawn:
    histories = {1: FIRST}
    for timeline in range(2, draw(st.integers(1, 5)) + 1):
        parent = histories[draw(st.sampled_from(sorted(histories)))]
        place = draw(st.integers(int(parent.begin // SIZE) * 4, 160)) / 4
        histories[timeline] = History(timeline, (*parent.entries, Switch(parent.timeline, Lsn(int(place * SIZE)))))
    needs = []
    for _ in range(draw(st.integers(1, 5))):
        on = histories[draw(st.sampled_from(sorted(histories)))]
        start = draw(st.integers(int(on.begin // SIZE), 50))
        needs.append(Need(on.timeline, start, int((start + draw(st.integers(1, 20)) / 4) * SIZE), 7))
    return Drawn(histories, tuple(needs), frozenset(draw(st.sets(st.sampled_from(sorted(histories))))))


def paths(drawn: Drawn, one: Need) -> Iterator[SegmentName]:
    """Every segment that a recovery from this backup may ask for, whatever timeline it follows."""
    for target in drawn.histories.values():
        if target.usable(one.timeline, one.stop_lsn):
            yield from target.segments(one.start * SIZE, 70 * SIZE, SIZE)


@given(archives())
def test_h26_all_that_a_recovery_from_a_kept_backup_may_ask_for_is_kept(drawn: Drawn) -> None:
    histories = {t: None if t in drawn.unknown and t != 1 else h for t, h in drawn.histories.items()}
    bounds = wal_bounds(drawn.needs, histories)
    for one in drawn.needs:
        for segment in paths(drawn, one):
            assert judge_wal(f"wal_005/{segment}.zst", bounds) is WalVerdict.KEEP


@given(archives())
def test_what_lies_before_every_backup_goes_and_nothing_goes_that_is_newer_than_all(drawn: Drawn) -> None:
    bounds = wal_bounds(drawn.needs, drawn.histories)
    oldest, newest = (choose(one.start for one in drawn.needs) for choose in (min, max))
    highest = max(one.timeline for one in drawn.needs)
    for timeline in drawn.histories:
        assert kept(bounds, timeline, range(oldest)) == []
        assert kept(bounds, timeline, range(newest, 70)) == list(range(newest, 70))
        if timeline > highest:
            reached = [n.start for n in drawn.needs if drawn.histories[timeline].usable(n.timeline, n.stop_lsn)]
            spared = min(reached, default=oldest)
            assert kept(bounds, timeline, range(spared, 70)) == list(range(spared, 70))


@given(archives())
def test_more_knowledge_never_keeps_more(drawn: Drawn) -> None:
    known = wal_bounds(drawn.needs, drawn.histories)
    unknown = wal_bounds(drawn.needs, dict.fromkeys(drawn.histories))
    for timeline in drawn.histories:
        assert set(kept(known, timeline, range(70))) <= set(kept(unknown, timeline, range(70)))
