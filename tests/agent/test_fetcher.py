"""Fetching ahead: the answers of `fetch_file`, whatever is held, goes wrong, or is asked in whatever order."""

import random
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.processes import wait_until
from tests.faults.faulty_store import ALWAYS, FaultyStore, Mode
from tests.wal.asking import NAME, RECOVERY, SILENT_MODES, STANDBY, nothing_at, put, segments
from tests.wal.material import (
    CLUSTER,
    OTHER_CLUSTER,
    SIZE,
    Listener,
    header,
    segment,
    write_data_directory,
)
from wal_e.agent import fetcher as fetcher_module
from wal_e.agent import shelf
from wal_e.agent.fetcher import Fetcher, FetcherOptions
from wal_e.codec.compress import compress, compress_stream
from wal_e.errors import Corrupt, DataDirectoryError, Unavailable, UsageError, WalEError, WalMissing, WrongCluster
from wal_e.events import Sink, silent
from wal_e.pg.wal import SegmentName
from wal_e.repo.cluster import ensure_identity
from wal_e.repo.layout import CLUSTER_KEY, wal_key
from wal_e.store.api import Body, ObjectInfo, Store
from wal_e.store.drivers.memory import MemoryStore
from wal_e.units import GIB, MIB
from wal_e.wal.asker import RecoveryMode, exit_code_for
from wal_e.wal.fetch import Absent, Fetched, FetchOptions, fetch_file, read_ahead
from wal_e.wal.lookahead import HELD_FOR

Outcome = Fetched | Absent
HISTORY = b"1\t0/880000\tno recovery target specified\n"  # in the middle of segment 8


def name(number: int, timeline: int = 1, size: int = SIZE) -> SegmentName:
    return SegmentName(timeline, number, size)


def names(first: int, last: int, timeline: int = 1) -> list[str]:
    return [str(name(number, timeline)) for number in range(first, last + 1)]


class Time:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> float:
        return self.seconds


def is_ahead() -> bool:
    """Whether this thread is one of those that fetch ahead."""
    return threading.current_thread().name == "ahead"


