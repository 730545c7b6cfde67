"""
Packs: one stored object of many frames, ending in an index that explains it even when manifests are lost.

Frames stand back to back, each a zstd frame; the index is zstd-compressed JSON inside a zstd skippable frame,
so `zstd -d` reads a whole pack as the concatenation of its frames' contents. Layout of the end:

    u32 0x184D2A5E | u32 payload length | zstd(JSON) | u64 length of zstd(JSON) | b"WEPACK01"
"""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from wal_e.codec.compress import compress, decompress
from wal_e.errors import Corrupt
from wal_e.repo.blockmap import FRAME_BLOCKS
from wal_e.units import MIB

PACK_TARGET: Final = 32 * MIB
PACK_MAGIC: Final = b"WEPACK01"
TRAILER_SIZE: Final = 16
_SKIPPABLE: Final = struct.Struct("<II")
_SKIPPABLE_MAGIC: Final = 0x184D2A5E
_TRAILER: Final = struct.Struct("<Q8s")
_INDEX_LIMIT: Final = 256 * MIB


@dataclass(frozen=True, slots=True)
class Part:
    """`count` blocks of file `path` from block `first` on, at block `slot` of their frame."""

    path: str
    first: int
    count: int
    slot: int


@dataclass(frozen=True, slots=True)
class IndexedFrame:
    """One frame of a pack: its byte range, and the blocks in it. A frame of block maps has `maps` instead."""

    offset: int
    length: int
    parts: tuple[Part, ...] = ()
    maps: tuple[str, ...] = ()


def encode_index(backup: str, number: int, frames: Sequence[IndexedFrame]) -> bytes:
    """The skippable frame that ends a pack."""
    document = {
        "format": 1,
        "backup": backup,
        "pack": number,
        "frames": [_frame_document(frame) for frame in frames],
    }
    packed = compress(json.dumps(document, separators=(",", ":")).encode())
    payload = packed + _TRAILER.pack(len(packed), PACK_MAGIC)
    return _SKIPPABLE.pack(_SKIPPABLE_MAGIC, len(payload)) + payload


def _frame_document(frame: IndexedFrame) -> dict[str, Any]:
    document: dict[str, Any] = {"offset": frame.offset, "length": frame.length}
    if frame.maps:
        document["maps"] = list(frame.maps)
    else:
        document["parts"] = [[part.path, part.first, part.count, part.slot] for part in frame.parts]
    return document


def index_length(trailer: bytes) -> int:
    """From a pack's last 16 bytes, how many bytes at its end are the index, trailer and all."""
    if len(trailer) != TRAILER_SIZE:
        raise Corrupt("a pack is too short to have an index")
    length, magic = _TRAILER.unpack(trailer)
    if magic != PACK_MAGIC:
        raise Corrupt("a pack does not end in an index")
    return int(length) + TRAILER_SIZE + _SKIPPABLE.size


def decode_index(end: bytes) -> tuple[IndexedFrame, ...]:
    """Reads the index from the last bytes of a pack, as many as `index_length` says or more."""
    length = index_length(end[-TRAILER_SIZE:])
    if len(end) < length:
        raise Corrupt("the index of a pack is cut off")
    packed = end[len(end) - length + _SKIPPABLE.size : len(end) - TRAILER_SIZE]
    try:
        document = json.loads(decompress(packed, limit=_INDEX_LIMIT))
        return tuple(_decode_frame(frame) for frame in document["frames"])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise Corrupt("the index of a pack does not parse") from None


def _decode_frame(frame: dict[str, Any]) -> IndexedFrame:
    parts = tuple(
        Part(str(path), int(first), int(count), int(slot)) for path, first, count, slot in frame.get("parts", ())
    )
    if any(part.slot + part.count > FRAME_BLOCKS or part.count < 1 or min(part.slot, part.first) < 0 for part in parts):
        raise Corrupt("the index of a pack names blocks outside their frame")
    return IndexedFrame(int(frame["offset"]), int(frame["length"]), parts, tuple(map(str, frame.get("maps", ()))))
