"""WAL files as PostgreSQL would hand them over, made from nothing; and data directories around them."""

import random
import struct
from pathlib import Path

import google_crc32c

from wal_e.events import Event
from wal_e.pg.segment import MAGIC_OF_MAJOR
from wal_e.pg.wal import SegmentName
from wal_e.units import MIB

CLUSTER = 7_300_000_000_000_000_001
OTHER_CLUSTER = 7_300_000_000_000_000_002
SIZE = MIB
FIRST = SegmentName(1, 5, SIZE)
HISTORY_2 = b"1\t0/800000\tno recovery target specified\n"
LABEL = b"START WAL LOCATION: 0/28 (file 000000010000000000000005)\nSTOP WAL LOCATION: 0/50\n"


def header(name: SegmentName, cluster: int = CLUSTER, timeline: int | None = None) -> bytes:
    return struct.pack(
        "<HHIQI4xQII",
        MAGIC_OF_MAJOR[15],
        0x0002,
        name.timeline if timeline is None else timeline,
        name.start,
        0,
        cluster,
        name.segment_size,
        8192,
    )


def segment(name: SegmentName = FIRST, cluster: int = CLUSTER, seed: int = 0) -> bytes:
    """A segment's bytes: the first eighth is noise, different for each seed, the rest zeros."""
    noise = random.Random(f"{name}{seed}").randbytes(name.segment_size // 8)
    return (header(name, cluster) + noise).ljust(name.segment_size, b"\0")


def write_segment(directory: Path, name: SegmentName = FIRST, cluster: int = CLUSTER, seed: int = 0) -> Path:
    path = directory / str(name)
    path.write_bytes(segment(name, cluster, seed))
    return path


def write_data_directory(path: Path, cluster: int = CLUSTER, segment_size: int = SIZE) -> Path:
    """As much of a PostgreSQL 15 data directory as a push looks at; returns its pg_wal."""
    control = bytearray(8192)
    struct.pack_into("<QIII", control, 0, cluster, 1300, 202209061, 6)
    struct.pack_into("<I", control, 216 + 12, segment_size)
    struct.pack_into("<I", control, 288, google_crc32c.value(bytes(control[:288])))
    (path / "global").mkdir(parents=True)
    (path / "pg_wal").mkdir()
    (path / "global" / "pg_control").write_bytes(control)
    (path / "PG_VERSION").write_text("15\n")
    return path / "pg_wal"


class Listener:
    """A sink that keeps what it hears."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    @property
    def messages(self) -> list[str]:
        return [getattr(event, "message", "") for event in self.events]