class Watched(MemoryStore):
    """
    Notes which names are got and how often is listed.

    Gets of the names in `shut` wait until they are opened, those in `broken` are `Unavailable`; where it is `deaf`,
    all are that nobody asked for. `delay` is called by every other one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()
        self.shut: set[str] = set()
        self.broken: set[str] = set()
        self.deaf = False
        self.delay: Callable[[], None] = lambda: None
        self.got: list[str] = []
        self.listed = 0

    @classmethod
    def of(cls, *wanted: str) -> "Watched":
        store = cls()
        ensure_identity(store, CLUSTER)
        for each in wanted:
            put(store, each, segment(SegmentName.parse(each, SIZE)))
        store.got.clear()
        return store

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        wanted = key.removeprefix("wal_005/").removesuffix(".zst")
        with self._changed:
            self.got.append(wanted)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: wanted not in self.shut, 30)
        if wanted in self.broken or (self.deaf and is_ahead()):
            raise Unavailable("broken")
        if wanted != CLUSTER_KEY:
            self.delay()
        return super().get(key, start=start, length=length)

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        self.listed += 1
        return super().list(prefix, after=after)

    def open(self, *wanted: str) -> None:
        with self._changed:
            self.shut -= set(wanted)
            self._changed.notify_all()

    def wait_got(self, *wanted: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: set(wanted) <= set(self.got), 30), self.got


@dataclass
class Server:
    """Asks as PostgreSQL does."""

    fetcher: Fetcher
    pg_wal: Path
    options: FetchOptions = RECOVERY
    heard: Listener = field(default_factory=Listener)

    @property
    def destination(self) -> Path:
        return self.pg_wal / "RECOVERYXLOG"

    def ask(self, wanted: object) -> Outcome:
        self.destination.unlink(missing_ok=True)
        return self.fetcher.fetch(str(wanted), self.destination, self.options, self.heard)

    def gets(self, wanted: SegmentName) -> None:
        """Asks for a segment that must come, with these very bytes; then for what is fetched ahead to be there."""
        assert self.ask(wanted) == Fetched(str(wanted), wanted.segment_size)
        assert self.destination.read_bytes() == segment(wanted)
        assert [entry.name for entry in self.pg_wal.iterdir()] == ["RECOVERYXLOG"]
        rest(self.fetcher)

    def lacks(self, wanted: object) -> None:
        assert self.ask(wanted) == Absent(str(wanted))
        assert nothing_at(self.destination)


def rest(fetcher: Fetcher) -> None:
    """Until all is fetched that is fetched ahead."""
    wait_until(fetcher.idle, "the fetcher to be idle", 30)


def fact(fetcher: Fetcher, wanted: str) -> int:
    value = fetcher.facts()[wanted]
    assert isinstance(value, int)
    return value


@contextmanager
def called(call: Callable[[], object]) -> Iterator[Future[object]]:
    with ThreadPoolExecutor(1) as executor:
        yield executor.submit(call)


@dataclass
class Scene:
    """A place for servers, and the time that they have."""

    path: Path
    time: Time = field(default_factory=Time)
    opened: list[RecoveryMode] = field(default_factory=list)

    @contextmanager
    def fetcher(self, store: Store, threads: int = 2, budget: int = 64 * MIB) -> Iterator[Fetcher]:
        def opener(mode: RecoveryMode) -> Store:
            self.opened.append(mode)
            return store

        with closing(Fetcher(opener, FetcherOptions(threads, budget, self.time.now))) as made:
            yield made

    def server(self, fetcher: Fetcher, who: str = "pg", options: FetchOptions = RECOVERY, size: int = SIZE) -> Server:
        path = self.path / who
        return Server(fetcher, path / "pg_wal" if path.exists() else write_data_directory(path, CLUSTER, size), options)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_segments_in_order_come_from_memory_and_each_is_got_once(scene: Scene) -> None:
    store = Watched.of(*names(5, 24))
    with scene.fetcher(store) as fetcher:
        server = scene.server(fetcher)
        for number in range(5, 25):
            server.gets(name(number))
        server.lacks(name(25))
        facts = fetcher.facts()
    assert (facts["from memory"], facts["from store"]) == (19, 2)
    assert sorted(store.got) == sorted([*names(5, 25), str(name(25)), CLUSTER_KEY])


def test_the_words_are_those_of_a_fetch_without_an_agent(scene: Scene) -> None:
    store = Watched.of(*names(5, 6))
    store.broken = {str(name(7))}
    with scene.fetcher(store) as fetcher:
        server = scene.server(fetcher)
        for number in (5, 6):
            server.gets(name(number))
    assert server.heard.messages == ["begin wal restore", "complete wal restore"] * 2


@pytest.mark.parametrize("size", [MIB << power for power in range(7)])
@pytest.mark.parametrize("budget", [64 * MIB, 512 * MIB])
def test_h12_segments_of_every_size(scene: Scene, size: int, budget: int) -> None:
    """Where the budget is too small for one, it goes from the store to the disk."""
    store, place = MemoryStore(), SegmentName(3, (1 << 32) // size - 1, size)
    ensure_identity(store, CLUSTER)
    for each in (place, place.next()):
        put(store, each, segment(each))
    with scene.fetcher(store, budget=budget) as fetcher:
        server = scene.server(fetcher, size=size)
        server.gets(place)
        server.gets(place.next())
        assert fact(fetcher, "from memory") == (1 if 2 * size <= budget else 0)


@pytest.mark.slow
def test_h12_a_segment_of_a_gigabyte_goes_straight_to_the_disk(scene: Scene) -> None:
    size, store = GIB, Watched()
    ensure_identity(store, CLUSTER)
    with (scene.path / "segment").open("w+b") as sparse:
        sparse.truncate(size)
        sparse.write(header(name(1, size=size)))
        sparse.seek(0)
        put_frames(store, name(1, size=size), b"".join(compress_stream(sparse, 1, size=size)))
    put_frames(store, name(2, size=size), b"never asked for")
    store.got = []
    with scene.fetcher(store, budget=256 * MIB) as fetcher:
        server = scene.server(fetcher, size=size)
        assert server.ask(name(1, size=size)) == Fetched(str(name(1, size=size)), size)
        assert server.destination.stat().st_size == size
        assert fetcher.idle()
        assert store.got == [str(name(1, size=size)), CLUSTER_KEY]


def put_frames(store: Store, place: object, frames: bytes) -> None:
    store.put(wal_key(str(place)), Body.of(frames))


def test_h18_at_the_end_every_ask_asks_the_store_once_and_nothing_else_is_asked(scene: Scene) -> None:
    store = Watched.of(*names(5, 8))
    with scene.fetcher(store) as fetcher:
        server = scene.server(fetcher, options=STANDBY)
        for number in range(5, 9):
            server.gets(name(number))
        for _ in range(20):
            store.got, store.listed = [], 0
            server.lacks(name(9))
            rest(fetcher)
            assert (store.got, store.listed) == ([str(name(9))], 1)


def test_h18_that_there_was_none_is_not_remembered(scene: Scene) -> None:
    """A standby at the end of an archive that grows by a segment now and then; one more is tried each time."""
    store = Watched.of(*names(5, 5))
    with scene.fetcher(store) as fetcher:
        server = scene.server(fetcher, options=STANDBY)
        server.gets(name(5))
        for number in range(6, 12):
            server.lacks(name(number))
            put(store, name(number), segment(name(number)))
            store.got = []
            server.gets(name(number))
            assert store.got[0] == str(name(number))
            assert len(store.got) <= 2
            assert fact(fetcher, "depth") == 1
        for number in range(12, 20):
            put(store, name(number), segment(name(number)))
        before = fact(fetcher, "from memory")
        for number in range(12, 20):
            server.gets(name(number))
        assert fact(fetcher, "from memory") - before >= 6  # it is fast again


@pytest.mark.parametrize("other", ["00000002.history", f"{NAME}.00000028.backup", f"{NAME}.partial"])
def test_h19_histories_and_other_files_always_come_from_the_store(scene: Scene, other: str) -> None:
    store = Watched.of(*names(5, 7))
    with scene.fetcher(store) as fetcher:
        server = scene.server(fetcher)
        server.gets(name(5))
        for _ in range(2):
            store.got, store.listed = [], 0
            server.lacks(other)
            assert (store.got, store.listed) == ([other], 1)
        content = {"y": HISTORY, "p": b"START WAL LOCATION: 0/28 (file 000000010000000000000005)\n", "l": segment()}[
            other[-1]
        ]
        put(store, other, content)
        for _ in range(2):
            store.got = []
            assert server.ask(other).found
            assert server.destination.read_bytes() == content
            assert store.got.count(other) == 1


def test_h16_the_window_follows_the_history_that_was_given_out_last(scene: Scene) -> None:
    store = Watched.of(*names(5, 12), *names(8, 12, 2))
    put(store, "00000002.history", HISTORY)
    with scene.fetcher(store) as fetcher:
        server = scene.server(fetcher)
        assert server.ask("00000002.history").found
        for number in (5, 6, 7):
            server.gets(name(number))
        for number in range(8, 13):
            server.gets(name(number, 2))
        assert fact(fetcher, "from store") == 1
    assert not set(store.got) & set(names(8, 12))


def test_h16_a_change_of_timeline_drops_what_was_held_of_the_old_one(scene: Scene) -> None:
    store = Watched.of(*names(5, 12), *names(8, 12, 2))
    put(store, "00000002.history", HISTORY)
    with scene.fetcher(store) as fetcher:
        server = scene.server(fetcher, options=STANDBY)
        for number in (5, 6, 7):
            server.gets(name(number))
        assert fact(fetcher, "held") > 0
        store.got = []
        assert server.ask("00000002.history").found
        rest(fetcher)
        assert str(name(8, 2)) in store.got
        assert server.ask(name(8)).found  # it may be asked for: the server decides
        assert store.got.count(str(name(8))) == 1


def test_h16_where_the_child_s_copy_is_absent_the_parent_s_is_asked_for_and_comes(scene: Scene) -> None:
    store = Watched.of(*names(5, 8))
    put(store, "00000002.history", HISTORY)
    with scene.fetcher(store) as fetcher:
        server = scene.server(fetcher, options=STANDBY)
        assert server.ask("00000002.history").found
        for number in (5, 6, 7):
            server.gets(name(number))
        server.lacks(name(8, 2))
        server.gets(name(8))


def test_h17_a_server_that_goes_back_gets_everything_from_the_store_again(scene: Scene) -> None:
    store = Watched.of(*names(5, 12))
    with scene.fetcher(store) as fetcher:
        server = scene.server(fetcher)
        for number in range(5, 9):
            server.gets(name(number))
        ahead = {each for each in names(9, 12) if each in store.got}
        assert ahead
        store.got = []
        server.gets(name(6))
        assert fact(fetcher, "held") == 2
        for number in range(7, 11):
            server.gets(name(number))
        assert set(names(6, 10)) <= set(store.got)


def test_h17_the_history_of_a_server_that_goes_back_is_still_its_history(scene: Scene) -> None:
    """As at every start: the checkpoint's segment is asked for before the one in which the redo begins."""
    store = Watched.of(*names(5, 12), *names(8, 12, 2))
    put(store, "00000002.history", HISTORY)
    with scene.fetcher(store) as fetcher:
        server = scene.server(fetcher)
        assert server.ask("00000002.history").found
        for number in (6, 5, 6, 7):
            server.gets(name(number))
        for number in (8, 9):
            server.gets(name(number, 2))
        assert fact(fetcher, "from store") == 2


