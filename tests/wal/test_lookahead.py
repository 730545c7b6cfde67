"""Which segments to have ready, and how many: decisions without any I/O."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wal_e.pg.history import History, Switch
from wal_e.pg.wal import Lsn, SegmentName
from wal_e.units import GIB, MIB
from wal_e.wal.lookahead import HELD_FOR, START, Pace, deepest, names_ahead, next_depth, path_of

SIZE = MIB
# Timeline 1 was left in the middle of segment 8, timeline 2 at the very beginning of segment 10.
FAMILY = History(3, (Switch(1, Lsn(8 * SIZE + 4096)), Switch(2, Lsn(10 * SIZE))))


def name(timeline: int, number: int, size: int = SIZE) -> SegmentName:
    return SegmentName(timeline, number, size)


def ahead(asked: SegmentName, history: History, depth: int, *absent: SegmentName) -> list[tuple[int, int]]:
    return [(each.timeline, each.number) for each in names_ahead(asked, history, absent, depth)]


def test_h16_the_names_follow_the_server_s_order_over_timelines() -> None:
    assert ahead(name(1, 6), FAMILY, 6) == [(1, 7), (2, 8), (2, 9), (3, 10), (3, 11), (3, 12)]


def test_h16_where_the_child_s_copy_is_absent_the_parent_s_serves() -> None:
    assert ahead(name(1, 7), FAMILY, 2, name(2, 8)) == [(1, 8), (2, 9)]


def test_h16_no_timeline_is_gone_back_to() -> None:
    """PostgreSQL does not look at timelines older than the one it has read from."""
    assert ahead(name(2, 8), FAMILY, 3, name(2, 9)) == []
    assert ahead(name(3, 10), FAMILY, 3, name(3, 12)) == [(3, 11)]


def test_a_parent_s_wal_beyond_the_switch_is_never_wanted() -> None:
    assert ahead(name(1, 8), FAMILY, 4, name(2, 9)) == []
    assert ahead(name(2, 9), FAMILY, 4, name(3, 10)) == []


def test_the_end_of_the_archive_ends_the_window() -> None:
    assert ahead(name(1, 5), History(1), 8, name(1, 8)) == [(1, 6), (1, 7)]


@pytest.mark.parametrize("size", [MIB << power for power in range(11)])
def test_h12_names_carry_over_at_every_segment_size(size: int) -> None:
    last = (1 << 32) // size - 1
    assert str(names_ahead(name(1, last, size), History(1), (), 1)[0]) == "000000010000000100000000"


def test_a_segment_off_the_known_path_is_followed_on_its_own_timeline() -> None:
    assert path_of(name(1, 7), FAMILY) is FAMILY
    assert path_of(name(1, 20), FAMILY) == History(1)
    assert path_of(name(7, 20), FAMILY) == History(7)
    assert path_of(name(7, 20), None) == History(7)


@given(
    st.integers(0, 8),
    st.integers(0, 4 * GIB),
    st.sampled_from([MIB << power for power in range(11)]),
    st.integers(1, 8),
)
def test_the_window_never_passes_the_user_s_number_nor_the_memory(
    ahead: int, room: int, size: int, shares: int
) -> None:
    most = deepest(ahead, room // shares, size)
    assert 0 <= most <= ahead
    assert most * shares * 2 * size <= room


def test_no_look_ahead_where_a_segment_is_larger_than_the_memory() -> None:
    assert deepest(8, 256 * MIB, GIB) == 0
    assert deepest(0, 256 * MIB, MIB) == 0
    assert deepest(8, 256 * MIB, 16 * MIB) == 8


seconds = st.floats(0, 1e6)
paces = st.builds(Pace, st.booleans(), seconds, seconds, seconds)


@given(st.integers(0, 256), paces, st.integers(0, 256))
def test_the_depth_stays_in_its_bounds(depth: int, pace: Pace, most: int) -> None:
    least = min(1, most) if pace.interval <= HELD_FOR else 0
    assert least <= next_depth(depth, pace, most) <= most


def test_the_window_grows_when_the_server_waits() -> None:
    depth = START
    for expected in (4, 8, 8):
        depth = next_depth(depth, Pace(waited=True, rested=0, delivery=0.1, interval=0.1), 8)
        assert depth == expected


def test_a_slow_store_opens_the_window_at_once() -> None:
    assert next_depth(START, Pace(waited=True, rested=0, delivery=0.7, interval=0.1), 8) == 7


def test_the_window_shrinks_while_segments_lie_ready_for_long() -> None:
    slow = Pace(waited=False, rested=10, delivery=0.1, interval=1.2)
    assert [next_depth(depth, slow, 8) for depth in (8, 2, 1)] == [7, 1, 1]


def test_the_window_stays_where_it_is_just_right() -> None:
    assert next_depth(8, Pace(waited=False, rested=0.1, delivery=0.1, interval=0.02), 8) == 8
    # A store that takes five intervals for a segment needs five on their way, however long they rest then.
    assert next_depth(5, Pace(waited=False, rested=100, delivery=5, interval=1), 8) == 5


def test_nothing_is_fetched_that_would_not_be_kept_until_the_server_comes_to_it() -> None:
    def depth(interval: float, waited: bool = False) -> int:
        return next_depth(8, Pace(waited, rested=0, delivery=0.1, interval=interval), 8)

    assert [depth(interval) for interval in (0, 1, 3, 10, 11)] == [8, 8, 3, 1, 0]
    assert depth(1000, waited=True) == 0
    # The first ask after a long pause is no measure of those that follow it.
    assert next_depth(0, Pace(waited=True, rested=0, delivery=0.1, interval=0.02), 8) == 5
