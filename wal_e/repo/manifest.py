"""
The manifest: the JSON document that makes a base backup exist, written last and never changed.

Stored as two zstd frames. The first holds the text up to the end of the `summary` object, so a list of backups
costs one small range each (append `}` to read it alone); both together are one JSON document, which a person
reads with `zstd -dc manifest.json.zst | jq`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, Final

from wal_e.codec.compress import compress, decompress_stream, first_frame
from wal_e.errors import Corrupt, UsageError
from wal_e.pg.wal import Lsn, SegmentName, segments_between
from wal_e.repo.blockmap import BlockMap, Extent, FrameRef, block_count, check_map
from wal_e.units import format_timestamp, parse_timestamp

FORMAT: Final = 1
INLINE_BLOCKS: Final = 16
"""Files of up to this many blocks carry their block map in the manifest itself."""


@dataclass(frozen=True, slots=True)
class Tablespace:
    """A tablespace by its OID, and the absolute path that its link pointed to."""

    oid: int
    location: str


@dataclass(frozen=True, slots=True)
class Summary:
    """What a list of backups and the choice of one need to know; sizes are in bytes."""

    name: str
    system_identifier: int
    pg_version: int
    segment_size: int
    timeline: int
    start_lsn: Lsn
    stop_lsn: Lsn
    start_time: datetime
    stop_time: datetime
    stop_xmax: int | None
    from_standby: bool
    offline: bool
    data_directory: str
    size: int
    stored: int
    tablespaces: tuple[Tablespace, ...]
    label: str
    checksum_failures: int

    @property
    def major(self) -> int:
        """The server's major version."""
        return self.pg_version // 10000

    def segments(self) -> list[SegmentName]:
        """The WAL segments without which this backup cannot be made consistent."""
        return list(segments_between(self.timeline, self.start_lsn, self.stop_lsn, self.segment_size))


@dataclass(frozen=True, slots=True)
class MapRef:
    """A block map stored in a pack: `length` bytes from byte `start` of the frame's content."""

    frame: FrameRef
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file as it was read: its facts, the CRC-32C of its bytes, and its blocks (inline, or behind a pointer)."""

    path: str
    size: int
    mode: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    crc32c: int
    blocks: BlockMap | MapRef
    bad_pages: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class DirectoryRecord:
    """One directory, relative to the data directory; the root is `.`."""

    path: str
    mode: int


@dataclass(frozen=True, slots=True)
class PackRef:
    """One stored pack: key below the prefix, size in bytes, and how many of them this backup uses."""

    key: str
    size: int
    live: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that a restore needs besides packs and WAL."""

    summary: Summary
    backup_label: str
    tablespace_map: str
    owner: tuple[str, str]
    packs: tuple[PackRef, ...]
    directories: tuple[DirectoryRecord, ...]
    files: tuple[FileRecord, ...]


def encode_manifest(manifest: Manifest) -> bytes:
    """The stored form: two zstd frames, one JSON document."""
    number = {pack.key: index for index, pack in enumerate(manifest.packs)}
    head = f'{{"format":{FORMAT},\n"summary":' + json.dumps(_summary_document(manifest.summary))
    rest = {
        "backup_label": manifest.backup_label,
        "tablespace_map": manifest.tablespace_map,
        "owner": list(manifest.owner),
        "packs": [{"key": p.key, "size": p.size, "live": p.live} for p in manifest.packs],
        "directories": [{"path": d.path, "mode": f"{d.mode:04o}"} for d in manifest.directories],
        "files": [_file_document(record, number) for record in manifest.files],
    }
    return compress(head.encode()) + compress((",\n" + json.dumps(rest)[1:]).encode())


def _summary_document(summary: Summary) -> dict[str, Any]:
    return {
        "name": summary.name,
        "system_identifier": str(summary.system_identifier),
        "pg_version": summary.pg_version,
        "segment_size": summary.segment_size,
        "timeline": summary.timeline,
        "start_lsn": str(summary.start_lsn),
        "stop_lsn": str(summary.stop_lsn),
        "start_time": format_timestamp(summary.start_time),
        "stop_time": format_timestamp(summary.stop_time),
        "stop_xmax": summary.stop_xmax,
        "from_standby": summary.from_standby,
        "offline": summary.offline,
        "data_directory": summary.data_directory,
        "size": summary.size,
        "stored": summary.stored,
        "tablespaces": [{"oid": t.oid, "location": t.location} for t in summary.tablespaces],
        "label": summary.label,
        "checksum_failures": summary.checksum_failures,
    }


