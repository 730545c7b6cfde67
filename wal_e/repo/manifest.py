"""
The manifest: the JSON document that makes a base backup exist, written last and never changed.

Stored as zstd frames whose contents together are one JSON document, which a person reads with
`zstd -dc manifest.json.zst | jq`. The first holds the text up to the end of the `summary` object, so a list of backups
costs one small range each (append `}` to read it alone); the second all but the files; the rest is the list of files.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from wal_e.codec.compress import compress, first_contents, first_frame, leading_frames
from wal_e.errors import Corrupt, UsageError
from wal_e.pg.wal import Lsn, SegmentName, segments_between
from wal_e.repo.filelist import FileRecord, StoredFiles, encode_files, safe_path
from wal_e.units import format_timestamp, parse_timestamp

FORMAT: Final = 1
_COUNTS: Final = ("size", "blocks", "live")


@dataclass(frozen=True, slots=True)
class Tablespace:
    """A tablespace by its OID, and the absolute path that its link pointed to."""

    oid: int
    location: str


@dataclass(frozen=True, slots=True)
class Database:
    """A database by its OID, and its name when the backup was taken."""

    oid: int
    name: str


@dataclass(frozen=True, slots=True)
class Summary:
    """
    What a list of backups and the choice of one need to know; sizes are in bytes.

    `stored` were added to the archive, `shared` lie in packs of older backups; `parent` is the backup that was built
    upon, for people only: nothing needs it.
    """

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
    parent: str | None = None
    shared: int = 0

    @property
    def major(self) -> int:
        """The server's major version."""
        return self.pg_version // 10000

    def segments(self) -> list[SegmentName]:
        """The WAL segments without which this backup cannot be made consistent."""
        return list(segments_between(self.timeline, self.start_lsn, self.stop_lsn, self.segment_size))


@dataclass(frozen=True, slots=True)
class DirectoryRecord:
    """One directory, relative to the data directory; the root is `.`."""

    path: str
    mode: int


@dataclass(frozen=True, slots=True)
class PackRef:
    """
    One stored pack: key below the prefix, size in bytes, how many blocks it holds and how many this backup needs.

    A block map counts as one block for each 8192 bytes of it that are begun.
    """

    key: str
    size: int
    blocks: int
    live: int

    @property
    def live_size(self) -> int:
        """The bytes of it that the backup needs, on average over its blocks."""
        return self.size * self.live // self.blocks


@dataclass(frozen=True, slots=True)
class Source:
    """
    Which directory was read: the machine's identity, device and inode of the data directory, and when the walk began.

    `scanned_ns` is the machine's own clock, in nanoseconds since 1970.
    """

    machine: str
    device: int
    inode: int
    scanned_ns: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """
    Everything that a restore needs besides packs and WAL.

    `files` may be read from the stored form at each iteration: go through it as rarely as possible.
    """

    summary: Summary
    backup_label: str
    tablespace_map: str
    owner: tuple[str, str]
    packs: tuple[PackRef, ...]
    directories: tuple[DirectoryRecord, ...]
    files: Iterable[FileRecord]
    source: Source | None = None
    databases: tuple[Database, ...] = ()


def encode_manifest(manifest: Manifest) -> bytes:
    """The stored form: zstd frames, one JSON document."""
    head = f'{{"format":{FORMAT},\n"summary":' + json.dumps(_summary_document(manifest.summary))
    rest = {
        "backup_label": manifest.backup_label,
        "tablespace_map": manifest.tablespace_map,
        "owner": list(manifest.owner),
        "databases": [{"oid": d.oid, "name": d.name} for d in manifest.databases],
        "source": None if manifest.source is None else _source_document(manifest.source),
        "packs": [{"key": p.key, "size": p.size, "blocks": p.blocks, "live": p.live} for p in manifest.packs],
        "directories": [{"path": d.path, "mode": f"{d.mode:04o}"} for d in manifest.directories],
    }
    files = encode_files(manifest.files, [pack.key for pack in manifest.packs])
    return compress(head.encode()) + compress((",\n" + json.dumps(rest)[1:-1]).encode()) + files.data


def _source_document(source: Source) -> dict[str, Any]:
    return {
        "machine": source.machine,
        "device": source.device,
        "inode": source.inode,
        "scanned_ns": source.scanned_ns,
    }


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
        "parent": summary.parent,
        "shared": summary.shared,
    }


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
        parent=None if document.get("parent") is None else str(document["parent"]),
        shared=int(document.get("shared", 0)),
    )


def decode_manifest(stored: bytes) -> Manifest:
    """
    Reads a stored manifest; whatever is not one raises `Corrupt`, and so does a path that leaves its directory.

    The files are decoded when they are gone through, and may raise `Corrupt` then.
    """
    text, rest = leading_frames(stored, 2)
    try:
        document = json.loads(text + b"}")
        summary = _decode_head(document)
        packs = _decode_packs(document)
        user, group = document["owner"]
        source = document.get("source")
        return Manifest(
            summary=summary,
            backup_label=str(document["backup_label"]),
            tablespace_map=str(document["tablespace_map"]),
            owner=(str(user), str(group)),
            packs=packs,
            directories=tuple(
                DirectoryRecord(safe_path(d["path"]), int(d["mode"], 8) & 0o777) for d in document["directories"]
            ),
            files=StoredFiles(rest, [pack.key for pack in packs]),
            source=None if source is None else _decode_source(source),
            databases=tuple(Database(int(d["oid"]), str(d["name"])) for d in document.get("databases", ())),
        )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError):
        raise Corrupt("a manifest does not parse") from None


def decode_packs(chunks: Iterable[bytes]) -> tuple[PackRef, ...]:
    """The packs in a stored manifest that arrives in chunks; takes no more of them than it needs."""
    try:
        document = json.loads(first_contents(chunks, 2) + b"}")
        _decode_head(document)
        return _decode_packs(document)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise Corrupt("a manifest does not parse") from None


def _decode_packs(document: Any) -> tuple[PackRef, ...]:
    packs = tuple(PackRef(str(p["key"]), *(int(p[name]) for name in _COUNTS)) for p in document["packs"])
    if any(pack.blocks < 1 for pack in packs):
        raise Corrupt("a manifest names a pack without blocks")
    return packs


def _decode_source(document: Mapping[str, Any]) -> Source:
    return Source(str(document["machine"]), *(int(document[name]) for name in ("device", "inode", "scanned_ns")))
