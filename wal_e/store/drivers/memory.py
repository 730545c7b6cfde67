"""A store in this process's memory: for tests, and the measure of how narrow the seam is."""

import hashlib
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from wal_e.config import AnyOption, Settings
from wal_e.errors import Exists, NotFound, ShortRead
from wal_e.store.api import PATIENCE, Body, Capabilities, ObjectInfo
from wal_e.store.url import ArchiveUrl

OPTIONS: tuple[AnyOption, ...] = ()
CHUNK = 1 << 20
_named: dict[str, "MemoryStore"] = {}


class MemoryStore:
    """Objects in a dictionary; any name is a key."""

    capabilities = Capabilities(atomic_create=True, max_object=1 << 40, list_page=1 << 30)

    def __init__(self) -> None:
        self._objects: dict[str, tuple[bytes, ObjectInfo]] = {}
        self._lock = threading.Lock()

    def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
        """See `Store.put`."""
        data = bytes(body.whole())
        info = ObjectInfo(key, len(data), datetime.now(UTC), hashlib.md5(data, usedforsecurity=False).hexdigest())
        with self._lock:
            if create_only and key in self._objects:
                raise Exists(f'"{key}" exists already')
            self._objects[key] = data, info
        return info

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """See `Store.get`."""
        data, info = self._find(key)
        end = info.size if length is None else start + length
        if start > info.size or end > info.size:
            raise ShortRead(f'"{key}" has {info.size} bytes, and not those from {start} to {end}')
        return (data[at : min(at + CHUNK, end)] for at in range(start, end, CHUNK))

    def head(self, key: str) -> ObjectInfo:
        """See `Store.head`."""
        return self._find(key)[1]

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """See `Store.list`; the objects of one moment."""
        with self._lock:
            found = [info for key, (_, info) in self._objects.items() if key.startswith(prefix) and key > after]
        return iter(sorted(found, key=lambda info: info.key))

    def delete(self, keys: Iterable[str]) -> None:
        """See `Store.delete`."""
        for key in keys:
            with self._lock:
                self._objects.pop(key, None)

    def close(self) -> None:
        """Keep everything: the next opener of the same name finds it."""

    def _find(self, key: str) -> tuple[bytes, ObjectInfo]:
        with self._lock:
            if key not in self._objects:
                raise NotFound(f'"{key}" is not in the store')
            return self._objects[key]


def open_driver(url: ArchiveUrl, _settings: Settings, _patience: float = PATIENCE) -> MemoryStore:
    """Return the store of this name; the same one for everybody in the process."""
    return _named.setdefault(url.container, MemoryStore())
