"""Pushing ahead: success means durable whatever happens, in whatever order and on however many threads."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.processes import wait_until
from tests.faults.faulty_store import ALWAYS, FaultyStore, Mode
from tests.wal.material import (
    CLUSTER,
    FIRST,
    HISTORY_2,
    LABEL,
    OTHER_CLUSTER,
    SIZE,
    Listener,
    segment,
    write_data_directory,
    write_segment,
)
from wal_e.agent import backlog, crew
from wal_e.agent.pusher import RETRY, TROUBLE, Pusher, PusherOptions
from wal_e.errors import (
    ArchiveConflict,
    Corrupt,
    DataDirectoryError,
    Unavailable,
    UsageError,
    WalEError,
    WrongCluster,
)
from wal_e.events import silent
from wal_e.pg.wal import SegmentName
from wal_e.repo.layout import wal_key
from wal_e.repo.wal import get_wal
from wal_e.store.api import Body, Capabilities, ObjectInfo, Store
from wal_e.store.drivers.file import FolderStore
from wal_e.store.drivers.memory import MemoryStore
from wal_e.store.meter import Metered
from wal_e.units import MIB
from wal_e.wal.ahead import REPEATED, WINDOW, memory_for
from wal_e.wal.push import Pushed

HOUR = 3600 * 10**9
SILENT_MODES: list[Mode] = [mode for mode in get_args(Mode) if not mode.startswith("kill")]


class Time:
    """Seconds that pass when a test says so; every file was written long ago."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> float:
        return self.seconds

    def today(self) -> int:
        return time.time_ns() + HOUR


@dataclass
class Cluster:
    """A data directory whose segments are ready to be archived, and the pusher of its archive."""

    pg_wal: Path
    names: list[str] = field(default_factory=list)

    @classmethod
    def make(cls, path: Path, count: int = 0, cluster: int = CLUSTER) -> "Cluster":
        made = cls(write_data_directory(path, cluster))
        (made.pg_wal / "archive_status").mkdir()
        name = FIRST
        for _ in range(count):
            made.add(str(name), segment(name, cluster))
            name = name.next()
        return made

    def add(self, name: str, content: bytes) -> Path:
        path = self.pg_wal / name
        path.write_bytes(content)
        (self.pg_wal / "archive_status" / f"{name}.ready").touch()
        self.names.append(name)
        return path

    def path(self, index: int) -> Path:
        return self.pg_wal / self.names[index]

    @property
    def paths(self) -> list[Path]:
        return [self.pg_wal / name for name in self.names]

    def done(self, path: Path) -> None:
        status = self.pg_wal / "archive_status" / path.name
        status.with_name(f"{path.name}.ready").rename(status.with_name(f"{path.name}.done"))


