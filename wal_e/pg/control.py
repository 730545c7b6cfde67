"""
What `global/pg_control` says: the cluster's identity, its last checkpoint and where a standby's backup ends.

Parsing is pure. The file has no version of its own that tells one PostgreSQL major from another (13 to 16 share
one), so the major comes from `PG_VERSION`, never from here. Versions that are not in the table are refused, not
guessed at: every offset below is that of a 64-bit little-endian server.
"""

import enum
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import google_crc32c

from wal_e.errors import Corrupt, DataDirectoryError
from wal_e.pg.wal import Lsn

CONTROL_PATH: Final = "global/pg_control"
CONTROL_SIZE: Final = 8192
_HEAD: Final = struct.Struct("<QIII")
_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")
_FIRST_WITH_FULL_XID: Final = 1201
_PAUSE: Final = 0.01
_ATTEMPTS: Final = 50


class State(enum.IntEnum):
    """What the cluster was doing when the file was written (DBState in PostgreSQL's pg_control.h)."""

    STARTUP = 0
    SHUT_DOWN = 1
    SHUT_DOWN_IN_RECOVERY = 2
    SHUTTING_DOWN = 3
    IN_CRASH_RECOVERY = 4
    IN_ARCHIVE_RECOVERY = 5
    IN_PRODUCTION = 6


@dataclass(frozen=True, slots=True)
class Offsets:
    """Where one control version keeps its fields, in bytes from the beginning of the file."""

    redo: int
    min_recovery_point: int
    block_size: int
    crc: int

    checkpoint = 32


OFFSETS: Final[Mapping[int, Offsets]] = MappingProxyType(
    {
        1002: Offsets(redo=48, min_recovery_point=136, block_size=216, crc=288),  # 10
        1100: Offsets(redo=40, min_recovery_point=128, block_size=208, crc=280),  # 11
        1201: Offsets(redo=40, min_recovery_point=136, block_size=216, crc=288),  # 12
        1300: Offsets(redo=40, min_recovery_point=136, block_size=216, crc=288),  # 13 to 16
        1700: Offsets(redo=40, min_recovery_point=136, block_size=216, crc=288),  # 17
        1800: Offsets(redo=40, min_recovery_point=136, block_size=216, crc=292),  # 18
    }
)


@dataclass(frozen=True, slots=True)
class ControlData:
    """
    The fields of `pg_control` that a backup or a restore asks for; sizes in bytes, positions as `Lsn`.

    `data_checksums` is the version of the page checksums, 0 where there are none. `next_xid` is the 64-bit id of
    the first transaction that had not begun at the last checkpoint.
    """

    system_identifier: int
    pg_control_version: int
    catalog_version: int
    state: State
    checkpoint: Lsn
    redo: Lsn
    timeline: int
    next_xid: int
    min_recovery_point: Lsn
    min_recovery_timeline: int
    backup_start: Lsn
    backup_end: Lsn
    backup_end_required: bool
    block_size: int
    relation_segment_blocks: int
    wal_segment_size: int
    data_checksums: int


def parse_control(data: bytes) -> ControlData:
    """
    Reads the bytes of a `pg_control`.

    A wrong checksum, or fields that no server writes, raise `Corrupt` (a copy may be torn: read it again); a
    version that is not known raises `DataDirectoryError`.
    """
    if len(data) < _HEAD.size:
        raise Corrupt(f"pg_control is too short: {len(data)} bytes")
    system_identifier, version, catalog_version, state = _HEAD.unpack_from(data)
    at = _offsets(version)
    _check_crc(data, at.crc)
    if state > max(State):
        raise Corrupt(f"pg_control holds an unknown cluster state {state}")
    return ControlData(
        system_identifier=system_identifier,
        pg_control_version=version,
        catalog_version=catalog_version,
        state=State(state),
        checkpoint=_lsn(data, at.checkpoint),
        redo=_lsn(data, at.redo),
        timeline=_u32(data, at.redo + 8),
        next_xid=_next_xid(data, version, at.redo),
        min_recovery_point=_lsn(data, at.min_recovery_point),
        min_recovery_timeline=_u32(data, at.min_recovery_point + 8),
        backup_start=_lsn(data, at.min_recovery_point + 16),
        backup_end=_lsn(data, at.min_recovery_point + 24),
        backup_end_required=data[at.min_recovery_point + 32] != 0,
        block_size=_u32(data, at.block_size),
        relation_segment_blocks=_u32(data, at.block_size + 4),
        wal_segment_size=_u32(data, at.block_size + 12),
        data_checksums=_u32(data, at.block_size + 36),
    )


def read_control(data_directory: Path, attempts: int = _ATTEMPTS) -> tuple[bytes, ControlData]:
    """
    Reads the file of a server that may be running, until a copy is whole; returns its bytes and what they say.

    The server writes the file in place and a reader can see half of it (H35), so a copy whose checksum is wrong
    is read again, `attempts` times in all, before `Corrupt` is raised. Nothing to read is `DataDirectoryError`.
    """
    path = data_directory / CONTROL_PATH
    for _ in range(attempts - 1):
        data = _read(path)
        try:
            return data, parse_control(data)
        except Corrupt:
            time.sleep(_PAUSE)
    data = _read(path)
    return data, parse_control(data)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(CONTROL_SIZE)
    except OSError as error:
        raise DataDirectoryError(
            f'could not read "{path}": {error.strerror}',
            hint="Name the data directory of a PostgreSQL cluster, and run as the user who owns it.",
        ) from error


def _offsets(version: int) -> Offsets:
    if version in OFFSETS:
        return OFFSETS[version]
    if version == 0:
        raise Corrupt("pg_control is empty: its version is 0")
    known = ", ".join(map(str, OFFSETS))
    raise DataDirectoryError(
        f"pg_control has version {version}, which is not known",
        detail=f"Known versions are {known}: PostgreSQL 10 to 18 on a 64-bit little-endian machine.",
        hint="Upgrade WAL-E to a release that knows this PostgreSQL.",
    )


def _check_crc(data: bytes, offset: int) -> None:
    if len(data) < offset + _U32.size:
        raise Corrupt(f"pg_control is too short: {len(data)} bytes")
    if google_crc32c.value(data[:offset]) != _u32(data, offset):
        raise Corrupt("pg_control has a wrong checksum")


def _next_xid(data: bytes, version: int, redo: int) -> int:
    if version >= _FIRST_WITH_FULL_XID:
        return int(_U64.unpack_from(data, redo + 24)[0])
    return _u32(data, redo + 20) << 32 | _u32(data, redo + 24)


def _lsn(data: bytes, offset: int) -> Lsn:
    return Lsn(_U64.unpack_from(data, offset)[0])


def _u32(data: bytes, offset: int) -> int:
    return int(_U32.unpack_from(data, offset)[0])
