"""
The header of a WAL segment, and whether a file is the segment that its name says.

The check stands before every push (H02, H13) and every fetch (H15, H20): a file of another cluster, of another
place, cut short, or not WAL at all never passes under a segment's name.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from wal_e.errors import Corrupt, UsageError, WrongCluster
from wal_e.pg.wal import Lsn, SegmentName, check_segment_size

MAGIC_OF_MAJOR: Final[Mapping[int, int]] = MappingProxyType(
    {
        10: 0xD097,
        11: 0xD098,
        12: 0xD101,
        13: 0xD106,
        14: 0xD10D,
        15: 0xD110,
        16: 0xD113,
        17: 0xD116,
        18: 0xD118,
    }
)
_MAJOR_OF_MAGIC: Final = {magic: major for major, magic in MAGIC_OF_MAJOR.items()}
_LAYOUT: Final = struct.Struct("<HHIQI4xQII")
_LONG_HEADER: Final = 0x0002
HEADER_SIZE: Final = _LAYOUT.size


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """The long header of a segment's first page; sizes in bytes."""

    major: int
    timeline: int
    page_address: Lsn
    system_identifier: int
    segment_size: int
    block_size: int


def parse_header(first_bytes: bytes) -> SegmentHeader:
    """
    Reads the first 40 bytes of a segment (more may be given).

    Bytes that no server from 10 to 18 writes there raise `Corrupt`.
    """
    if len(first_bytes) < HEADER_SIZE:
        raise Corrupt(f"a WAL segment begins with {HEADER_SIZE} bytes of header, here are {len(first_bytes)}")
    magic, info, timeline, address, _remaining, identifier, segment_size, block_size = _LAYOUT.unpack_from(first_bytes)
    major = _MAJOR_OF_MAGIC.get(magic)
    if major is None:
        raise Corrupt(
            f"not a WAL segment of PostgreSQL 10 to 18: its first page has the magic number {magic:04X}",
            hint="A newer PostgreSQL needs a newer WAL-E; otherwise the file is damaged or not WAL.",
        )
    if not info & _LONG_HEADER:
        raise Corrupt("the first page of the WAL segment has no long header")
    try:
        check_segment_size(segment_size)
    except UsageError as error:
        raise Corrupt(f"the header of the WAL segment is damaged: {error}") from None
    return SegmentHeader(major, timeline, Lsn(address), identifier, segment_size, block_size)


def check_segment(
    name: SegmentName | str,
    header: SegmentHeader,
    size: int,
    system_identifier: int | None,
    *,
    major: int | None = None,
) -> None:
    """
    Raises unless a file of `size` bytes with this header is the segment `name`.

    Another system identifier than the given one is `WrongCluster`; anything else that does not fit (size, place,
    timeline, and the PostgreSQL major where it is given) is `Corrupt`. The timeline in the header may be lower
    than the name's: the segment in which a timeline begins repeats its parent's bytes.
    """
    where = _place(name, header)
    if system_identifier is not None and header.system_identifier != system_identifier:
        raise WrongCluster(
            f"WAL segment {name} belongs to another cluster",
            detail=f"Its system identifier is {header.system_identifier}, expected was {system_identifier}.",
            hint="Give every cluster a prefix of its own.",
        )
    if size != header.segment_size:
        raise Corrupt(f"WAL segment {name} has {size} bytes, its header says {header.segment_size}")
    if header.page_address != where.start:
        raise Corrupt(
            f"WAL segment {name} holds another place in the WAL",
            detail=f"It begins at {header.page_address}, its name says {where.start}.",
        )
    if not 0 < header.timeline <= where.timeline:
        raise Corrupt(f"WAL segment {name} was written on timeline {header.timeline}, later than its name's")
    if major is not None and header.major != major:
        raise Corrupt(f"WAL segment {name} was written by PostgreSQL {header.major}, not {major}")


def _place(name: SegmentName | str, header: SegmentHeader) -> SegmentName:
    if isinstance(name, str):
        try:
            return SegmentName.parse(name, header.segment_size)
        except UsageError as error:
            raise Corrupt(f"the name and the header of a WAL segment contradict each other: {error}") from None
    if name.segment_size != header.segment_size:
        raise Corrupt(f"WAL segment {name} has a segment size of {header.segment_size} bytes, not {name.segment_size}")
    return name