def _file_document(record: FileRecord, number: Mapping[str, int]) -> dict[str, Any]:
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
            document["map"] = [number[frame.pack], frame.offset, frame.length, start, length]
        case BlockMap(extents, digests):
            document["digests"] = digests.hex()
            document["extents"] = [
                [e.first, e.count, number[e.frame.pack], e.frame.offset, e.frame.length, e.slot] for e in extents
            ]
    return document


def decode_summary(head: bytes) -> Summary | None:
    """The summary from the first bytes of a stored manifest, or None where they do not reach far enough."""
    text = first_frame(head)
    if text is None:
        return None
    try:
        document = json.loads(text + b"}")
    except (ValueError, RecursionError):
        raise Corrupt("the summary of a manifest does not parse") from None
    return _decode_head(document)


def _decode_head(document: Any) -> Summary:
    try:
        if document["format"] != FORMAT:
            raise Corrupt(
                f"the manifest has format {document['format']}, this version reads {FORMAT}",
                hint="Restore with a newer WAL-E.",
            )
        return _decode_summary(document["summary"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, UsageError):
        raise Corrupt("the summary of a manifest does not parse") from None


def _decode_summary(document: Mapping[str, Any]) -> Summary:
    xmax = document["stop_xmax"]
    return Summary(
        name=str(document["name"]),
        system_identifier=int(document["system_identifier"]),
        pg_version=int(document["pg_version"]),
        segment_size=int(document["segment_size"]),
        timeline=int(document["timeline"]),
        start_lsn=Lsn.parse(document["start_lsn"]),
        stop_lsn=Lsn.parse(document["stop_lsn"]),
        start_time=parse_timestamp(document["start_time"]),
        stop_time=parse_timestamp(document["stop_time"]),
        stop_xmax=None if xmax is None else int(xmax),
        from_standby=bool(document["from_standby"]),
        offline=bool(document["offline"]),
        data_directory=str(document["data_directory"]),
        size=int(document["size"]),
        stored=int(document["stored"]),
        tablespaces=tuple(Tablespace(int(t["oid"]), str(t["location"])) for t in document["tablespaces"]),
        label=str(document["label"]),
        checksum_failures=int(document["checksum_failures"]),
    )


def decode_manifest(stored: bytes) -> Manifest:
    """Reads a stored manifest; whatever is not one raises `Corrupt`, and so does a path that leaves its directory."""
    try:
        document = json.loads(b"".join(decompress_stream([stored])))
        summary = _decode_head(document)
        packs = tuple(PackRef(str(p["key"]), int(p["size"]), int(p["live"])) for p in document["packs"])
        user, group = document["owner"]
        return Manifest(
            summary=summary,
            backup_label=str(document["backup_label"]),
            tablespace_map=str(document["tablespace_map"]),
            owner=(str(user), str(group)),
            packs=packs,
            directories=tuple(
                DirectoryRecord(safe_path(d["path"]), int(d["mode"], 8) & 0o777) for d in document["directories"]
            ),
            files=tuple(_decode_file(record, packs) for record in document["files"]),
        )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError):
        raise Corrupt("a manifest does not parse") from None


def _decode_file(document: Mapping[str, Any], packs: Sequence[PackRef]) -> FileRecord:
    size = int(document["size"])
    blocks: BlockMap | MapRef
    if "map" in document:
        pack, offset, length, start, map_length = map(int, document["map"])
        blocks = MapRef(FrameRef(packs[pack].key, offset, length), start, map_length)
    else:
        extents = tuple(
            Extent(first, count, FrameRef(packs[pack].key, offset, length), slot)
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
    )


def safe_path(path: str) -> str:
    """Returns a relative path that stays below its root, or raises `Corrupt` (H51)."""
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or "\0" in path:
        raise Corrupt(f'the manifest names the path "{path}", which leaves the data directory')
    return str(pure)
