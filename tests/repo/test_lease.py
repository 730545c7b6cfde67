"""The lease: at most one at a time, whatever the order of calls, the clocks, the faults and the rights (H25, H46)."""

import contextlib
import itertools
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lab.swift import SwiftInfo
from tests.backup.tiny import Listener
from tests.faults.faulty_store import FaultyStore, Mode
from tests.faults.forked import was_killed
from wal_e.config import load
from wal_e.errors import Denied, LeaseHeld, LeaseLost, StoreError, Unavailable
from wal_e.events import Message, Progress, silent
from wal_e.repo.holder import Holder, decode_holder
from wal_e.repo.layout import LEASE_PREFIX, claim_key, claim_name, parse_lease_key, release_key
from wal_e.repo.lease import LASTS, Lease, Timing
from wal_e.store.api import Body, Capabilities, ObjectInfo, Store
from wal_e.store.drivers.file import FolderStore
from wal_e.store.drivers.memory import MemoryStore
from wal_e.store.drivers.swift.options import OPTIONS
from wal_e.store.stack import StackOptions, build_stack

LATER = timedelta(minutes=11)
MODES: tuple[Mode, ...] = ("fail", "cut", "flip", "lost")
ELSEWHERE = Holder("elsewhere", 4711, "backup-push", datetime(2026, 5, 1, tzinfo=UTC), LASTS, "another/machine", 5)


@dataclass
class Clock:
    """Time that passes only where somebody sleeps."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)
    meanwhile: Callable[[], object] = lambda: None

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)
        self.meanwhile()

    def timing(self) -> Timing:
        return Timing(sleep=self.sleep, clock=lambda: self.now)


class Rights(FaultyStore):
    """Credentials that may create objects and delete none, as under object lock."""

    def delete(self, keys: Iterable[str]) -> None:
        raise Denied(f"{len(list(keys))} objects may not be deleted")


class SlowListings(FaultyStore):
    """A store like Swift: creating is not exclusive."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, atomic_create=False)


def without_faults(kind: type[FaultyStore], inner: Store) -> FaultyStore:
    return kind(inner, call=1 << 40)


