"""
Keys below a prefix of a larger store, and archives whose names begin with a slash.

The original WAL-E named its objects in Swift and GCS `/path/wal_005/…`, every other tool `path/wal_005/…`. To the
service these are two objects. `EitherSpelling` reads both and writes the one that the archive has.
"""

import heapq
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace

from wal_e.errors import Exists, NotFound
from wal_e.store.api import Body, Capabilities, ObjectInfo, Store, check_key


class Prefixed:
    """The part of a store whose names start with `prefix` (complete: with its slash at the end, if any)."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self.prefix = prefix

    @property
    def capabilities(self) -> Capabilities:
        """Facts about the store behind."""
        return self._store.capabilities

    def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
        """See `Store.put`."""
        return self._inner(self._store.put(self._name(key), body, create_only=create_only))

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """See `Store.get`."""
        return self._store.get(self._name(key), start=start, length=length)

    def head(self, key: str) -> ObjectInfo:
        """See `Store.head`."""
        return self._inner(self._store.head(self._name(key)))

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """See `Store.list`."""
        found = self._store.list(self.prefix + prefix, after=self.prefix + after if after else "")
        return map(self._inner, found)

    def delete(self, keys: Iterable[str]) -> None:
        """See `Store.delete`."""
        self._store.delete(map(self._name, keys))

    def close(self) -> None:
        """See `Store.close`."""
        self._store.close()

    def _name(self, key: str) -> str:
        return self.prefix + check_key(key)

    def _inner(self, info: ObjectInfo) -> ObjectInfo:
        return replace(info, key=info.key.removeprefix(self.prefix))


class EitherSpelling:
    """
    An archive at `path` in a container, its names beginning with a slash or without.

    Which spelling is in use is looked up once, when it first matters; an empty archive starts without the slash.
    Where both are in use, reads and lists see both, new objects have no slash, and a create-only put notices an
    object of either spelling.
    """

    def __init__(self, store: Store, path: str) -> None:
        prefix = f"{path}/" if path else ""
        self._plain = Prefixed(store, prefix)
        self._slashed = Prefixed(store, f"/{prefix}")
        self._lock = threading.Lock()
        self._used: tuple[Prefixed, ...] = ()

    @property
    def capabilities(self) -> Capabilities:
        """Facts about the store behind."""
        return self._plain.capabilities

    def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
        """See `Store.put`."""
        written, *others = self._in_use()
        if create_only and any(_holds(side, key) for side in others):
            raise Exists(f'"{key}" exists already, its name beginning with a slash')
        return written.put(key, body, create_only=create_only)

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """See `Store.get`."""
        for side in self._looked_at():
            begun = False
            try:
                for chunk in side.get(key, start=start, length=length):
                    begun = True
                    yield chunk
            except NotFound:
                if begun:
                    raise
            else:
                return
        raise NotFound(f'"{key}" is not in the archive')

    def head(self, key: str) -> ObjectInfo:
        """See `Store.head`."""
        for side in self._looked_at():
            try:
                return side.head(key)
            except NotFound:
                continue
        raise NotFound(f'"{key}" is not in the archive')

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """See `Store.list`; a key that exists in both spellings comes once, as the one without the slash."""
        last = None
        listings = [_own(side, prefix, after) for side in self._in_use()]
        for info in heapq.merge(*listings, key=lambda info: info.key):
            if info.key != last:
                yield info
            last = info.key

    def delete(self, keys: Iterable[str]) -> None:
        """See `Store.delete`; in every spelling in use."""
        doomed = list(keys)
        for side in self._in_use():
            side.delete(doomed)

    def close(self) -> None:
        """See `Store.close`."""
        self._plain.close()

    def spellings(self) -> tuple[str, ...]:
        """Return what the names of the archive's objects begin with, first what is written."""
        return tuple(side.prefix for side in self._in_use())

    def _looked_at(self) -> Iterator[Prefixed]:
        """Where to look for a key, in order: what is found at the first place spares looking up the spelling."""
        if self._used:
            yield from self._used
            return
        yield self._plain
        yield from (side for side in self._in_use() if side is not self._plain)

    def _in_use(self) -> tuple[Prefixed, ...]:
        """Return the spellings in use, first the one that is written."""
        with self._lock:
            if not self._used:
                if not _holds_any(self._slashed):
                    self._used = (self._plain,)
                elif _holds_any(self._plain):
                    self._used = (self._plain, self._slashed)
                else:
                    self._used = (self._slashed,)
            return self._used


def _holds(store: Prefixed, key: str) -> bool:
    try:
        store.head(key)
    except NotFound:
        return False
    return True


def _holds_any(store: Prefixed) -> bool:
    return next(_own(store), None) is not None


def _own(store: Prefixed, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
    """Where the path is empty, the names without a slash would have the others among them."""
    return (info for info in store.list(prefix, after=after) if not info.key.startswith("/"))
