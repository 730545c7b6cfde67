"""Archives to fetch from, and the asking itself, for the tests of `wal.fetch`."""

from pathlib import Path

from tests.faults.faulty_store import Mode
from tests.wal.material import (
    CLUSTER,
    FIRST,
    SIZE,
    segment,
)
from wal_e.codec.compress import compress
from wal_e.events import silent
from wal_e.pg.wal import SegmentName
from wal_e.repo.cluster import ensure_identity
from wal_e.store.api import Body, Store
from wal_e.store.drivers.memory import MemoryStore
from wal_e.wal.asker import RecoveryMode
from wal_e.wal.fetch import Absent, Fetched, FetchOptions, fetch_file

NAME = str(FIRST)
RECOVERY = FetchOptions(mode=RecoveryMode.RECOVERY, pauses=(0.5, 1.5), wait=lambda _seconds: None)
STANDBY = FetchOptions(mode=RecoveryMode.STANDBY, wait=lambda _seconds: None)
SILENT_MODES: list[Mode] = ["fail", "cut", "flip"]


def put(store: Store, name: object, content: bytes) -> None:
    store.put(f"wal_005/{name}.zst", Body.of(compress(content)))


def segments(*places: tuple[int, int]) -> MemoryStore:
    """An archive with these segments: (timeline, number)."""
    store = MemoryStore()
    ensure_identity(store, CLUSTER)
    for timeline, number in places:
        name = SegmentName(timeline, number, SIZE)
        put(store, name, segment(name))
    return store


def fetch(store: Store, destination: Path, name: object = NAME, options: FetchOptions = RECOVERY) -> Fetched | Absent:
    return fetch_file(store, str(name), destination, options, silent)


def nothing_at(destination: Path) -> bool:
    return not list(destination.parent.iterdir())
