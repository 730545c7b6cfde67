"""
Limits on bytes per second to and from a store, and an end to what is under way when the process is asked to stop.

A limit counts bytes as they flow, in pieces of `CHUNK`, over all threads, and each repeat anew, for the network carries
it anew: so this stands inside of the repeating, and outside of the bound on requests, whose places are for requests
that the store works on.
"""

import io
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, BinaryIO, Final

from wal_e.rate import RateLimit
from wal_e.stop import Stop
from wal_e.store.api import Body, Capabilities, ObjectInfo, Store
from wal_e.units import KIB

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK: Final = 64 * KIB


class Flowing:
    """
    A store whose bytes pass at the rates of `upload` and `download`, where there are any.

    Besides the errors of a store it raises `Interrupted`, from any thread, once `stop` was requested: after the first
    piece of an object, so that what a command has to do on its way out, such as releasing a lease, still works.
    """

    def __init__(self, store: Store, *, upload: RateLimit | None, download: RateLimit | None, stop: Stop) -> None:
        self._store = store
        self._upload = upload
        self._download = download
        self._stop = stop

    @property
    def capabilities(self) -> Capabilities:
        """Facts about the store behind."""
        return self._store.capabilities

    def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
        """See `Store.put`."""
        return self._store.put(key, Body(body.size, lambda: self._outgoing(body), body.look), create_only=create_only)

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """See `Store.get`."""
        for number, chunk in enumerate(self._store.get(key, start=start, length=length)):
            if number:
                self._stop.check()
            if self._download is not None:
                self._download.take(len(chunk))
            yield chunk

    def head(self, key: str) -> ObjectInfo:
        """See `Store.head`."""
        return self._store.head(key)

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """See `Store.list`."""
        return self._store.list(prefix, after=after)

    def delete(self, keys: Iterable[str]) -> None:
        """See `Store.delete`."""
        self._store.delete(keys)

    def close(self) -> None:
        """See `Store.close`."""
        self._store.close()

    def _outgoing(self, body: Body) -> BinaryIO:
        return io.BufferedReader(_Outgoing(body.open(), self._upload, self._stop), CHUNK)


class _Outgoing(io.RawIOBase):
    """What a put reads: the body, piece by piece as it may leave."""

    def __init__(self, source: BinaryIO, rate: RateLimit | None, stop: Stop) -> None:
        self._source = source
        self._rate = rate
        self._stop = stop
        self._begun = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._source.seekable()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._source.seek(offset, whence)

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        piece = self._source.read(min(len(view), CHUNK))
        if piece and self._begun:
            self._stop.check()
        self._begun = True
        if self._rate is not None and piece:
            self._rate.take(len(piece))
        view[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self._source.close()
        super().close()
