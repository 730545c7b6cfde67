"""
Deletions that somebody else answers: none is taken for done, nothing but what was named goes, and a repeat finishes.

A proxy's 404 looks like the answer about an object that is gone already; each service's own says more.
"""

import itertools

import pytest

from lab.faults import Answer, Fault, Rule
from tests.faults import service as services
from tests.faults.service import DEADLINE, Service, Skipping
from wal_e.errors import StoreError, Unavailable
from wal_e.store.api import Body
from wal_e.store.retry import Retrying, RetryPolicy

pytestmark = pytest.mark.slow
service = services.service
ALL = pytest.mark.parametrize("service", services.SERVICES, indirect=True)
COUNT = pytest.mark.parametrize("count", [1, 3])

XML = b'<?xml version="1.0"?><Error><Reason>no route</Reason></Error>'
HTML = b"<html><head><title>404 Not Found</title></head><body><center>nginx</center></body></html>"
FOREIGN: dict[str, Fault] = {
    "bare 404": Answer(404),
    "404 with HTML": Answer(404, {"Content-Type": "text/html"}, HTML),
    "404 with XML": Answer(404, {"Content-Type": "application/xml"}, XML),
    "404 with JSON": Answer(404, {"Content-Type": "application/json"}, b'{"message": "no Route matched"}'),
    "200 with HTML": Answer(200, {"Content-Type": "text/html"}, HTML),
    "202 with XML": Answer(202, {"Content-Type": "application/xml"}, XML),
}
FOLDERS = itertools.count()
TRIES = 9  # as many as the deadline has room for
LOOKS = 3  # requests besides: bulk deletion is given up for one by one, and somebody looks for the container


class Doomed:
    """Some objects, and one more that must stay."""

    def __init__(self, service: Service, count: int) -> None:
        folder = f"doomed-{next(FOLDERS)}"
        self.service, self.count = service, count
        self.keys = [f"{folder}/{number}" for number in range(count)]
        self.stays = f"{folder}/stays"
        for key in (*self.keys, self.stays):
            service.beside.put(key, Body.of(b"x"))

    def left(self) -> list[str]:
        found = [info.key for info in self.service.beside.list(self.stays.removesuffix("stays"))]
        assert found.pop() == self.stays
        return found

    def delete(self, rule: Rule | None) -> StoreError | None:
        """Delete them with a store that repeats nothing."""
        self.service.arm(rule)
        try:
            self.service.store.delete(self.keys)
        except StoreError as error:
            return error
        return None

    def delete_patiently(self, rule: Rule, skipping: Skipping) -> None:
        self.service.arm(rule)
        Retrying(self.service.store, RetryPolicy(deadline=DEADLINE), clock=skipping.clock()).delete(self.keys)


@COUNT
@pytest.mark.parametrize("fault", FOREIGN)
@ALL
def test_h20_no_answer_of_somebody_else_is_taken_for_a_deletion(service: Service, fault: str, count: int) -> None:
    clean = Doomed(service, count)
    assert clean.delete(None) is None
    assert clean.left() == []
    for number in range(1, len(service.proxy.requests) + 1):
        doomed = Doomed(service, count)
        error = doomed.delete(Rule.at(number, FOREIGN[fault]))
        assert service.proxy.struck == 1
        assert isinstance(error, Unavailable) or (error is None and not doomed.left()), repr(error)
        doomed = Doomed(service, count)
        doomed.delete_patiently(Rule.at(number, FOREIGN[fault]), Skipping())
        assert doomed.left() == []
        assert len(service.proxy.requests) <= 2 * count + LOOKS


@COUNT
@pytest.mark.parametrize("fault", FOREIGN)
@ALL
def test_h20_answers_of_somebody_else_end_a_deletion_inside_its_deadline(
    service: Service, fault: str, count: int
) -> None:
    doomed, skipping = Doomed(service, count), Skipping()
    with pytest.raises(Unavailable) as caught:
        doomed.delete_patiently(Rule(FOREIGN[fault]), skipping)
    assert "tried" in (caught.value.detail or "")
    assert skipping.skipped < DEADLINE
    assert len(service.proxy.requests) <= TRIES * (count + LOOKS)
    assert doomed.left() == doomed.keys


@ALL
def test_what_is_gone_already_is_no_error_to_who_deletes_it(service: Service) -> None:
    doomed = Doomed(service, 3)
    for keys in ([doomed.keys[0]], doomed.keys, doomed.keys):
        service.arm()
        service.store.delete(keys)
        assert len(service.proxy.requests) <= len(keys) + LOOKS
    assert doomed.left() == []
