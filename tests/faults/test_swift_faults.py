"""Swift and Keystone in trouble: tokens that end, a Keystone that is away, waits asked for, trickles, failing pages."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from lab.faults import Answer, BreakAnswer, BreakRequest, CutAnswer, Fault, FlipAnswer, LoseAnswer, Rule, SlowAnswer
from tests.faults import service as services
from tests.faults.service import DEADLINE, Service, Skipping
from tests.store.settings import options_of
from wal_e.errors import Denied, NotFound, Throttled, Unavailable, WalEError
from wal_e.store.api import Body, Store, read_object
from wal_e.store.drivers.swift.driver import SwiftStore
from wal_e.store.retry import Retrying, RetryPolicy

pytestmark = pytest.mark.slow
service = services.service
DATA = random.Random(44).randbytes(3_000_000)
OUTAGE = Rule(LoseAnswer())


@pytest.fixture
def fresh(service: Service) -> Callable[..., SwiftStore]:
    """Makes stores that have not logged in yet."""

    def make(**options: Any) -> SwiftStore:
        store = SwiftStore(options_of(service.variables), service.place, **options)
        made.append(store)
        return store

    made: list[SwiftStore] = []
    yield make
    for store in made:
        store.close()


@pytest.fixture(autouse=True)
def _behaving(service: Service) -> None:
    service.arm()


def patient(store: Store, skipping: Skipping | None = None) -> Retrying:
    return Retrying(store, RetryPolicy(deadline=DEADLINE), clock=(skipping or Skipping()).clock())


@pytest.mark.parametrize("status", [429, 498, 503])
def test_h44_a_wait_that_is_asked_for_is_kept_and_never_goes_beyond_the_deadline(service: Service, status: int) -> None:
    skipping = Skipping()
    service.arm(Rule.at(1, Answer(status, {"Retry-After": "7"})))
    with pytest.raises(NotFound):
        patient(service.store, skipping).head("absent")
    assert skipping.pauses == [7.25]
    assert len(service.proxy.requests) == 2
    service.arm(Rule(Answer(status, {"Retry-After": str(int(DEADLINE))})))
    with pytest.raises(Throttled):
        patient(service.store).head("absent")
    assert len(service.proxy.requests) == 1


@pytest.mark.parametrize("at", [0, 1000, 2_000_000])
def test_h44_a_token_that_ends_while_a_body_is_sent_is_renewed_once(service: Service, at: int) -> None:
    """Swift answers in the middle of the body, and hangs up."""
    store = patient(service.store)
    service.arm(Rule.at(1, Answer(401, read=at), "PUT"))
    key = f"upload-{at}"
    assert store.put(key, Body.of(DATA), create_only=True).size == len(DATA)
    assert read_object(service.beside, key) == DATA
    assert len(service.identity.requests) <= 1
    assert len(service.proxy.requests) <= 3


def test_h44_a_password_that_is_no_longer_valid_is_not_tried_again(service: Service) -> None:
    service.arm(Rule(Answer(401)))
    service.identity.arm(Rule(Answer(401)))
    with pytest.raises(Denied, match="login") as caught:
        patient(service.store).put("k", Body.of(DATA))
    assert caught.value.hint
    assert len(service.proxy.requests) <= 2  # the body broke off, and a look whether that was the token
    assert len(service.identity.requests) == 1


@pytest.mark.parametrize("about_to_end", [False, True])
def test_h44_while_keystone_is_away_a_token_that_is_valid_serves(
    service: Service, fresh: Callable[..., SwiftStore], *, about_to_end: bool
) -> None:
    """Two minutes before its end a token is renewed; where that fails, Swift is asked whether it still takes it."""
    bare = fresh()
    store = patient(bare)
    store.put("before", Body.of(b"1"))
    service.identity.arm(OUTAGE)
    if about_to_end:
        bare._wire._login._account.session.auth.MIN_TOKEN_LIFE_SECONDS = 10**9  # type: ignore[attr-defined]
    store.put("meanwhile", Body.of(DATA))
    assert read_object(store, "meanwhile") == DATA
    assert bool(service.identity.requests) == about_to_end
    service.arm(Rule(Answer(401)))
    service.identity.arm(OUTAGE)
    with pytest.raises(Unavailable, match="identity service") as caught:
        store.head("before")
    assert "tried" in (caught.value.detail or "")
    assert len(service.proxy.requests) <= 1
    assert len(service.identity.requests) < 10


LOGIN: dict[str, tuple[Fault, bool]] = {
    "500": (Answer(500), True),
    "503": (Answer(503), True),
    "503, Retry-After": (Answer(503, {"Retry-After": "7"}), True),
    "429, Retry-After": (Answer(429, {"Retry-After": "7"}), True),
    "reset": (BreakRequest(0), True),
    "answer lost": (LoseAnswer(), True),
    "answer reset in its body": (BreakAnswer(100), True),
    "answer ends early": (CutAnswer(100), True),
    "a bit flipped": (FlipAnswer(), False),
    "a page of somebody else's": (Answer(200, {"Content-Type": "text/html"}, b"<html>Hello</html>"), False),
}


@pytest.mark.parametrize("fault", LOGIN)
def test_a_fault_of_a_login_is_got_over_or_clear(
    service: Service, fresh: Callable[..., SwiftStore], fault: str
) -> None:
    what, passing = LOGIN[fault]
    skipping, store = Skipping(), fresh()
    service.arm()
    service.identity.arm(Rule.at(1, what))
    try:
        patient(store, skipping).put("k", Body.of(b"1"))
    except WalEError:
        assert not passing
    else:
        assert len(service.identity.requests) == 2
        assert ("Retry-After" in fault) == (skipping.skipped > 7)
    service.identity.arm(Rule(what))
    with pytest.raises(WalEError) as caught:
        patient(fresh()).put("k", Body.of(b"1"))
    assert caught.value.detail
    assert len(service.identity.requests) < 10


def test_a_trickle_ends_with_the_deadline(service: Service) -> None:
    service.beside.put("trickle", Body.of(DATA))
    service.arm(Rule(SlowAnswer(20, 0.1), match="GET"))
    with pytest.raises(Unavailable, match="too slow"):
        read_object(Retrying(service.store, RetryPolicy(deadline=2)), "trickle")
    assert len(service.proxy.requests) == 1


def test_a_slow_stream_that_moves_is_left_in_peace(service: Service) -> None:
    service.beside.put("slow", Body.of(DATA))
    service.arm(Rule(SlowAnswer(65536, 0.03), match="GET"))
    assert read_object(Retrying(service.store, RetryPolicy(deadline=0.5)), "slow") == DATA
    assert len(service.proxy.requests) == 1


def test_h14_silence_in_the_middle_is_an_outage(service: Service, fresh: Callable[..., SwiftStore]) -> None:
    service.beside.put("silent", Body.of(DATA))
    service.arm(Rule(SlowAnswer(len(DATA) // 2, 60), match="GET"))
    with pytest.raises(Unavailable, match="no answer"):
        read_object(fresh(patience=0.5), "silent")


@pytest.mark.parametrize("fault", [Answer(503), BreakAnswer(1), CutAnswer(1), FlipAnswer(), LoseAnswer()], ids=repr)
def test_h45_a_page_that_fails_leaves_nothing_out_and_nothing_twice(
    service: Service, fresh: Callable[..., SwiftStore], fault: Fault
) -> None:
    names = [f"pages/{number:02}" for number in range(10)]
    for name in names:
        service.beside.put(name, Body.of(b""))
    store = patient(fresh(list_page=3))
    service.arm()
    assert [info.key for info in store.list("pages/")] == names
    pages = len(service.proxy.requests)
    for page in range(1, pages + 1):
        service.arm(Rule.at(page, fault))
        assert [info.key for info in store.list("pages/")] == names
        assert service.proxy.struck == 1
        assert len(service.proxy.requests) == pages + 1
    service.arm(Rule(fault, first=pages))
    with pytest.raises(Unavailable):
        list(store.list("pages/"))
