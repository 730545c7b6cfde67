"""
The list of files in a manifest: one JSON object on a line for each, written and read as a stream.

A cluster may have a million files, so neither side ever holds all of them: a backup adds records one by one to what
will be the end of its manifest, and a reader goes through the compressed text again each time.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from wal_e.codec.compress import StreamCompressor, decompress_stream
from wal_e.errors import Corrupt
from wal_e.repo.blockmap import BlockMap, Extent, FrameRef, block_count, check_map

INLINE_BLOCKS: Final = 16
"""Files of up to this many blocks carry their block map in the manifest itself."""
_BEGIN: Final = b',\n"files":['
_END: Final = b"\n]}"


@dataclass(frozen=True, slots=True)
class MapRef:
    """A block map stored in a pack: `length` bytes from byte `start` of the frame's content."""

    frame: FrameRef
    start: int
    length: int

    @property
    def blocks(self) -> int:
        """How much of its pack it counts for: a block for each 8192 bytes begun."""
        return block_count(self.length)


@dataclass(frozen=True, slots=True)
class FileRecord:
    """
    One file as it was read: its facts, the CRC-32C of its bytes, and its blocks (inline, or behind a pointer).

    `uses` says, where the map is behind a pointer, how many of the file's blocks each pack holds, by its key.
    """

    path: str
    size: int
    mode: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    crc32c: int
    blocks: BlockMap | MapRef
    bad_pages: tuple[int, ...] = ()
    uses: tuple[tuple[str, int], ...] = ()

    def pack_blocks(self) -> Mapping[str, int]:
        """How many blocks of each pack the file needs, its map counted in."""
        if isinstance(self.blocks, BlockMap):
            return count_blocks(self.blocks)
        counts = Counter(dict(self.uses))
        counts[self.blocks.frame.pack] += self.blocks.blocks
        return counts


def count_blocks(block_map: BlockMap) -> Counter[str]:
    """How many of a file's blocks each pack holds."""
    counts: Counter[str] = Counter()
    for extent in block_map.extents:
        counts[extent.frame.pack] += extent.count
    return counts


class StoredFiles:
    """
    The records of a manifest as they are stored; every iteration decodes them anew.

    `data` is the compressed text, `packs` the keys that the numbers in it stand for. What is not a list of records
    raises `Corrupt` in the middle of an iteration, and so does a path that leaves its directory.
    """

    def __init__(self, data: bytes, packs: Sequence[str]) -> None:
        self.data = data
        self.packs = tuple(packs)

    def __iter__(self) -> Iterator[FileRecord]:
        for line in self._lines():
            try:
                yield _decode_file(json.loads(line), self.packs)
            except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError):
                raise Corrupt("the list of files in a manifest does not parse") from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Iterable) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment] # it equals tuples of the same records, which hash otherwise

    def _lines(self) -> Iterator[bytes]:
        lines = _split(decompress_stream([self.data]))
        if b"\n".join((next(lines), next(lines, b""))) != _BEGIN:
            raise Corrupt("the list of files in a manifest does not begin as it should")
        last = next(lines, b"")
        for line in lines:
            if last.endswith(b",") or line == _END[1:]:
                yield last.removesuffix(b",")
            else:
                raise Corrupt("the list of files in a manifest has other lines than files")
            last = line
        if last != _END[1:]:
            raise Corrupt("the list of files in a manifest is cut off")


