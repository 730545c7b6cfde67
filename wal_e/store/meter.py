"""How many requests went to a store and how many bytes passed, per verb."""

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from wal_e.store.api import Body, Capabilities, ObjectInfo, Store


@dataclass(frozen=True, slots=True)
class Count:
    """`calls` of one verb, `failed` ones among them, and the `size` in bytes that was sent or received."""

    calls: int = 0
    failed: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """The counts of each verb at one moment."""

    put: Count = Count()
    get: Count = Count()
    head: Count = Count()
    list: Count = Count()
    delete: Count = Count()


class Metered:
    """A store that counts: a call when it is made, bytes when they have passed. A repeat counts again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._counts: dict[str, Count] = {}

    @property
    def usage(self) -> Usage:
        """The counts so far."""
        with self._lock:
            return Usage(**self._counts)

    @property
    def capabilities(self) -> Capabilities:
        """Facts about the store behind."""
        return self._store.capabilities

    def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
        """See `Store.put`."""
        with _Call(self, "put"):
            info = self._store.put(key, body, create_only=create_only)
        self.count("put", size=body.size)
        return info

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """See `Store.get`."""
        with _Call(self, "get"):
            for chunk in self._store.get(key, start=start, length=length):
                self.count("get", size=len(chunk))
                yield chunk

    def head(self, key: str) -> ObjectInfo:
        """See `Store.head`."""
        with _Call(self, "head"):
            return self._store.head(key)

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """See `Store.list`; a listing is one call, however many pages it has."""
        with _Call(self, "list"):
            yield from self._store.list(prefix, after=after)

    def delete(self, keys: Iterable[str]) -> None:
        """See `Store.delete`; one call, however many keys."""
        with _Call(self, "delete"):
            self._store.delete(keys)

    def close(self) -> None:
        """See `Store.close`."""
        self._store.close()

    def count(self, verb: str, *, calls: int = 0, failed: int = 0, size: int = 0) -> None:
        """Add to the counts of a verb."""
        with self._lock:
            old = self._counts.get(verb, Count())
            self._counts[verb] = replace(old, calls=old.calls + calls, failed=old.failed + failed, size=old.size + size)


class _Call:
    """Counts one call, and whether an error ended it."""

    def __init__(self, meter: Metered, verb: str) -> None:
        self._meter = meter
        self._verb = verb

    def __enter__(self) -> None:
        self._meter.count(self._verb, calls=1)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, Exception):
            self._meter.count(self._verb, failed=1)
