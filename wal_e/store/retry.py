"""
Repeats what is worth repeating: backoff with full jitter, a deadline, and streams that go on where they broke.

What is worth it depends on the error's class alone. `Throttled` and `Unavailable` are repeated until the deadline,
`ShortRead` a few times (a range that reaches past the end stays one), everything else is final.
"""

import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from wal_e.errors import Exists, NotFound, ShortRead, StoreError, Throttled, Unavailable
from wal_e.events import Level, Message, Sink, silent
from wal_e.store.api import PATIENCE, Body, Capabilities, ObjectInfo, Store
from wal_e.store.checksum import Checksum
from wal_e.units import KIB

T = TypeVar("T")
REMINDER = 30.0  # seconds between two warnings of one trouble: a log that says it at each try hides what else it says
SLOWEST = KIB  # bytes per second: at this rate one WAL segment takes four hours, so nobody's recovery lives on it


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

    deadline: float = PATIENCE
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
    warned: tuple[str, float] | None = None

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
        self._warn(error, spent)
        self.clock.wait(pause)
        self.made += 1

    def _warn(self, error: StoreError, spent: float) -> None:
        """Tell of a trouble when it begins and now and then while it lasts; each of its tries is for debugging."""
        said, now = f"{error}. {error.detail or ''}".strip(), self.clock.now()
        fresh = self.warned is None or self.warned[0] != said or now - self.warned[1] >= REMINDER
        if fresh:
            self.warned = said, now
        left = f"It is tried for {self.policy.deadline - spent:.0f} s more at most."
        level = Level.WARNING if fresh else Level.DEBUG
        self.emit(
            Message("wal_e.store", f"repeating {self.what}", detail=f"{said} {left}", hint=error.hint, level=level)
        )

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
        pieces = _Pieces(whole=start == 0 and length is None)
        while True:
            left = None if length is None else length - pieces.size
            try:
                for chunk in self._store.get(key, start=start + pieces.size, length=left):
                    # The first few bytes restore no patience: they may be all that a trickle brings.
                    tries.progress(len(chunk) if pieces.size or len(chunk) < SLOWEST else None)
                    pieces.add(chunk)
                    yield chunk
                    tries.resume()
                break
            except StoreError as error:
                if pieces.size and isinstance(error, ShortRead) and self._complete(key, start, length, pieces.size):
                    raise  # nothing is missing, so the bytes that were handed out are wrong
                tries.again(error)
                if pieces.whole and pieces.size and not pieces.broken:
                    self._recount(key, pieces)
                    tries.progress()
        if pieces.broken:
            self._check_pieces(key, pieces)

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
            mine, stored = Checksum.like(info.etag), info.etag
            if mine is None:
                mine, stored = Checksum(), Checksum().of(self.get(key)).etag
        except NotFound:
            return None
        return info if stored == mine.of(body.look()).etag else None

    def _complete(self, key: str, start: int, length: int | None, done: int) -> bool:
        return done >= (self.head(key).size - start if length is None else length)

    def _recount(self, key: str, pieces: "_Pieces") -> None:
        """
        Have the checksum of what was handed out in the kind that the store names the object by.

        That may be an MD5, which is too dear to be taken of every stream for the few that break: then what came so far
        is read again.
        """
        pieces.broken = True
        checksum = Checksum.like(self.head(key).etag)
        if checksum is None or not checksum.md5:
            return
        again = Checksum()
        for chunk in self.get(key, length=pieces.size):
            checksum.add(chunk)
            again.add(chunk)
        if again.etag != pieces.checksum.etag:
            raise ShortRead(f'"{key}" changed while it was read')
        pieces.checksum = checksum

    def _check_pieces(self, key: str, pieces: "_Pieces") -> None:
        info = self.head(key)
        seen = pieces.checksum.etag
        if info.size != pieces.size or (Checksum.like(info.etag) is not None and info.etag != seen):
            raise ShortRead(
                f'"{key}" arrived with other bytes than are stored',
                detail=f"It came in several pieces: {pieces.size} bytes with the checksum {seen}, not {info.size} with "
                f"{info.etag}.",
            )


@dataclass(slots=True)
class _Pieces:
    """What was handed out of an object, and whether that took several streams."""

    whole: bool
    size: int = 0
    broken: bool = False
    checksum: Checksum = field(default_factory=Checksum)

    def add(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self.whole:
            self.checksum.add(chunk)
