"""
Block maps: for one file, which block lies in which frame, and each block's digest.

A block is 8192 bytes of a file; the last one is padded with zeros. All-zero blocks are holes: they have a digest
but no extent. docs/format.md has the byte tables; this module is their only implementation.
"""

import itertools
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import xxhash

from wal_e.errors import Corrupt

BLOCK_SIZE: Final = 8192
FRAME_BLOCKS: Final = 128
DIGEST_SIZE: Final = 16
MAP_MAGIC: Final = b"WEMAP001"
_HEADER: Final = struct.Struct("<8sQII")
_EXTENT: Final = struct.Struct("<QHHIQI")
_ZERO_BLOCK: Final = bytes(BLOCK_SIZE)


@dataclass(frozen=True, slots=True)
class FrameRef:
    """Where a frame lies: the pack's key below the archive's prefix, and the frame's byte range in it."""

    pack: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Extent:
    """`count` blocks of a file from block `first` on, found in `frame` from its block `slot` on."""

    first: int
    count: int
    frame: FrameRef
    slot: int


@dataclass(frozen=True, slots=True)
class BlockMap:
    """
    The extents of one file in ascending order, not overlapping, and the digests of all its blocks.

    `digests` is 16 bytes for each block of the file, holes included.
    """

    extents: tuple[Extent, ...]
    digests: bytes

    @property
    def blocks(self) -> int:
        """How many blocks the file has."""
        return len(self.digests) // DIGEST_SIZE

    def digest(self, block: int) -> bytes:
        """The digest of one block."""
        return self.digests[block * DIGEST_SIZE : (block + 1) * DIGEST_SIZE]


def block_count(size: int) -> int:
    """How many blocks a file of `size` bytes has."""
    return -(-size // BLOCK_SIZE)


def digest_blocks(data: memoryview, seed: int) -> list[bytes]:
    """The XXH3-128 digest (canonical, big-endian) of each 8 KiB block of `data`, a whole number of blocks."""
    digest = xxhash.xxh3_128_digest
    return [digest(data[at : at + BLOCK_SIZE], seed) for at in range(0, len(data), BLOCK_SIZE)]


def known_digests(block_map: BlockMap, first: int, count: int) -> list[bytes]:
    """The digests of up to `count` blocks from block `first` on, fewer where the file ends before."""
    digests, end = block_map.digests, min(first + count, block_map.blocks) * DIGEST_SIZE
    return [digests[at : at + DIGEST_SIZE] for at in range(first * DIGEST_SIZE, end, DIGEST_SIZE)]


def zero_digest(seed: int) -> bytes:
    """The digest that marks a hole under this archive's seed."""
    return xxhash.xxh3_128_digest(_ZERO_BLOCK, seed)


def encode_map(block_map: BlockMap) -> bytes:
    """The binary form: header, the keys of the packs it names, columns of extents, digests."""
    packs = list(dict.fromkeys(extent.frame.pack for extent in block_map.extents))
    number = {key: index for index, key in enumerate(packs)}
    names = "\n".join(packs).encode("ascii")
    parts = [_HEADER.pack(MAP_MAGIC, block_map.blocks, len(block_map.extents), len(names)), names]
    parts += [
        _EXTENT.pack(e.first, e.count, e.slot, number[e.frame.pack], e.frame.offset, e.frame.length)
        for e in block_map.extents
    ]
    parts.append(block_map.digests)
    return b"".join(parts)


def decode_map(data: bytes) -> BlockMap:
    """Reads what `encode_map` wrote; anything else raises `Corrupt`."""
    try:
        magic, blocks, extent_count, names_length = _HEADER.unpack_from(data)
        if magic != MAP_MAGIC:
            raise Corrupt("this is not a block map")
        at = _HEADER.size
        packs = data[at : at + names_length].decode("ascii").split("\n")
        at += names_length
        end = at + extent_count * _EXTENT.size
        if len(data) != end + blocks * DIGEST_SIZE:
            raise Corrupt("a block map has the wrong length")
        extents = tuple(_decode_extents(data[at:end], packs))
    except (struct.error, UnicodeDecodeError, IndexError):
        raise Corrupt("a block map does not parse") from None
    return check_map(BlockMap(extents, data[end:]))


def _decode_extents(data: bytes, packs: Sequence[str]) -> Iterator[Extent]:
    """Extents of one frame share its `FrameRef`: making one takes as long as the rest of an extent."""
    frames: dict[tuple[int, int, int], FrameRef] = {}
    for first, count, slot, pack, offset, length in _EXTENT.iter_unpack(data):
        key = (pack, offset, length)
        frame = frames.get(key)
        if frame is None:
            frame = frames[key] = FrameRef(packs[pack], offset, length)
        yield Extent(first, count, frame, slot)


def check_map(block_map: BlockMap) -> BlockMap:
    """Returns the map, or raises `Corrupt` where extents overlap, leave the file or leave their frame."""
    position = 0
    for extent in block_map.extents:
        inside_frame = extent.count > 0 and extent.slot >= 0 and extent.slot + extent.count <= FRAME_BLOCKS
        if extent.first < position or not inside_frame or extent.frame.length <= 0 or extent.frame.offset < 0:
            raise Corrupt("the extents of a block map contradict each other")
        position = extent.first + extent.count
    if position > block_map.blocks:
        raise Corrupt("a block map reaches past the end of its file")
    return block_map


def holes(block_map: BlockMap) -> Iterator[range]:
    """The runs of blocks that no extent covers, which are zeros in the file."""
    position = 0
    for extent in block_map.extents:
        if extent.first > position:
            yield range(position, extent.first)
        position = extent.first + extent.count
    if position < block_map.blocks:
        yield range(position, block_map.blocks)


def clipped(block_map: BlockMap, first: int, end: int) -> Iterator[Extent]:
    """The extents that cover blocks from `first` up to, not including, `end`, cut to this range; holes have none."""
    extents = block_map.extents
    at = max(0, bisect_right(extents, first, key=lambda extent: extent.first) - 1)
    for extent in itertools.islice(extents, at, None):
        start, stop = max(first, extent.first), min(end, extent.first + extent.count)
        if extent.first >= end:
            return
        if start < stop:
            yield Extent(start, stop - start, extent.frame, extent.slot + start - extent.first)


def join_extents(extents: Iterable[Extent]) -> tuple[Extent, ...]:
    """Merges neighbours that continue each other in the file and in the same frame."""
    joined: list[Extent] = []
    for extent in extents:
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.frame == extent.frame
            and last.first + last.count == extent.first
            and last.slot + last.count == extent.slot
        ):
            joined[-1] = Extent(last.first, last.count + extent.count, last.frame, last.slot)
        else:
            joined.append(extent)
    return tuple(joined)
