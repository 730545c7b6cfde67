"""What large archives cost: calls of the store and memory, of every command that looks at the whole of one."""

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench import scale
from lab.faultproxy import FaultProxy
from lab.postgres import scratch_directory
from lab.swift import SwiftNode
from lab.swift_fill import fill_listing
from tests.store.settings import options_of
from wal_e.repo.catalogue import list_backups
from wal_e.store.api import Body, Store, read_object
from wal_e.store.drivers.file import FolderStore
from wal_e.store.drivers.swift.driver import SwiftStore

pytestmark = pytest.mark.slow
OBJECTS = 100_000
SEGMENTS = OBJECTS // 2
BACKUPS = scale.BACKUPS

# Each backup costs a listing that stops at its manifest, and the end of them one more. A summary is a look and a range.
CATALOGUE = BACKUPS + 1
LEGACY = WAL = OWNER = 1
TIMELINES = 2  # a look for the first one, and for one after it
COSTS: dict[str, tuple[Callable[[Store], object], int, int]] = {
    "backup-list": (list_backups, CATALOGUE, 8),
    "backup-list --detail": (scale.backup_list, CATALOGUE + LEGACY + BACKUPS, 8),
    "wal-show": (scale.show_wal, CATALOGUE + LEGACY + WAL + 2, 16),
    "wal-verify": (scale.verify, CATALOGUE + LEGACY + WAL + BACKUPS, 16),
    "delete": (scale.plan, 1 + LEGACY + WAL + OWNER + TIMELINES + 2 * BACKUPS + 1, 40),
}


@pytest.fixture(scope="module")
def archive() -> Iterator[Path]:
    root = scratch_directory("costs-")
    scale.make_archive(root / "archive", OBJECTS)
    yield root / "archive"
    shutil.rmtree(root)


@pytest.mark.parametrize("command", COSTS)
def test_the_cost_of_looking_at_100000_objects(archive: Path, command: str) -> None:
    """Calls go with the number of backups; memory does not go with that of segments, but for those that go."""
    case, calls, mib = COSTS[command]
    row = scale.measure(command, archive, case)
    assert row.calls == calls
    assert row.grown_mib < mib


def test_the_cost_of_deleting_nearly_all_of_100000_objects(archive: Path) -> None:
    """A thousand keys at a time; manifests one by one, for their order is the point (H29)."""
    row = scale.measure("delete", archive, scale.delete)
    packs = SEGMENTS // BACKUPS * (BACKUPS - 1)
    wal = SEGMENTS // BACKUPS * (BACKUPS - 1)
    planning = COSTS["delete"][1]
    assert row.calls <= planning + (BACKUPS - 1) + packs // 1000 + wal // 1000 + 2
    assert row.grown_mib < 40
    left = sum(1 for _ in FolderStore(archive).list())
    assert left <= OBJECTS - packs - wal + 10


# What Swift answers at once here; its own limit is 10,000, and so are its pages where nothing says otherwise.
PAGE = 1000
SERVED = 10_000
FULL = SERVED // 2 // PAGE + 2  # half of the objects, in pages: a small first one, and an empty last one
SERVED_COSTS: dict[str, tuple[Callable[[Store], object], int]] = {
    "backup-list": (list_backups, CATALOGUE),
    "wal-show": (scale.show_wal, CATALOGUE + 1 + FULL + 2),
    "wal-verify": (scale.verify, CATALOGUE + 1 + FULL + BACKUPS),
    "delete --dry-run": (scale.plan, FULL + 1 + FULL + OWNER + TIMELINES + 2 * BACKUPS + 1),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FaultProxy, Store]]:
    """A Swift with an archive of 10,000 objects, of which only those that are read are really there."""
    root = tmp_path_factory.mktemp("served")
    scale.make_archive(root / "archive", SERVED)
    model = FolderStore(root / "archive")
    with SwiftNode(root / "swift") as node, FaultProxy(node.ports["proxy"]) as proxy:
        node.info.create_container("c")
        store = SwiftStore(options_of(node.info.at(proxy.url).environment()), "c", list_page=PAGE)
        names = [info.key for info in model.list()]
        fill_listing(node, "c", (name for name in names if name.startswith("wal_005/") or "/pack-" in name))
        for name in names:
            if name.endswith((".json", "manifest.json.zst")):
                store.put(name, Body.of(read_object(model, name)))
        yield proxy, store
        store.close()


@pytest.mark.parametrize("command", SERVED_COSTS)
def test_the_requests_to_look_at_10000_objects_in_swift(served: tuple[FaultProxy, Store], command: str) -> None:
    """Every page of every listing counts, and a listing ends with the page that has what was looked for."""
    proxy, store = served
    case, requests = SERVED_COSTS[command]
    proxy.arm()
    case(store)
    assert len(proxy.requests) == requests


def test_the_first_look_asks_for_little(served: tuple[FaultProxy, Store]) -> None:
    proxy, store = served
    proxy.arm()
    assert len(list(itertools.islice(store.list("wal_005/"), 3))) == 3
    (request,) = proxy.requests
    assert "limit=100&" in request
