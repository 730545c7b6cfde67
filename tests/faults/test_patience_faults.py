"""
Services that only trickle, by the clock: whoever has little patience gets an answer, or an error, in little time.

Every request of every operation meets a trickle; the runs of one operation wait side by side, each behind a proxy of
its own. Bytes come a third of a second apart, which no timeout of a socket notices.
"""

import copy
import gc
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest

from lab.faultproxy import FaultProxy
from lab.faults import Fault, Rule, SlowAnswer, SlowRequest
from lab.web import Web
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
from tests.faults.service import DEADLINE, Archive, Service, opened
from tests.store import test_google_logins as logins
from tests.wal.material import FIRST, segment
from wal_e.errors import NotFound, StoreError, Unavailable
from wal_e.repo import lease
from wal_e.repo.lease import Timing
from wal_e.store.api import Body, Store
from wal_e.store.drivers import pace
from wal_e.units import GIB, KIB, MIB

pytestmark = pytest.mark.slow
service = services.service
service_account_key = logins.service_account_key
ALL = pytest.mark.parametrize("service", services.SERVICES, indirect=True)

PATIENCE = 0.4
SOON = 20.0  # seconds for a whole run on a busy machine: a trickle that nobody ends takes longer
PAUSE = 0.3
TRICKLES: dict[str, Fault] = {
    "body": SlowAnswer(1, PAUSE),
    "head": SlowAnswer(1, PAUSE, head=True),
    "request": SlowRequest(1, PAUSE),
}
SILENCE = SlowAnswer(1, 60, head=True)
SIDE_BY_SIDE = 6
CHEAP: list[type[Operation]] = [WalPush, WalPushAgain, WalFetch, WalFetchAbsent]
COSTLY: list[type[Operation]] = [BackupPush, BackupFetch, Delete]
READING = (WalFetch, WalFetchAbsent, BackupFetch)  # which can share an archive
CASES = [
    *[pytest.param(kind, [fault], id=f"{kind.__name__}-{name}") for kind in CHEAP for name, fault in TRICKLES.items()],
    *[pytest.param(kind, list(TRICKLES.values()), id=f"{kind.__name__}-in turn") for kind in COSTLY],
]


class Trickling:
    """One operation on a service, run with a rule behind a proxy of its own, by somebody with little patience."""

    def __init__(self, kind: type[Operation], service: Service, scratch: Path, source: Path) -> None:
        self.kind, self.service, self.scratch, self.source = kind, service, scratch, source
        self._first: Operation | None = None

    def _operation(self, number: int) -> Operation:
        scratch = self.scratch / str(number)
        scratch.mkdir()
        if self._first is not None and self.kind in READING:
            same = copy.copy(self._first)
            same.scratch = scratch
            return same
        self._first = operation = self.kind(self.service.archive(), scratch, self.source)
        operation.prepare()
        return operation

    def run(self, number: int, rule: Rule | None) -> tuple[int, StoreError | None, float, int]:
        """Return how often it was struck, how it ended, how many seconds it took and how many requests."""
        operation, error = self._operation(number), None
        with FaultProxy(self.service.proxy.target[1]) as proxy:
            address = f"{self.service.scheme}://{self.service.place}"
            patience = DEADLINE if rule is None else PATIENCE
            store = opened(address, self.service.at(proxy.url), patience)
            with suppress(Unavailable):  # a busy machine may be as slow as a trickle
                list(store.list("nothing/"))  # what only the first requests cost
            proxy.arm(rule)
            begun = time.monotonic()
            try:
                operation.run(operation.archive.hurried(store, patience))
            except StoreError as caught:
                error = caught
            seconds = time.monotonic() - begun
            store.close()
            if error is not None:
                operation.check_failed()
            return proxy.struck, error, seconds, len(proxy.requests)


