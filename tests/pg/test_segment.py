"""A file passes under a segment's name only if it is that segment (H02, H12, H13, H20)."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pg.synthetic import header_bytes
from wal_e.errors import Corrupt, WalEError, WrongCluster
from wal_e.pg.segment import HEADER_SIZE, MAGIC_OF_MAJOR, check_segment, parse_header
from wal_e.pg.wal import SegmentName
from wal_e.units import MIB

SIZES = [MIB << shift for shift in range(11)]


names = st.builds(SegmentName, st.integers(1, 0xFFFFFFFF), st.integers(0, (1 << 34) - 1), st.sampled_from(SIZES))


@given(names, st.sampled_from(sorted(MAGIC_OF_MAJOR)), st.integers(0, (1 << 64) - 1))
def test_h12_the_right_file_passes_for_every_size_and_major(name: SegmentName, major: int, identifier: int) -> None:
    header = parse_header(header_bytes(name, identifier, major=major) + b"more")
    assert (header.major, header.timeline, header.page_address) == (major, name.timeline, name.start)
    check_segment(name, header, name.segment_size, identifier, major=major)
    check_segment(str(name), header, name.segment_size, None)


@given(names, names)
def test_h13_another_place_never_passes(name: SegmentName, other: SegmentName) -> None:
    header = parse_header(header_bytes(name))
    if (name.number, name.segment_size) == (other.number, other.segment_size) and name.timeline <= other.timeline:
        check_segment(other, header, name.segment_size, 7)
    else:
        with pytest.raises(Corrupt):
            check_segment(other, header, name.segment_size, 7)


@given(st.binary(max_size=100))
def test_h20_arbitrary_bytes_never_escape_the_error_tree(data: bytes) -> None:
    try:
        header = parse_header(data)
        check_segment("000000010000000000000001", header, len(data), None)
    except WalEError:
        return
    pytest.fail("arbitrary bytes passed for a segment")


NAME = SegmentName.parse("000000030000000200000005")


def test_h02_another_cluster_is_told_apart_from_damage() -> None:
    with pytest.raises(WrongCluster):
        check_segment(NAME, parse_header(header_bytes(NAME, 8)), NAME.segment_size, 7)


@pytest.mark.parametrize("size", [0, 1, 16 * MIB - 1, 16 * MIB + 1])
def test_h13_another_size_is_refused(size: int) -> None:
    with pytest.raises(Corrupt, match="bytes"):
        check_segment(NAME, parse_header(header_bytes(NAME)), size, 7)


def test_a_parents_timeline_is_fine_and_a_childs_is_not() -> None:
    check_segment(NAME, parse_header(header_bytes(NAME, timeline=1)), NAME.segment_size, 7)
    with pytest.raises(Corrupt, match="timeline"):
        check_segment(NAME, parse_header(header_bytes(NAME, timeline=4)), NAME.segment_size, 7)


def test_another_major_is_refused_where_one_is_expected() -> None:
    with pytest.raises(Corrupt, match="PostgreSQL 14"):
        check_segment(NAME, parse_header(header_bytes(NAME, major=14)), NAME.segment_size, 7, major=15)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        header_bytes(NAME)[: HEADER_SIZE - 1],
        bytes(HEADER_SIZE),
        b"<?xml version='1.0'?><Error>no such thing</Error>",
        header_bytes(NAME, info=0),
        header_bytes(NAME)[:32] + struct.pack("<II", 3 * MIB, 8192),
    ],
)
def test_h20_what_is_no_segment_is_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt):
        parse_header(data)


def test_h12_a_name_that_cannot_occur_with_the_headers_size_is_corrupt() -> None:
    name = SegmentName(1, 1, 1024 * MIB)
    with pytest.raises(Corrupt):
        check_segment("000000010000000000000005", parse_header(header_bytes(name)), name.segment_size, 7)
    with pytest.raises(Corrupt):
        check_segment(NAME, parse_header(header_bytes(name)), name.segment_size, 7)