class Gate(MemoryStore):
    """Puts of the names in `shut` wait until they are opened; those in `broken` fail; the highest number at once."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()
        self.shut: set[str] = set()
        self.broken: set[str] = set()
        self.begun: list[str] = []
        self.inside = 0
        self.most = 0

    def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
        name = key.removeprefix("wal_005/").removesuffix(".zst")
        with self._changed:
            self.begun.append(name)
            self.inside += 1
            self.most = max(self.most, self.inside)
            self._changed.notify_all()
            self._changed.wait_for(lambda: name not in self.shut, 60)
        try:
            if name in self.broken:
                raise Unavailable("broken")
            return super().put(key, body, create_only=create_only)
        finally:
            with self._changed:
                self.inside -= 1

    def open(self, *names: str) -> None:
        with self._changed:
            self.shut -= set(names)
            self._changed.notify_all()

    def wait_begun(self, *names: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: set(names) <= set(self.begun), 30), self.begun


def options(
    clock: Time | None = None, *, threads: int = 2, budget: int = 256 * MIB, level: int | None = 1
) -> PusherOptions:
    clock = clock or Time()
    return PusherOptions(threads=threads, level=level, budget=budget, now=clock.now, today=clock.today)


def stored(store: Store, name: str) -> bytes:
    return b"".join(get_wal(store, name))


def rest(pusher: Pusher) -> None:
    """Until all that can be pushed ahead is."""
    wait_until(pusher.idle, "the pusher to be idle", 30)


def ready(path: Path, store: Store) -> bool:
    return wal_key(path.name) in {info.key for info in store.list()}


@contextmanager
def asked(*calls: Callable[[], Pushed]) -> Iterator[list[Future[Pushed]]]:
    with ThreadPoolExecutor(len(calls)) as executor:
        yield [executor.submit(call) for call in calls]


@pytest.fixture(params=["memory", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "memory":
        return MemoryStore()
    (tmp_path / "archive").mkdir()
    return FolderStore(tmp_path / "archive")


def test_h04_what_is_ready_is_durable_before_it_is_asked_for(tmp_path: Path, store: Store) -> None:
    cluster = Cluster.make(tmp_path / "pg", 6)
    meter = Metered(store)
    with closing(Pusher(meter, options())) as pusher:
        first = pusher.push(cluster.path(0), silent)
        rest(pusher)
        before = meter.usage
        for name, path in zip(cluster.names, cluster.paths, strict=True):
            assert stored(store, name) == path.read_bytes()
        results = [pusher.push(path, silent) for path in cluster.paths[1:]]
        assert meter.usage == before
    assert [result.name for result in [first, *results]] == cluster.names
    assert all(result.fresh for result in results)
    assert meter.usage.put.calls == 7  # the segments and cluster.json


def test_requests_per_segment_where_creating_is_not_atomic(tmp_path: Path) -> None:
    """On Swift: one put, and the look that tells whether another writer's bytes are there (H01)."""

    class Racy(MemoryStore):
        capabilities = Capabilities(atomic_create=False, max_object=1 << 40, list_page=1 << 30)

    cluster = Cluster.make(tmp_path / "pg", 10)
    meter = Metered(Racy())
    with closing(Pusher(meter, options())) as pusher:
        for path in cluster.paths[:1]:
            pusher.push(path, silent)
        rest(pusher)
        for path in cluster.paths[1:]:
            pusher.push(path, silent)
    usage = meter.usage
    assert (usage.put.calls, usage.head.calls, usage.list.calls) == (11, 10, 0)
    assert usage.get.calls == 2  # cluster.json: absent, and then what was put there


def test_what_was_said_ahead_is_said_when_it_is_asked_for(tmp_path: Path) -> None:
    cluster = Cluster.make(tmp_path / "pg", 2)
    with closing(Pusher(MemoryStore(), options())) as pusher:
        heard = [Listener(), Listener(), Listener()]
        pusher.push(cluster.path(0), heard[0])
        rest(pusher)
        assert pusher.push(cluster.path(1), heard[1]).fresh
        again = pusher.push(cluster.path(1), heard[2])
    said = ["begin archiving a file", "completed archiving to a file"]
    assert [listener.messages for listener in heard] == [said, said, ["the file is already in the archive"]]
    assert (again.fresh, again.stored, again.name) == (False, 0, cluster.names[1])


def test_a_request_joins_the_push_that_is_under_way(tmp_path: Path) -> None:
    cluster = Cluster.make(tmp_path / "pg", 2)
    gate, heard = Gate(), Listener()
    gate.shut = {cluster.names[1]}
    with closing(Pusher(gate, options())) as pusher:
        pusher.push(cluster.path(0), silent)
        gate.wait_begun(cluster.names[1])
        with asked(lambda: pusher.push(cluster.path(1), heard)) as [waiting]:
            assert not waiting.done()
            gate.open(cluster.names[1])
            assert waiting.result(30).fresh
    assert gate.begun.count(cluster.names[1]) == 1
    assert heard.messages == ["begin archiving a file", "completed archiving to a file"]


