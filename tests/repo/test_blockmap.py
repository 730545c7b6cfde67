"""Block maps: what was written is read, and nothing else is."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.repo.drawn import PACKS, block_maps, digest_seeds
from wal_e.errors import Corrupt
from wal_e.repo.blockmap import (
    BLOCK_SIZE,
    DIGEST_SIZE,
    FRAME_BLOCKS,
    BlockMap,
    Extent,
    FrameRef,
    block_count,
    check_map,
    decode_map,
    digest_blocks,
    encode_map,
    holes,
    join_extents,
    zero_digest,
)

FRAME = FrameRef(PACKS[0].key, 0, 100)


@given(block_maps())
def test_round_trip(block_map: BlockMap) -> None:
    assert decode_map(encode_map(block_map)) == block_map


@given(block_maps())
def test_extents_and_holes_cover_every_block_once(block_map: BlockMap) -> None:
    covered = [block for e in block_map.extents for block in range(e.first, e.first + e.count)]
    empty = [block for hole in holes(block_map) for block in hole]
    assert sorted(covered + empty) == list(range(block_map.blocks))


@given(block_maps())
def test_joined_extents_say_the_same(block_map: BlockMap) -> None:
    single = [Extent(e.first + i, 1, e.frame, e.slot + i) for e in block_map.extents for i in range(e.count)]

    def blocks(extents: tuple[Extent, ...]) -> list[tuple[int, FrameRef, int]]:
        return [(e.first + i, e.frame, e.slot + i) for e in extents for i in range(e.count)]

    joined = join_extents(single)
    assert blocks(joined) == blocks(block_map.extents)
    assert len(joined) <= max(len(block_map.extents), 0)


@given(st.integers(0, 1 << 40))
def test_block_count_is_the_least_that_holds_the_bytes(size: int) -> None:
    count = block_count(size)
    assert count * BLOCK_SIZE >= size > (count - 1) * BLOCK_SIZE or size == count == 0


@given(digest_seeds)
def test_a_digest_depends_on_content_and_seed(seed: int) -> None:
    content = bytes(BLOCK_SIZE) + b"\1" * BLOCK_SIZE
    first, second = digest_blocks(memoryview(content), seed)
    assert first == zero_digest(seed) != second
    assert {len(first), len(second)} == {DIGEST_SIZE}
    assert first != zero_digest(seed ^ 1)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt):
        decode_map(data)


@given(block_maps(), st.data())
def test_truncated_and_lengthened_maps_are_corrupt(block_map: BlockMap, data: st.DataObject) -> None:
    encoded = encode_map(block_map)
    for damaged in (encoded[: data.draw(st.integers(0, len(encoded) - 1))], encoded + b"\0"):
        with pytest.raises(Corrupt):
            decode_map(damaged)


@given(block_maps(), st.data())
def test_a_flipped_bit_is_corrupt_or_leaves_a_map_that_holds_together(block_map: BlockMap, data: st.DataObject) -> None:
    """The bare map has no checksum: its frame has, and what it says about blocks is held against their digests."""
    encoded = bytearray(encode_map(block_map))
    bit = data.draw(st.integers(0, len(encoded) * 8 - 1))
    encoded[bit // 8] ^= 1 << bit % 8
    try:
        found = decode_map(bytes(encoded))
    except Corrupt:
        return
    assert found != block_map
    assert check_map(found) is found
    assert found.blocks == block_map.blocks


@pytest.mark.parametrize(
    "extents",
    [
        [Extent(0, 0, FRAME, 0)],
        [Extent(0, 2, FRAME, FRAME_BLOCKS - 1)],
        [Extent(0, 1, FRAME, -1)],
        [Extent(-1, 1, FRAME, 0)],
        [Extent(0, 2, FRAME, 0), Extent(1, 1, FRAME, 5)],
        [Extent(2, 1, FRAME, 0), Extent(0, 1, FRAME, 5)],
        [Extent(3, 2, FRAME, 0)],
        [Extent(0, 1, FrameRef("p", 0, 0), 0)],
        [Extent(0, 1, FrameRef("p", -1, 5), 0)],
    ],
)
def test_a_map_that_contradicts_itself_is_corrupt(extents: list[Extent]) -> None:
    with pytest.raises(Corrupt):
        check_map(BlockMap(tuple(extents), os.urandom(4 * DIGEST_SIZE)))
