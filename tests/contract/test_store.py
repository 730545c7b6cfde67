"""
The store contract: every promise of wal_e/store/api.py, over every driver, bare and through the whole stack.

A driver that passes here is a driver that the rest of the program can use.
"""

import hashlib
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import pytest

from lab.keystone import KeystoneInfo
from lab.swift import SwiftInfo
from tests.plugins.buckets import Buckets
from wal_e.config import load
from wal_e.errors import ContainerMissing, Exists, Misconfigured, NotFound, ShortRead
from wal_e.store.api import Body, Store, read_object
from wal_e.store.checksum import Checksum
from wal_e.store.drivers.file import FolderStore
from wal_e.store.drivers.gs.driver import GoogleStore
from wal_e.store.drivers.memory import MemoryStore
from wal_e.store.drivers.object_store import ObjectStore
from wal_e.store.drivers.swift.driver import SwiftStore
from wal_e.store.drivers.swift.options import OPTIONS, SwiftOptions
from wal_e.store.limit import Limited
from wal_e.store.meter import Metered
from wal_e.store.prefix import EitherSpelling, Prefixed
from wal_e.store.registry import driver_for
from wal_e.store.retry import Clock, Retrying, RetryPolicy
from wal_e.store.url import ArchiveUrl

BIG = bytes(range(256)) * 4096 * 3 + b"the end"  # a little above 3 MiB: more than one chunk of every driver
LOCAL = [(driver, layer) for driver in ("memory", "file") for layer in ("bare", "prefixed", "stack")]
SERVED = [
    *((driver, layer) for driver in ("tempauth", "keystone", "s3", "gs") for layer in ("bare", "stack")),
    *((driver, "bare") for driver in ("azure", "swift_s3")),
]
SUBJECTS = [*LOCAL, *(pytest.param(pair, marks=pytest.mark.slow) for pair in SERVED)]


SCHEMES = {"s3": "s3", "swift_s3": "s3", "azure": "wabs", "gs": "gs"}


@dataclass
class Subject:
    """A driver on an empty place, and one on a place that is not there."""

    store: Store
    missing: Store | None


@pytest.fixture(params=SUBJECTS, ids="-".join)
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    driver, layer = request.param
    bare = make_bare(driver, request)
    yield with_layers(bare, layer)
    bare.store.close()


def make_bare(driver: str, request: pytest.FixtureRequest) -> Subject:
    if driver == "memory":
        return Subject(MemoryStore(), None)
    if driver == "file":
        folder: Path = request.getfixturevalue("tmp_path")
        (folder / "archive").mkdir()
        return Subject(FolderStore(folder / "archive"), FolderStore(folder / "absent" / "archive"))
    if driver in SCHEMES:
        return make_bucket(driver, request)
    server: SwiftInfo | KeystoneInfo
    server = request.getfixturevalue("swift_tempauth" if driver == "tempauth" else "keystone_swift")
    container = server.create_container(request.getfixturevalue("container_name")())
    options = SwiftOptions.of(load(OPTIONS, environ=server.environment()))
    return Subject(SwiftStore(options, container, list_page=3), SwiftStore(options, f"{container}-absent"))


def make_bucket(driver: str, request: pytest.FixtureRequest) -> Subject:
    buckets: Buckets = request.getfixturevalue(f"{driver}_buckets")
    bucket = buckets.create(request.getfixturevalue("container_name")())
    bare = driver_for(SCHEMES[driver])
    settings = load(bare.options(), environ=buckets.info.environment())
    there, absent = (ArchiveUrl(bare.scheme, name, "") for name in (bucket, f"{bucket}-absent"))
    store = bare.open(there, settings)
    if isinstance(store, GoogleStore):
        store.capabilities = replace(store.capabilities, list_page=3)
    return Subject(store, bare.open(absent, settings))