def test_a_request_shares_the_failure_of_the_push_that_is_under_way(tmp_path: Path) -> None:
    cluster = Cluster.make(tmp_path / "pg", 2)
    gate, heard = Gate(), Listener()
    gate.shut, gate.broken = {cluster.names[1]}, {cluster.names[1]}
    with closing(Pusher(gate, options())) as pusher:
        pusher.push(cluster.path(0), silent)
        gate.wait_begun(cluster.names[1])
        with asked(lambda: pusher.push(cluster.path(1), heard)) as [waiting]:
            gate.open(cluster.names[1])
            with pytest.raises(Unavailable, match="broken"):
                waiting.result(30)
        gate.broken = set()
        assert pusher.push(cluster.path(1), silent).fresh


def test_h06_a_request_waits_for_nothing_that_is_ahead(tmp_path: Path) -> None:
    cluster = Cluster.make(tmp_path / "pg", 8)
    gate = Gate()
    gate.shut = set(cluster.names[1:7])
    with closing(Pusher(gate, options())) as pusher:
        pusher.push(cluster.path(0), silent)
        gate.wait_begun(cluster.names[1], cluster.names[2])
        assert pusher.push(cluster.path(7), silent).fresh
        assert stored(gate, cluster.names[7]) == cluster.path(7).read_bytes()
        gate.open(*cluster.names)


def test_h06_h05_a_poisoned_file_blocks_nothing_and_is_told_of_when_asked_for(tmp_path: Path) -> None:
    cluster = Cluster.make(tmp_path / "pg", 5)
    whole = cluster.path(1).read_bytes()
    cluster.path(1).write_bytes(whole[: SIZE // 2])
    clock, memory = Time(), MemoryStore()
    with closing(Pusher(memory, options(clock))) as pusher:
        pusher.push(cluster.path(0), silent)
        rest(pusher)
        assert [ready(path, memory) for path in cluster.paths] == [True, False, True, True, True]
        assert list(_dictionary(pusher.facts()["failures"])) == [str(cluster.path(1))]
        for _ in range(2):
            with pytest.raises(Corrupt, match="its header says"):
                pusher.push(cluster.path(1), silent)
        cluster.path(1).write_bytes(whole)
        assert pusher.push(cluster.path(1), silent).fresh
        assert not pusher.facts()["failures"]


def test_h06_what_failed_ahead_is_tried_again_later_and_at_once_when_asked_for(tmp_path: Path) -> None:
    cluster = Cluster.make(tmp_path / "pg", 3)
    gate, clock, bad = Gate(), Time(), cluster.names[2]
    gate.broken = {bad}
    with closing(Pusher(gate, options(clock))) as pusher:
        for seconds in (0, RETRY - 1):
            clock.seconds += seconds
            pusher.push(cluster.path(0), silent)
            rest(pusher)
            assert gate.begun.count(bad) == 1
        with pytest.raises(Unavailable):
            pusher.push(cluster.path(2), silent)
        assert gate.begun.count(bad) == 2
        clock.seconds += RETRY
        gate.broken = set()
        pusher.push(cluster.path(1), silent)
        wait_until(lambda: ready(cluster.path(2), gate), "the third segment", 30)


def test_a_store_that_is_in_trouble_is_left_in_peace(tmp_path: Path) -> None:
    cluster = Cluster.make(tmp_path / "pg", 40)
    gate, clock = Gate(), Time()
    gate.broken = set(cluster.names)
    with closing(Pusher(gate, options(clock))) as pusher:
        with pytest.raises(Unavailable):
            pusher.push(cluster.path(0), silent)
        rest(pusher)
        assert len(gate.begun) <= TROUBLE + 3  # and cluster.json, and what was under way
        gate.broken = set()
        pusher.push(cluster.path(0), silent)  # it is well again
        wait_until(lambda: ready(cluster.path(39), gate), "the last segment", 30)


def test_h01_other_content_than_was_pushed_ahead_is_a_conflict(tmp_path: Path, store: Store) -> None:
    cluster = Cluster.make(tmp_path / "pg", 3)
    before = [path.read_bytes() for path in cluster.paths]
    with closing(Pusher(store, options())) as pusher:
        pusher.push(cluster.path(0), silent)
        rest(pusher)
        replace_file(cluster.path(1), segment(FIRST.next(), seed=1))
        replace_file(cluster.path(2), before[2])
        with pytest.raises(ArchiveConflict):
            pusher.push(cluster.path(1), silent)
        assert not pusher.push(cluster.path(2), silent).fresh
    assert [stored(store, name) for name in cluster.names] == before


def replace_file(path: Path, content: bytes) -> None:
    """As a server does that makes a file of this name anew."""
    status = path.stat()
    path.unlink()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns + 1))


