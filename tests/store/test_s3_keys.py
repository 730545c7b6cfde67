"""Temporary keys are renewed early, used while they last, and one failure is enough for all threads."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wal_e.errors import StoreError, Unavailable
from wal_e.store.drivers.s3.keys import AGAIN, EARLY, MARK, PAUSE, Keys, Renewing, renewal

START = datetime(2026, 1, 1, tzinfo=UTC)


class Service:
    """Gives keys that live for an hour, or fails; time passes where the test says so."""

    def __init__(self) -> None:
        self.now = START
        self.asked = 0
        self.fails = False
        self.life: timedelta | None = timedelta(hours=1)
        self.renewing = Renewing(self.fetch, lambda: self.now)

    def fetch(self) -> Keys:
        self.asked += 1
        if self.fails:
            raise Unavailable("no answer")
        return Keys(f"key-{self.asked}", "secret", "token", None if self.life is None else self.now + self.life)

    def after(self, wait: timedelta) -> str:
        self.now += wait
        given = self.renewing()
        assert given["expires_at"] is None or given["expires_at"] > self.now or self.life == timedelta(0)
        return str(given["access_key_id"])


def test_keys_are_renewed_some_minutes_before_they_end() -> None:
    service = Service()
    assert service.after(timedelta(0)) == "key-1"
    assert service.after(timedelta(minutes=54)) == "key-1"
    assert service.after(timedelta(minutes=1)) == "key-2"
    assert service.asked == 2


def test_keys_that_do_not_end_are_fetched_once() -> None:
    service = Service()
    service.life = None
    assert service.after(timedelta(0)) == service.after(timedelta(days=4000)) == "key-1"


def test_keys_that_have_ended_already_are_fetched_for_each_request() -> None:
    """The service's clock and ours differ: the store says whether they are good."""
    service = Service()
    service.life = timedelta(0)
    assert [service.after(timedelta(0)) for _ in range(3)] == ["key-1", "key-2", "key-3"]


def test_keys_are_used_while_they_last_though_renewing_fails() -> None:
    service = Service()
    service.after(timedelta(0))
    service.fails = True
    assert service.after(timedelta(minutes=56)) == "key-1"
    assert service.after(AGAIN / 2) == "key-1"
    assert service.asked == 2
    assert service.after(AGAIN) == "key-1"
    assert service.asked == 3
    with pytest.raises(Unavailable):
        service.after(timedelta(minutes=4))
    service.fails = False
    assert service.after(PAUSE) == "key-5"


def test_a_failure_is_shared_for_a_moment_and_explained() -> None:
    service = Service()
    service.fails = True
    for _ in range(3):
        with pytest.raises(Unavailable):
            service.after(timedelta(0))
    assert service.asked == 1
    assert isinstance(service.renewing.explain(Exception(f"{MARK}: Unavailable")), StoreError)
    assert service.renewing.explain(Exception("status code: 503")) is None
    with pytest.raises(Unavailable):
        service.after(PAUSE)
    assert service.asked == 2


def test_each_caller_gets_an_error_of_its_own_to_add_to() -> None:
    service = Service()
    service.fails = True
    with pytest.raises(Unavailable):
        service.after(timedelta(0))
    first, second = (service.renewing.explain(Exception(MARK)) for _ in range(2))
    assert first is not None
    assert second is not None
    first.detail = "It was tried 3 times."
    assert second.detail is None


@given(st.timedeltas(timedelta(days=-1), timedelta(days=1)))
def test_renewal_is_before_the_end_and_not_too_early(life: timedelta) -> None:
    when = renewal(START, START + life)
    assert when is not None
    assert when <= START + life
    assert when >= START + life - EARLY
    if life > timedelta(0):
        assert when > START