def with_layers(bare: Subject, layer: str) -> Subject:
    if layer == "bare":
        return bare
    if layer == "prefixed":
        return Subject(Prefixed(bare.store, "deep/er/"), bare.missing)

    def stacked(store: Store) -> Store:
        patient = Retrying(Limited(Metered(store), 3), RetryPolicy(deadline=5), clock=Clock(wait=lambda _: None))
        if isinstance(store, ObjectStore):
            return Prefixed(patient, "main/db/")
        return patient if isinstance(store, FolderStore) else EitherSpelling(patient, "main/db")

    return Subject(stacked(bare.store), bare.missing and stacked(bare.missing))


@pytest.fixture
def store(subject: Subject) -> Store:
    return subject.store


def keys(store: Store, prefix: str = "", after: str = "") -> list[str]:
    return [info.key for info in store.list(prefix, after=after)]


def fill(store: Store, *names: str) -> None:
    for name in names:
        store.put(name, Body.of(name.encode()))


def test_what_was_put_is_read_back_whole(store: Store) -> None:
    before = datetime.now(UTC)
    info = store.put("wal_005/000000010000000000000001.zst", Body.of(BIG))
    assert (info.key, info.size) == ("wal_005/000000010000000000000001.zst", len(BIG))
    # a service may keep whole seconds
    assert before - timedelta(seconds=2) < info.last_modified < datetime.now(UTC) + timedelta(seconds=2)
    assert read_object(store, info.key) == BIG


@pytest.mark.parametrize("key", ["a", "a/b~c", "a/b+c=d@e", "a/50%", "a/50%25", "a/x,y:z", ".hidden", "a/-", "_/..."])
def test_every_key_of_the_alphabet_is_itself(store: Store, key: str) -> None:
    store.put(key, Body.of(key.encode()))
    assert keys(store) == [key]
    assert store.head(key).key == key
    assert read_object(store, key) == key.encode()
    store.delete([key])
    assert keys(store) == []


def test_an_empty_object_is_an_object(store: Store) -> None:
    assert store.put("empty", Body.of(b"")).size == 0
    assert store.head("empty").size == 0
    assert read_object(store, "empty") == b""
    assert read_object(store, "empty", start=0, length=0) == b""
    assert keys(store) == ["empty"]


def test_a_put_replaces_the_whole_object(store: Store) -> None:
    store.put("k", Body.of(BIG))
    store.put("k", Body.of(b"short"))
    assert read_object(store, "k") == b"short"
    assert store.head("k").size == 5