def test_h04_an_archive_that_was_lost_gets_the_file_again(tmp_path: Path) -> None:
    cluster = Cluster.make(tmp_path / "pg", 1)
    memory, clock = MemoryStore(), Time()
    with closing(Pusher(memory, options(clock))) as pusher:
        pusher.push(cluster.path(0), silent)
        memory.delete([wal_key(cluster.names[0])])
        clock.seconds += REPEATED
        assert pusher.push(cluster.path(0), silent).fresh
    assert stored(memory, cluster.names[0]) == segment()


def test_h02_wal_of_another_cluster_is_not_pushed_ahead(tmp_path: Path) -> None:
    cluster = Cluster.make(tmp_path / "pg", 1)
    stranger = cluster.add(str(FIRST.next()), segment(FIRST.next(), OTHER_CLUSTER))
    memory = MemoryStore()
    with closing(Pusher(memory, options())) as pusher:
        pusher.push(cluster.path(0), silent)
        rest(pusher)
        assert not ready(stranger, memory)
        with pytest.raises(WrongCluster):
            pusher.push(stranger, silent)


def test_h02_two_directories_are_looked_at_and_each_keeps_to_its_cluster(tmp_path: Path) -> None:
    ours, theirs = Cluster.make(tmp_path / "a", 3), Cluster.make(tmp_path / "b", 3, OTHER_CLUSTER)
    twin = Cluster.make(tmp_path / "c")
    for name in [FIRST.next(), SegmentName(1, 20, SIZE)]:
        twin.add(str(name), segment(name))
    memory = MemoryStore()
    with closing(Pusher(memory, options())) as pusher:
        pusher.push(ours.path(0), silent)
        with pytest.raises(WrongCluster):
            pusher.push(theirs.path(0), silent)
        assert pusher.push(twin.path(0), silent).key == wal_key(ours.names[1])
        wait_until(lambda: ready(ours.path(2), memory) and ready(twin.path(1), memory), "both directories", 30)
        rest(pusher)
        for path in theirs.paths:
            with pytest.raises(WrongCluster):
                pusher.push(path, silent)
    assert stored(memory, ours.names[2]) == ours.path(2).read_bytes()


def test_h13_a_file_that_changed_just_now_waits_for_its_request(tmp_path: Path) -> None:
    cluster = Cluster.make(tmp_path / "pg", 3)
    changed = max(path.stat().st_ctime_ns for path in cluster.paths)
    meter = Metered(MemoryStore())
    fresh = PusherOptions(threads=2, level=1, today=lambda: changed)
    with closing(Pusher(meter, fresh)) as pusher:
        pusher.push(cluster.path(2), silent)
        rest(pusher)
        puts = meter.usage.put.calls
        assert pusher.push(cluster.path(2), silent).fresh is False
    assert meter.usage.put.calls == puts + 1  # asked, not remembered


def test_h13_a_file_that_changes_on_its_way_is_not_remembered(tmp_path: Path) -> None:
    cluster = Cluster.make(tmp_path / "pg", 2)
    gate, name = Gate(), str(FIRST.next())
    gate.shut = {name}
    with closing(Pusher(gate, options())) as pusher:
        pusher.push(cluster.path(0), silent)
        gate.wait_begun(name)
        replace_file(cluster.path(1), segment(FIRST.next(), seed=1))
        with asked(lambda: pusher.push(cluster.path(1), silent)) as [waiting]:
            gate.open(name)
            with pytest.raises(ArchiveConflict):
                waiting.result(30)


