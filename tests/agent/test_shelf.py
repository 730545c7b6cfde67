"""What is kept ahead: bounded bytes, bounded threads, nothing that nobody wants, and nobody left waiting."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.processes import wait_until
from wal_e.agent import crew, shelf
from wal_e.agent.shelf import Alive, Shelf, Slot
from wal_e.wal.lookahead import HELD_FOR

SIZE = 10
Result = TypeVar("Result")


class Time:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> float:
        return self.seconds


class Source:
    """Reads of the names in `shut` wait until they are opened, those in `absent` find nothing."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.shut: set[str] = set()
        self.absent: set[str] = set()
        self.begun: list[str] = []
        self.alive: dict[str, Alive] = {}
        self.inside = 0
        self.most = 0

    def read(self, name: str, alive: Alive) -> bytes | None:
        with self._changed:
            self.begun.append(name)
            self.alive[name] = alive
            self.inside += 1
            self.most = max(self.most, self.inside)
            self._changed.notify_all()
            opened = self._changed.wait_for(lambda: name not in self.shut, 30)
            self.inside -= 1
            assert opened
        return None if name in self.absent else name.encode()

    def open(self, *names: str) -> None:
        with self._changed:
            self.shut -= set(names)
            self._changed.notify_all()

    def wait_begun(self, *names: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: set(names) <= set(self.begun), 30), self.begun


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def source() -> Source:
    return Source()


@contextmanager
def made(time: Time, threads: int = 2, budget: int = 1000) -> Iterator[Shelf]:
    made = Shelf(threads, budget, time.now)
    try:
        yield made
    finally:
        made.close(30)


def rest(shelf: Shelf) -> None:
    wait_until(lambda: not shelf.facts()["queued"] + shelf.facts()["under way"], "the reads", 30)


def taken(shelf: Shelf, name: str) -> bytes | None:
    slot = shelf.take(name)
    if slot is None:
        return None
    data = slot.data
    shelf.give_back(slot)
    return data


@contextmanager
def called(call: Callable[[], Result]) -> Iterator[Future[Result]]:
    with ThreadPoolExecutor(1) as executor:
        yield executor.submit(call)


def poke(shelf: Shelf, source: Source) -> None:
    """Wakes whoever waits, so that the time of the test is looked at."""
    shelf.want("poke", ["poke"], 0, source.read)


def test_what_is_wanted_is_read_once_and_held_until_it_is_not_wanted(time: Time, source: Source) -> None:
    with made(time) as kept:
        kept.want("a", ["1", "2", "3"], SIZE, source.read)
        rest(kept)
        kept.want("a", ["2", "3", "4"], SIZE, source.read)
        rest(kept)
        assert [taken(kept, name) for name in "1234"] == [None, b"2", b"3", b"4"]
        assert sorted(source.begun) == ["1", "2", "3", "4"]
        assert kept.facts()["bytes"] == 3 * SIZE


def test_reads_begin_in_the_order_of_the_names(time: Time, source: Source) -> None:
    with made(time, threads=1) as kept:
        kept.want("a", ["5", "3", "4"], SIZE, source.read)
        kept.want("b", ["1", "4"], SIZE, source.read)
        rest(kept)
    assert source.begun == ["5", "3", "4", "1"]


def test_what_two_want_is_held_until_neither_does(time: Time, source: Source) -> None:
    with made(time) as kept:
        for who in "ab":
            kept.want(who, ["1"], SIZE, source.read)
        rest(kept)
        kept.drop("a")
        assert taken(kept, "1") == b"1"
        kept.drop("b")
        assert taken(kept, "1") is None
    assert source.begun == ["1"]


def test_what_is_being_written_stays_although_nobody_wants_it(time: Time, source: Source) -> None:
    with made(time) as kept:
        kept.want("a", ["1"], SIZE, source.read)
        rest(kept)
        slot = kept.take("1")
        assert slot is not None
        kept.clear()
        time.seconds += 2 * HELD_FOR
        assert kept.facts()["bytes"] == SIZE
        assert slot.data == b"1"
        kept.give_back(slot)
        assert kept.facts()["bytes"] == 0


def test_h18_nothing_is_kept_of_what_could_not_be_had_and_what_is_behind_it_is_not_tried(
    time: Time, source: Source
) -> None:
    source.absent = {"2"}
    with made(time, threads=1) as kept:
        source.shut = {"0"}
        kept.want("z", ["0"], SIZE, source.read)
        source.wait_begun("0")
        kept.want("a", ["1", "2", "3", "4"], SIZE, source.read)
        kept.want("b", ["8", "9"], SIZE, source.read)
        source.open("0")
        rest(kept)
        assert source.begun == ["0", "1", "2", "8", "9"]
        assert [taken(kept, name) for name in "1234"] == [b"1", None, None, None]
        kept.want("a", ["2"], SIZE, source.read)
        rest(kept)
    assert source.begun.count("2") == 2


