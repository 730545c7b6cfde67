"""
Repeats what is worth repeating: backoff with full jitter, a deadline, and streams that go on where they broke.

What is worth it depends on the error's class alone. `Throttled` and `Unavailable` are repeated until the deadline,
`ShortRead` a few times (a range that reaches past the end stays one), everything else is final.
"""

import hashlib
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from wal_e.errors import Exists, NotFound, ShortRead, StoreError, Throttled, Unavailable
from wal_e.events import Level, Message, Sink, silent
from wal_e.store.api import Body, Capabilities, ObjectInfo, Store
from wal_e.units import KIB

T = TypeVar("T")
CHUNK = 1 << 20
SLOWEST = KIB  # bytes per second: at this rate one WAL segment takes four hours, so nobody's recovery lives on it
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """
    How long to go on. All times are in seconds.

    `deadline` counts from the start of a call, for streams and listings from the last piece that arrived, while their
    reader waits for more; no try is begun after it. Less than 1 KiB per second does not count as arriving, so a trickle
    ends too. Pauses are drawn evenly from zero up to `first_pause` doubled for every try, `longest_pause` at most.
    `short_reads` is how many short or wrong answers in a row are put up with, `tries` how many tries there may be at
    all (None: as many as the deadline allows).
    """

    deadline: float = 300
    first_pause: float = 0.5
    longest_pause: float = 30
    short_reads: int = 3
    tries: int | None = None


@dataclass(frozen=True, slots=True)
class Clock:
    """Monotonic seconds, a way to wait, and a number from [0, 1): injected, so that tests neither wait nor guess."""

    now: Callable[[], float] = time.monotonic
    wait: Callable[[float], None] = time.sleep
    draw: Callable[[], float] = random.random


@dataclass(slots=True)
class _Tries:
    """One call's tries; `again` waits before the next one, or raises the error where there is no next one."""

    what: str
    policy: RetryPolicy
    clock: Clock
    emit: Sink
    made: int = 1
    short: int = 0
    size: int = 0
    begun: float = field(init=False)
    arrived: float = field(init=False)

    def __post_init__(self) -> None:
        self.begun = self.arrived = self.clock.now()

    def progress(self, size: int | None = None) -> None:
        """
        Something arrived: all patience is restored, unless it is a further part of a stream that comes too slowly.

        Raises `Unavailable` where it has been too slow for as long as the deadline.
        """
        self.arrived = self.clock.now()
        self.size += size or 0
        spent = self.arrived - self.begun
        if size is None or self.size >= SLOWEST * spent:
            self.begun, self.made, self.short, self.size = self.arrived, 1, 0, 0
        elif spent >= self.policy.deadline:
            raise Unavailable(
                f"{self.what} is too slow",
                detail=f"{self.size} bytes came in {spent:.0f} s.",
                hint="Check the network and the service.",
            )

    def resume(self) -> None:
        """The reader asks for more: the time that it took for itself is not the store's."""
        self.begun += self.clock.now() - self.arrived

    def again(self, error: StoreError) -> None:
        spent = self.clock.now() - self.begun
        self.short += isinstance(error, ShortRead)
        pause = self._pause(error)
        if not self._worthwhile(error) or spent + pause >= self.policy.deadline:
            if self.made > 1:
                tried = f"It was tried {self.made} times in {spent:.0f} s."
                error.detail = f"{error.detail} {tried}" if error.detail else tried
            raise error
        said = f"{error}. {error.detail or ''}".strip()
        self.emit(Message("wal_e.store", f"repeating {self.what}", detail=said, hint=error.hint, level=Level.WARNING))
        self.clock.wait(pause)
        self.made += 1

    def _worthwhile(self, error: StoreError) -> bool:
        if self.policy.tries is not None and self.made >= self.policy.tries:
            return False
        if isinstance(error, ShortRead):
            return self.short < self.policy.short_reads
        return isinstance(error, Throttled | Unavailable)

    def _pause(self, error: StoreError) -> float:
        longest = min(self.policy.longest_pause, self.policy.first_pause * 2.0 ** min(self.made - 1, 30))
        pause = self.clock.draw() * longest
        if isinstance(error, Throttled) and error.retry_after is not None:
            return error.retry_after + pause
        return pause


