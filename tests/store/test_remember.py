"""Small objects that never change: asked for once a minute, and never believed to be absent."""

from collections.abc import Iterator

import pytest

from tests.store.faulty import FaultyStore
from wal_e.errors import NotFound, Unavailable
from wal_e.store.api import Body, Store, read_object
from wal_e.store.drivers.memory import MemoryStore
from wal_e.store.remember import Remembering
from wal_e.units import KIB

KEY = "cluster.json"
DATA = b"x" * 300


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def inner() -> FaultyStore:
    store = MemoryStore()
    store.put(KEY, Body.of(DATA))
    store.put("other", Body.of(DATA))
    return FaultyStore(store)


def gets(store: FaultyStore) -> int:
    return sum(call.startswith("get") for call in store.calls)


def test_one_request_serves_a_minute(inner: FaultyStore) -> None:
    time = Time()
    store = Remembering(inner, [KEY], 60, now=time)
    for _ in range(5):
        assert read_object(store, KEY) == DATA
    time.now += 59.9
    assert read_object(store, KEY) == DATA
    assert gets(inner) == 1
    time.now += 0.1
    assert read_object(store, KEY) == DATA
    assert gets(inner) == 2


def test_a_clock_that_goes_back_forgets(inner: FaultyStore) -> None:
    time = Time()
    store = Remembering(inner, [KEY], 60, now=time)
    read_object(store, KEY)
    time.now -= 10
    read_object(store, KEY)
    assert gets(inner) == 2


def test_only_the_whole_of_the_named_objects_is_remembered(inner: FaultyStore) -> None:
    store = Remembering(inner, [KEY])
    for _ in range(2):
        assert read_object(store, "other") == DATA
        assert read_object(store, KEY, start=1, length=5) == DATA[1:6]
        assert read_object(store, KEY, start=1) == DATA[1:]
    assert gets(inner) == 6


def test_h18_absence_is_never_remembered() -> None:
    inner = MemoryStore()
    store = Remembering(inner, [KEY])
    with pytest.raises(NotFound):
        read_object(store, KEY)
    inner.put(KEY, Body.of(DATA))
    assert read_object(store, KEY) == DATA


def test_what_broke_off_is_not_remembered(inner: FaultyStore) -> None:
    inner.plan, inner.cut = {1: lambda: Unavailable("cut off")}, 100
    store = Remembering(inner, [KEY])
    with pytest.raises(Unavailable):
        read_object(store, KEY)
    left_early = store.get(KEY)
    next(left_early)
    del left_early
    assert read_object(store, KEY) == DATA
    assert gets(inner) == 3


def test_large_objects_are_not_kept(inner: FaultyStore) -> None:
    large = b"y" * (65 * KIB)
    inner.store.put(KEY, Body.of(large))
    store = Remembering(inner, [KEY])
    assert read_object(store, KEY) == read_object(store, KEY) == large
    assert gets(inner) == 2


def test_a_change_through_it_is_seen_at_once(inner: FaultyStore) -> None:
    store = Remembering(inner, [KEY])
    read_object(store, KEY)
    store.put(KEY, Body.of(b"new"))
    assert read_object(store, KEY) == b"new"
    store.delete([KEY, "other"])
    with pytest.raises(NotFound):
        read_object(store, KEY)


def test_what_was_read_during_a_change_is_not_remembered(inner: FaultyStore) -> None:
    store = Remembering(inner, [KEY])
    chunks: Iterator[bytes] = store.get(KEY)
    first = next(chunks)
    store.put(KEY, Body.of(b"new"))
    assert first + b"".join(chunks) == DATA
    assert read_object(store, KEY) == b"new"


def test_what_is_doubted_is_read_anew(inner: FaultyStore) -> None:
    store = Remembering(inner, [KEY])
    read_object(store, KEY)
    inner.store.put(KEY, Body.of(b"new"))
    assert read_object(store, KEY) == DATA
    store.forget()
    assert read_object(store, KEY) == b"new"


def test_the_other_verbs_pass(inner: FaultyStore) -> None:
    store: Store = Remembering(inner, [KEY])
    assert store.capabilities == inner.capabilities
    assert store.head(KEY).size == len(DATA)
    assert [info.key for info in store.list()] == [KEY, "other"]
    assert [info.key for info in store.list("o")] == ["other"]
    store.close()
