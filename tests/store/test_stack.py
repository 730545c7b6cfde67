"""The composition, the limit and the meter."""

import threading
from pathlib import Path
from uuid import uuid4

import pytest

from tests.store.faulty import FaultyStore
from tests.store.settings import NOTHING
from wal_e.errors import NotFound, Unavailable, UsageError
from wal_e.store.api import Body, Capabilities, ObjectInfo, Store, read_object
from wal_e.store.drivers.memory import MemoryStore
from wal_e.store.limit import Limited
from wal_e.store.meter import Count, Metered
from wal_e.store.retry import Clock
from wal_e.store.stack import StackOptions, build_stack, open_store

NO_WAIT = Clock(wait=lambda _: None)


@pytest.fixture(params=["memory", "file"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"memory://{uuid4()}/main/db" if request.param == "memory" else f"file://localhost{tmp_path}/archive"


def test_two_openers_of_one_address_see_one_archive(address: str) -> None:
    open_store(address, NOTHING).put("k", Body.of(b"1"))
    store = open_store(address, NOTHING)
    assert read_object(store, "k") == b"1"
    store.close()


def test_archives_in_one_container_are_apart() -> None:
    container = f"memory://{uuid4()}"
    open_store(f"{container}/a", NOTHING).put("k", Body.of(b"1"))
    assert list(open_store(f"{container}/b", NOTHING).list()) == []
    assert [info.key for info in open_store(container, NOTHING).list()] == ["a/k"]


def test_faults_are_put_under_the_repeating(address: str) -> None:
    made: list[FaultyStore] = []

    def wrap(store: Store) -> Store:
        made.append(FaultyStore(store, {1: lambda: Unavailable("no answer")}))
        return made[0]

    stack = build_stack(address, NOTHING, StackOptions(wrap=wrap, clock=NO_WAIT))
    stack.store.put("k", Body.of(b"12345"))
    assert stack.meter.usage.put == Count(calls=2, failed=1, size=5)
    assert len(made[0].calls) == 2


def test_an_unknown_scheme_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="URL scheme passed"):
        open_store("ftp://host/path", NOTHING)


def test_the_meter_counts_calls_failures_and_bytes() -> None:
    meter = Metered(MemoryStore())
    meter.put("a", Body.of(b"12345"))
    meter.put("b", Body.of(b"123"))
    assert b"".join(meter.get("a", start=1)) == b"2345"
    with pytest.raises(NotFound):
        meter.head("c")
    with pytest.raises(NotFound):
        b"".join(meter.get("c"))
    assert len(list(meter.list())) == 2
    meter.delete(["a", "b"])
    usage = meter.usage
    assert usage.put == Count(2, 0, 8)
    assert usage.get == Count(2, 1, 4)
    assert usage.head == Count(1, 1, 0)
    assert usage.list == Count(1, 0, 0)
    assert usage.delete == Count(1, 0, 0)


def test_a_stream_that_is_left_early_is_no_failure() -> None:
    meter = Metered(MemoryStore())
    meter.put("a", Body.of(bytes(3 << 20)))
    stream = meter.get("a")
    next(stream)
    del stream
    assert meter.usage.get == Count(1, 0, 1 << 20)


class Watched(MemoryStore):
    """Knows how many puts were inside at once; each waits for company."""

    def __init__(self, together: int) -> None:
        super().__init__()
        self.company = threading.Barrier(together)
        self.inside = 0
        self.most = 0
        self.guard = threading.Lock()

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override] # a plain attribute in the parent
        return MemoryStore.capabilities

    def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
        with self.guard:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.company.wait(timeout=60)
        info = super().put(key, body, create_only=create_only)
        with self.guard:
            self.inside -= 1
        return info


def test_the_limit_lets_so_many_in_and_no_more() -> None:
    watched = Watched(together=3)
    store = Limited(watched, 3)
    threads = [threading.Thread(target=store.put, args=(f"k{number}", Body.of(b"1"))) for number in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert watched.most == 3


def test_one_slot_is_enough_to_use_a_store_while_reading_from_it() -> None:
    store = Limited(MemoryStore(), 1)
    for name in ("a", "b", "c"):
        store.put(name, Body.of(bytes(3 << 20)))
    for info in store.list():
        for chunk in store.get(info.key):
            assert store.head(info.key).size >= len(chunk)
    store.delete(info.key for info in store.list())
    assert list(store.list()) == []