@pytest.mark.parametrize("size", [MIB << power for power in (0, 2, 4)])
def test_h12_segments_of_every_size(tmp_path: Path, size: int) -> None:
    cluster = Cluster(write_data_directory(tmp_path / "pg", segment_size=size))
    (cluster.pg_wal / "archive_status").mkdir()
    name = SegmentName(1, (1 << 32) // size - 1, size)
    for _ in range(3):
        cluster.add(str(name), segment(name))
        name = name.next()
    memory = MemoryStore()
    with closing(Pusher(memory, options())) as pusher:
        pusher.push(cluster.path(0), silent)
        rest(pusher)
        for path in cluster.paths:
            assert stored(memory, path.name) == path.read_bytes()


def test_h09_histories_and_labels_go_ahead_too_histories_first(tmp_path: Path) -> None:
    cluster = Cluster.make(tmp_path / "pg", 3)
    cluster.add("00000002.history", HISTORY_2)
    cluster.add(f"{FIRST}.00000028.backup", LABEL)
    gate = Gate()
    with closing(Pusher(gate, options(threads=1))) as pusher:
        pusher.push(cluster.path(0), silent)
        rest(pusher)
    ahead = [name for name in gate.begun if name not in {"cluster.json", cluster.names[0]}]
    assert ahead == ["00000002.history", f"{FIRST}.00000028.backup", cluster.names[1], cluster.names[2]]


def test_h06_a_second_partial_is_stored_aside(tmp_path: Path) -> None:
    cluster = Cluster.make(tmp_path / "pg", 1)
    path = cluster.add(f"{FIRST.next()}.partial", segment(FIRST.next()))
    heard = Listener()
    with closing(Pusher(MemoryStore(), options())) as pusher:
        pusher.push(cluster.path(0), silent)
        rest(pusher)
        replace_file(path, segment(FIRST.next(), seed=1))
        assert pusher.push(path, heard).key != wal_key(path.name)
    assert "stored a partial segment aside" in heard.messages


def test_h10_archive_status_is_only_read(tmp_path: Path) -> None:
    cluster = Cluster.make(tmp_path / "pg", 4)
    status = cluster.pg_wal / "archive_status"
    before = [(entry.name, entry.stat()) for entry in sorted(status.iterdir())]
    changed = status.stat().st_ctime_ns
    with closing(Pusher(MemoryStore(), options())) as pusher:
        for path in cluster.paths:
            pusher.push(path, silent)
    after = [(entry.name, entry.stat()) for entry in sorted(status.iterdir())]
    assert [name for name, _ in after] == [name for name, _ in before]
    assert [stat.st_ctime_ns for _, stat in after] == [stat.st_ctime_ns for _, stat in before]
    assert status.stat().st_ctime_ns == changed


def test_h10_the_server_may_take_the_status_away_at_any_time(tmp_path: Path) -> None:
    cluster = Cluster.make(tmp_path / "pg", 30)
    memory = MemoryStore()
    with closing(Pusher(memory, options(threads=4))) as pusher:
        for path in cluster.paths:
            pusher.push(path, silent)
            assert stored(memory, path.name) == path.read_bytes()
            cluster.done(path)
            path.unlink()
        rest(pusher)
        assert not pusher.facts()["failures"]


def test_files_outside_of_a_cluster_are_pushed_alone(tmp_path: Path) -> None:
    cluster = Cluster.make(tmp_path / "pg", 3)
    (tmp_path / "pg" / "PG_VERSION").unlink()
    memory = MemoryStore()
    with closing(Pusher(memory, options())) as pusher:
        pusher.push(cluster.path(0), silent)
        rest(pusher)
        assert not ready(cluster.path(1), memory)
        with pytest.raises(UsageError):
            pusher.push(tmp_path / "x", silent)
        with pytest.raises(DataDirectoryError, match="could not read"):
            pusher.push(cluster.pg_wal / str(SegmentName(1, 99, SIZE)), silent)


def test_no_more_than_a_window_is_pushed_ahead(tmp_path: Path) -> None:
    cluster = Cluster.make(tmp_path / "pg", WINDOW + 6)
    memory = MemoryStore()

    def count() -> int:
        return sum(info.key.startswith("wal_005/") for info in memory.list())

    with closing(Pusher(memory, options())) as pusher:
        pusher.push(cluster.path(0), silent)
        rest(pusher)
        assert count() == WINDOW + 1
        for path in cluster.paths[1:4]:
            pusher.push(path, silent)
        rest(pusher)
        assert count() == WINDOW + 4
        for path in cluster.paths[4:]:  # somebody else archived what was ahead: it does not fill the window for ever
            if path.name in {info.key[8:32] for info in memory.list()}:
                cluster.done(path)
        pusher.push(cluster.path(-1), silent)
        wait_until(lambda: count() == WINDOW + 6, "the rest", 30)


def test_memory_in_flight_is_bounded(tmp_path: Path) -> None:
    cluster = Cluster.make(tmp_path / "pg", 20)
    gate = Gate()
    gate.shut = set(cluster.names[1:])
    budget = 3 * memory_for(SIZE)
    with closing(Pusher(gate, options(threads=8, budget=budget))) as pusher:
        pusher.push(cluster.path(0), silent)
        gate.wait_begun(*cluster.names[1:4])
        with asked(lambda: pusher.push(cluster.path(19), silent)) as [waiting]:
            wait_until(lambda: len(pusher.facts()["under way"]) == 4, "the request", 30)  # type: ignore[arg-type]
            assert pusher.facts()["bytes in flight"] == budget
            gate.open(cluster.names[1], cluster.names[19])
            assert waiting.result(30).fresh  # before anything that is ahead of it in the backlog
            assert cluster.names[5] not in gate.begun
        gate.open(*cluster.names)
        rest(pusher)
        assert pusher.facts()["bytes in flight"] == 0
    assert gate.most == 3


def test_a_file_above_the_budget_is_pushed_alone(tmp_path: Path) -> None:
    cluster = Cluster.make(tmp_path / "pg", 10)
    gate = Gate()
    with closing(Pusher(gate, options(threads=8, budget=SIZE))) as pusher:
        for path in cluster.paths:
            assert pusher.push(path, silent).name == path.name
        rest(pusher)
    assert gate.most == 1


def test_a_segment_is_read_once(tmp_path: Path) -> None:
    """For its checks, digest, compression and upload together: what the process read, as the kernel counts it."""
    path = write_segment(tmp_path, SegmentName(1, 1, 16 * MIB))
    with closing(Pusher(MemoryStore(), options())) as pusher:
        before = bytes_read()
        assert pusher.push(path, silent).fresh
        assert 16 * MIB <= bytes_read() - before < 17 * MIB


def bytes_read() -> int:
    """By all read calls of this process so far (rchar of proc_pid_io(5))."""
    return int(Path("/proc/self/io").read_text().split()[1])


def test_many_requests_for_one_file_are_one_push(tmp_path: Path) -> None:
    cluster = Cluster.make(tmp_path / "pg", 1)
    gate = Gate()
    gate.shut = {cluster.names[0]}
    pusher = Pusher(gate, options())
    with closing(pusher), asked(*[lambda: pusher.push(cluster.path(0), silent)] * 8) as waiting:
        wait_until(lambda: pusher.facts()["asked"] == 8, "the requests", 30)
        gate.open(cluster.names[0])
        results = [one.result(30) for one in waiting]
    assert gate.begun.count(cluster.names[0]) == 1
    assert {result.key for result in results} == {wal_key(cluster.names[0])}


def test_close_waits_for_what_is_under_way_and_leaves_no_thread(tmp_path: Path) -> None:
    cluster = Cluster.make(tmp_path / "pg", 6)
    gate = Gate()
    gate.shut = set(cluster.names[1:3])
    before = threading.active_count()
    pusher = Pusher(gate, options())
    pusher.push(cluster.path(0), silent)
    gate.wait_begun(*cluster.names[1:3])
    with ThreadPoolExecutor(2) as executor:
        closing_it = executor.submit(pusher.close)
        during = executor.submit(pusher.push, cluster.path(1), silent)
        wait_until(lambda: pusher.facts()["asked"] == 2, "the request", 30)
        assert not closing_it.done()
        gate.open(*cluster.names[1:3])
        closing_it.result(30)
        assert during.result(30).name == cluster.names[1]
    assert threading.active_count() == before
    assert [ready(path, gate) for path in cluster.paths] == [True] * 3 + [False] * 3
    assert pusher.push(cluster.path(5), silent).fresh
    assert threading.active_count() == before
    assert pusher.idle()


def test_close_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wal_e.agent.pusher.PATIENCE", 0.05)
    cluster = Cluster.make(tmp_path / "pg", 2)
    gate = Gate()
    gate.shut = {cluster.names[1]}
    pusher = Pusher(gate, options())
    pusher.push(cluster.path(0), silent)
    gate.wait_begun(cluster.names[1])
    pusher.close()
    assert not pusher.idle()
    gate.open(cluster.names[1])
    rest(pusher)


def test_threads_end_when_there_is_nothing_to_do_and_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "IDLE", 0.01)
    cluster = Cluster.make(tmp_path / "pg", 3)
    memory = MemoryStore()
    with closing(Pusher(memory, options())) as pusher:
        for index in (0, 1):
            pusher.push(cluster.path(index), silent)
            wait_until(lambda: pusher.facts()["threads"] == 0, "the threads to end", 30)
        cluster.add(str(SegmentName(1, 30, SIZE)), segment(SegmentName(1, 30, SIZE)))
        pusher.push(cluster.path(2), silent)
        wait_until(lambda: ready(cluster.path(3), memory), "the new segment", 30)