def test_h17_what_was_under_way_for_a_server_that_goes_back_is_not_used(scene: Scene) -> None:
    store = Watched.of(*names(5, 8))
    with scene.fetcher(store, threads=4) as fetcher:
        server = scene.server(fetcher)
        store.shut = {str(name(7))}
        server.ask(name(6))
        store.wait_got(str(name(7)))
        server.ask(name(5))
        store.open(str(name(7)))
        rest(fetcher)
        for number in (6, 7, 8):
            server.gets(name(number))
    assert store.got.count(str(name(7))) == 2


def test_another_mode_has_another_store_and_nothing_of_the_former(scene: Scene) -> None:
    store = Watched.of(*names(5, 9))
    with scene.fetcher(store) as fetcher:
        server = scene.server(fetcher)
        server.gets(name(5))
        server.gets(name(6))
        assert fact(fetcher, "held") == 2
        store.got = []
        server.options = STANDBY
        server.gets(name(7))
        assert store.got.count(str(name(7))) == 1
        server.options = RECOVERY
        server.gets(name(8))
        assert scene.opened == [RecoveryMode.RECOVERY, RecoveryMode.STANDBY]


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\0" * SIZE,
        segment(name(6))[:-1],
        segment(name(6)) + b"\0",
        segment(name(7)),
        segment(name(6), OTHER_CLUSTER),
    ],
)
def test_h15_h16_what_is_held_passes_the_same_checks(
    scene: Scene, damaged: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> bytes:
        return damaged

    monkeypatch.setattr(fetcher_module, "read_ahead", read)
    with scene.fetcher(Watched.of(*names(5, 7))) as fetcher:
        server = scene.server(fetcher)
        for number in (5, 6, 7):
            server.gets(name(number))


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"<html>502 Bad Gateway</html>",
        compress(segment(name(6)))[:-1],
        compress(segment(name(6))) + b"x",
        compress(segment(name(6))[:-1]),
        compress(segment(name(6)) + b"\0"),
        compress(segment(name(7))),
        compress(b"\0" * SIZE),
        b"\0" * 2 * SIZE,
    ],
)
def test_h20_what_is_not_the_segment_is_neither_held_nor_got_at_every_ask(scene: Scene, stored: bytes) -> None:
    store = Watched.of(*names(4, 5), *names(7, 12))
    put_frames(store, name(6), stored)
    with scene.fetcher(store) as fetcher:
        server = scene.server(fetcher)
        for number in (4, 5):
            server.gets(name(number))
        assert store.got.count(str(name(6))) == 1
        with pytest.raises(Corrupt):
            server.ask(name(6))
        assert nothing_at(server.destination)
        put(store, name(6), segment(name(6)))
        for number in range(6, 13):
            server.gets(name(number))


