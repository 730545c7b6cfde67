"""Stores of buckets in trouble: answers that are not theirs, answers that are cut, and waits that are asked for."""

import pytest

from lab.faults import Answer, BreakAnswer, CutAnswer, Fault, Rule
from tests.faults import service as services
from tests.faults.service import DEADLINE, Service, Skipping
from wal_e.errors import Exists, NotFound, ShortRead, StoreError, Throttled, Unavailable
from wal_e.store.api import Body
from wal_e.store.retry import Retrying, RetryPolicy

pytestmark = pytest.mark.slow
service = services.service
BUCKETS = ["s3", "azure", "gs"]
PAGE = b"<html><body>Welcome to the guest network. Please log in.</body></html>"


@pytest.fixture(autouse=True)
def _behaving(service: Service) -> None:
    service.arm()


def patient(service: Service, skipping: Skipping | None = None) -> Retrying:
    return Retrying(service.store, RetryPolicy(deadline=DEADLINE), clock=(skipping or Skipping()).clock())


@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize("service", BUCKETS, indirect=True)
def test_h20_a_page_of_somebody_elses_deletes_nothing_and_is_not_taken_for_a_deletion(
    service: Service, status: int
) -> None:
    keys = [f"doomed-{status}-{number}" for number in range(3)]
    for key in keys:
        service.beside.put(key, Body.of(b"x"))
    service.arm(Rule(Answer(status, {"Content-Type": "text/html"}, PAGE)))
    with pytest.raises(StoreError):
        service.store.delete(keys)
    service.arm()
    patient(service).delete(keys)
    for key in keys:
        with pytest.raises(NotFound):
            service.beside.head(key)


@pytest.mark.parametrize("last", [1, None])
@pytest.mark.parametrize("service", BUCKETS, indirect=True)
def test_h45_a_page_of_somebody_elses_is_not_taken_for_an_empty_listing(service: Service, last: int | None) -> None:
    service.beside.put("listed/here", Body.of(b"x"))
    service.arm(Rule(Answer(200, {"Content-Type": "text/html"}, PAGE), last=last))
    with pytest.raises(StoreError):
        list(service.store.list("listed/"))
    service.arm()
    assert [info.key for info in service.store.list("listed/")] == ["listed/here"]
    assert not list(service.store.list("unlisted/"))


@pytest.mark.parametrize("fault", [CutAnswer(5), BreakAnswer(5)])
@pytest.mark.parametrize("service", BUCKETS, indirect=True)
def test_a_refusal_that_breaks_off_is_asked_for_again(service: Service, fault: Fault) -> None:
    key = "there"
    service.beside.put(key, Body.of(b"x"))
    service.arm(Rule.at(1, fault))
    with pytest.raises((Exists, Unavailable, ShortRead)):
        service.store.put(key, Body.of(b"y"), create_only=True)
    assert service.proxy.struck == 1
    service.arm(Rule.at(1, fault))
    with pytest.raises(Exists):
        patient(service).put(key, Body.of(b"y"), create_only=True)
    assert len(service.proxy.requests) <= 3


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("service", ["gs"], indirect=True)
def test_h44_a_wait_that_google_asks_for_is_kept_and_never_goes_beyond_the_deadline(
    service: Service, status: int
) -> None:
    skipping = Skipping()
    service.arm(Rule.at(1, Answer(status, {"Retry-After": "7"})))
    with pytest.raises(NotFound):
        patient(service, skipping).head("absent")
    assert skipping.pauses == [7.25]
    assert len(service.proxy.requests) == 2
    service.arm(Rule(Answer(status, {"Retry-After": str(int(DEADLINE))})))
    with pytest.raises(Throttled):
        patient(service).head("absent")
    assert len(service.proxy.requests) == 1
