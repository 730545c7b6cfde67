"""
A bound on how many requests one process has under way at a store.

A stream or a listing holds its place only while it waits for the store, so its reader may use the store meanwhile,
even where there is one place in all.
"""

import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

from wal_e.store.api import Body, Capabilities, ObjectInfo, Store

T = TypeVar("T")


class Limited:
    """A store that serves at most `slots` requests at once; the others wait their turn."""

    def __init__(self, store: Store, slots: int) -> None:
        self._store = store
        self._slots = threading.BoundedSemaphore(slots)

    @property
    def capabilities(self) -> Capabilities:
        """Facts about the store behind."""
        return self._store.capabilities

    def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
        """See `Store.put`."""
        with self._slots:
            return self._store.put(key, body, create_only=create_only)

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """See `Store.get`."""
        with self._slots:
            chunks = self._store.get(key, start=start, length=length)
        return self._each(chunks)

    def head(self, key: str) -> ObjectInfo:
        """See `Store.head`."""
        with self._slots:
            return self._store.head(key)

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """See `Store.list`."""
        return self._each(self._store.list(prefix, after=after))

    def delete(self, keys: Iterable[str]) -> None:
        """See `Store.delete`."""
        doomed = list(keys)  # not while holding a place: the keys may come from a listing of this store
        with self._slots:
            self._store.delete(doomed)

    def close(self) -> None:
        """See `Store.close`."""
        self._store.close()

    def _each(self, items: Iterator[T]) -> Iterator[T]:
        while True:
            with self._slots:
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item