def test_h12_a_segment_of_another_size_is_never_held(scene: Scene) -> None:
    """As after pg_resetwal: it is what its header says, and the plain fetch gives it out."""
    store, other = Watched.of(*names(5, 5)), SegmentName(1, 6, 2 * SIZE)
    put(store, str(name(6)), segment(other))
    with scene.fetcher(store) as fetcher:
        server = scene.server(fetcher)
        server.gets(name(5))
        assert fact(fetcher, "held") == 0
        assert server.ask(name(6)) == Fetched(str(name(6)), 2 * SIZE)
        assert server.destination.read_bytes() == segment(other)


def test_h02_wal_of_another_cluster_is_never_shown(scene: Scene) -> None:
    store = Watched.of(*names(5, 5))
    put(store, name(6), segment(name(6), OTHER_CLUSTER))
    with scene.fetcher(store) as fetcher:
        server = scene.server(fetcher)
        server.gets(name(5))
        with pytest.raises(WrongCluster):
            server.ask(name(6))
        assert nothing_at(server.destination)


def test_h02_an_owner_that_was_misread_is_asked_for_again(scene: Scene) -> None:
    store = Watched.of(*names(5, 6))
    right = b"".join(store.get(CLUSTER_KEY))
    with scene.fetcher(store) as fetcher:
        server = scene.server(fetcher)
        store.put(CLUSTER_KEY, Body.of(right.replace(str(CLUSTER).encode(), str(OTHER_CLUSTER).encode())))
        with pytest.raises(WrongCluster):
            server.ask(name(5))
        store.put(CLUSTER_KEY, Body.of(right))
        server.gets(name(5))


def outcome_of(server: Server, wanted: object) -> Outcome | WalEError:
    try:
        return server.ask(wanted)
    except WalEError as error:
        return error


@pytest.mark.parametrize("mode", SILENT_MODES)
@pytest.mark.parametrize("last", [None, ALWAYS])
@pytest.mark.parametrize("calm", [True, False])
def test_h14_h15_a_fault_at_any_call_is_never_absent_and_leaves_nothing(
    scene: Scene, mode: Mode, last: int | None, calm: bool
) -> None:
    """In order, whether the prefetch meets the fault or the ask does; after a single fault the next ask is well."""
    inner = segments(*((1, number) for number in range(5, 9)))
    for call in range(1, 60):
        faulty = FaultyStore(inner, call=call, mode=mode, last=last)
        with scene.fetcher(faulty) as fetcher:
            server = scene.server(fetcher)
            for number in range(5, 9):
                ask_with_fault(server, name(number), once=last is None, calm=calm)
            outcome = outcome_of(server, name(9))
            assert isinstance(outcome, WalEError) or not outcome.found
        if not faulty.reached:
            return
    pytest.fail("the fetches never end")


def ask_with_fault(server: Server, place: SegmentName, *, once: bool, calm: bool) -> None:
    outcome = outcome_of(server, place)
    if isinstance(outcome, WalEError):
        assert exit_code_for(outcome, RecoveryMode.RECOVERY) == 200
        assert nothing_at(server.destination)
        if not once:
            return
        outcome = server.ask(place)
    assert outcome == Fetched(str(place), SIZE)
    assert server.destination.read_bytes() == segment(place)
    if calm:
        rest(server.fetcher)


