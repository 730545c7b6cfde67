"""Files of PostgreSQL made byte by byte, from the documented tables rather than from our own."""

import struct

import google_crc32c

from wal_e.pg.segment import MAGIC_OF_MAJOR
from wal_e.pg.wal import SegmentName

# version: redo, minRecoveryPoint, backupStartPoint, blcksz, relseg, xlog_seg_size, data_checksum_version, crc
TABLE = {
    1002: (48, 136, 152, 216, 220, 228, 252, 288),
    1100: (40, 128, 144, 208, 212, 220, 244, 280),
    1201: (40, 136, 152, 216, 220, 228, 252, 288),
    1300: (40, 136, 152, 216, 220, 228, 252, 288),
    1700: (40, 136, 152, 216, 220, 228, 252, 288),
    1800: (40, 136, 152, 216, 220, 228, 252, 292),
}


def control_bytes(
    version: int,
    *,
    identifier: int = 7,
    catalog: int = 202209061,
    state: int = 6,
    lsn: int = 0x2000060,
    xid: int = 725,
    checksums: int = 1,
) -> bytes:
    redo, minimum, backup, block, relseg, wal, checksum, crc = TABLE[version]
    data = bytearray(8192)
    struct.pack_into("<QIII", data, 0, identifier, version, catalog, state)
    struct.pack_into("<Q", data, 32, lsn)
    struct.pack_into("<QI", data, redo, lsn - 0x38, 3)
    if version >= 1201:
        struct.pack_into("<Q", data, redo + 24, xid)
    else:
        struct.pack_into("<II", data, redo + 20, xid >> 32, xid & 0xFFFFFFFF)
    struct.pack_into("<QI", data, minimum, lsn + 8, 2)
    struct.pack_into("<QQB", data, backup, lsn + 16, lsn + 24, 1)
    struct.pack_into("<I", data, block, 8192)
    struct.pack_into("<I", data, relseg, 131072)
    struct.pack_into("<I", data, wal, 64 << 20)
    struct.pack_into("<I", data, checksum, checksums)
    struct.pack_into("<I", data, crc, google_crc32c.value(bytes(data[:crc])))
    return bytes(data)


def header_bytes(
    name: SegmentName,
    identifier: int = 7,
    *,
    major: int = 15,
    timeline: int | None = None,
    info: int = 2,
    address: int | None = None,
) -> bytes:
    return struct.pack(
        "<HHIQIIQII",
        MAGIC_OF_MAJOR[major],
        info,
        timeline or name.timeline,
        name.start if address is None else address,
        0,
        0,
        identifier,
        name.segment_size,
        8192,
    )
