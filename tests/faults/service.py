"""
Real services behind a fault proxy: a store to work with through the proxy, and one beside it that shows the truth.

A further service is one more function and one more line in `SERVICES`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from urllib.parse import urlsplit

import pytest

from lab.faultproxy import FaultProxy
from lab.faults import Rule
from lab.keystone import KeystoneInfo
from tests.plugins.buckets import Buckets
from tests.store.settings import options_of
from wal_e.config import Settings, load
from wal_e.repo.layout import LEASE_PREFIX
from wal_e.store.api import PATIENCE, Body, Store, read_object
from wal_e.store.drivers.memory import MemoryStore
from wal_e.store.drivers.swift.driver import SwiftStore
from wal_e.store.registry import driver_for
from wal_e.store.retry import Clock, RetryPolicy
from wal_e.store.stack import StackOptions, build_stack
from wal_e.store.url import parse_url

DEADLINE = 20.0


@dataclass
class Skipping:
    """A clock that pauses alone move, in no time: what it shows does not depend on the machine."""

    skipped: float = 0.0
    pauses: list[float] = field(default_factory=list)

    def wait(self, seconds: float) -> None:
        self.skipped += seconds
        self.pauses.append(seconds)

    def clock(self) -> Clock:
        return Clock(lambda: self.skipped, self.wait, lambda: 0.5)


@dataclass
class Service:
    """
    `store` reaches the service through `proxy`, and logs in through `identity`; `beside` goes straight there.

    `identity` is None where requests carry their own proof: nothing can be renewed there, so a refusal is final.
    `hears_waits` says whether the driver gets to see Retry-After, which obstore keeps to itself.
    """

    scheme: str
    place: str
    proxy: FaultProxy
    identity: FaultProxy | None
    store: Store
    beside: Store
    variables: Mapping[str, str]
    hears_waits: bool
    numbers: Iterator[int] = field(default_factory=count)

    def archive(self) -> "Archive":
        """A prefix of its own."""
        return Archive(self, f"{self.scheme}://{self.place}/run-{next(self.numbers)}")

    def at(self, url: str) -> Mapping[str, str]:
        """What the driver reads, with another proxy's address."""
        return {name: text.replace(self.proxy.url, url) for name, text in self.variables.items()}

    def arm(self, rule: Rule | None = None) -> None:
        """Count the requests of both proxies from zero, and have a rule for the store's."""
        self.proxy.arm(rule)
        if self.identity is not None:
            self.identity.arm()

    @property
    def logins(self) -> int:
        """How many requests the login service got since the rule was armed."""
        return len(self.identity.requests) if self.identity is not None else 0

    @property
    def settings(self) -> Settings:
        """What the driver reads."""
        return load(driver_for(self.scheme).options(), environ=self.variables)


@dataclass
class Archive:
    """One archive at the service, its stores put together as a command does, each with patience of its own."""

    service: Service
    address: str

    def patient(self, skipping: Skipping | None = None) -> Store:
        """Through the proxy."""
        return self._stack(self.service.store, (skipping or Skipping()).clock(), DEADLINE)

    def hurried(self, store: Store, patience: float) -> Store:
        """Over a store that was opened with this patience, by a real clock."""
        return self._stack(store, Clock(), patience)

    def beside(self) -> Store:
        """Past the proxy."""
        return self._stack(self.service.beside, Clock(), DEADLINE)

    def copy(self) -> MemoryStore:
        """
        All of it, in memory: to be looked at without a request for each look.

        But for leases, for whose deletion a service may still work though the connection broke.
        """
        found, store = MemoryStore(), self.beside()
        for info in store.list():
            if not info.key.startswith(LEASE_PREFIX):
                found.put(info.key, Body.of(read_object(store, info.key)))
        return found

    def _stack(self, driver: Store, clock: Clock, deadline: float) -> Store:
        options = StackOptions(retry=RetryPolicy(deadline=deadline), clock=clock, wrap=lambda _: driver)
        return build_stack(self.address, self.service.settings, options).store


@contextmanager
def swift(request: pytest.FixtureRequest) -> Iterator[Service]:
    """Swift and Keystone, each behind a proxy of its own."""
    cloud: KeystoneInfo = request.getfixturevalue("keystone_swift")
    container = cloud.create_container(request.getfixturevalue("container_name")())
    account = urlsplit(cloud.authenticate()[0])
    with ExitStack() as stack:
        proxy = stack.enter_context(FaultProxy(account.port or 80))
        identity = stack.enter_context(FaultProxy(urlsplit(cloud.url).port or 80))
        variables = cloud.environment() | {
            "SWIFT_STORAGE_URL": f"{proxy.url}{account.path}",
            "SWIFT_AUTHURL": f"{identity.url}/v3",
        }
        store = SwiftStore(options_of(variables), container)
        beside = SwiftStore(options_of(cloud.environment()), container)
        stack.callback(store.close)
        stack.callback(beside.close)
        # What only the first requests cost: a login, a look at the container, the question what the service offers.
        list(store.list())
        store.delete(["absent", "absent too"])
        yield Service("swift", container, proxy, identity, store, beside, variables, hears_waits=True)


@contextmanager
def bucket(fixture: str, request: pytest.FixtureRequest, *, hears_waits: bool = False) -> Iterator[Service]:
    """A bucket of one of the services that have them, which need no login."""
    buckets: Buckets = request.getfixturevalue(fixture)
    name = buckets.create(request.getfixturevalue("container_name")())
    info = buckets.info
    with ExitStack() as stack:
        proxy = stack.enter_context(FaultProxy(urlsplit(info.url).port or 80))
        variables = info.at(proxy.url).environment()
        store, beside = (opened(f"{info.scheme}://{name}", each) for each in (variables, info.environment()))
        stack.callback(store.close)
        stack.callback(beside.close)
        list(store.list())  # only the first requests look whether there is a bucket
        yield Service(info.scheme, name, proxy, None, store, beside, variables, hears_waits)


def opened(address: str, variables: Mapping[str, str], patience: float = PATIENCE) -> Store:
    """The bare driver of an address, for a caller with this patience in seconds."""
    url = parse_url(address)
    driver = driver_for(url.scheme)
    return driver.open(url, load(driver.options(), environ=variables), patience)


SERVICES: dict[str, Callable[[pytest.FixtureRequest], AbstractContextManager[Service]]] = {
    "swift": swift,
    "s3": partial(bucket, "s3_buckets"),
    "azure": partial(bucket, "azure_buckets"),
    "gs": partial(bucket, "gs_buckets", hears_waits=True),
}


@pytest.fixture(scope="module", params=["swift"])
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    """Swift, or the service that the test is parametrized with, for all tests of a module."""
    with SERVICES[request.param](request) as found:
        yield found
