"""Stores of buckets in trouble: answers that are not theirs, answers that are cut, and waits that are asked for."""

import pytest

from lab.faultproxy import BreakAnswer, CutAnswer, Fault, Rule
from tests.faults import service as services
from tests.faults.service import DEADLINE, Service, Skipping
from wal_e.errors import Exists, ShortRead, Unavailable
from wal_e.store.api import Body
from wal_e.store.retry import Retrying, RetryPolicy

pytestmark = pytest.mark.slow
service = services.service
BUCKETS = ["s3", "azure", "gs"]


@pytest.fixture(autouse=True)
def _behaving(service: Service) -> None:
    service.arm()


def patient(service: Service, skipping: Skipping | None = None) -> Retrying:
    return Retrying(service.store, RetryPolicy(deadline=DEADLINE), clock=(skipping or Skipping()).clock())


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
