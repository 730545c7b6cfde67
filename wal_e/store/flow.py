"""
Limits on bytes per second to and from a store, and an end to what is under way when the process is asked to stop.

A limit counts bytes as they flow, in pieces of `CHUNK`, over all threads, and each repeat anew, for the network carries
it anew: so this stands inside of the repeating, and outside of the bound on requests: a download that waits holds no
place there, while an upload keeps the one of its thread.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final

from wal_e.rate import RateLimit
from wal_e.stop import Stop
from wal_e.store.api import Body, Capabilities, ObjectInfo, Store
from wal_e.store.body import Pace
from wal_e.units import KIB, MIB

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
        pace = Pace(MIB if self._upload is None else CHUNK, self._passes)
        return self._store.put(key, replace(body, pace=pace), create_only=create_only)

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

    def _passes(self) -> Callable[[int], None]:
        begun = False

        def passes(size: int) -> None:
            nonlocal begun
            if begun:
                self._stop.check()
            begun = True
            if self._upload is not None:
                self._upload.take(size)

        return passes