@pytest.fixture(autouse=True)
def _errors_give_their_connections_back() -> Iterator[None]:
    """An error refers to the stream that it ended, and only the garbage collector parts them, in whatever order."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(autouse=True)
def _listings_do_not_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "Timing", partial(Timing, settle=0.0))


@pytest.mark.parametrize(("kind", "faults"), CASES)
@ALL
def test_a_trickle_at_any_request_ends_in_time_or_goes_right(
    service: Service, kind: type[Operation], faults: list[Fault], tmp_path: Path, tiny: Path
) -> None:
    trickling = Trickling(kind, service, tmp_path, tiny)
    _, error, _, clean = trickling.run(0, None)
    assert error is None
    rules = [Rule.at(number, faults[number % len(faults)]) for number in range(1, clean + 1)]
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        ends = list(pool.map(trickling.run, range(1, clean + 1), rules))
    for number, (struck, error, seconds, requests) in enumerate(ends, 1):
        where = f"at {number} of {clean}: {error!r} after {seconds} s"
        assert error is None or isinstance(error, Unavailable), where
        assert error is not None or struck, where
        assert seconds < SOON, where
        assert requests <= clean + 8, where
    assert any(struck for struck, *_ in ends)


@pytest.fixture
def hurried(service: Service) -> Iterator[Store]:
    """A store of somebody with little patience, which has not logged in yet."""
    service.arm()
    store = opened(f"{service.scheme}://{service.place}", service.variables, PATIENCE)
    yield store
    store.close()


@ALL
def test_an_upload_whose_taker_is_too_slow_ends_in_time(
    service: Service, hurried: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "SLOWEST_UPLOAD", GIB)  # else so many bytes would have half a minute
    store, data = hurried, os.urandom(12 * MIB)
    list(store.list("nothing/"))
    service.arm(Rule(SlowRequest(4 * KIB, 0.1), match="^(PUT|POST) "))
    begun = time.monotonic()
    with pytest.raises(Unavailable):
        store.put("slow", Body.of(data), create_only=True)
    assert time.monotonic() - begun < SOON
    assert service.proxy.struck == 1
    assert len(service.proxy.requests) <= 2
    with pytest.raises(NotFound):
        service.beside.head("slow")


@ALL
def test_an_upload_that_moves_is_left_in_peace(service: Service) -> None:
    """It takes longer than its sender's patience, of which what the system still holds at the end takes a part."""
    data, patience = os.urandom(24 * MIB), 2.0
    service.arm(Rule(SlowRequest(64 * KIB, 0.01), match="^(PUT|POST) "))
    store = opened(f"{service.scheme}://{service.place}", service.variables, patience)
    begun = time.monotonic()
    assert store.put("moving", Body.of(data)).size == len(data)
    assert time.monotonic() - begun > 1.2 * patience
    assert service.proxy.struck == 1
    store.close()


@pytest.mark.parametrize("fault", [*TRICKLES.values(), SILENCE], ids=[*TRICKLES, "silence"])
def test_a_login_to_swift_that_trickles_ends_in_time(service: Service, hurried: Store, fault: Fault) -> None:
    assert service.identity is not None
    service.identity.arm(Rule(fault))
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="identity service") as caught:
        hurried.head("k")
    assert time.monotonic() - begun < SOON / 2
    assert caught.value.detail
    assert service.identity.struck == 1
    assert len(service.proxy.requests) == 0
    service.arm()
    with pytest.raises(NotFound):
        hurried.head("k")


@pytest.mark.parametrize("fault", [*TRICKLES.values(), SILENCE], ids=[*TRICKLES, "silence"])
def test_a_login_to_google_that_trickles_ends_in_time(service_account_key: str, tmp_path: Path, fault: Fault) -> None:
    token = logins.document({"access_token": "google-1", "expires_in": 3600})
    with ExitStack() as stack:
        web = stack.enter_context(Web(lambda _head, _body: token))
        proxy = stack.enter_context(FaultProxy(int(web.url.rpartition(":")[2])))
        proxy.arm(Rule(fault, match="/token"))
        store = logins.google(proxy.url, service_account_key, tmp_path, PATIENCE)
        begun = time.monotonic()
        with pytest.raises(Unavailable, match="no answer from Google"):
            store.head("k")
        assert time.monotonic() - begun < SOON / 2
        assert len(proxy.requests) == proxy.struck == 1