def test_a_file_is_a_body(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "segment"
    path.write_bytes(BIG)
    store.put("k", Body.of_file(path))
    assert hashlib.sha256(read_object(store, "k")).digest() == hashlib.sha256(BIG).digest()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_memory_of_any_kind_is_a_body(store: Store, kind: type[bytes | bytearray | memoryview]) -> None:
    store.put("a", Body.of(kind(BIG)))
    assert read_object(store, "a") == BIG
    reader = Body.of(kind(BIG)).open()
    assert (reader.read(10), reader.seek(-3, io.SEEK_END), reader.read(), reader.tell()) == (
        BIG[:10],
        len(BIG) - 3,
        b"end",
        len(BIG),
    )
    assert (reader.seek(5), reader.seek(2, io.SEEK_CUR), reader.read(1)) == (5, 7, BIG[7:8])


def test_create_only_refuses_an_existing_object_and_leaves_it_h01(store: Store) -> None:
    store.put("k", Body.of(b"first"), create_only=True)
    with pytest.raises(Exists):
        store.put("k", Body.of(b"other"), create_only=True)
    with pytest.raises(Exists):
        store.put("k", Body.of(b"first"), create_only=True)
    assert read_object(store, "k") == b"first"


def test_one_of_concurrent_creates_wins_where_that_is_promised(store: Store) -> None:
    gate = threading.Barrier(8)
    told: list[int] = []

    def create(number: int) -> None:
        gate.wait(timeout=60)
        try:
            store.put("lease", Body.of(b"holder %d" % number), create_only=True)
        except Exists:
            return
        told.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told
    held = read_object(store, "lease")
    assert held in {b"holder %d" % number for number in told}
    if store.capabilities.atomic_create:
        assert len(told) == 1


@pytest.mark.parametrize("source", [b"", b"half", b"more than ten bytes"])
def test_a_body_of_another_size_than_it_says_stores_nothing_h05(store: Store, source: bytes) -> None:
    with pytest.raises(ShortRead):
        store.put("k", Body(10, lambda: io.BytesIO(source)))
    assert keys(store) == []
    with pytest.raises(NotFound):
        store.head("k")


class BrokenSource(io.RawIOBase):
    """A file on a failing disk."""

    def readable(self) -> bool:
        return True

    def read(self, _size: int = -1) -> bytes:
        raise OSError(5, "Input/output error")


def test_an_error_of_the_source_is_not_the_stores_and_stores_nothing(store: Store) -> None:
    def broken() -> BinaryIO:
        return BrokenSource()  # type: ignore[return-value] # a raw file has all that a body is asked for

    with pytest.raises(OSError, match="Input/output error"):
        store.put("k", Body(10, broken))
    assert keys(store) == []


@pytest.mark.parametrize(
    ("start", "length"),
    [(0, 1), (0, None), (5, 10), (5, None), (len(BIG) - 1, 1), (len(BIG) - 7, None), (1 << 20, 1 << 20)],
)
def test_ranges_are_exact(store: Store, start: int, length: int | None) -> None:
    store.put("k", Body.of(BIG))
    wanted = BIG[start:] if length is None else BIG[start : start + length]
    assert read_object(store, "k", start=start, length=length) == wanted


def test_an_empty_range_is_empty_even_at_the_end(store: Store) -> None:
    store.put("k", Body.of(b"12345"))
    assert read_object(store, "k", start=5) == b""
    assert read_object(store, "k", start=5, length=0) == b""
    assert read_object(store, "k", start=2, length=0) == b""


@pytest.mark.parametrize(("start", "length"), [(0, 6), (4, 2), (5, 1), (6, None), (7, 1), (6, 0)])
def test_a_range_past_the_end_is_a_short_read(store: Store, start: int, length: int | None) -> None:
    store.put("k", Body.of(b"12345"))
    with pytest.raises(ShortRead):
        b"".join(store.get("k", start=start, length=length))


def test_absent_is_not_found_h14(store: Store) -> None:
    fill(store, "there")
    with pytest.raises(NotFound):
        b"".join(store.get("k"))
    with pytest.raises(NotFound):
        b"".join(store.get("k", start=3, length=4))
    with pytest.raises(NotFound):
        b"".join(store.get("there/not"))
    with pytest.raises(NotFound):
        store.head("k")


def test_a_stream_may_be_left_early_and_others_run_beside_it(store: Store) -> None:
    store.put("k", Body.of(BIG))
    first, second = store.get("k"), store.get("k")
    start = next(first)
    assert BIG.startswith(start)
    assert BIG.startswith(next(second))
    assert store.head("k").size == len(BIG)
    second.close()  # type: ignore[attr-defined] # all of ours are generators
    assert start + b"".join(first) == BIG


def test_head_knows_size_time_and_perhaps_an_etag(store: Store) -> None:
    put = store.put("k", Body.of(b"12345"))
    info = store.head("k")
    assert (info.key, info.size) == ("k", 5)
    assert info.last_modified.tzinfo is not None
    assert abs(info.last_modified - put.last_modified) < timedelta(seconds=2)
    assert info.etag in {None, Checksum().of([b"12345"]).etag, Checksum(md5=True).of([b"12345"]).etag}


def test_lists_are_complete_and_in_key_order_h45(store: Store) -> None:
    names = ["a", "b-c", "b.c", "b/c", "b/c0", "b/d/e", "b/d0", "b0", "c/d", "~"]
    fill(store, *reversed(names))
    assert keys(store) == names == sorted(names)
    assert [info.size for info in store.list()] == [len(name) for name in names]


@pytest.mark.parametrize(
    ("prefix", "wanted"),
    [
        ("", ["a", "b-c", "b/c", "b/d/e", "bc"]),
        ("b", ["b-c", "b/c", "b/d/e", "bc"]),
        ("b/", ["b/c", "b/d/e"]),
        ("b/d", ["b/d/e"]),
        ("b/d/e", ["b/d/e"]),
        ("b/d/ef", []),
        ("x/y/", []),
    ],
)
def test_a_prefix_is_any_beginning_of_a_key(store: Store, prefix: str, wanted: list[str]) -> None:
    fill(store, "a", "b-c", "b/c", "b/d/e", "bc")
    assert keys(store, prefix) == wanted


@pytest.mark.parametrize("after", ["", "a", "a/", "b", "b-c", "b/", "b/c", "b/c/", "b/d", "b/d/e", "b/d/f", "bc", "z"])
@pytest.mark.parametrize("prefix", ["", "b", "b/"])
def test_a_list_goes_on_after_any_text(store: Store, prefix: str, after: str) -> None:
    names = ["a", "b-c", "b/c", "b/d/e", "bc"]
    fill(store, *names)
    assert keys(store, prefix, after) == [name for name in names if name.startswith(prefix) and name > after]


def test_an_object_that_was_put_is_in_the_next_list(store: Store) -> None:
    for number in range(5):
        fill(store, f"k{number}")
        assert keys(store) == [f"k{n}" for n in range(number + 1)]


def test_delete_takes_many_and_does_not_mind_absent_ones_h29(store: Store) -> None:
    names = [f"b/{number:02}" for number in range(12)]
    fill(store, *names, "keep")
    store.delete(["absent", *names[:6], "b/absent/too"])
    assert keys(store) == [*names[6:], "keep"]
    store.delete(name for name in names)
    assert keys(store) == ["keep"]
    store.delete([])
    store.delete(names)
    assert keys(store) == ["keep"]


def test_deleting_while_listing_does_not_stall(store: Store) -> None:
    fill(store, *(f"b/{number:02}" for number in range(9)))
    store.delete(info.key for info in store.list("b/"))
    assert keys(store) == []


def test_a_missing_place_is_misconfigured_and_never_an_empty_archive_h14(subject: Subject) -> None:
    if subject.missing is None:
        assert keys(subject.store) == []  # memory cannot be missing
        return
    missing = subject.missing
    for request in (
        lambda: b"".join(missing.get("k")),
        lambda: b"".join(missing.get("k", start=1)),
        lambda: missing.head("k"),
        lambda: list(missing.list()),
        lambda: missing.delete(["k"]),
        lambda: missing.delete(["k", "l"]),
        lambda: missing.put("k", Body.of(b"x")),
        lambda: missing.put("k", Body.of(b"x"), create_only=True),
    ):
        with pytest.raises(ContainerMissing) as caught:
            request()
        assert caught.value.hint


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", "ä", "a b", "a\nb", "a\0b"])
def test_other_keys_are_refused(subject: Subject, key: str) -> None:
    if isinstance(subject.store, MemoryStore | SwiftStore | GoogleStore):
        return  # bare, these take the names that EitherSpelling makes
    for request in (
        lambda: subject.store.put(key, Body.of(b"x")),
        lambda: b"".join(subject.store.get(key)),
        lambda: subject.store.head(key),
        lambda: subject.store.delete([key]),
    ):
        with pytest.raises(Misconfigured):
            request()
    assert keys(subject.store) == []


def test_threads_share_a_store(store: Store) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            data = bytes([number]) * 300_000
            for turn in range(3):
                store.put(f"t/{number}/{turn}", Body.of(data))
                assert read_object(store, f"t/{number}/{turn}") == data
                assert read_object(store, f"t/{number}/{turn}", start=7, length=9) == data[7:16]
                assert keys(store, f"t/{number}/") == [f"t/{number}/{n}" for n in range(turn + 1)]
        except BaseException as error:  # noqa: BLE001 - a thread's assertion must reach the test
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(keys(store, "t/")) == 12