class Retrying:
    """A store that repeats requests; the last error's detail says how often and how long it was tried."""

    def __init__(
        self,
        store: Store,
        policy: RetryPolicy | None = None,
        *,
        clock: Clock | None = None,
        emit: Sink = silent,
    ) -> None:
        self._store = store
        self._policy = policy or RetryPolicy()
        self._clock = clock or Clock()
        self._emit = emit

    @property
    def capabilities(self) -> Capabilities:
        """Facts about the store behind."""
        return self._store.capabilities

    def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
        """
        See `Store.put`.

        A create-only put that failed may have stored its object all the same. Where a repeat then meets an object
        with the very bytes of the body, it was ours.
        """
        tries = self._tries(f'the upload of "{key}"')
        while True:
            try:
                return self._store.put(key, body, create_only=create_only)
            except Exists:
                if tries.made == 1:
                    raise
                mine = self._if_mine(key, body)
                if mine is None:
                    raise
                return mine
            except StoreError as error:
                tries.again(error)

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """
        See `Store.get`; a stream that breaks is opened again where it stopped.

        The driver checks the checksum of a whole object that came in one piece; one that came in several is
        checked here.
        """
        tries = self._tries(f'the download of "{key}"')
        done, broken = 0, False
        digest = hashlib.md5(usedforsecurity=False) if start == 0 and length is None else None
        while True:
            left = None if length is None else length - done
            try:
                for chunk in self._store.get(key, start=start + done, length=left):
                    tries.progress(len(chunk) if done else None)
                    done += len(chunk)
                    if digest is not None:
                        digest.update(chunk)
                    yield chunk
                    tries.resume()
                break
            except StoreError as error:
                if done and isinstance(error, ShortRead) and self._complete(key, start, length, done):
                    raise  # nothing is missing, so the bytes that were handed out are wrong
                broken = broken or done > 0
                tries.again(error)
        if broken and digest is not None:
            self._check_pieces(key, done, digest.hexdigest())

    def head(self, key: str) -> ObjectInfo:
        """See `Store.head`."""
        return self._repeat(f'the look at "{key}"', lambda: self._store.head(key))

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """See `Store.list`; a listing that breaks goes on after the last key."""
        tries = self._tries(f'the listing of "{prefix}"')
        while True:
            try:
                for info in self._store.list(prefix, after=after):
                    after = info.key
                    tries.progress()
                    yield info
                    tries.resume()
            except StoreError as error:
                tries.again(error)
            else:
                return

    def delete(self, keys: Iterable[str]) -> None:
        """See `Store.delete`."""
        doomed = list(keys)
        self._repeat(f"the deletion of {len(doomed)} objects", lambda: self._store.delete(doomed))

    def close(self) -> None:
        """See `Store.close`."""
        self._store.close()

    def _tries(self, what: str) -> _Tries:
        return _Tries(what, self._policy, self._clock, self._emit)

    def _repeat(self, what: str, request: Callable[[], T]) -> T:
        tries = self._tries(what)
        while True:
            try:
                return request()
            except StoreError as error:
                tries.again(error)

    def _if_mine(self, key: str, body: Body) -> ObjectInfo | None:
        """Return what is stored under the key if it is this body; without a usable etag the bytes decide."""
        try:
            info = self.head(key)
            if info.size != body.size:
                return None
            stored = info.etag if _is_md5(info.etag) else _digest(self.get(key))
        except NotFound:
            return None
        with body.look() as source:
            mine = _digest(iter(lambda: source.read(CHUNK), b""))
        return info if stored == mine else None

    def _complete(self, key: str, start: int, length: int | None, done: int) -> bool:
        return done >= (self.head(key).size - start if length is None else length)

    def _check_pieces(self, key: str, size: int, digest: str) -> None:
        info = self.head(key)
        if info.size != size or (_is_md5(info.etag) and info.etag != digest):
            raise ShortRead(
                f'"{key}" arrived with other bytes than are stored',
                detail=f"It came in several pieces: {size} bytes with MD5 {digest}, not {info.size} with {info.etag}.",
            )


def _is_md5(etag: str | None) -> bool:
    return etag is not None and _MD5.fullmatch(etag) is not None


def _digest(chunks: Iterable[bytes]) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()