def test_h14_an_outage_is_an_error_for_the_one_who_asks_and_tried_ahead_no_more(
    scene: Scene, capfd: pytest.CaptureFixture[str]
) -> None:
    store = Watched.of(*names(5, 12))
    with scene.fetcher(store, threads=1) as fetcher:
        server = scene.server(fetcher)
        server.gets(name(5))
        store.broken = {*names(5, 12), CLUSTER_KEY}
        for number in (6, 7):
            server.gets(name(number))
        for _ in range(3):
            store.got = []
            with pytest.raises(Unavailable):
                server.ask(name(8))
            rest(fetcher)
            assert store.got == [str(name(8))]
        store.broken = set()
        for number in range(8, 13):
            server.gets(name(number))
    assert capfd.readouterr() == ("", "")


def test_a_full_disk_is_told_and_what_is_held_is_got_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object, **_options: object) -> int:
        raise OSError(28, "No space left on device")

    with scene.fetcher(Watched.of(*names(5, 9))) as fetcher:
        server = scene.server(fetcher)
        server.gets(name(5))
        with monkeypatch.context() as patch:
            patch.setattr("wal_e.fsio.write_atomically", full)
            with pytest.raises(DataDirectoryError, match="could not write"):
                server.ask(name(6))
        for number in (6, 7, 8, 9):
            server.gets(name(number))


def test_other_names_and_places_are_refused(scene: Scene) -> None:
    with scene.fetcher(Watched.of(*names(5, 6))) as fetcher:
        server = scene.server(fetcher)
        with pytest.raises(UsageError):
            server.ask("x")
        with pytest.raises(DataDirectoryError):
            fetcher.fetch(NAME, scene.path / "missing" / "RECOVERYXLOG", RECOVERY, silent)
        assert fetcher.idle()


def test_an_ask_joins_the_read_that_is_under_way(scene: Scene) -> None:
    store = Watched.of(*names(5, 8))
    store.shut = {str(name(6))}
    with scene.fetcher(store) as fetcher:
        server = scene.server(fetcher)
        server.ask(name(5))
        store.wait_got(str(name(6)))
        with called(lambda: server.gets(name(6))) as waiting:
            wait_until(lambda: not fetcher.idle(), "the ask", 30)
            store.open(str(name(6)))
            waiting.result(30)
    assert store.got.count(str(name(6))) == 1


def test_an_ask_does_not_wait_for_a_read_that_hangs(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "PATIENCE", 0.0)
    monkeypatch.setattr(fetcher_module, "_PATIENCE", 0.01)
    hung = threading.Event()

    class Hanging(Watched):
        def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
            if is_ahead():
                hung.wait(30)
            return super().get(key, start=start, length=length)

    store = Hanging.of(*names(5, 9))
    with scene.fetcher(store) as fetcher:
        server = scene.server(fetcher)
        for number in range(5, 10):
            assert server.ask(name(number)).found
            assert server.destination.read_bytes() == segment(name(number))
        assert not fetcher.idle()
        server.lacks(name(10))
        assert fact(fetcher, "threads") == 2
        hung.set()
        rest(fetcher)


def test_the_bytes_are_bounded_whatever_is_asked(scene: Scene) -> None:
    """What the process takes is measured, with servers at different places that each go on."""
    budget, store = 16 * MIB, Watched.of(*names(0, 40))
    seen: list[int] = []
    with scene.fetcher(store, threads=8, budget=budget) as fetcher:
        servers = [scene.server(fetcher, f"pg{number}") for number in range(3)]
        store.delay = lambda: seen.append(fact(fetcher, "bytes"))
        tracemalloc.start()
        try:
            for number in range(10):
                for place, server in enumerate(servers):
                    assert server.ask(name(number + 10 * place)).found
                    seen.append(fact(fetcher, "bytes"))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert max(seen) <= budget
    assert peak <= budget + 4 * MIB
    assert max(seen) >= budget // 2  # it was of use


def test_h18_an_end_that_the_ask_found_is_an_end(scene: Scene) -> None:
    store = Watched.of(*names(5, 5))
    with scene.fetcher(store) as fetcher:
        server = scene.server(fetcher, options=STANDBY)
        store.deaf = True
        server.gets(name(5))
        server.lacks(name(6))
        store.deaf = False
        put(store, name(6), segment(name(6)))
        server.gets(name(6))
        assert fact(fetcher, "depth") == 1