def test_whoever_asks_for_what_is_under_way_gets_that_one(time: Time, source: Source) -> None:
    source.shut = {"1"}
    with made(time) as kept:
        kept.want("a", ["1"], SIZE, source.read)
        source.wait_begun("1")
        with called(lambda: taken(kept, "1")) as one, called(lambda: taken(kept, "1")) as other:
            source.open("1")
            assert one.result(30) == other.result(30) == b"1"
    assert source.begun == ["1"]


def test_whoever_waits_for_what_is_not_there_is_told(time: Time, source: Source) -> None:
    source.shut, source.absent = {"1"}, {"1"}
    with made(time) as kept:
        kept.want("a", ["1"], SIZE, source.read)
        source.wait_begun("1")
        with called(lambda: taken(kept, "1")) as waiting:
            source.open("1")
            assert waiting.result(30) is None


def test_whoever_asks_for_what_is_queued_is_faster(time: Time, source: Source) -> None:
    source.shut = {"1"}
    with made(time, threads=1) as kept:
        kept.want("a", ["1", "2"], SIZE, source.read)
        source.wait_begun("1")
        assert taken(kept, "2") is None
        source.open("1")
        rest(kept)
    assert source.begun == ["1"]


def test_a_read_is_waited_for_while_bytes_arrive(time: Time, source: Source) -> None:
    source.shut = {"1"}
    with made(time) as kept:
        kept.want("a", ["1"], SIZE, source.read)
        source.wait_begun("1")
        for _ in range(3):
            time.seconds += shelf.PATIENCE - 1
            source.alive["1"]()
        with called(lambda: taken(kept, "1")) as waiting:
            poke(kept, source)
            source.open("1")
            assert waiting.result(30) == b"1"


def test_nobody_waits_for_a_read_that_stands_still(time: Time, source: Source) -> None:
    source.shut = {"1"}
    with made(time) as kept:
        kept.want("a", ["1"], SIZE, source.read)
        source.wait_begun("1")
        with called(lambda: taken(kept, "1")) as waiting:
            time.seconds += shelf.PATIENCE
            poke(kept, source)
            assert waiting.result(30) is None
        assert taken(kept, "1") is None
        source.open("1")
        rest(kept)
        assert taken(kept, "1") == b"1"


@pytest.mark.parametrize("end", [lambda kept: kept.drop("a"), lambda kept: kept.clear()])
def test_h17_what_was_begun_for_those_who_are_gone_is_not_used(
    time: Time, source: Source, end: Callable[[Shelf], None]
) -> None:
    source.shut = {"1"}
    with made(time) as kept:
        kept.want("a", ["1"], SIZE, source.read)
        source.wait_begun("1")
        end(kept)
        assert taken(kept, "1") is None
        assert kept.facts() == {"queued": 0, "under way": 1, "held": 0, "bytes": 2 * SIZE, "threads": 2}
        kept.want("a", ["1"], SIZE, source.read)
        wait_until(lambda: len(source.begun) == 2, "the second read", 30)
        source.open("1")
        rest(kept)
        assert taken(kept, "1") == b"1"
        assert kept.facts()["bytes"] == SIZE


def test_what_was_held_for_too_long_is_dropped(time: Time, source: Source) -> None:
    with made(time) as kept:
        kept.want("a", ["1"], SIZE, source.read)
        rest(kept)
        time.seconds += HELD_FOR
        assert kept.facts()["held"] == 1
        time.seconds += 1
        assert kept.facts()["held"] == 0
        assert taken(kept, "1") is None


@pytest.mark.parametrize(("budget", "held"), [(0, 0), (SIZE, 0), (2 * SIZE, 1), (3 * SIZE, 1), (6 * SIZE, 3)])
def test_what_has_no_room_is_not_read(time: Time, source: Source, budget: int, held: int) -> None:
    with made(time, budget=budget) as kept:
        source.shut = set("12345")
        kept.want("a", "12345", SIZE, source.read)
        source.open(*"12345")
        rest(kept)
        assert kept.facts()["held"] == held
        kept.want("a", "12345", SIZE, source.read)
        rest(kept)
        assert kept.facts()["bytes"] <= budget


