"""Prefixes, and archives of the original whose names begin with a slash."""

import threading

import pytest

from tests.store.faulty import FaultyStore
from wal_e.errors import Exists, NotFound, Unavailable
from wal_e.store.api import Body, Store, read_object
from wal_e.store.drivers.memory import MemoryStore
from wal_e.store.prefix import EitherSpelling, Prefixed


def names(store: Store) -> list[str]:
    return [info.key for info in store.list()]


def bucket(*stored: str) -> MemoryStore:
    store = MemoryStore()
    for name in stored:
        store.put(name, Body.of(name.encode()))
    return store


def test_a_prefix_hides_what_is_beside_it() -> None:
    inner = bucket("a/x", "ab/x", "b/x", "a/y/z")
    store = Prefixed(inner, "a/")
    assert names(store) == ["x", "y/z"]
    assert [info.key for info in store.list("y")] == ["y/z"]
    assert [info.key for info in store.list(after="x")] == ["y/z"]
    assert store.head("x").key == "x"
    assert store.put("new", Body.of(b"1")).key == "new"
    store.delete(["x"])
    assert names(inner) == ["a/new", "a/y/z", "ab/x", "b/x"]


@pytest.mark.parametrize("path", ["db", "team/db", ""])
@pytest.mark.parametrize(
    ("plain", "slashed", "written"),
    [((), (), ""), (("k1",), (), ""), ((), ("k1",), "/"), (("k1",), ("k2",), ""), (("k1",), ("k1",), "")],
)
def test_the_spelling_that_is_there_is_written_and_all_are_read(
    path: str, plain: tuple[str, ...], slashed: tuple[str, ...], written: str
) -> None:
    below = f"{path}/" if path else ""
    inner = bucket(*(below + key for key in plain), *(f"/{below}{key}" for key in slashed))
    if path:
        inner.put("elsewhere/k9", Body.of(b"not ours"))
    store = EitherSpelling(inner, path)
    everything = sorted({*plain, *slashed})
    assert names(store) == everything
    for key in everything:
        assert read_object(store, key)
        assert store.head(key).key == key
    store.put("k5", Body.of(b"new"), create_only=True)
    assert inner.head(f"{written}{below}k5").size == 3
    with pytest.raises(Exists):
        store.put("k5", Body.of(b"again"), create_only=True)
    store.delete(["k5", *everything])
    assert names(store) == []


def test_lists_merge_in_key_order_without_duplicates() -> None:
    store = EitherSpelling(bucket("db/a", "db/c", "db/e", "/db/b", "/db/c", "/db/d/x"), "db")
    assert names(store) == ["a", "b", "c", "d/x", "e"]
    assert [info.key for info in store.list("d")] == ["d/x"]
    assert [info.key for info in store.list(after="c")] == ["d/x", "e"]


def test_a_create_notices_the_object_of_the_other_spelling_h01() -> None:
    inner = bucket("db/a", "/db/b")
    store = EitherSpelling(inner, "db")
    with pytest.raises(Exists):
        store.put("b", Body.of(b"other"), create_only=True)
    assert names(inner) == ["/db/b", "db/a"]


def test_delete_takes_both_spellings() -> None:
    inner = bucket("db/a", "/db/a", "db/b", "/db/c")
    EitherSpelling(inner, "db").delete(iter(["a", "c"]))
    assert names(inner) == ["db/b"]


def test_absent_in_both_is_not_found() -> None:
    store = EitherSpelling(bucket("db/a", "/db/b"), "db")
    with pytest.raises(NotFound):
        store.head("c")
    with pytest.raises(NotFound):
        read_object(store, "c")


def test_a_hit_costs_no_look_for_the_spelling() -> None:
    faulty = FaultyStore(bucket("db/a"))
    store = EitherSpelling(faulty, "db")
    assert read_object(store, "a") == b"db/a"
    assert faulty.calls == ["get db/a 0 None"]


def test_the_spelling_is_looked_up_once() -> None:
    faulty = FaultyStore(bucket("db/a"))
    store = EitherSpelling(faulty, "db")
    for _ in range(3):
        store.put("b", Body.of(b"1"))
        with pytest.raises(NotFound):
            store.head("absent")
    assert faulty.calls[:2] == ["list /db/", "put db/b"]
    assert len([call for call in faulty.calls if call.startswith("list")]) == 1


def test_an_outage_while_the_spelling_is_looked_up_decides_nothing_h14() -> None:
    faulty = FaultyStore(bucket("/db/a"), {2: lambda: Unavailable("no answer")})
    store = EitherSpelling(faulty, "db")
    with pytest.raises(Unavailable):
        store.head("a")
    assert store.head("a").size == 5
    store.put("b", Body.of(b"1"))
    assert names(faulty.store) == ["/db/a", "/db/b"]


def test_a_broken_stream_is_not_continued_with_the_other_spelling() -> None:
    faulty = FaultyStore(bucket("/db/a"), {1: lambda: NotFound("gone")}, cut=100)
    faulty.store.put("db/a", Body.of(bytes(1000)))
    store = EitherSpelling(faulty, "db")
    with pytest.raises(NotFound):
        read_object(store, "a")
    assert len(faulty.calls) == 1


def test_threads_agree_on_the_spelling() -> None:
    inner = bucket("/db/a")
    store = EitherSpelling(inner, "db")
    threads = [threading.Thread(target=store.put, args=(f"k{n}", Body.of(b"1"))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(name.startswith("/db/") for name in names(inner))
