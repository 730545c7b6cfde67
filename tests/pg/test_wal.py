"""WAL arithmetic holds for every segment size that a server can have (H12)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wal_e.errors import UsageError
from wal_e.pg import wal
from wal_e.pg.wal import Lsn, SegmentName
from wal_e.units import MIB

SIZES = [MIB << shift for shift in range(11)]
lsns = st.integers(0, (1 << 64) - 1).map(Lsn)
sizes = st.sampled_from(SIZES)
timelines = st.integers(1, 0xFFFFFFFF)


@given(lsns)
def test_lsn_round_trips(lsn: Lsn) -> None:
    assert Lsn.parse(str(lsn)) == lsn
    assert str(Lsn.parse(str(lsn).lower())) == str(lsn)


@given(timelines, lsns, sizes)
def test_h12_segment_names_round_trip_and_hold_their_position(timeline: int, lsn: int, size: int) -> None:
    name = SegmentName.containing(timeline, lsn, size)
    assert SegmentName.parse(str(name), size) == name
    assert name.start <= lsn < name.end
    assert name.end - name.start == size
    assert wal.is_segment(str(name))
    assert wal.is_archivable(str(name))


@given(timelines, st.integers(0, (1 << 62)), sizes)
def test_names_sort_as_their_numbers_do(timeline: int, lsn: int, size: int) -> None:
    name = SegmentName.containing(timeline, lsn, size)
    assert str(name.next()) > str(name)
    assert name.next().start == name.end


@given(timelines, st.integers(0, 1 << 50), st.integers(0, 40), sizes)
def test_segments_between_cover_the_range_and_no_more(timeline: int, start: int, factor: int, size: int) -> None:
    stop = start + factor * size // 7
    names = list(wal.segments_between(timeline, start, stop, size))
    assert names[0].start <= start
    assert names[-1].end >= stop
    assert [name.number for name in names] == list(range(names[0].number, names[0].number + len(names)))
    assert stop <= start or names[-1].start < stop


def test_a_stop_on_a_boundary_does_not_need_the_next_segment() -> None:
    names = list(wal.segments_between(1, 0x2000028, 0x3000000, 16 * MIB))
    assert [str(name) for name in names] == ["000000010000000000000002"]


@pytest.mark.parametrize(
    ("size", "last"),
    [
        (MIB, "000000010000000000000FFF"),
        (16 * MIB, "0000000100000000000000FF"),
        (1024 * MIB, "000000010000000000000003"),
    ],
)
def test_h12_the_low_part_never_passes_four_gigabytes(size: int, last: str) -> None:
    name = SegmentName.containing(1, (1 << 32) - 1, size)
    assert str(name) == last
    assert str(name.next()) == "000000010000000100000000"


@pytest.mark.parametrize("text", ["", "0/", "/0", "0/0/0", "123456789/0", "x/y", "0/-1"])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Lsn.parse(text)


@given(st.text(max_size=30))
def test_h60_only_names_that_postgresql_gives_are_archivable(text: str) -> None:
    if wal.is_archivable(text):
        assert not set(text) & set(" /%;$`'\"\n")


def test_a_low_part_that_cannot_occur_is_refused() -> None:
    with pytest.raises(UsageError):
        SegmentName.parse("000000010000000000000100", 16 * MIB)
    with pytest.raises(UsageError):
        wal.check_segment_size(3 * MIB)
