"""
PostgreSQL's own `backup_manifest`, so that `pg_verifybackup` and `pg_combinebackup` can work on what we restore.

Its JSON is read by a strict parser (unknown fields are fatal), and its last line is the SHA-256 of all the lines before
it. Checksums are CRC-32C, in the byte order in which PostgreSQL prints them.
"""

import hashlib
import json
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from wal_e.pg.wal import Lsn

VERSION_2_SINCE: Final = 17
_CRC: Final = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """A file as it was backed up: size in bytes, time of change, CRC-32C of the stored bytes."""

    path: str
    size: int
    mtime: datetime
    crc32c: int


@dataclass(frozen=True, slots=True)
class WalRange:
    """The WAL that recovery from the backup needs on one timeline."""

    timeline: int
    start: Lsn
    end: Lsn


def manifest_version(major: int) -> int:
    """The version of the format that a PostgreSQL major writes itself: 1 for 13 to 16, 2 from 17 on."""
    return 2 if major >= VERSION_2_SINCE else 1


def render(
    files: Iterable[ManifestFile],
    wal_ranges: Iterable[WalRange],
    system_identifier: int | None,
    version: int = 1,
) -> bytes:
    """
    The content of `backup_manifest`.

    Version 1 is for PostgreSQL 13 to 16 and leaves the system identifier out; version 2 needs it. The list holds
    every file but the manifest itself and `pg_wal`; files of tablespaces go as `pg_tblspc/<oid>/…`.
    """
    body = "".join(_lines(files, wal_ranges, system_identifier, version)).encode()
    digest = hashlib.sha256(body).hexdigest()
    return body + f'"Manifest-Checksum": "{digest}"}}\n'.encode()


def _lines(
    files: Iterable[ManifestFile], wal_ranges: Iterable[WalRange], system_identifier: int | None, version: int
) -> Iterator[str]:
    yield f'{{ "PostgreSQL-Backup-Manifest-Version": {version},\n'
    if version > 1:
        if system_identifier is None:
            raise ValueError("version 2 of backup_manifest needs the system identifier")
        yield f'"System-Identifier": {system_identifier},\n'
    yield '"Files": ['
    yield from _joined(map(_file, files))
    yield '],\n"WAL-Ranges": ['
    yield from _joined(map(_range, wal_ranges))
    yield "],\n"


def _joined(items: Iterable[str]) -> Iterator[str]:
    separator = "\n"
    for item in items:
        yield separator + item
        separator = ",\n"
    yield "\n"


def _file(file: ManifestFile) -> str:
    when = file.mtime.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S GMT")
    return (
        f'{{ {_path(file.path)}, "Size": {file.size}, "Last-Modified": "{when}",'
        f' "Checksum-Algorithm": "CRC32C", "Checksum": "{_CRC.pack(file.crc32c).hex()}" }}'
    )


def _range(wal: WalRange) -> str:
    return f'{{ "Timeline": {wal.timeline}, "Start-LSN": "{wal.start}", "End-LSN": "{wal.end}" }}'


def _path(path: str) -> str:
    raw = os.fsencode(path)
    try:
        return f'"Path": {json.dumps(raw.decode("utf-8"), ensure_ascii=False)}'
    except UnicodeDecodeError:
        return f'"Encoded-Path": "{raw.hex()}"'
