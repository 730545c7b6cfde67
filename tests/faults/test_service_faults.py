"""
Real services that misbehave at one request, or from one request on, at every request of every operation.

However it ends, nothing wrong is stored and nothing wrong is restored; where it fails, it says so in our own words,
inside its deadline, and after a number of requests that is bounded.

Enumerated are all pairs of a fault and a request that it can strike: on S3 those of every operation, elsewhere those of
the cheap ones. The costly ones meet a fault at each request there, too, each fault in its turn: what they do about an
error of a store does not depend on the driver that raised it. A fault of bodies strikes only requests, or answers, that
have one; at others it would be none, or the same as one that strikes everything.
"""

import itertools
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from lab.faults import (
    Answer,
    BreakAnswer,
    BreakRequest,
    ChangeHeaders,
    CutAnswer,
    Fault,
    FlipAnswer,
    LoseAnswer,
    Rule,
)
from tests.faults import service as services
from tests.faults.operations import (
    BackupFetch,
    BackupPush,
    Delete,
    Operation,
    WalFetch,
    WalFetchAbsent,
    WalPush,
    WalPushAgain,
)
from tests.faults.service import DEADLINE, Service, Skipping
from wal_e.errors import Denied, StoreError, WalEError
from wal_e.repo import lease
from wal_e.repo.lease import Timing

pytestmark = pytest.mark.slow
service = services.service

THREADS = 2  # of the backup and the restore
RELEASES = 2  # of a lease, which goes on where the store does not answer: deleting the claim, storing its end
TRIES = 9  # as many as the deadline has room for

PAGE = b"<html><body>Welcome to the guest network. Please log in.</body></html>"
YEAR = "Sun, 01 Jan 2034 00:00:00 GMT"

WAIT = 7  # seconds that a service asks for
ASKED_TO_WAIT = Answer(503, {"Retry-After": str(WAIT)})

# What is gone after one repeat, and what is no fault to us at all: the operation must go right.
PASSING: dict[str, Fault] = {
    "500": Answer(500),
    "503, Retry-After": ASKED_TO_WAIT,
    "429": Answer(429),
    "503 before the body was read": Answer(503, read=0),
    "connection reset before the body": BreakRequest(0),
    "connection reset in the body": BreakRequest(1000),
    "answer lost": LoseAnswer(),
    "answer reset in its body": BreakAnswer(100),
    "answer ends early": CutAnswer(100),
    "clock ahead by years": ChangeHeaders({"date": lambda _: YEAR, "last-modified": lambda _: YEAR}),
}
# What a new login heals, where there is one; elsewhere it is final, and must be said clearly.
EXPIRED: dict[str, Fault] = {"401": Answer(401)}
REFUSED: dict[str, Fault] = {"401": Answer(401), "403": Answer(403)}
# What may end the operation too: repeating would hide it, or cannot help.
DOUBTFUL: dict[str, Fault] = {
    "404": Answer(404),
    "403": Answer(403),
    "another ETag": ChangeHeaders({"etag": lambda _: "0" * 32}),
    "a bit flipped": FlipAnswer(),
    "a page of somebody else's": Answer(200, {"Content-Type": "text/html"}, PAGE),
    "a page in place of a 201": Answer(201, {"Content-Type": "text/html"}, PAGE),
}
# The requests that some of them can strike.
SENDS, ANSWERS_WITH_BODY, HAS_ETAG = "^(PUT|POST) ", "^(GET|POST) ", "^(PUT|POST|GET|HEAD) "
STRIKES: dict[str, str] = {
    "503 before the body was read": SENDS,
    "connection reset in the body": SENDS,
    "answer reset in its body": ANSWERS_WITH_BODY,
    "answer ends early": ANSWERS_WITH_BODY,
    "another ETag": HAS_ETAG,
    "a bit flipped": ANSWERS_WITH_BODY,
    "a page in place of a 201": SENDS,
}
LASTING: dict[str, Fault] = {
    "503": Answer(503),
    "429, Retry-After": Answer(429, {"Retry-After": "3"}),
    "401": Answer(401),
    "answers lost": LoseAnswer(),
    "connections reset": BreakRequest(0),
}


@dataclass
class Outcome:
    """How one run ended: `seconds` of pauses, `requests` to the store, `logins`."""

    number: int
    error: WalEError | None
    seconds: float
    requests: list[str]
    logins: int


class Runs:
    """Runs one kind of operation again and again, each with another rule."""

    def __init__(self, kind: type[Operation], service: Service, scratch: Path, source: Path) -> None:
        self.kind, self.service, self.scratch, self.source = kind, service, scratch, source
        self._shared: Operation | None = None

    def operation(self) -> Operation:
        if self._shared is not None:
            self._shared.renew()
            return self._shared
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir()
        operation = self.kind(self.service.archive(), self.scratch, self.source)
        operation.prepare()
        self._shared = operation if self.kind.shared else None
        return operation

    def once(self, rule: Rule | None, number: int = 0) -> Outcome:
        operation, skipping = self.operation(), Skipping()
        store = operation.archive.patient(skipping)
        error = None
        operation.denied = rule is not None and rule.fault == DOUBTFUL["404"]
        self.service.arm(rule)
        try:
            operation.run(store)
        except WalEError as caught:
            error = caught
        requests = list(self.service.proxy.requests)
        outcome = Outcome(number, error, skipping.skipped, requests, self.service.logins)
        if error is not None:
            operation.check_failed()
        return outcome

    def at_each(self, rule: Callable[[int], Rule]) -> Iterator[Outcome]:
        """With the rule for request 1, 2, ... until one is no longer reached."""
        for number in itertools.count(1):
            outcome = self.once(rule(number), number)
            if not self.service.proxy.struck:
                assert outcome.error is None
                return
            yield outcome


