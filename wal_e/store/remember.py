"""
Small objects that never change, answered from memory for a while.

An agent reads `cluster.json` before every push. It is written once and never replaced, so what was read a minute
ago is what is there, and only what was read is remembered: that there is none is asked for every time.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final

from wal_e.store.api import Body, Capabilities, ObjectInfo, Store
from wal_e.units import KIB

# A minute: an archive that is deleted and made anew for another cluster is noticed soon, and at the rate of WAL
# under load nearly every request is spared all the same.
DEFAULT_SECONDS: Final = 60.0
_LARGEST: Final = 64 * KIB


class Remembering:
    """
    A store that answers gets of the whole of the objects `keys` from memory, for `seconds` after it read them.

    Only objects that were read to their end are remembered, and none above 64 KiB. A put or a delete of a key
    through this store forgets it; what others do to it shows after `seconds` at the latest.
    """

    def __init__(
        self,
        store: Store,
        keys: Collection[str],
        seconds: float = DEFAULT_SECONDS,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._keys = frozenset(keys)
        self._seconds = seconds
        self._now = now
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, bytes]] = {}
        self._changes = 0

    @property
    def capabilities(self) -> Capabilities:
        """Facts about the store behind."""
        return self._store.capabilities

    def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
        """See `Store.put`."""
        try:
            return self._store.put(key, body, create_only=create_only)
        finally:
            self._forget([key])

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """See `Store.get`."""
        if key not in self._keys or start or length is not None:
            return self._store.get(key, start=start, length=length)
        known = self._recall(key)
        return self._learn(key) if known is None else iter([known])

    def head(self, key: str) -> ObjectInfo:
        """See `Store.head`."""
        return self._store.head(key)

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """See `Store.list`."""
        return self._store.list(prefix, after=after)

    def delete(self, keys: Iterable[str]) -> None:
        """See `Store.delete`."""
        doomed = list(keys)
        try:
            self._store.delete(doomed)
        finally:
            self._forget(doomed)

    def close(self) -> None:
        """See `Store.close`."""
        self._store.close()

    def forget(self) -> None:
        """Has everything read anew: for callers whom an object told something that is wrong."""
        self._forget(self._keys)

    def _recall(self, key: str) -> bytes | None:
        with self._lock:
            since, data = self._known.get(key, (0.0, None))
            return data if data is not None and 0 <= self._now() - since < self._seconds else None

    def _learn(self, key: str) -> Iterator[bytes]:
        asked, changes = self._now(), self._changes
        data: bytes | None = b""
        for chunk in self._store.get(key):
            data = data + chunk if data is not None and len(data) + len(chunk) <= _LARGEST else None
            yield chunk
        with self._lock:
            if data is not None and changes == self._changes:
                self._known[key] = asked, data

    def _forget(self, keys: Iterable[str]) -> None:
        """What is being read at this moment may be older than the change, so it is not remembered either."""
        touched = self._keys.intersection(keys)
        if touched:
            with self._lock:
                self._changes += 1
                for key in touched:
                    self._known.pop(key, None)
