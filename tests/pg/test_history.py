"""Timeline histories: round trips, and the server's own way of looking for a segment."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wal_e.errors import Corrupt, WalEError
from wal_e.pg.history import History, Switch, parse_history, render_history
from wal_e.pg.wal import Lsn, SegmentName
from wal_e.units import MIB

SIZE = 16 * MIB
REASONS = st.binary(max_size=30).map(
    lambda raw: raw.translate(None, b"\n\r\t\f\v\0").strip().decode("utf-8", "surrogateescape")
)


@st.composite
def histories(draw: st.DrawFn) -> History:
    timelines = sorted(draw(st.sets(st.integers(1, 0xFFFFFFFF), min_size=2, max_size=8)))
    lsns = draw(st.lists(st.integers(1, 1 << 50), min_size=len(timelines) - 1, max_size=len(timelines) - 1))
    entries = [Switch(t, Lsn(lsn), draw(REASONS)) for t, lsn in zip(timelines, lsns, strict=False)]
    return History(timelines[-1], tuple(entries))


@given(histories())
def test_a_history_round_trips(history: History) -> None:
    assert parse_history(history.timeline, render_history(history)) == history


@given(st.integers(1, 5), st.binary(max_size=200))
def test_arbitrary_bytes_never_escape_the_error_tree(timeline: int, data: bytes) -> None:
    with contextlib.suppress(WalEError):
        parse_history(timeline, data)


@given(st.integers(1, 9), st.text(alphabet="0123456789ABCF/\t \n#x", max_size=80))
def test_almost_histories_never_escape_the_error_tree(timeline: int, text: str) -> None:
    try:
        history = parse_history(timeline, text.encode())
    except Corrupt:
        return
    assert history.ancestors[-1] < timeline


@given(histories(), st.integers(0, 1 << 51))
def test_the_server_finds_each_byte_under_one_of_the_candidates(history: History, lsn: int) -> None:
    owner = history.timeline_at(lsn)
    candidates = history.candidates(lsn // SIZE, SIZE)
    assert owner in {name.timeline for name in candidates}
    assert history.contains_segment(SegmentName.containing(owner, lsn, SIZE))
    left = history.switch_point(owner)
    assert left is None or lsn < left


@given(histories(), st.integers(0, 1 << 51))
def test_usable_means_before_the_point_where_the_timeline_was_left(history: History, stop: int) -> None:
    for timeline in (*history.ancestors, history.timeline):
        left = history.switch_point(timeline)
        assert history.usable(timeline, stop) == (left is None or stop <= left)


def test_what_postgresql_writes_is_read() -> None:
    text = b"1\t0/30001A0\tno recovery target specified\n\n2\t0/5000098\tbefore 2026-01-01 00:00:00+00\n"
    history = parse_history(10, text)
    assert history.ancestors == (1, 2)
    assert history.begin == Lsn.parse("0/5000098")
    assert render_history(history) == text
    assert history.usable(1, Lsn.parse("0/30001A0"))
    assert not history.usable(1, Lsn.parse("0/30001A1"))
    assert history.usable(10, Lsn.parse("F/0"))
    assert not history.usable(3, Lsn(1))
    assert 10 in history
    assert 3 not in history


def test_comments_and_blank_lines_are_ignored_and_a_reason_may_be_missing() -> None:
    assert parse_history(3, b"# text\n\n 1 0/10\n2\t0/20\n").entries == (Switch(1, Lsn(0x10)), Switch(2, Lsn(0x20)))


def test_the_child_comes_first_in_the_segment_of_the_switch() -> None:
    history = parse_history(2, b"1\t0/30001A0\tx\n")
    names = [str(name) for name in history.segments(Lsn.parse("0/2000028"), Lsn.parse("0/4000028"), SIZE)]
    assert [name[7] + name[-1] for name in names] == ["12", "23", "24"]
    assert [str(name)[7] for name in history.candidates(3, SIZE)] == ["2", "1"]
    assert [str(name)[7] for name in history.candidates(2, SIZE)] == ["1"]


def test_a_switch_on_a_boundary_needs_nothing_more_of_the_parent() -> None:
    history = parse_history(2, b"1\t0/3000000\tx\n")
    assert not history.contains_segment(SegmentName(1, 3, SIZE))
    assert history.contains_segment(SegmentName(1, 2, SIZE))
    assert history.contains_segment(SegmentName(2, 3, SIZE))
    assert not history.contains_segment(SegmentName(2, 2, SIZE))


def test_recovery_that_stopped_before_its_target_timeline_began() -> None:
    """Timeline 3 follows 2, but stopped at 0/4000000, before 2 had left 1 at 0/6000000."""
    history = parse_history(3, b"1\t0/6000000\tx\n2\t0/4000000\ty\n")
    assert history.timeline_at(0x3FFFFFF) == 1
    assert history.timeline_at(0x5000000) == 3
    assert not history.usable(1, 0x5000000)
    assert history.usable(1, 0x4000000)
    assert not history.contains_segment(SegmentName(1, 5, SIZE))


def test_the_first_timeline_has_no_ancestors() -> None:
    history = History(1)
    assert history.ancestors == ()
    assert history.usable(1, 1 << 60)
    assert history.timeline_at(5) == 1
    assert history.switch_point(1) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"# only a comment\n",
        b"1\n",
        b"x\t0/1\ty\n",
        b"1\t0-1\ty\n",
        b"2\t0/1\ty\n1\t0/2\tz\n",
        b"1\t0/1\ty\n1\t0/2\tz\n",
        b"9\t0/1\ty\n",
        b"0\t0/1\ty\n",
        b"99999999999\t0/1\ty\n",
        b"<html>404</html>",
        bytes(100),
    ],
)
def test_h09_garbage_is_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt):
        parse_history(5, data)