@pytest.fixture(params=["memory", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else FolderStore(tmp_path)


def leases(store: Store) -> set[str]:
    return {info.key for info in store.list(LEASE_PREFIX)}


def age(store: Store, by: timedelta = LATER, under: str = LEASE_PREFIX) -> None:
    """Makes what is stored under a prefix older, by the store's clock."""
    if isinstance(store, MemoryStore):
        for key, (data, info) in store._objects.items():
            if key.startswith(under):
                store._objects[key] = data, replace(info, last_modified=info.last_modified - by)
    elif isinstance(store, FolderStore):
        for info in store.list(under):
            when = (info.last_modified - by).timestamp()
            os.utime(store._base / info.key, (when, when))


def claimed_elsewhere(store: Store, name: str | None = None) -> str:
    """A claim of another host's, which is neither renewed nor released."""
    name = name or claim_name(datetime(2026, 5, 1, tzinfo=UTC), "0" * 16)
    store.put(claim_key(name, 0), Body.of(ELSEWHERE.encode()))
    return name


def held(store: Store, clock: Clock | None = None) -> Lease:
    lease = Lease(store, "backup-push", silent, (clock or Clock()).timing())
    lease.acquire()
    return lease


def test_it_is_had_once_and_leaves_nothing(store: Store) -> None:
    with Lease(store, "delete", silent) as first:
        first.acquire()
        first.check()
        with Lease(store, "backup-push", silent, Clock().timing()) as second, pytest.raises(LeaseHeld):
            second.acquire()
        first.check()
        assert leases(store) == {claim_key(first.name, 0)}
    assert leases(store) == set()
    with held(store):
        pass


def test_the_refusal_names_the_holder_since_when_and_what_to_do(store: Store) -> None:
    name = claimed_elsewhere(store)
    with Lease(store, "delete", silent, Clock().timing()) as lease, pytest.raises(LeaseHeld) as error:
        lease.acquire()
    expires = (store.head(claim_key(name, 0)).last_modified + LASTS).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert error.value.detail == 'It is "backup-push", process 4711 on elsewhere, since 2026-05-01T00:00:00.000000Z.'
    assert expires in str(error.value.hint)
    assert f'delete the objects under "leases/{name}/"' in str(error.value.hint)


def test_h46_a_holder_whose_clock_is_ahead_is_refused_to_as_well(store: Store) -> None:
    """Its claim's name sorts behind the newcomer's, who looks again, for it might be withdrawing, and then gives up."""
    name = claimed_elsewhere(store, claim_name(datetime(2099, 1, 1, tzinfo=UTC), "0" * 16))
    clock = Clock()
    with Lease(store, "delete", silent, clock.timing()) as lease, pytest.raises(LeaseHeld):
        lease.acquire()
    assert 0 < sum(clock.slept) < lease._timing.renew
    assert leases(store) == {claim_key(name, 0)}


def test_a_renewal_takes_the_place_of_the_one_before(store: Store) -> None:
    with held(store) as lease:
        for number in range(1, 4):
            lease.renew()
            assert leases(store) == {claim_key(lease.name, number)}
        lease.check()
    assert leases(store) == set()


def test_h46_a_claim_that_expired_is_taken_over_after_it_was_watched(store: Store) -> None:
    claimed_elsewhere(store)
    age(store)
    clock = Clock()
    with held(store, clock) as lease:
        assert sum(clock.slept) >= lease._timing.watch > lease._timing.renew
        assert leases(store) == {claim_key(lease.name, 0)}


def test_h46_what_still_renews_is_not_taken_over_by_age_alone(store: Store) -> None:
    name = claimed_elsewhere(store)
    age(store)
    clock = Clock()
    numbers = itertools.count(1)

    def renew() -> None:
        key = claim_key(name, next(numbers))
        store.put(key, Body.of(ELSEWHERE.encode()))
        age(store, under=key)

    clock.meanwhile = renew
    with Lease(store, "delete", silent, clock.timing()) as lease, pytest.raises(LeaseHeld):
        lease.acquire()


def test_h46_the_local_clock_does_not_count(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: object = None) -> "Ahead":  # noqa: ARG003 - the signature of datetime's
            return cls(2031, 1, 1, tzinfo=UTC)

    claimed_elsewhere(store)
    monkeypatch.setattr("wal_e.repo.lease.datetime", Ahead)
    clock = Clock()
    with Lease(store, "delete", silent, clock.timing()) as lease, pytest.raises(LeaseHeld):
        lease.acquire()
    age(store)
    with held(store, clock) as lease:
        assert abs(lease.now() - datetime.now(UTC)) < timedelta(hours=1)


@pytest.mark.parametrize("text", [b"", b"{}", b"null", b'{"format": 1, "lasts": 1e300}', b"\xff"])
def test_h46_an_empty_or_damaged_claim_counts_until_it_expires(store: Store, text: bytes) -> None:
    name = claimed_elsewhere(store)
    store.delete([claim_key(name, 0)])
    store.put(claim_key(name, 1), Body.of(text))
    with Lease(store, "delete", silent, Clock().timing()) as lease, pytest.raises(LeaseHeld, match="another run"):
        lease.acquire()
    age(store)
    with held(store) as lease:
        assert leases(store) == {claim_key(lease.name, 0)}


def test_a_killed_holder_on_this_host_is_not_waited_for(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)

    def hold_and_die() -> None:
        held(store)
        os.kill(os.getpid(), 9)

    assert was_killed(hold_and_die)
    assert len(leases(store)) == 1
    clock = Clock()
    with held(store, clock) as lease:
        assert leases(store) == {claim_key(lease.name, 0)}
    assert clock.slept == []


def test_a_holder_that_slept_finds_out_before_it_does_anything(store: Store) -> None:
    clock = Clock()
    sleeper = held(store, clock)
    age(store)
    clock.now += LATER.total_seconds()
    # Its process runs, and this host could tell: so the successor is one that cannot.
    successor = held_elsewhere(store)
    with pytest.raises(LeaseLost) as error:
        sleeper.check()
    assert error.value.hint
    with pytest.raises(LeaseLost):
        sleeper.watched(silent)(Progress("backup-push", 1, 1, 1))
    successor.check()
    sleeper.__exit__(None, None, None)
    successor.check()


def held_elsewhere(store: Store) -> Lease:
    lease = Lease(store, "delete", silent, Clock().timing())
    lease._holder = ELSEWHERE
    lease.acquire()
    return lease


def test_a_holder_that_slept_goes_on_where_nobody_came(store: Store) -> None:
    clock = Clock()
    with held(store, clock) as sleeper:
        age(store)
        clock.now += LATER.total_seconds()
        sleeper.check()
        assert leases(store) == {claim_key(sleeper.name, 1)}


@pytest.mark.parametrize("kind", [FaultyStore, Rights])
def test_h46_a_holder_that_slept_while_another_came_and_went_does_not_go_on(
    store: Store, kind: type[FaultyStore]
) -> None:
    clock = Clock()
    sleeper = held(store, clock)
    store.put(claim_key(sleeper.name, 0), Body.of(ELSEWHERE.encode()))
    age(store)
    clock.now += LATER.total_seconds()
    with held(without_faults(kind, store)):
        pass
    with pytest.raises(LeaseLost):
        sleeper.renew()
    with pytest.raises(LeaseLost):
        sleeper.check()


def test_a_holder_whose_claim_was_removed_or_released_by_hand_stops(store: Store) -> None:
    with held(store) as lease:
        store.delete(leases(store))
        with pytest.raises(LeaseLost):
            lease.check()
    with held(store) as lease:
        store.put(release_key(lease.name), Body.of(b""))
        with pytest.raises(LeaseLost):
            lease.renew()


def test_a_renewal_that_failed_loses_no_lease(store: Store) -> None:
    with held(store) as lease:
        for mode in MODES:
            lease._store = FaultyStore(store, call=1, mode=mode)
            with pytest.raises(StoreError):
                lease.renew()
            lease.check()
        lease._store = store
        lease.renew()
    assert leases(store) == set()


def test_h46_a_renewal_that_arrives_late_sees_the_successor_that_came_meanwhile(store: Store) -> None:
    clock = Clock()
    sleeper = held(store, clock)
    store.put(claim_key(sleeper.name, 0), Body.of(ELSEWHERE.encode()))
    age(store)

    class Late(FaultyStore):
        def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
            clock.now += LATER.total_seconds()
            claimed_elsewhere(store)
            return super().put(key, body, create_only=create_only)

    sleeper._store = without_faults(Late, store)
    with pytest.raises(LeaseLost):
        sleeper.renew()


def test_a_listing_that_lags_behind_loses_no_lease() -> None:
    inner = MemoryStore()

    class Blind(FaultyStore):
        def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
            assert super().list(prefix, after=after)
            return iter(())

    with held(inner) as lease:
        lease._store = without_faults(Blind, inner)
        lease.check()
        inner.delete(leases(inner))
        with pytest.raises(LeaseLost):
            lease.check()


def test_a_store_that_does_not_list_the_claim_gives_no_lease() -> None:
    inner = MemoryStore()

    class Blind(FaultyStore):
        def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
            return (info for info in super().list(prefix, after=after) if not prefix)

    with (
        Lease(without_faults(Blind, inner), "delete", silent, Clock().timing()) as lease,
        pytest.raises(StoreError, match="not what was stored just now"),
    ):
        lease.acquire()
    assert leases(inner) == set()


def test_credentials_that_may_only_add_are_enough(store: Store) -> None:
    adding = without_faults(Rights, store)
    for turn in range(1, 4):
        with held(adding) as lease:
            lease.renew()
            lease.renew()
            lease.check()
            with Lease(adding, "delete", silent, Clock().timing()) as other, pytest.raises(LeaseHeld):
                other.acquire()
        assert release_key(lease.name) in leases(store)
        assert sum(key.endswith("/released.json") for key in leases(store)) == 2 * turn
    with held(store) as lease:
        assert leases(store) == {claim_key(lease.name, 0)}  # Whoever may delete clears all that away.
    claimed_elsewhere(store)
    age(store)
    with held(adding), pytest.raises(LeaseHeld), Lease(adding, "delete", silent, Clock().timing()) as other:
        other.acquire()


def test_the_thread_renews_and_ends(store: Store) -> None:
    renewed = threading.Event()

    class Heard(FaultyStore):
        def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
            info = super().put(key, body, create_only=create_only)
            if (parsed := parse_lease_key(key)) is not None and parsed.number == 3:
                renewed.set()
            return info

    with Lease(without_faults(Heard, store), "delete", silent, Timing(renew=0.01)) as lease:
        lease.acquire()
        assert renewed.wait(30)
        lease.check()
    assert not lease._thread.is_alive()
    assert leases(store) == set()


@pytest.mark.parametrize(("patience", "tries"), [(1.0, 2), (300.0, 1)])
def test_an_outage_that_was_waited_for_is_not_waited_for_again_to_release(patience: float, tries: int) -> None:
    clock, heard = Clock(), Listener()

    class Down(FaultyStore):
        asked = 0

        def delete(self, keys: Iterable[str]) -> None:
            self._wait(keys)

        def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
            if "released" in key:
                self._wait([key])
            return super().put(key, body, create_only=create_only)

        def _wait(self, keys: Iterable[str]) -> None:
            self.asked += 1
            clock.sleep(patience)
            raise Unavailable(f"no answer about {list(keys)}")

    store = without_faults(Down, MemoryStore())
    with Lease(store, "delete", heard, clock.timing()) as lease:
        lease.acquire()
    assert store.asked == tries
    assert "could not release the archive's lease" in heard.text


def test_on_swift_it_waits_before_it_looks() -> None:
    clock = Clock()
    with held(without_faults(SlowListings, MemoryStore()), clock) as lease:
        assert clock.slept == [lease._timing.settle]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", [FaultyStore, Rights])
def test_a_fault_at_any_call_gives_no_second_lease_and_bars_nobody(kind: type[FaultyStore], mode: Mode) -> None:
    """The fault may cost this run its lease, but whoever comes after it gets one."""
    for call in itertools.count(1):
        inner = MemoryStore()
        faulty = kind(inner, call=call, mode=mode)
        heard: list[object] = []
        got = False
        try:
            with Lease(faulty, "delete", heard.append, Clock().timing()) as lease:
                lease.acquire()
                lease.renew()
                lease.check()
                got = True
                with Lease(inner, "backup-push", silent, Clock().timing()) as other, pytest.raises(LeaseHeld):
                    other.acquire()
        except StoreError:
            assert faulty.reached
        if not any(isinstance(event, Message) and "could not release" in event.message for event in heard):
            with held(inner):
                pass
        else:
            assert kind is Rights  # The one object that would have told was lost: it expires.
        if not faulty.reached:
            break
    assert got
    assert call > 5


@pytest.mark.parametrize("mode", ["kill", "killed"])
def test_a_process_killed_at_any_call_bars_nobody(tmp_path: Path, mode: Mode) -> None:
    for call in itertools.count(1):
        folder = tmp_path / str(call)
        folder.mkdir()
        faulty = FaultyStore(FolderStore(folder), call=call, mode=mode)

        def work(faulty: FaultyStore = faulty) -> None:
            with held(faulty) as lease:
                lease.renew()
                lease.check()

        killed = was_killed(work)
        with held(FolderStore(folder)):
            pass
        assert leases(FolderStore(folder)) == set()
        if not killed:
            break
    assert call > 5


class Turns:
    """Lets two workers make their calls to the store in an order that is given, then by turns."""

    def __init__(self, order: Iterable[int]) -> None:
        self._order = itertools.chain(order, itertools.cycle((0, 1)))
        self._condition = threading.Condition()
        self._running = {0, 1}
        self._next = next(self._order)

    def step(self, who: int) -> None:
        """Waits until it is this worker's turn, and gives the next turn away."""
        with self._condition:
            assert self._condition.wait_for(lambda: self._next == who or len(self._running) == 1, timeout=60)
            self._advance()

    def leave(self, who: int) -> None:
        with self._condition:
            self._running.discard(who)
            self._condition.notify_all()

    def _advance(self) -> None:
        self._next = next(self._order)
        self._condition.notify_all()


class Paused(FaultyStore):
    """A store whose every call waits for its turn."""

    def __init__(self, inner: Store, turns: Turns, who: int) -> None:
        super().__init__(inner, call=1 << 40)
        self._turns, self._who = turns, who

    def _enter(self, verb: str, key: str) -> Mode | None:
        self._turns.step(self._who)
        return super()._enter(verb, key)


def race(
    store: Store, order: Iterable[int], works: tuple[Callable[[Store], bool], Callable[[Store], bool]]
) -> list[bool]:
    """What the two said, who made their calls to the store in this order."""
    turns = Turns(order)
    said = [False, False]

    def run(who: int) -> None:
        try:
            said[who] = works[who](Paused(store, turns, who))
        finally:
            turns.leave(who)

    threads = [threading.Thread(target=run, args=(who,)) for who in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return said


def contend(store: Store) -> bool:
    """Whether the lease was had; it is kept then, as if the holder still worked."""
    lease = Lease(store, "backup-push", silent, Clock().timing())
    try:
        lease.acquire()
    except LeaseHeld:
        lease.__exit__(None, None, None)
        return False
    lease._stop.set()
    return True


def test_h46_of_two_at_once_exactly_one_wins_in_every_order_of_calls() -> None:
    outcomes = set()
    for order in itertools.product((0, 1), repeat=8):
        store = MemoryStore()
        said = race(store, order, (contend, contend))
        assert sum(said) == 1, order
        assert len({key.split("/")[1] for key in leases(store)}) == 1
        outcomes.add(tuple(said))
    assert outcomes == {(True, False), (False, True)}


def test_h46_a_sleeper_that_wakes_and_a_successor_never_both_go_on() -> None:
    """One that expired checks its lease while another takes it over, in every order of their calls."""
    outcomes = set()
    for order in itertools.product((0, 1), repeat=8):
        store = MemoryStore()
        clock = Clock()
        sleeper = held(store, clock)
        sleeper._stop.set()
        for key, (_, info) in list(store._objects.items()):
            store._objects[key] = ELSEWHERE.encode(), info
        age(store)
        clock.now += LATER.total_seconds()

        def wake(paused: Store, sleeper: Lease = sleeper) -> bool:
            sleeper._store = paused
            try:
                sleeper.check()
            except LeaseLost:
                return False
            return True

        outcomes.add(tuple(race(store, order, (wake, contend))))
    assert (True, True) not in outcomes
    assert outcomes >= {(True, False), (False, True)}


def test_a_process_of_this_host_is_known_to_be_gone_or_not() -> None:
    here = Holder.here("delete", LASTS)
    assert not here.gone
    assert replace(here, started=here.started + 1).gone
    assert not replace(here, started=here.started + 1, machine="another").gone
    assert not replace(here, machine="", started=0).gone
    assert decode_holder(here.encode(), ELSEWHERE.since, LASTS) == here
    for pid in (0, -1, 1 << 70):
        assert not replace(here, pid=pid).gone
    child = multiprocessing.get_context("fork").Process(target=lambda: None)
    child.start()
    gone = replace(here, pid=child.pid or 0)
    os.waitid(os.P_PID, gone.pid, os.WEXITED | os.WNOWAIT)
    assert gone.gone  # It is dead, though nobody buried it yet.
    child.join()
    assert gone.gone


def test_a_process_whose_facts_are_hidden_is_not_taken_for_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """With hidepid, /proc does not show the processes of other users; only the kernel tells that they are there."""

    def refuse(_pid: int, _signal: int) -> None:
        raise PermissionError

    init = replace(Holder.here("delete", LASTS), pid=1)
    monkeypatch.setattr(os, "kill", refuse)
    monkeypatch.setattr("wal_e.repo.holder._start_time", lambda _pid: None)
    assert not init.gone


def contend_at_once(stores: list[Store]) -> list[Lease]:
    """Those of the contenders, one for each store, that got the lease; they still have it."""
    start = threading.Barrier(len(stores))
    winners: list[Lease] = []

    def work(store: Store) -> None:
        lease = Lease(store, "backup-push", silent)
        start.wait(60)
        try:
            lease.acquire()
        except LeaseHeld:
            lease.__exit__(None, None, None)
        else:
            winners.append(lease)

    threads = [threading.Thread(target=work, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return winners


@pytest.mark.slow
def test_h46_on_swift_at_most_one_of_several_wins(swift_tempauth: SwiftInfo, swift_container: str) -> None:
    """Real listings and real pauses, six at once, three times."""
    settings = load(OPTIONS, environ=swift_tempauth.environment())
    wins = 0
    for turn in range(3):
        address = f"swift://{swift_container}/{turn}"
        with contextlib.ExitStack() as opened:
            stores = [build_stack(address, settings, StackOptions()).store for _ in range(6)]
            for store in stores:
                opened.callback(store.close)
            winners = contend_at_once(stores)
            assert len(winners) <= 1
            for lease in winners:
                lease.check()
                lease.__exit__(None, None, None)
                wins += 1
            assert leases(stores[0]) == set()
    assert wins > 0


class ReadOnly(FaultyStore):
    """Credentials that may store nothing."""

    def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
        raise Denied(f"{key} of {body.size} bytes may not be stored ({create_only=})")


def test_who_may_not_store_is_refused_without_a_word_about_a_lease_that_nobody_has() -> None:
    heard = Listener()
    with Lease(without_faults(ReadOnly, MemoryStore()), "backup-push", heard, Clock().timing()) as lease:
        with pytest.raises(Denied):
            lease.acquire()
        assert abs(lease.now() - datetime.now(UTC)) < timedelta(minutes=1)
    assert not heard.text
