"""
A store that goes wrong at its N-th call, so that a test can walk through every N.

Modes, at the call with number `call` (counted from 1 over all verbs) and on to `last`:

    fail   raises Unavailable, nothing is done
    cut    half is done: put stores nothing and raises, get sends half of the bytes and then ShortRead, list and
           delete stop half way with Unavailable
    flip   get sends the bytes with one bit wrong and says nothing; put stores nothing and raises ShortRead, as a
           store does that verifies what it is sent; other verbs are not touched
    lost   the call is done, its answer is lost: put and delete raise Unavailable afterwards, the rest as in fail
    kill   the process kills itself with SIGKILL before the call
    killed the process kills itself with SIGKILL after the call was done

    def everything(mode):
        for call in itertools.count(1):
            store = FaultyStore(inner, call=call, mode=mode)
            ...
            if store.calls < call:  # it went through without reaching the fault
                break
"""

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Literal

from wal_e.errors import ShortRead, Unavailable
from wal_e.store.api import Body, Capabilities, ObjectInfo, Store

Mode = Literal["fail", "cut", "flip", "lost", "kill", "killed"]
ALWAYS = 1 << 62


class FaultyStore:
    """`inner`, with a fault at call number `call` (to `last`; None: only that one). `log` lists the calls."""

    def __init__(self, inner: Store, *, call: int = 1, mode: Mode = "fail", last: int | None = None) -> None:
        self.inner = inner
        self.log: list[tuple[str, str]] = []
        self._faults = range(call, (call if last is None else last) + 1)
        self._mode = mode
        self._lock = threading.Lock()

    @property
    def calls(self) -> int:
        return len(self.log)

    @property
    def reached(self) -> bool:
        return self.calls >= self._faults.start

    @property
    def capabilities(self) -> Capabilities:
        return self.inner.capabilities

    def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
        mode = self._enter("put", key)
        if mode == "flip":
            raise ShortRead(f'the bytes of "{key}" changed on their way (injected)')
        if mode == "cut":
            raise _unavailable("put", key)
        info = self.inner.put(key, body, create_only=create_only)
        self._leave(mode, "put", key)
        return info

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        mode = self._enter("get", key)
        self._refuse(mode, "get", key)
        chunks = self.inner.get(key, start=start, length=length)
        if mode in {"cut", "flip"}:
            return _damaged(chunks, key, cut=mode == "cut")
        return chunks

    def head(self, key: str) -> ObjectInfo:
        mode = self._enter("head", key)
        self._refuse(mode, "head", key)
        if mode == "cut":
            raise _unavailable("head", key)
        return self.inner.head(key)

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        mode = self._enter("list", prefix)
        self._refuse(mode, "list", prefix)
        found = self.inner.list(prefix, after=after)
        return _half_listed(found, prefix) if mode == "cut" else found

    def delete(self, keys: Iterable[str]) -> None:
        doomed = list(keys)
        mode = self._enter("delete", doomed[0] if doomed else "")
        if mode == "cut":
            self.inner.delete(doomed[: len(doomed) // 2])
            raise _unavailable("delete", doomed[-1] if doomed else "")
        self.inner.delete(doomed)
        self._leave(mode, "delete", doomed[0] if doomed else "")

    def close(self) -> None:
        self.inner.close()

    def _enter(self, verb: str, key: str) -> Mode | None:
        with self._lock:
            self.log.append((verb, key))
            mode = self._mode if len(self.log) in self._faults else None
        if mode == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if mode == "fail":
            raise _unavailable(verb, key)
        return mode

    def _leave(self, mode: Mode | None, verb: str, key: str) -> None:
        if mode == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if mode == "lost":
            raise _unavailable(verb, key)

    def _refuse(self, mode: Mode | None, verb: str, key: str) -> None:
        self._leave(mode, verb, key)


def _unavailable(verb: str, key: str) -> Unavailable:
    return Unavailable(f'no answer to {verb} of "{key}" (injected)')


def _damaged(chunks: Iterator[bytes], key: str, *, cut: bool) -> Iterator[bytes]:
    data = bytearray().join(chunks)
    middle = len(data) // 2
    if cut:
        yield bytes(data[:middle])
        raise ShortRead(f'the connection ended in the middle of "{key}" (injected)')
    if data:
        data[middle] ^= 0x10
    yield bytes(data)


def _half_listed(found: Iterator[ObjectInfo], prefix: str) -> Iterator[ObjectInfo]:
    entries = list(found)
    yield from islice(entries, len(entries) // 2)
    raise _unavailable("list", prefix)
