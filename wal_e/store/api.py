"""
The store seam: six verbs on bytes under keys, and the behaviour that every driver promises.

Keys are relative, ASCII, without `..`, without a leading slash. Only the subclasses of `StoreError` cross the
seam. One contract suite (tests/contract) runs over every driver.
"""

import hashlib
import io
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

from wal_e.errors import Misconfigured, ShortRead

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_KEY = re.compile(r"[A-Za-z0-9_.~+=@%:,-]+(/[A-Za-z0-9_.~+=@%:,-]+)*", re.ASCII)
_PIECE = 1 << 20
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


@dataclass(frozen=True, slots=True)
class Body:
    """
    What a put sends: `size` bytes that can be opened again for every retry.

    `open` is for sending them, and may be held to a rate. Who only wants a digest opens them with `look`.
    """

    size: int
    open: Callable[[], BinaryIO]
    unpaced: Callable[[], BinaryIO] | None = None

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview) -> "Body":
        """A body of bytes in memory, which must not change; it is read where it lies, not copied."""
        if isinstance(data, bytes):
            return cls(len(data), lambda: io.BytesIO(data))
        view = memoryview(data)
        return cls(len(view), lambda: io.BufferedReader(_View(view)))

    @classmethod
    def of_file(cls, path: Path) -> "Body":
        """A body of a file's present size; the file must not change while it is sent."""
        return cls(path.stat().st_size, lambda: path.open("rb"))

    def look(self) -> BinaryIO:
        """The bytes, opened by somebody who does not send them."""
        return (self.unpaced or self.open)()


class _View(io.RawIOBase):
    """Reads memory from its beginning, and goes back to it: python-swiftclient asks that of all that has `seek`."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._done = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        beginning = {io.SEEK_SET: 0, io.SEEK_CUR: self._done, io.SEEK_END: len(self._view)}[whence]
        self._done = max(0, beginning + offset)
        return self._done

    def readinto(self, buffer: "WriteableBuffer") -> int:
        target = memoryview(buffer)
        piece = self._view[self._done : self._done + len(target)]
        target[: len(piece)] = piece
        self._done += len(piece)
        return len(piece)


class Store(Protocol):
    """
    Bytes under keys.

    Every method may raise `Denied`, `Throttled`, `Unavailable` and `Misconfigured`. A missing container, bucket
    or base folder is `Misconfigured`, never `NotFound`: an archive that cannot be seen is not an empty archive.
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
        raise Misconfigured(f'"{key}" cannot be the name of an object')
    return key


def body_md5(key: str, body: Body) -> bytes:
    """The MD5 of what a body sends; raises `ShortRead` where its source has fewer or more bytes than it says."""
    digest = hashlib.md5(usedforsecurity=False)
    size = 0
    with body.look() as source:
        while chunk := source.read(_PIECE):
            digest.update(chunk)
            size += len(chunk)
    if size != body.size:
        raise ShortRead(f'{size} of {body.size} bytes were there to be stored as "{key}"')
    return digest.digest()


def read_object(store: Store, key: str, *, start: int = 0, length: int | None = None) -> bytes:
    """The bytes of a range (or all) of an object, in memory; a short answer raises `ShortRead`."""
    data = b"".join(store.get(key, start=start, length=length))
    if length is not None and len(data) != length:
        raise ShortRead(f'the store sent {len(data)} of {length} bytes of "{key}"')
    return data