@pytest.mark.parametrize(
    "stored",
    [
        compress(segment(name(6))[:-1]),
        compress(segment(name(6))[: SIZE // 2]) + compress(segment(name(6))[: SIZE // 4]),
        compress(segment(name(6)) + b"\0"),
        compress(segment(name(7))),
        compress(segment(SegmentName(1, 6, 2 * SIZE))[:SIZE]),
        compress(b""),
        b"",
        b"not zstd",
    ],
)
def test_h16_only_the_whole_segment_is_read_ahead(stored: bytes) -> None:
    store = MemoryStore()
    put_frames(store, name(6), stored)
    with pytest.raises(Corrupt):
        read_ahead(store, str(name(6)), SIZE, lambda: None)


def test_h20_an_object_that_is_too_large_is_not_read_to_its_end() -> None:
    arrived: list[str] = []
    store = MemoryStore()
    put_frames(store, name(6), bytes(20 * SIZE))
    with pytest.raises(Corrupt, match="larger than the segment"):
        read_ahead(store, str(name(6)), SIZE, lambda: arrived.append("chunk"))
    assert len(arrived) == 2


@pytest.mark.parametrize("content_size", [True, False])
@pytest.mark.parametrize("noisy", [True, False])
def test_a_read_takes_twice_the_segment_at_most(content_size: bool, noisy: bool) -> None:
    """Also of frames that do not say how much is in them, as WAL-G's."""
    size, store = 16 * MIB, MemoryStore()
    place = name(1, size=size)
    noise = random.Random(1).randbytes(size) if noisy else b""
    content = (header(place) + noise).ljust(size, b"x")[:size]
    frames = compress(content, 1) if content_size else b"".join(compress_stream(BytesIO(content), 1))
    put_frames(store, place, frames)
    tracemalloc.start()
    try:
        data = read_ahead(store, str(place), size, lambda: None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert data == content
    assert peak <= 2 * size * 1.08 + 2 * MIB


def test_several_servers_each_in_its_own_order_share_the_memory(scene: Scene) -> None:
    store = Watched.of(*names(0, 59))
    with scene.fetcher(store, threads=4, budget=24 * MIB) as fetcher:
        first = scene.server(fetcher, "first", replace(RECOVERY, ahead=100))
        for number in range(6):
            first.gets(name(number))
        others = [scene.server(fetcher, f"other{place}") for place in (1, 2, 3)]
        for step in range(10):
            for place, server in enumerate(others, 1):
                server.gets(name(15 * place + step))
            first.gets(name(6 + step))
        before = fact(fetcher, "from store")
        for step in range(10, 14):
            for place, server in enumerate(others, 1):
                server.gets(name(15 * place + step))
        assert fact(fetcher, "from store") == before
        assert fact(fetcher, "servers") == 4


@pytest.mark.parametrize(("servers", "budget", "held"), [(2, 4 * MIB, 2), (4, 4 * MIB, 3), (4, 2 * MIB, 1)])
def test_a_small_memory_is_shared_too(scene: Scene, servers: int, budget: int, held: int) -> None:
    """Each has its share, and where that is less than a segment the first to come have one."""
    with scene.fetcher(Watched.of(*names(0, 60)), budget=budget) as fetcher:
        asking = [scene.server(fetcher, f"pg{place}") for place in range(servers)]
        for step in range(5):
            for place, server in enumerate(asking):
                server.gets(name(15 * place + step))
        assert fact(fetcher, "held") == held


def test_a_memory_of_one_segment_is_used_for_the_next_one(scene: Scene) -> None:
    with scene.fetcher(Watched.of(*names(5, 12)), budget=2 * MIB) as fetcher:
        server = scene.server(fetcher)
        for number in range(5, 13):
            server.gets(name(number))
        assert (fact(fetcher, "from memory"), fact(fetcher, "from store")) == (7, 1)


def test_servers_at_once_on_many_threads(scene: Scene) -> None:
    store = Watched.of(*names(0, 60))
    with scene.fetcher(store, threads=3, budget=8 * MIB) as fetcher:

        def recover(server: Server, first: int, step: int) -> None:
            for number in range(first, 40, step):
                assert server.ask(name(number)).found
                assert server.destination.read_bytes() == segment(name(number))

        with ThreadPoolExecutor(6) as executor:
            for done in [
                executor.submit(recover, scene.server(fetcher, f"pg{place}"), place * 3, 1 + place % 2)
                for place in range(6)
            ]:
                done.result(60)
        assert fact(fetcher, "threads") <= 3
        rest(fetcher)
        assert fact(fetcher, "bytes") <= 8 * MIB


def test_the_number_ahead_is_the_user_s(scene: Scene) -> None:
    for ahead in (0, 1, 3):
        store = Watched.of(*names(5, 30))
        with scene.fetcher(store) as fetcher:
            server = scene.server(fetcher, options=replace(RECOVERY, ahead=ahead))
            for number in range(5, 20):
                server.gets(name(number))
                assert fact(fetcher, "held") <= ahead
                assert len({*store.got} - {CLUSTER_KEY, *names(5, number)}) <= ahead
            assert fact(fetcher, "from store") == (15 if ahead == 0 else 1)


def test_the_window_opens_when_the_server_waits_and_closes_when_it_does_not_come(scene: Scene) -> None:
    store = Watched.of(*names(5, 60))
    with scene.fetcher(store) as fetcher:
        server = scene.server(fetcher)
        store.deaf = True
        for number, depth in ((5, 2), (6, 4), (7, 8), (8, 8)):
            server.gets(name(number))
            assert fact(fetcher, "depth") == depth
        server.gets(name(20))  # nobody could foresee it
        assert fact(fetcher, "depth") == 8
        store.deaf = False
        server.gets(name(21))
        for number, depth in ((22, 7), (23, 6), (24, 5)):
            scene.time.seconds += 1.2
            server.gets(name(number))
            assert fact(fetcher, "depth") == depth
        scene.time.seconds += HELD_FOR / 2
        server.gets(name(25))
        assert (fact(fetcher, "depth"), fact(fetcher, "held")) == (2, 2)
        scene.time.seconds += HELD_FOR + 1
        server.gets(name(26))
        assert (fact(fetcher, "depth"), fact(fetcher, "held")) == (0, 0)
        server.gets(name(27))
        assert fact(fetcher, "depth") > 0


def test_a_slow_store_opens_the_window_as_far_as_it_needs(scene: Scene) -> None:
    """A segment takes it 5 s, and the server asks for one each second."""
    store = Watched.of(*names(5, 60))
    with scene.fetcher(store) as fetcher:
        server = scene.server(fetcher)
        store.deaf = True
        server.gets(name(5))
        scene.time.seconds += 1
        store.delay = lambda: setattr(scene.time, "seconds", scene.time.seconds + 5)
        server.gets(name(6))
        assert fact(fetcher, "depth") == 5


def test_a_server_that_falls_silent_frees_its_memory_and_then_its_share(scene: Scene) -> None:
    with scene.fetcher(Watched.of(*names(5, 60)), budget=8 * MIB) as fetcher:
        silent_one, other = scene.server(fetcher), scene.server(fetcher, "other")
        silent_one.gets(name(5))
        assert fact(fetcher, "held") == 2
        scene.time.seconds += HELD_FOR + 1
        assert fetcher.idle()
        assert (fact(fetcher, "bytes"), fact(fetcher, "servers")) == (0, 1)
        scene.time.seconds += 300
        assert fetcher.idle()
        assert fact(fetcher, "servers") == 0
        other.gets(name(30))
        assert fact(fetcher, "servers") == 1
        silent_one.gets(name(6))


def test_release_drops_all_and_close_ends_the_threads(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wal_e.agent.crew.IDLE", 0.01)
    store = Watched.of(*names(5, 20))
    with scene.fetcher(store) as fetcher:
        server = scene.server(fetcher)
        for number in (5, 6):
            server.gets(name(number))
        fetcher.release()
        wait_until(lambda: fact(fetcher, "threads") == 0, "the threads to end", 30)
        facts = fetcher.facts()
        assert {facts[each] for each in ("queued", "under way", "held", "bytes")} == {0}
        store.got = []
        server.gets(name(7))
        assert str(name(7)) in store.got
        server.gets(name(8))
        assert fact(fetcher, "from memory") == 2
        fetcher.close()
        store.got = []
        for number in (9, 10):
            server.gets(name(number))
        assert store.got == names(9, 10)
        assert fact(fetcher, "threads") == 0


def test_release_while_something_is_under_way(scene: Scene) -> None:
    store = Watched.of(*names(5, 9))
    store.shut = {str(name(6))}
    with scene.fetcher(store) as fetcher:
        server = scene.server(fetcher)
        server.ask(name(5))
        store.wait_got(str(name(6)))
        assert not fetcher.idle()
        with called(lambda: server.gets(name(6))) as waiting:
            fetcher.release()
            store.open(str(name(6)))
            waiting.result(30)
        for number in (7, 8, 9):
            server.gets(name(number))


def test_a_server_that_comes_rarely_costs_no_more_than_without_an_agent(scene: Scene) -> None:
    """Also where the agent gives its memory back each time."""
    store = Watched.of(*names(5, 30))
    with scene.fetcher(store) as fetcher:
        server = scene.server(fetcher)
        server.gets(name(5))
        store.got = []
        for number in range(6, 20):
            scene.time.seconds += HELD_FOR + 1
            fetcher.release()
            server.gets(name(number))
        assert [each for each in store.got if each != CLUSTER_KEY] == names(6, 19)


def test_release_frees_the_memory_although_threads_rest(scene: Scene) -> None:
    store = Watched.of(*names(5, 30))
    with scene.fetcher(store, threads=8) as fetcher:
        server = scene.server(fetcher)
        store.deaf = True
        for number in (5, 6, 7):
            server.gets(name(number))
        store.deaf = False
        tracemalloc.start()
        try:
            server.gets(name(8))
            assert tracemalloc.get_traced_memory()[0] >= 8 * SIZE
            fetcher.release()
            assert tracemalloc.get_traced_memory()[0] <= SIZE // 2
        finally:
            tracemalloc.stop()


def test_the_facts_are_what_happened(scene: Scene) -> None:
    store = Watched.of(*names(5, 8))
    with scene.fetcher(store) as fetcher:
        server = scene.server(fetcher)
        for number in (5, 6, 7):
            server.gets(name(number))
        assert fetcher.facts() == {
            "from memory": 2,
            "waited": 0,
            "from store": 1,
            "servers": 1,
            "depth": 2,
            "queued": 0,
            "under way": 0,
            "held": 1,
            "bytes": SIZE,
            "threads": 2,
        }


def test_h18_a_gap_is_told_as_without_an_agent(scene: Scene) -> None:
    store = Watched.of(*names(5, 6), *names(8, 9))
    with scene.fetcher(store) as fetcher:
        server = scene.server(fetcher)
        for number in (5, 6):
            server.gets(name(number))
        with pytest.raises(WalMissing):
            server.ask(name(7))
        server.options = replace(RECOVERY, end_at_gap=True)
        server.lacks(name(7))
        put(store, name(7), segment(name(7)))
        for number in (7, 8, 9):
            server.gets(name(number))


HISTORIES = {
    "00000002.history": b"1\t0/680000\tx\n",
    "00000003.history": b"1\t0/680000\tx\n2\t0/900000\tx\n",
}
FAMILY = [*names(4, 12), *names(6, 12, 2), *names(9, 14, 3), *HISTORIES]
FILES = st.one_of(
    st.sampled_from(FAMILY),
    st.builds(lambda number, timeline: str(name(number, timeline)), st.integers(4, 15), st.integers(1, 3)),
)
RUNS = st.builds(
    lambda timeline, first, length: names(first, first + length, timeline),
    st.integers(1, 3),
    st.integers(4, 9),
    st.integers(2, 8),
)
ASKS = st.tuples(st.just("ask"), st.one_of(RUNS, RUNS, FILES.map(lambda one: [one])))
OTHERS = st.tuples(st.sampled_from(["put", "later", "switch", "rest"]), FILES.map(lambda one: [one]))
STEPS = st.lists(st.one_of(ASKS, ASKS, OTHERS), min_size=4, max_size=12)


@cache
def body_of(wanted: str) -> Body:
    """Made once for all examples: making the segments would take most of their time."""
    return Body.of(compress(HISTORIES.get(wanted) or segment(SegmentName.parse(wanted, SIZE))))


@settings(max_examples=150, deadline=None)
@given(
    st.sets(FILES, max_size=8),
    STEPS,
    st.builds(replace, st.sampled_from([RECOVERY, STANDBY]), end_at_gap=st.booleans(), ahead=st.integers(0, 8)),
    st.sampled_from([0, 2 * MIB, 6 * MIB, 64 * MIB]),
)
def test_h14_h18_every_answer_is_that_of_a_plain_fetch(
    tmp_path_factory: pytest.TempPathFactory,
    missing: set[str],
    steps: list[tuple[str, list[str]]],
    options: FetchOptions,
    budget: int,
) -> None:
    """Over any archive with holes and timelines, for two servers, in any order, while files are added."""
    scene, store = Scene(tmp_path_factory.mktemp("any")), segments()
    for each in sorted({*FAMILY} - missing):
        store.put(wal_key(each), body_of(each))
    with scene.fetcher(store, budget=budget) as fetcher:
        servers = [scene.server(fetcher, who, options) for who in "ab"]
        for step, wanted in steps:
            if step == "ask":
                for each in wanted:
                    assert compare(store, servers[0], each)
            elif step == "put":
                store.put(wal_key(wanted[0]), body_of(wanted[0]))
            elif step == "later":
                scene.time.seconds += 8
            elif step == "switch":
                servers.reverse()
            else:
                rest(fetcher)


def compare(store: Store, server: Server, wanted: str) -> bool:
    """Whether the server gets the very outcome, error and bytes that it gets without an agent."""
    plain = Server(Plain(store), server.pg_wal, server.options)
    answers = []
    for each in (plain, server):
        outcome = outcome_of(each, wanted)
        content = server.destination.read_bytes() if server.destination.exists() else None
        told = (type(outcome), str(outcome), getattr(outcome, "detail", None), getattr(outcome, "hint", None))
        answers.append((*told, content, sorted(entry.name for entry in server.pg_wal.iterdir())))
    return answers[0] == answers[1] and plain.heard.messages == server.heard.messages[-len(plain.heard.messages) :]


class Plain(Fetcher):
    """No agent at all."""

    def __init__(self, store: Store) -> None:
        super().__init__(lambda _mode: store, FetcherOptions())
        self.store = store

    def fetch(self, name: str, destination: Path, options: FetchOptions, emit: Sink) -> Outcome:
        return fetch_file(self.store, name, destination, options, emit)
