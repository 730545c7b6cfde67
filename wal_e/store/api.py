"""
The store seam: six verbs on bytes under keys, and the behaviour that every driver promises.

Keys are relative, ASCII, without `..`, without a leading slash. Only the subclasses of `StoreError` cross the
seam. One contract suite (tests/contract) runs over every driver.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from wal_e.errors import Misconfigured, ShortRead
from wal_e.store.body import Body

__all__ = ["PATIENCE", "Body", "Capabilities", "ObjectInfo", "Store", "check_key", "read_object"]

_KEY = re.compile(r"[A-Za-z0-9_.~+=@%:,-]+(/[A-Za-z0-9_.~+=@%:,-]+)*", re.ASCII)
PATIENCE: Final = 300.0
"""For how many seconds a store is waited for, where nothing else is said."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """
    What a store knows about one object: `size` in bytes, `last_modified` aware, by the store's own clock.

    `etag` is a checksum of its bytes in the words of `store.checksum`, or None where the store knows none.
    """

    key: str
    size: int
    last_modified: datetime
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """
    Facts about a store that policy may ask for, instead of its name.

    `atomic_create`: of several concurrent create-only puts of one key exactly one succeeds. Swift's is false.
    `max_object`: the largest object that one put may write, in bytes.
    `list_page`: how many keys one listing request returns at most.
    """

    atomic_create: bool
    max_object: int
    list_page: int


class Store(Protocol):
    """
    Bytes under keys.

    Every method may raise `Denied`, `Throttled`, `Unavailable` and `Misconfigured`. A missing container, bucket
    or base folder is `ContainerMissing`, never `NotFound`: an archive that cannot be seen is not an empty archive.
    Methods may be called from several threads at once.
    """

    @property
    def capabilities(self) -> Capabilities:
        """Facts about this store."""
        ...

    def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
        """
        Stores the whole body under the key, durably, or changes nothing.

        The bytes are verified end to end by whatever the service offers. With `create_only` an existing object
        raises `Exists` and stays as it is; without, it is replaced.
        """
        ...

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """
        Yields the object's bytes in chunks, from `start`, `length` of them or to the end.

        `NotFound` is raised at the call or at the first chunk. A range that reaches past the end, a connection
        that ends early or a checksum that differs raises `ShortRead`, possibly after chunks were yielded.
        """
        ...

    def head(self, key: str) -> ObjectInfo:
        """What is known about one object; `NotFound` when there is none."""
        ...

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """Yields the objects whose keys start with `prefix` and sort after `after`, in ascending key order, all."""
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Deletes the objects; absent ones are not an error. The first key that fails raises, others may be gone."""
        ...

    def close(self) -> None:
        """Gives connections back; the store is not used afterwards."""
        ...


def check_key(key: str) -> str:
    """Returns the key, or raises `Misconfigured` where it is not in the alphabet that all drivers share."""
    if _KEY.fullmatch(key) is None or ".." in key.split("/") or "." in key.split("/"):
        hint = "Check the path of the archive's address: letters, digits and _.~+=@%:,- may be in it."
        raise Misconfigured(f'"{key}" cannot be the name of an object', hint=hint)
    return key


def read_object(store: Store, key: str, *, start: int = 0, length: int | None = None) -> bytes:
    """The bytes of a range (or all) of an object, in memory; a short answer raises `ShortRead`."""
    data = b"".join(store.get(key, start=start, length=length))
    if length is not None and len(data) != length:
        raise ShortRead(f'the store sent {len(data)} of {length} bytes of "{key}"')
    return data
