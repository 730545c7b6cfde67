"""Limits on bytes per second: bytes as they flow, over all threads, repeats too; and the end that a signal makes."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import uuid4

import pytest

from tests.store.faulty import FaultyStore
from tests.store.settings import NOTHING
from wal_e.errors import Interrupted, ShortRead, Unavailable
from wal_e.rate import RateLimit
from wal_e.stop import Stop
from wal_e.store.api import Body, ObjectInfo, read_object
from wal_e.store.drivers.memory import MemoryStore
from wal_e.store.flow import CHUNK, Flowing
from wal_e.store.retry import Clock
from wal_e.store.stack import StackOptions, build_stack

SECOND = 4 * CHUNK


@dataclass
class Time:
    """Seconds that pass only by waiting, and by how much each time."""

    now: float = 0.0
    waits: list[float] = field(default_factory=list)

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def passed(self, seconds: float) -> bool:
        """Whether so many seconds' bytes passed; the last piece is not waited for."""
        return seconds - CHUNK / SECOND <= self.now <= seconds

    def limit(self, rate: int = SECOND) -> RateLimit:
        return RateLimit(rate, clock=lambda: self.now, wait=self.wait)


def flowing(time: Time, stop: Stop | None = None) -> Flowing:
    return Flowing(MemoryStore(), upload=time.limit(), download=time.limit(), stop=stop or Stop())


def test_what_is_sent_is_held_to_the_rate_piece_by_piece() -> None:
    time = Time()
    store = flowing(time)
    store.put("k", Body.of(bytes(3 * SECOND)))
    assert time.passed(3)
    assert max(time.waits) <= CHUNK / SECOND + 1e-9
    assert read_object(store, "k") == bytes(3 * SECOND)


def test_what_is_fetched_is_held_to_its_own_rate() -> None:
    time = Time()
    store = Flowing(MemoryStore(), upload=None, download=time.limit(), stop=Stop())
    for name in "ab":
        store.put(name, Body.of(bytes(SECOND)))
    assert time.now == 0
    for name in "ab":
        assert len(read_object(store, name)) == SECOND
    assert time.now == pytest.approx(1)


def test_a_body_that_is_only_looked_at_costs_nothing() -> None:
    """Swift's driver needs the MD5 before it sends: reading twice must not halve the rate."""
    time = Time()
    seen: list[bytes] = []

    class Looking(MemoryStore):
        def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
            seen.extend(map(bytes, body.look()))
            return super().put(key, body, create_only=create_only)

    store = Flowing(Looking(), upload=time.limit(), download=None, stop=Stop())
    store.put("k", Body.of(bytes(SECOND)))
    assert seen == [bytes(SECOND)]
    assert time.passed(1)


def test_threads_share_one_rate() -> None:
    time = Time()
    store = Flowing(MemoryStore(), upload=time.limit(), download=None, stop=Stop())
    threads = [threading.Thread(target=store.put, args=(f"k{number}", Body.of(bytes(SECOND)))) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Waits overlap in a fake time; what counts is the last reservation.
    assert sum(time.waits) >= 4 - 4 * CHUNK / SECOND


def test_a_repeat_is_counted_again() -> None:
    time = Time()
    options = StackOptions(
        wrap=lambda store: FaultyStore(store, {1: lambda: Unavailable("lost")}, after=True),
        clock=Clock(wait=lambda _: None),
        upload=time.limit(),
    )
    build_stack(f"memory://{uuid4()}/a", NOTHING, options).store.put("k", Body.of(bytes(SECOND)))
    assert time.passed(2)


def test_a_body_can_be_read_in_every_way_that_drivers_do() -> None:
    class Reading(MemoryStore):
        def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
            with body.open() as source:
                first = source.read(10)
                source.seek(0)
                whole = source.read()
                assert source.read(1) == b""
            assert whole[:10] == first
            return super().put(key, Body.of(whole), create_only=create_only)

    data = bytes(range(256)) * 1000
    store = Flowing(Reading(), upload=None, download=None, stop=Stop())
    store.put("k", Body.of(data))
    assert read_object(store, "k") == data


def test_h47_a_stop_ends_an_upload_at_its_next_piece_and_small_objects_pass() -> None:
    stop = Stop()
    pieces = 0

    class Watching(MemoryStore):
        def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:  # noqa: ARG002 - a store's
            nonlocal pieces
            with body.open() as source:
                while source.read(CHUNK):
                    pieces += 1
                    stop.requested = pieces == 2
            raise ShortRead("not reached")

    store = Flowing(Watching(), upload=None, download=None, stop=stop)
    with pytest.raises(Interrupted):
        store.put("k", Body.of(bytes(10 * CHUNK)))
    assert pieces == 2
    small = Flowing(MemoryStore(), upload=None, download=None, stop=stop)
    small.put("lease", Body.of(b"released"))
    assert read_object(small, "lease") == b"released"
    small.delete(["lease"])
    assert list(small.list()) == []


def test_h47_a_stop_ends_a_download_between_two_chunks() -> None:
    stop = Stop()

    class Chunks(MemoryStore):
        def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:  # noqa: ARG002
            yield b"one"
            stop.requested = True
            yield b"two"

    got = Flowing(Chunks(), upload=None, download=None, stop=stop).get("k")
    assert next(got) == b"one"
    with pytest.raises(Interrupted):
        next(got)


def test_h47_a_stop_ends_the_pause_before_a_repeat() -> None:
    stop = Stop(now=lambda: 0.0, sleep=lambda _: setattr(stop, "requested", True))
    options = StackOptions(wrap=lambda store: FaultyStore(store, {1: lambda: Unavailable("away")}), stop=stop)
    with pytest.raises(Interrupted):
        build_stack(f"memory://{uuid4()}/a", NOTHING, options).store.put("k", Body.of(b"x"))


def test_a_wait_without_a_stop_takes_as_long_as_it_should() -> None:
    time = Time()
    Stop(now=lambda: time.now, sleep=time.wait).wait(0.25)
    assert time.now == pytest.approx(0.25)
    assert max(time.waits) <= 0.1