class Askers:
    """Any operations on a shelf; what it says of itself is noted after each, and within each read."""

    def __init__(self, kept: Shelf, time: Time) -> None:
        self.kept, self.time = kept, time
        self.source = Source()
        self.source.absent = {"7"}
        self.held: list[Slot] = []
        self.bytes: list[int] = []

    def read(self, name: str, alive: Alive) -> bytes | None:
        self.note()
        return self.source.read(name, alive)

    def note(self) -> None:
        self.bytes.append(self.kept.facts()["bytes"])

    def want(self, who: str, names: list[str]) -> None:
        self.kept.want(who, names, SIZE, self.read)

    def take(self, _who: str, names: list[str]) -> None:
        for name in names[:2]:
            slot = self.kept.take(name)
            if slot is not None:
                assert slot.data == name.encode()
                self.held.append(slot)

    def give(self, _who: str, names: list[str]) -> None:
        for slot in self.held[: len(names)]:
            assert slot.data == slot.name.encode()
            self.held.remove(slot)
            self.kept.give_back(slot)

    def drop(self, who: str, _names: list[str]) -> None:
        self.kept.drop(who)

    def clear(self, _who: str, _names: list[str]) -> None:
        self.kept.clear()

    def later(self, _who: str, _names: list[str]) -> None:
        self.time.seconds += HELD_FOR / 2


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from([Askers.want, Askers.want, Askers.take, Askers.give, Askers.drop, Askers.clear, Askers.later]),
        st.sampled_from("abc"),
        st.lists(st.sampled_from("0123456789"), max_size=6, unique=True),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(OPERATIONS, st.integers(0, 20 * SIZE), st.integers(1, 4))
def test_the_bytes_and_the_threads_are_bounded_at_any_moment(
    operations: list[tuple[Callable[[Askers, str, list[str]], None], str, list[str]]], budget: int, threads: int
) -> None:
    time = Time()
    with made(time, threads, budget) as kept:
        askers = Askers(kept, time)
        for operation, who, names in operations:
            operation(askers, who, names)
            askers.note()
        rest(kept)
        assert kept.facts()["threads"] <= threads
        askers.give("", list("0123456789") * 40)
        askers.clear("", [])
        assert kept.facts()["bytes"] == 0
    assert max(askers.bytes, default=0) <= budget
    assert askers.source.most <= threads


def test_no_more_threads_than_were_given(time: Time, source: Source) -> None:
    source.shut = set("123456")
    with made(time, threads=3) as kept:
        kept.want("a", "123456", SIZE, source.read)
        source.wait_begun("1", "2", "3")
        assert kept.facts()["threads"] == 3
        source.open(*"123456")
        rest(kept)
    assert source.most == 3


def test_threads_end_when_there_is_nothing_to_do_and_come_back(
    time: Time, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "IDLE", 0.01)
    with made(time) as kept:
        for name in "12":
            kept.want("a", [name], SIZE, source.read)
            rest(kept)
            wait_until(lambda: kept.facts()["threads"] == 0, "the threads to end", 30)
            assert taken(kept, name) == name.encode()


def test_without_a_thread_nothing_is_queued(time: Time, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with made(time) as kept:
        kept.want("a", ["1", "2"], SIZE, source.read)
        assert kept.facts() == {"queued": 0, "under way": 0, "held": 0, "bytes": 0, "threads": 0}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_read_that_raises_leaves_nobody_waiting(time: Time, source: Source) -> None:
    def read(name: str, alive: Alive) -> bytes | None:
        source.read(name, alive)
        raise ZeroDivisionError(name)

    source.shut = {"1"}
    with made(time) as kept:
        kept.want("a", ["1"], SIZE, read)
        source.wait_begun("1")
        with called(lambda: taken(kept, "1")) as waiting:
            source.open("1")
            assert waiting.result(30) is None
        kept.want("a", ["2"], SIZE, source.read)
        rest(kept)
        assert taken(kept, "2") == b"2"


def test_close_ends_all_and_is_bounded(time: Time, source: Source) -> None:
    source.shut = {"2"}
    kept = Shelf(1, 1000, time.now)
    kept.want("a", ["1", "2", "3"], SIZE, source.read)
    source.wait_begun("2")
    kept.close(0.01)
    assert kept.facts() == {"queued": 0, "under way": 1, "held": 0, "bytes": 2 * SIZE, "threads": 1}
    kept.want("a", ["4"], SIZE, source.read)
    assert kept.facts()["queued"] == 0
    source.open("2")
    kept.close(30)
    assert kept.facts() == {"queued": 0, "under way": 0, "held": 0, "bytes": 0, "threads": 0}
    assert source.begun == ["1", "2"]
    assert taken(kept, "4") is None
