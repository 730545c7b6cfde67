"""
Real Swift and Keystone, one of each for the whole run.

With pytest-xdist the first worker that asks starts them and leaves their facts in the run's directory for the others;
they end when the run does.
"""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import TypeVar

import pytest

from lab.bucket import BucketInfo
from lab.chaosproxy import ChaosProxy
from lab.cloud import Cloud
from lab.keystone import KeystoneInfo
from lab.processes import locked, run_directory
from lab.swift import SwiftInfo, SwiftNode

Info = TypeVar("Info", SwiftInfo, KeystoneInfo, BucketInfo)


@pytest.fixture(scope="session")
def swift_tempauth() -> SwiftInfo:
    """A Swift with auth v1; `.environment()` has the variables, `.create_container(name)` makes one."""
    return shared("swift-tempauth", SwiftInfo, _start_tempauth)


@pytest.fixture(scope="session")
def keystone_swift() -> KeystoneInfo:
    """A Keystone (v3, and v2.0 beside it) with a Swift in each of RegionOne and RegionTwo."""
    return shared("keystone-swift", KeystoneInfo, _start_keystone)


@pytest.fixture(scope="session")
def container_name(worker_id: str) -> Callable[[], str]:
    """Give a container name that no other test of the run uses."""
    numbers = count(1)
    return lambda: f"c-{worker_id}-{next(numbers)}"


@pytest.fixture
def swift_container(swift_tempauth: SwiftInfo, container_name: Callable[[], str]) -> str:
    """A fresh container of `swift_tempauth`."""
    return swift_tempauth.create_container(container_name())


@pytest.fixture
def swift_chaos(swift_tempauth: SwiftInfo) -> Iterator[tuple[ChaosProxy, SwiftInfo]]:
    """A fault proxy before `swift_tempauth`, and the facts of the Swift behind it with the proxy's address."""
    with ChaosProxy(swift_tempauth.ports["proxy"]) as proxy:
        yield proxy, swift_tempauth.at(proxy.url)


def shared(name: str, kind: type[Info], start: Callable[[Path], Info]) -> Info:
    """Return the facts of a server of this run; the first test process that asks starts it."""
    directory = run_directory()
    facts = directory / f"{name}.json"
    with locked(directory / f"{name}.lock"):
        if not facts.exists():
            facts.write_text(start(directory / name).to_json())
    return kind.from_json(facts.read_text())


def _start_tempauth(directory: Path) -> SwiftInfo:
    node = SwiftNode(directory)
    info = node.start()
    node.disown()
    return info


def _start_keystone(directory: Path) -> KeystoneInfo:
    cloud = Cloud(directory)
    info = cloud.start()
    cloud.disown()
    return info
