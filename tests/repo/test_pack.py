"""Packs: the index that ends them, and that nothing else passes for one."""

import json

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tests.repo.drawn import NAME, paths
from wal_e.codec.compress import compress
from wal_e.errors import Corrupt
from wal_e.repo.blockmap import FRAME_BLOCKS
from wal_e.repo.pack import PACK_MAGIC, TRAILER_SIZE, IndexedFrame, Part, decode_index, encode_index, index_length


@st.composite
def parts(draw: st.DrawFn) -> Part:
    count = draw(st.integers(1, FRAME_BLOCKS))
    return Part(draw(paths), draw(st.integers(0, 1 << 40)), count, draw(st.integers(0, FRAME_BLOCKS - count)))


offsets = st.integers(0, 1 << 40)
lengths = st.integers(1, 1 << 20)
frames = st.one_of(
    st.builds(IndexedFrame, offsets, lengths, parts=st.lists(parts(), max_size=4).map(tuple)),
    st.builds(IndexedFrame, offsets, lengths, maps=st.lists(paths, min_size=1, max_size=4).map(tuple)),
)


def index_of(document: object) -> bytes:
    """An index with any JSON in it, with right checksums and lengths."""
    packed = compress(json.dumps(document).encode())
    payload = packed + len(packed).to_bytes(8, "little") + PACK_MAGIC
    return (0x184D2A5E).to_bytes(4, "little") + len(payload).to_bytes(4, "little") + payload


@given(st.lists(frames, max_size=5).map(tuple), st.integers(0, 99_999_999), st.binary(max_size=40))
def test_round_trip_from_the_end_of_a_pack(drawn: tuple[IndexedFrame, ...], number: int, before: bytes) -> None:
    index = encode_index(NAME, number, drawn)
    assert decode_index(index) == drawn
    assert decode_index(before + index) == drawn
    assert index_length(index[-TRAILER_SIZE:]) == len(index)


@given(st.binary(max_size=2000), st.binary(max_size=2000))
def test_zstd_reads_a_whole_pack_as_its_contents(first: bytes, second: bytes) -> None:
    pack = compress(first) + compress(second) + encode_index(NAME, 0, [IndexedFrame(0, 1)])
    reader = zstandard.ZstdDecompressor().stream_reader(pack, read_across_frames=True)
    assert reader.read() == first + second


@given(st.binary(max_size=100))
def test_arbitrary_bytes_are_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt):
        decode_index(data)
    with pytest.raises(Corrupt):
        decode_index(data + PACK_MAGIC)


@given(st.lists(frames, min_size=1, max_size=3).map(tuple), st.data())
def test_truncations_and_flipped_bits_are_corrupt(drawn: tuple[IndexedFrame, ...], data: st.DataObject) -> None:
    index = encode_index(NAME, 3, drawn)
    with pytest.raises(Corrupt):
        decode_index(index[: data.draw(st.integers(0, len(index) - 1))])
    with pytest.raises(Corrupt):
        decode_index(index[data.draw(st.integers(1, len(index))) :])
    bit = data.draw(st.integers(0, len(index) * 8 - 1))
    flipped = bytearray(index)
    flipped[bit // 8] ^= 1 << bit % 8
    try:
        found = decode_index(bytes(flipped))
    except Corrupt:
        return
    assert found == drawn  # a bit of the skippable frame's header, which only zstd reads


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"frames": None},
        {"frames": {"a": 1}},
        {"frames": [[]]},
        {"frames": ["text"]},
        {"frames": [{"offset": 0}]},
        {"frames": [{"offset": "x", "length": 1}]},
        {"frames": [{"offset": 1e999, "length": 1}]},
        {"frames": [{"offset": 0, "length": 1, "parts": [["p", 0, 1]]}]},
        {"frames": [{"offset": 0, "length": 1, "parts": [["p", 0, 0, 0]]}]},
        {"frames": [{"offset": 0, "length": 1, "parts": [["p", 0, 2, 127]]}]},
        {"frames": [{"offset": 0, "length": 1, "parts": [["p", -1, 1, 0]]}]},
        {"frames": [{"offset": 0, "length": 1, "parts": [["p", 0, 2, -1]]}]},
    ],
)
def test_json_that_is_no_index_is_corrupt(document: object) -> None:
    with pytest.raises(Corrupt):
        decode_index(index_of(document))
