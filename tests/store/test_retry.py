"""Repeating: what is repeated, how long, and that a repeat neither loses nor invents anything."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest

from tests.store.faulty import Fail, FaultyStore
from wal_e.errors import Denied, Exists, Misconfigured, NotFound, ShortRead, Throttled, Unavailable
from wal_e.events import Event, Level, Message
from wal_e.store.api import Body, ObjectInfo, read_object
from wal_e.store.checksum import Checksum
from wal_e.store.drivers.memory import MemoryStore
from wal_e.store.retry import Clock, Retrying, RetryPolicy

DATA = random.Random(4).randbytes(1000)


@dataclass
class FakeTime:
    """A clock that waiting alone moves."""

    time: float = 0
    waits: list[float] = field(default_factory=list)
    share: float = 0.5

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.time += seconds

    def clock(self) -> Clock:
        return Clock(now=lambda: self.time, wait=self.wait, draw=lambda: self.share)


@dataclass
class Bench:
    faulty: FaultyStore
    store: Retrying
    time: FakeTime
    events: list[Event]


def bench(plan: dict[int, Fail], policy: RetryPolicy | None = None, **faults: object) -> Bench:
    time, events = FakeTime(), []
    faulty = FaultyStore(MemoryStore(), plan, **faults)  # type: ignore[arg-type] # the fields of the dataclass
    return Bench(faulty, Retrying(faulty, policy, clock=time.clock(), emit=events.append), time, events)


def outage() -> Unavailable:
    return Unavailable("no answer", detail="The line is dead.", hint="Look at the cable.")


def cut() -> ShortRead:
    return ShortRead("the connection ended early")


ALWAYS: dict[int, Fail] = dict.fromkeys(range(1, 1000), outage)


def test_an_outage_is_repeated_with_growing_pauses_until_it_is_over() -> None:
    b = bench(dict.fromkeys(range(1, 6), outage))
    b.store.put("k", Body.of(DATA))
    assert read_object(b.faulty.store, "k") == DATA
    assert b.time.waits == [0.25, 0.5, 1, 2, 4]
    said = [event.message for event in b.events if isinstance(event, Message)]
    assert said == ['repeating the upload of "k"'] * 5


def test_a_lasting_trouble_is_warned_of_now_and_then_and_another_at_once() -> None:
    b = bench(ALWAYS | {12: lambda: Throttled("slow")}, RetryPolicy(deadline=300, longest_pause=10))
    with pytest.raises(Unavailable):
        b.store.head("k")
    told = [event for event in b.events if isinstance(event, Message)]
    warned = [event for event in told if event.level is Level.WARNING]
    assert len(told) > 50
    assert "slow" in str(told[11].detail)
    assert [told.index(event) for event in warned[:2]] == [0, 10]  # pauses of 0.25 to 4 and then 5 s: 30 s have passed
    assert warned[2:4] == told[11:13]
    assert len(warned) < 14
    assert warned[0].detail == "no answer. The line is dead. It is tried for 300 s more at most."


def test_pauses_are_drawn_from_zero_to_the_longest() -> None:
    b = bench(ALWAYS, RetryPolicy(deadline=10_000, longest_pause=30))
    b.time.share = 0.9999
    with pytest.raises(Unavailable):
        b.store.head("k")
    assert max(b.time.waits) < 30 < max(b.time.waits) + 1
    assert b.time.waits[0] < 0.5


def test_the_deadline_ends_it_and_the_error_says_what_was_tried() -> None:
    b = bench(ALWAYS, RetryPolicy(deadline=60))
    with pytest.raises(Unavailable) as caught:
        b.store.head("k")
    tries = len(b.faulty.calls)
    assert tries > 5
    assert b.time.time < 60
    assert caught.value.detail == f"The line is dead. It was tried {tries} times in {b.time.time:.0f} s."
    assert caught.value.hint == "Look at the cable."


def test_the_number_of_tries_may_be_limited_too() -> None:
    for tries in (1, 2, 5):
        b = bench(ALWAYS, RetryPolicy(tries=tries))
        with pytest.raises(Unavailable):
            b.store.head("k")
        assert len(b.faulty.calls) == tries


def test_the_service_says_how_long_to_wait() -> None:
    b = bench({1: lambda: Throttled("slow", retry_after=17)})
    with pytest.raises(NotFound):
        b.store.head("k")
    assert b.time.waits == [17.25]


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    b = bench({1: lambda: Throttled("slow", retry_after=3600)})
    with pytest.raises(Throttled) as caught:
        b.store.head("k")
    assert b.time.waits == []
    assert caught.value.detail is None


@pytest.mark.parametrize("error", [NotFound, Exists, Denied, Misconfigured])
def test_what_a_repeat_cannot_change_is_final(error: type[NotFound]) -> None:
    for request in (
        lambda store: store.put("k", Body.of(DATA)),
        lambda store: read_object(store, "k"),
        lambda store: store.head("k"),
        lambda store: list(store.list()),
        lambda store: store.delete(["k"]),
    ):
        b = bench({1: lambda: error("no")})
        b.faulty.store.put("k", Body.of(DATA))
        with pytest.raises(error):
            request(b.store)
        assert len(b.faulty.calls) == 1
        assert b.time.waits == []


@pytest.mark.parametrize("fail", [outage, cut])
@pytest.mark.parametrize("at", range(0, 1001, 100))
@pytest.mark.parametrize(("start", "length"), [(0, None), (0, 1000), (130, 700), (130, None)])
def test_a_stream_goes_on_where_it_broke(fail: Fail, at: int, start: int, length: int | None) -> None:
    b = bench({1: fail}, cut=at)
    b.faulty.store.put("k", Body.of(DATA))
    wanted = DATA[start:] if length is None else DATA[start : start + length]
    if fail is cut and at >= len(wanted):
        # All the bytes came and are wrong: that is not a break.
        with pytest.raises(ShortRead):
            read_object(b.store, "k", start=start, length=length)
    else:
        assert read_object(b.store, "k", start=start, length=length) == wanted
        gets = [call for call in b.faulty.calls if call.startswith("get")]
        assert gets[-1].startswith(f"get k {start + min(at, len(wanted))} ")


def test_a_stream_that_moves_has_all_the_time_it_needs() -> None:
    data = DATA * 10
    looks = {2, 3}  # at the checksum, after the first break
    b = bench(dict.fromkeys({*range(1, 12)} - looks, outage), RetryPolicy(deadline=1, first_pause=1), cut=1000)
    b.faulty.store.put("k", Body.of(data))
    assert read_object(b.store, "k") == data
    assert b.time.time > 1


def test_short_answers_in_a_row_are_put_up_with_a_few_times_only() -> None:
    b = bench({})
    b.faulty.store.put("k", Body.of(b"12345"))
    with pytest.raises(ShortRead) as caught:
        read_object(b.store, "k", start=3, length=3)
    assert len(b.faulty.calls) == RetryPolicy().short_reads
    assert caught.value.detail is not None
    assert "tried 3 times" in caught.value.detail


@pytest.mark.parametrize("change", range(1, 6))
def test_an_object_that_changes_under_a_broken_stream_is_noticed(change: int) -> None:
    """The requests: a stream that breaks, what the object is called by, its first part again, the rest, the name."""
    b = bench({1: outage}, cut=500)
    b.faulty.store.put("k", Body.of(DATA))
    b.faulty.before = {change: lambda: b.faulty.store.put("k", Body.of(DATA[::-1]))}
    if change == 1:
        assert read_object(b.store, "k") == DATA[::-1]
    else:
        with pytest.raises(ShortRead, match="changed while it was read" if change <= 3 else "other bytes"):
            read_object(b.store, "k")
    assert len(b.faulty.calls) >= 3
    assert b.faulty.calls[:3] == ["get k 0 None", "head k", "get k 0 500"]


def test_what_a_store_names_by_a_cheap_checksum_is_not_read_twice() -> None:
    b = bench({1: outage}, cut=500)
    b.faulty.store.put("k", Body.of(DATA))
    b.faulty.etag = Checksum().of([DATA]).etag
    assert read_object(b.store, "k") == DATA
    assert b.faulty.calls == ["get k 0 None", "head k", "get k 500 None", "head k"]
    b = bench({1: outage}, cut=500)
    b.faulty.store.put("k", Body.of(DATA))
    b.faulty.etag = Checksum().of([DATA[::-1]]).etag
    with pytest.raises(ShortRead, match="other bytes"):
        read_object(b.store, "k")


@pytest.mark.parametrize("at", range(7))
def test_a_listing_goes_on_after_the_last_name_h45(at: int) -> None:
    b = bench({1: outage, 2: outage}, cut=at)
    names = [f"k{number}" for number in range(6)]
    for name in names:
        b.faulty.store.put(name, Body.of(b"x"))
    assert [info.key for info in b.store.list("k")] == names


def test_a_delete_that_broke_in_the_middle_is_done_again_h29() -> None:
    b = bench({1: outage}, cut=2, after=True)
    for name in ("a", "b", "c", "d"):
        b.faulty.store.put(name, Body.of(b"x"))
    b.store.delete(iter(["a", "b", "c"]))
    assert [info.key for info in b.faulty.store.list()] == ["d"]


def test_a_create_whose_answer_was_lost_is_known_again() -> None:
    b = bench({1: outage}, after=True)
    info = b.store.put("k", Body.of(DATA), create_only=True)
    assert info.size == len(DATA)
    assert b.faulty.calls == ["put k", "put k", "head k"]


def test_without_an_etag_the_bytes_decide_whose_it_is() -> None:
    class NoEtag(MemoryStore):
        def head(self, key: str) -> ObjectInfo:
            return replace(super().head(key), etag=None)

    for stored, mine in ((DATA, True), (DATA[::-1], False)):
        faulty = FaultyStore(NoEtag(), {1: outage})
        faulty.store.put("k", Body.of(stored))
        store = Retrying(faulty, clock=FakeTime().clock())
        if mine:
            assert store.put("k", Body.of(DATA), create_only=True).size == len(DATA)
        else:
            with pytest.raises(Exists):
                store.put("k", Body.of(DATA), create_only=True)


@pytest.mark.parametrize("other", [b"shorter", DATA[::-1]])
def test_a_create_after_a_failure_does_not_claim_what_another_wrote_h01(other: bytes) -> None:
    b = bench({1: outage})
    b.faulty.store.put("k", Body.of(other))
    with pytest.raises(Exists):
        b.store.put("k", Body.of(DATA), create_only=True)
    assert read_object(b.faulty.store, "k") == other


def test_a_create_that_meets_an_object_at_once_is_refused_even_with_the_same_bytes() -> None:
    b = bench({})
    b.faulty.store.put("k", Body.of(DATA))
    with pytest.raises(Exists):
        b.store.put("k", Body.of(DATA), create_only=True)
    assert b.faulty.calls == ["put k"]


def test_every_call_of_a_small_session_may_fail_once() -> None:
    def session(store: Retrying) -> None:
        store.put("a/1", Body.of(DATA), create_only=True)
        store.put("a/2", Body.of(DATA))
        assert read_object(store, "a/1") == DATA
        assert [info.key for info in store.list("a/")] == ["a/1", "a/2"]
        assert store.head("a/2").size == 1000
        store.delete(["a/1"])
        assert [info.key for info in store.list()] == ["a/2"]

    whole = bench({})
    session(whole.store)
    for call in range(1, len(whole.faulty.calls) + 1):
        for after in (False, True):
            for passed in (0, 300):
                session(bench({call: outage}, after=after, cut=passed).store)


@pytest.mark.parametrize("read", [lambda store: store.get("k"), lambda store: store.list()])
def test_the_time_that_a_reader_takes_for_itself_is_not_the_stores(
    read: Callable[[Retrying], Iterator[object]],
) -> None:
    """A connection that nobody reads from for long is closed by the other side, and is worth a repeat then."""
    b = bench({1: outage}, RetryPolicy(deadline=60), cut=100 if "get" in read.__code__.co_names else 1)
    b.faulty.store.put("k", Body.of(DATA))
    b.faulty.store.put("l", Body.of(DATA))
    reader = read(b.store)
    next(reader)
    b.time.time += 3600
    assert list(reader)
    assert len(b.faulty.calls) > 1


@pytest.mark.parametrize(("rate", "ends"), [(50, True), (1000, True), (1100, False), (100_000, False)])
def test_a_stream_that_trickles_is_an_outage(rate: int, ends: bool) -> None:
    b = bench({}, RetryPolicy(deadline=30))
    size = 100 * rate
    b.faulty.store.put("k", Body.of(bytes(size)))

    def slow(_key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        assert length is None
        for _ in range(start, size, rate):
            b.time.time += 1
            yield bytes(rate)

    b.faulty.get = slow  # type: ignore[method-assign] # the store's one method that takes time
    if ends:
        with pytest.raises(Unavailable, match="too slow"):
            read_object(b.store, "k")
        assert b.time.time == 30
    else:
        assert len(read_object(b.store, "k")) == size


@pytest.mark.parametrize("first", [1, 1023])
def test_the_first_few_bytes_of_a_trickle_restore_no_patience(first: int) -> None:
    b = bench({}, RetryPolicy(deadline=30))
    b.faulty.store.put("k", Body.of(bytes(5000)))

    def slow(_key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        assert (start, length) == (0, None)
        b.time.time += 20
        yield bytes(first)
        b.time.time += 11
        yield bytes(1)

    b.faulty.get = slow  # type: ignore[method-assign]
    reader = b.store.get("k")
    assert next(reader) == bytes(first)
    b.time.time += 3600  # the reader's own time
    with pytest.raises(Unavailable, match="too slow"):
        next(reader)
    assert b.time.time == 3631
