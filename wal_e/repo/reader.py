"""Reading frames back: ranges that lie close together in a pack are fetched with one request."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from wal_e.codec.compress import decompress
from wal_e.errors import Corrupt, NotFound
from wal_e.repo.blockmap import BLOCK_SIZE, FRAME_BLOCKS, BlockMap, FrameRef, decode_map
from wal_e.repo.filelist import FileRecord, MapRef
from wal_e.store.api import Store, read_object
from wal_e.units import KIB, MIB

FRAME_LIMIT: Final = FRAME_BLOCKS * BLOCK_SIZE
MAP_LIMIT: Final = 64 * MIB
_REQUEST: Final = 4 * MIB
_GAP: Final = 128 * KIB


@dataclass(frozen=True, slots=True)
class ReadRange:
    """One request: the bytes `start` to `end` of a pack, and the frames in them, in order of offset."""

    pack: str
    start: int
    end: int
    frames: tuple[FrameRef, ...]


def plan_reads(frames: Iterable[FrameRef]) -> list[ReadRange]:
    """Groups distinct frames into requests of about 4 MiB, in the order of the packs; small gaps are read over."""
    ranges: list[ReadRange] = []
    for frame in sorted(set(frames), key=lambda f: (f.pack, f.offset)):
        end = frame.offset + frame.length
        last = ranges[-1] if ranges else None
        if (
            last is not None
            and last.pack == frame.pack
            and frame.offset - last.end <= _GAP
            and end - last.start <= _REQUEST
        ):
            ranges[-1] = ReadRange(last.pack, last.start, end, (*last.frames, frame))
        else:
            ranges.append(ReadRange(frame.pack, frame.offset, end, (frame,)))
    return ranges


def read_frames(store: Store, request: ReadRange, *, limit: int = FRAME_LIMIT) -> Iterator[tuple[FrameRef, bytes]]:
    """Fetches one range and yields each frame with its content; a missing pack or a bad frame raises `Corrupt`."""
    try:
        data = memoryview(read_object(store, request.pack, start=request.start, length=request.end - request.start))
    except NotFound:
        raise Corrupt(
            f'the archive has no pack "{request.pack}"', hint="Another backup may be whole: see wal-e backup-list."
        ) from None
    for frame in request.frames:
        at = frame.offset - request.start
        try:
            yield frame, decompress(data[at : at + frame.length], limit=limit)
        except Corrupt as error:
            raise Corrupt(
                f'a frame of the pack "{request.pack}" at byte {frame.offset} is damaged', detail=str(error)
            ) from None


def load_maps(store: Store, files: Iterable[FileRecord]) -> dict[str, BlockMap]:
    """The block map of each file, fetched where the manifest only points to it; path -> map."""
    maps: dict[str, BlockMap] = {}
    behind: dict[FrameRef, list[tuple[str, MapRef]]] = {}
    for record in files:
        if isinstance(record.blocks, MapRef):
            behind.setdefault(record.blocks.frame, []).append((record.path, record.blocks))
        else:
            maps[record.path] = record.blocks
    for request in plan_reads(behind):
        # The map of a file of more than 32 GiB, a log perhaps, is larger than the usual limit.
        ends = [pointer.start + pointer.length for frame in request.frames for _, pointer in behind[frame]]
        for frame, content in read_frames(store, request, limit=max(MAP_LIMIT, *ends)):
            for path, pointer in behind[frame]:
                maps[path] = decode_map(content[pointer.start : pointer.start + pointer.length])
    return maps