STANDBY = 2.0  # seconds, of --standby-fetch-timeout
WAL_E = Path(sys.executable).parent / "wal-e"


class Standby:
    """The data directory of a standby that fetches from a service behind a proxy of its own."""

    def __init__(self, service: Service, archive: Archive, directory: Path, agent: str) -> None:
        self.service, self.archive, self.directory, self.agent = service, archive, directory, agent
        (directory / "pg_wal").mkdir(parents=True)
        (directory / "PG_VERSION").write_text("18\n")
        (directory / "standby.signal").touch()
        self.file = directory / "pg_wal" / "RECOVERYXLOG"

    def wal_e(self, url: str, *words: str) -> tuple[int, float]:
        """Run a command, and return its exit code and its seconds."""
        own = {
            "PATH": os.defpath,
            "WALE_AGENT": self.agent,
            "WALE_AGENT_DIR": str(self.directory / "agents"),
            "WALE_STANDBY_FETCH_TIMEOUT": f"{STANDBY:.0f}s",
            f"WALE_{self.service.scheme.upper()}_PREFIX": self.archive.address,
        }
        begun = time.monotonic()
        done = subprocess.run(
            [WAL_E, *words],
            env={**self.service.at(url), **own},
            cwd=self.directory,
            capture_output=True,
            check=False,
            timeout=60,
        )
        return done.returncode, time.monotonic() - begun

    def fetch(self, rule: Callable[[int], Rule]) -> tuple[int, float, float]:
        """Fetch from the service as it is, then with a rule, given how many requests that took; the seconds of both."""
        with FaultProxy(self.service.proxy.target[1]) as proxy:
            words = ("wal-fetch", "-p", "0", str(FIRST), "pg_wal/RECOVERYXLOG")
            if self.agent == "auto":
                self.wal_e(proxy.url, *words)
            proxy.arm()
            code, usual = self.wal_e(proxy.url, *words)
            assert code == 0
            assert self.file.read_bytes() == segment(FIRST)
            self.file.unlink()
            proxy.arm(rule(len(proxy.requests)))
            code, seconds = self.wal_e(proxy.url, *words)
            assert proxy.struck
            if self.agent == "auto":
                self.wal_e(proxy.url, "agent", "stop")
            return code, usual, seconds


WAITS: dict[str, Callable[[int], Rule]] = {
    "silence": lambda _: Rule(SILENCE),
    "silence at the end": lambda last: Rule(SILENCE, first=last),
    "a trickle": lambda _: Rule(SlowAnswer(1, PAUSE, head=True)),
    "trickling bodies": lambda _: Rule(SlowAnswer(1, PAUSE)),
    "a trickling body at the end": lambda last: Rule(SlowAnswer(1, PAUSE), first=last),
}


@pytest.mark.parametrize("agent", ["off", "auto"])
@ALL
def test_h14_a_standby_waits_for_a_slow_store_no_longer_than_it_is_told_to(
    service: Service, agent: str, tmp_path: Path, tiny: Path
) -> None:
    archive = service.archive()
    operation = WalFetch(archive, tmp_path, tiny)
    operation.prepare()
    service.arm()

    def fetch(name: str) -> None:
        standby = Standby(service, archive, tmp_path / name, agent)
        code, usual, seconds = standby.fetch(WAITS[name])
        where = f"{name}: {seconds:.1f} s, and without a fault {usual:.1f} s"
        assert code == 1, where
        assert seconds < usual + STANDBY + 1.5, where
        assert not standby.file.exists(), where

    with ThreadPoolExecutor(len(WAITS)) as pool:
        list(pool.map(fetch, WAITS))