class FileWriter:
    """
    Takes the records of a backup one after the other and keeps them compressed.

    `packs` are numbered from the beginning, further ones as they are met. `live` counts the blocks of each pack that
    the files need, `size` the bytes of all files.
    """

    def __init__(self, packs: Sequence[str] = ()) -> None:
        self._compressor = StreamCompressor()
        self._compressor.write(_BEGIN)
        self._numbers = {pack: number for number, pack in enumerate(packs)}
        self._separator = b"\n"
        self.live: Counter[str] = Counter()
        self.size = 0
        self.bad_pages = 0

    def add(self, record: FileRecord) -> None:
        """Appends one file."""
        self.live.update(record.pack_blocks())
        self.size += record.size
        self.bad_pages += len(record.bad_pages)
        document = _file_document(record, self._number)
        self._compressor.write(self._separator + json.dumps(document).encode())
        self._separator = b",\n"

    def finish(self) -> StoredFiles:
        """The list as it will be stored, with the keys of its packs in the order of their numbers."""
        self._compressor.write(_END)
        return StoredFiles(self._compressor.finish(), tuple(self._numbers))

    def _number(self, pack: str) -> int:
        return self._numbers.setdefault(pack, len(self._numbers))


def encode_files(files: Iterable[FileRecord], packs: Sequence[str]) -> StoredFiles:
    """The stored form of the records, with these packs in this order."""
    if isinstance(files, StoredFiles) and files.packs == tuple(packs):
        return files
    writer = FileWriter(packs)
    for record in files:
        writer.add(record)
    return writer.finish()


def _split(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    yield rest


def _file_document(record: FileRecord, number: Any) -> dict[str, Any]:
    document: dict[str, Any] = {
        "path": record.path,
        "size": record.size,
        "mode": f"{record.mode:04o}",
        "mtime_ns": record.mtime_ns,
        "ctime_ns": record.ctime_ns,
        "inode": record.inode,
        "crc32c": f"{record.crc32c:08x}",
    }
    if record.bad_pages:
        document["bad_pages"] = list(record.bad_pages)
    match record.blocks:
        case MapRef(frame, start, length):
            document["map"] = [number(frame.pack), frame.offset, frame.length, start, length]
            document["packs"] = [[number(pack), count] for pack, count in record.uses]
        case BlockMap(extents, digests):
            document["digests"] = digests.hex()
            document["extents"] = [
                [e.first, e.count, number(e.frame.pack), e.frame.offset, e.frame.length, e.slot] for e in extents
            ]
    return document


def _decode_file(document: Mapping[str, Any], packs: Sequence[str]) -> FileRecord:
    size = int(document["size"])
    blocks: BlockMap | MapRef
    uses: tuple[tuple[str, int], ...] = ()
    if "map" in document:
        pack, offset, length, start, map_length = map(int, document["map"])
        blocks = MapRef(FrameRef(_key(packs, pack), offset, length), start, map_length)
        uses = tuple((_key(packs, int(number)), int(count)) for number, count in document["packs"])
    else:
        extents = tuple(
            Extent(first, count, FrameRef(_key(packs, pack), offset, length), slot)
            for first, count, pack, offset, length, slot in (map(int, row) for row in document["extents"])
        )
        blocks = check_map(BlockMap(extents, bytes.fromhex(document["digests"])))
        if blocks.blocks != block_count(size):
            raise Corrupt(f'the manifest contradicts itself about the size of "{document["path"]}"')
    return FileRecord(
        path=safe_path(document["path"]),
        size=size,
        mode=int(document["mode"], 8) & 0o777,
        mtime_ns=int(document["mtime_ns"]),
        ctime_ns=int(document["ctime_ns"]),
        inode=int(document["inode"]),
        crc32c=int(document["crc32c"], 16),
        blocks=blocks,
        bad_pages=tuple(map(int, document.get("bad_pages", ()))),
        uses=uses,
    )


def _key(packs: Sequence[str], number: int) -> str:
    if number < 0:
        raise IndexError(number)
    return packs[number]


def safe_path(path: str) -> str:
    """
    Returns a relative path that stays below its root, without empty parts, or raises `Corrupt` (H51).

    Not by pathlib: that interns every part, and the table of interned strings never shrinks, 90 bytes for each file.
    """
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if not path or path.startswith("/") or ".." in parts or "\0" in path:
        raise Corrupt(f'the manifest names the path "{path}", which leaves the data directory')
    return "/".join(parts) or "."