def test_a_system_without_threads_to_give_still_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    cluster = Cluster.make(tmp_path / "pg", 3)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    memory = MemoryStore()
    with closing(Pusher(memory, options())) as pusher:
        for path in cluster.paths:
            assert pusher.push(path, silent).fresh


def test_the_directory_is_not_scanned_at_every_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster.make(tmp_path / "pg", 2 * WINDOW + 10)
    scans = 0
    scandir = os.scandir

    def count(path: str) -> object:
        nonlocal scans
        scans += 1
        return scandir(path)

    monkeypatch.setattr(backlog.os, "scandir", count)  # type: ignore[attr-defined]
    with closing(Pusher(MemoryStore(), options())) as pusher:
        for path in cluster.paths[:8]:
            pusher.push(path, silent)
    assert scans == 1


def test_the_level_is_the_users_or_adapts(tmp_path: Path) -> None:
    cluster = Cluster.make(tmp_path / "pg", 40)
    for level, expected in ((7, {7}), (None, {-1, 1, 3, 6})):
        with closing(Pusher(MemoryStore(), options(level=level))) as pusher:
            for path in cluster.paths:
                pusher.push(path, silent)
            assert pusher.facts()["level"] in expected


@pytest.mark.parametrize("mode", SILENT_MODES)
@pytest.mark.parametrize("prepared", [False, True])
def test_h04_a_fault_at_any_call_is_never_success(tmp_path: Path, mode: Mode, prepared: bool) -> None:
    cluster = Cluster.make(tmp_path / "pg", 3)
    for call in range(1, 60):
        inner = MemoryStore()
        if prepared:
            push_all(inner, cluster)
        faulty = FaultyStore(inner, call=call, mode=mode)
        push_all(faulty, cluster)
        if not faulty.reached:
            return
    pytest.fail("the pushes never end")