CHEAP: list[type[Operation]] = [WalPush, WalPushAgain, WalFetch, WalFetchAbsent]
COSTLY: list[type[Operation]] = [BackupPush, BackupFetch, Delete]
WHOLE = ("s3",)  # where costly operations meet all pairs, too: on Swift each run takes twice as long
LOGGED_IN = ("swift",)
UNLOGGED = tuple(name for name in services.SERVICES if name not in LOGGED_IN)


@pytest.fixture(autouse=True)
def _listings_do_not_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    """These services list what they stored at once, so a lease need not wait for that."""
    monkeypatch.setattr(lease, "Timing", partial(Timing, settle=0.0))


@pytest.fixture
def runs(request: pytest.FixtureRequest, service: Service, tmp_path: Path, tiny: Path) -> Runs:
    return Runs(request.param, service, tmp_path / "scratch", tiny)


@dataclass(frozen=True)
class Turns:
    """Which fault strikes at which of the requests that `match` finds: always the same, or each in turn."""

    faults: tuple[Fault, ...]
    match: str = ""

    def at(self, number: int) -> Fault:
        return self.faults[number % len(self.faults)]

    def once(self, number: int) -> Rule:
        return Rule.at(number, self.at(number), self.match)

    def from_then_on(self, number: int) -> Rule:
        return Rule(self.at(number), first=number, match=self.match)

    def most(self, requests: Sequence[str]) -> int:
        """How many of these requests can be struck."""
        return sum(re.search(self.match, request) is not None for request in requests)


def every_operation(
    faults: Callable[[str], Mapping[str, Fault]],
    at: Sequence[str] = tuple(services.SERVICES),
    *,
    costly: bool = True,
) -> pytest.MarkDecorator:
    """At each service, with the faults for it, given its name."""
    cases = [
        pytest.param(service, kind, turns, id=f"{service}-{kind.__name__}-{name}")
        for service in at
        for kind in (CHEAP + COSTLY if costly else CHEAP)
        for turns, name in _turns(faults(service), each=kind in CHEAP or service in WHOLE)
    ]
    return pytest.mark.parametrize(("service", "runs", "turns"), cases, indirect=["service", "runs"])


def _turns(faults: Mapping[str, Fault], *, each: bool) -> Iterator[tuple[Turns, str]]:
    if each:
        yield from ((Turns((fault,), STRIKES.get(name, "")), name) for name, fault in faults.items())
    else:
        yield Turns(tuple(faults.values())), "in turn"


def passing(service: str) -> dict[str, Fault]:
    """Return what must pass at a service."""
    return PASSING | (EXPIRED if service in LOGGED_IN else {})


@every_operation(passing)
def test_a_fault_that_passes_at_any_request_is_got_over(runs: Runs, turns: Turns) -> None:
    clean = runs.once(None)
    assert clean.error is None
    struck = 0
    for outcome in runs.at_each(turns.once):
        assert outcome.error is None, f"{outcome}: {outcome.error!r} {outcome.error.detail}"
        assert len(outcome.requests) <= len(clean.requests) + 4, outcome
        assert outcome.logins <= 2, outcome
        assert outcome.seconds < DEADLINE, outcome
        if turns.at(outcome.number) == ASKED_TO_WAIT and runs.service.hears_waits:
            assert outcome.seconds >= WAIT, outcome
        struck += 1
    assert struck >= turns.most(clean.requests)


@every_operation(lambda _: REFUSED, at=UNLOGGED, costly=False)
def test_a_refusal_at_any_request_is_final_and_says_so(runs: Runs, turns: Turns) -> None:
    """Not of costly ones, which go right where only their lease cannot be given back."""
    struck, clean = 0, runs.once(None)
    for outcome in runs.at_each(turns.once):
        assert isinstance(outcome.error, Denied), outcome
        assert outcome.error.detail, outcome
        assert outcome.error.hint, outcome
        assert len(outcome.requests) == outcome.number, outcome
        assert outcome.seconds == 0, outcome
        struck += 1
    assert struck >= len(clean.requests)


@every_operation(lambda _: DOUBTFUL)
def test_h14_h20_h45_a_wrong_answer_at_any_request_is_noticed_or_does_no_harm(runs: Runs, turns: Turns) -> None:
    struck, clean = 0, runs.once(None)
    for outcome in runs.at_each(turns.once):
        assert len(outcome.requests) <= len(clean.requests) + 8, outcome
        assert outcome.seconds < DEADLINE, outcome
        struck += 1
    assert struck >= turns.most(clean.requests) - 1  # one that is refused may end it before the last request


@every_operation(lambda _: LASTING)
def test_h44_a_fault_that_lasts_ends_every_operation_inside_its_deadline(runs: Runs, turns: Turns) -> None:
    """A storm of refused tokens costs one login more, and one for the release of a lease, and no repeat at all."""
    clean = runs.once(None)
    logged_in = runs.service.identity is not None
    for outcome in runs.at_each(turns.from_then_on):
        refused = turns.at(outcome.number) == Answer(401)
        if outcome.error is None:  # all was done: only the lease, whose release is last, could not be given back
            assert outcome.number >= len(clean.requests), outcome
            continue
        assert isinstance(outcome.error, StoreError), outcome
        assert isinstance(outcome.error, Denied) == refused, outcome
        assert outcome.error.detail, outcome
        assert outcome.seconds < (THREADS + RELEASES) * DEADLINE, outcome
        assert len(outcome.requests) < outcome.number + (THREADS + RELEASES) * (2 if refused else TRIES), outcome
        assert outcome.logins <= (2 + RELEASES if refused and logged_in else 0), outcome