def push_all(store: FaultyStore | MemoryStore, cluster: Cluster) -> None:
    """Asks as PostgreSQL does, each file until it is archived; a success is checked against the store."""
    inner = store.inner if isinstance(store, FaultyStore) else store
    with closing(Pusher(store, options())) as pusher:
        for path in cluster.paths:
            for _ in range(3):
                try:
                    pusher.push(path, silent)
                except WalEError:
                    continue
                assert stored(inner, path.name) == path.read_bytes()
                break
            else:
                pytest.fail("one fault must not fail three requests")


def test_h04_h08_an_outage_is_an_error_for_every_file(tmp_path: Path) -> None:
    """However many wait: WAL is never let go of because there is too much of it."""
    cluster = Cluster.make(tmp_path / "pg", WINDOW + 4)
    with closing(Pusher(FaultyStore(MemoryStore(), last=ALWAYS), options())) as pusher:
        for path in cluster.paths * 2:
            with pytest.raises(Unavailable):
                pusher.push(path, silent)


class Flaky(MemoryStore):
    """Fails one put in three, before or after it was done."""

    def __init__(self) -> None:
        super().__init__()
        self._calls = 0

    def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
        self._calls += 1
        if self._calls % 6 == 3:
            raise Unavailable("before")
        info = super().put(key, body, create_only=create_only)
        if self._calls % 6 == 0:
            raise Unavailable("after")
        return info


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(0, 5)),
        st.tuples(st.just("rewrite"), st.integers(0, 5)),
        st.tuples(st.just("restore"), st.integers(0, 5)),
        st.tuples(st.just("later"), st.integers(1, 40)),
    ),
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(OPERATIONS, st.integers(1, 4))
def test_h04_h01_success_means_that_the_archive_has_these_bytes(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, int]], threads: int
) -> None:
    """Whatever is asked in whatever order while files change and requests fail."""
    cluster = Cluster.make(tmp_path_factory.mktemp("any") / "pg", 6)
    originals = [path.read_bytes() for path in cluster.paths]
    store, clock = Flaky(), Time()
    with closing(Pusher(store, options(clock, threads=threads))) as pusher:
        for step, (operation, number) in enumerate(operations):
            if operation == "later":
                clock.seconds += number
            elif operation == "rewrite":
                name = SegmentName.parse(cluster.names[number], SIZE)
                replace_at(cluster.path(number), segment(name, seed=step + 1), step)
            elif operation == "restore":
                replace_at(cluster.path(number), originals[number], step)
            else:
                ask_and_compare(pusher, store, cluster.path(number))


def replace_at(path: Path, content: bytes, step: int) -> None:
    """Beside it and renamed, so that no half of it is ever seen; with a time of its own."""
    draft = path.with_name("draft")
    draft.write_bytes(content)
    os.utime(draft, ns=(step + 1, step + 1))
    draft.replace(path)


def ask_and_compare(pusher: Pusher, store: Store, path: Path) -> None:
    content = path.read_bytes()
    try:
        pusher.push(path, silent)
    except (Unavailable, ArchiveConflict, DataDirectoryError):
        return
    assert stored(store, path.name) == content


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 11), min_size=1, max_size=30), st.integers(2, 6))
def test_h04_many_askers_in_any_order(tmp_path_factory: pytest.TempPathFactory, order: list[int], askers: int) -> None:
    cluster = Cluster.make(tmp_path_factory.mktemp("many") / "pg", 12)
    store = Flaky()
    with closing(Pusher(store, options())) as pusher, ThreadPoolExecutor(askers) as executor:
        for done in [executor.submit(ask_and_compare, pusher, store, cluster.path(index)) for index in order]:
            done.result(60)


def _dictionary(value: object) -> dict[str, str]:
    assert isinstance(value, dict)
    return value
