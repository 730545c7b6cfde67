"""
`wal-fetch` at line rate: the segments that a server will ask for next, in memory before it asks.

Every answer is `wal.fetch.fetch_file`'s: what is held only stands for the bytes of the store, and passes the same
checks. So "it has none" always comes from the archive itself (H14, H18), histories are never answered from memory
(H19), and an error while fetching ahead is forgotten: the ask will meet it. Nothing is written but what was asked
for (H17). Which names, and how many, is decided in `wal.lookahead`; the bytes are kept by the `Shelf`.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from wal_e.agent.shelf import Alive, Shelf, Slot
from wal_e.errors import ArchiveError, NotFound, UsageError, WalEError
from wal_e.events import Sink
from wal_e.pg.history import History, parse_history
from wal_e.pg.wal import SegmentName, is_history, is_segment
from wal_e.repo.layout import CLUSTER_KEY
from wal_e.store.api import Store
from wal_e.store.remember import Remembering
from wal_e.units import MIB
from wal_e.wal.asker import RecoveryMode, data_directory_of
from wal_e.wal.fetch import Absent, Fetched, FetchOptions, fetch_file, read_ahead
from wal_e.wal.lookahead import START, Pace, deepest, names_ahead, next_depth, path_of

# A server that did not ask for this long streams, waits for a target, or is gone: its share goes to the others.
_FORGOTTEN_AFTER: Final = 300.0
_PATIENCE: Final = 1.0  # seconds that `close` waits for reads that nobody asked for


@dataclass(frozen=True, slots=True)
class FetcherOptions:
    """How many segments are fetched at once, the bytes that they may all take together, and a clock in seconds."""

    threads: int = 8
    budget: int = 256 * MIB
    clock: Callable[[], float] = time.monotonic


@dataclass(slots=True)
class _Follower:
    """
    One server that asks: what it got last, how far ahead of it we go, and where the archive ended for it.

    `absent` is for planning alone: a name in it (absent, or not what it should be) is not fetched ahead until the
    server has got past its place.
    """

    who: str
    mode: RecoveryMode
    asked_at: float
    asked: SegmentName | None = None
    history: History | None = None
    depth: int = START
    ahead: int = 0
    absent: set[SegmentName] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Ask:
    """One ask for a segment: when it came, and how long after the one before, in seconds."""

    name: str
    options: FetchOptions
    at: float
    interval: float

    def pace_of(self, slot: Slot) -> Pace:
        """How it went where the segment was held, or under way."""
        return Pace(slot.ready > self.at, max(0.0, self.at - slot.ready), slot.ready - slot.begun, self.interval)

    def pace_of_store(self, before: SegmentName | None, asked: SegmentName, now: float) -> Pace:
        """How it went where the store was asked; the first segment, or one after a jump, could not be foreseen."""
        in_turn = before is not None and asked.number == before.number + 1
        return Pace(in_turn, 0.0, now - self.at, self.interval)


class Fetcher:
    """
    Answers as `fetch_file` does, faster for servers that ask in order; for up to many servers of one archive.

    `store` gives the store for a mode of recovery; it is called once for each, and the store must stay open until
    `close`. Its deadlines bound every wait.
    """

    def __init__(self, store: Callable[[RecoveryMode], Store], options: FetcherOptions) -> None:
        self._open = store
        self._options = options
        self._shelf = Shelf(options.threads, options.budget, options.clock)
        self._lock = threading.Lock()  # guards all that follows, and every follower
        self._stores: dict[RecoveryMode, Remembering] = {}
        self._followers: dict[str, _Follower] = {}
        self._counts = {"from memory": 0, "waited": 0, "from store": 0}
        self._asks = 0

    def fetch(self, name: str, destination: Path, options: FetchOptions, emit: Sink) -> Fetched | Absent:
        """See `fetch_file`: the same promises and errors; `options.ahead` segments are fetched beforehand at most."""
        who = str(data_directory_of(destination) or destination.absolute().parent)
        with self._lock:
            store = self._store(options.mode)
            self._asks += 1
        try:
            follower, interval = self._arrive(who, name, options)
            if is_segment(name):
                ask = _Ask(name, options, follower.asked_at, interval)
                return self._fetch_segment(store, follower, destination, ask, emit)
            outcome = fetch_file(store, name, destination, options, emit)
            if outcome.found and is_history(name):
                self._learn(follower, name, destination)
                self._plan(store, follower)  # what is not on the new path goes
        except ArchiveError:
            # Another cluster, another archive: what was believed about this server and the owner no longer is.
            self._forget(who)
            store.forget()
            raise
        else:
            return outcome
        finally:
            with self._lock:
                self._asks -= 1

    def facts(self) -> dict[str, object]:
        """
        What was done, in segments asked for, and what is held now.

        "from memory": they were held or under way, "waited": of these the ones that were still under way, "from
        store": the others. "depth" is the deepest window of the "servers" that ask. The rest is the shelf's.
        """
        with self._lock:
            self._forget_silent(self._options.clock())
            counts, servers = dict(self._counts), len(self._followers)
            depth = max((each.depth for each in self._followers.values()), default=0)
        return {**counts, "servers": servers, "depth": depth, **self._shelf.facts()}

    def idle(self) -> bool:
        """
        Whether no ask is being answered and nothing is being fetched ahead.

        Drops what was held for too long: call it now and then, also while nobody asks.
        """
        shelf = self._shelf.facts()
        with self._lock:
            self._forget_silent(self._options.clock())
            return not (self._asks or shelf["queued"] or shelf["under way"])

    def release(self) -> None:
        """
        Drops all that is held; asks that are being answered are not touched.

        Who asks, and how often, is still known: for a server that comes rarely nothing is fetched ahead in vain.
        """
        self._shelf.clear()

    def close(self) -> None:
        """As `release`, and nothing is fetched ahead any more; asks are still answered."""
        self.release()
        self._shelf.close(_PATIENCE)

    def _store(self, mode: RecoveryMode) -> Remembering:
        """The owner of the archive is asked for by every fetch, and does not change."""
        if mode not in self._stores:
            self._stores[mode] = Remembering(self._open(mode), [CLUSTER_KEY])
        return self._stores[mode]

    def _fetch_segment(
        self, store: Store, follower: _Follower, destination: Path, ask: _Ask, emit: Sink
    ) -> Fetched | Absent:
        slot = self._shelf.take(ask.name)
        self._count(slot, ask)
        try:
            if slot is not None:  # the next ones are fetched while this one is written
                self._advance(store, follower, SegmentName.parse(ask.name, slot.size), ask.pace_of(slot))
            held = None if slot is None else slot.data
            outcome = fetch_file(store, ask.name, destination, ask.options, emit, held)
        finally:
            if slot is not None:
                self._shelf.give_back(slot)
        if isinstance(outcome, Absent):
            self._meet_end(follower, ask.name)
        elif slot is not None:
            self._plan(store, follower)  # for what had no room while this one was written
        else:
            asked = SegmentName.parse(ask.name, outcome.size)
            self._advance(store, follower, asked, ask.pace_of_store(follower.asked, asked, self._options.clock()))
        return outcome

    def _arrive(self, who: str, name: str, options: FetchOptions) -> tuple[_Follower, float]:
        """
        Who asks, and the seconds since it asked before.

        A server that was silent for long, recovers in another mode or goes back is a new one (pg_rewind, H17); where
        it goes back, the history that it got last is the one it still follows.
        """
        now = self._options.clock()
        with self._lock:
            self._forget_silent(now)
            known, history = self._followers.get(who), None
            if known is not None and (known.mode is not options.mode or _goes_back(known.asked, name)):
                history = known.history if known.mode is options.mode else None
                self._drop(who)
            follower = self._followers.setdefault(who, _Follower(who, options.mode, now, history=history))
            interval, follower.asked_at, follower.ahead = now - follower.asked_at, now, options.ahead
        return follower, interval

    def _forget_silent(self, now: float) -> None:
        for who in [each.who for each in self._followers.values() if now - each.asked_at > _FORGOTTEN_AFTER]:
            self._drop(who)

    def _drop(self, who: str) -> None:
        self._followers.pop(who, None)
        self._shelf.drop(who)

    def _forget(self, who: str) -> None:
        with self._lock:
            self._drop(who)

    def _learn(self, follower: _Follower, name: str, destination: Path) -> None:
        """The history that a server got last is the one it follows; it is used for planning, never given out (H19)."""
        with contextlib.suppress(OSError, WalEError):
            history = parse_history(int(name[:8], 16), destination.read_bytes())
            with self._lock:
                follower.history = history

    def _meet_end(self, follower: _Follower, name: str) -> None:
        with self._lock, contextlib.suppress(UsageError):
            if follower.asked is not None:
                follower.absent.add(SegmentName.parse(name, follower.asked.segment_size))

    def _advance(self, store: Store, follower: _Follower, asked: SegmentName, pace: Pace) -> None:
        """The server gets `asked`: the window moves there."""
        with self._lock:
            at_end = asked in follower.absent
            follower.absent = {name for name in follower.absent if name.number > asked.number}
            # At the end of the archive one more segment at a time is tried, however fast it went before.
            follower.depth = 1 if at_end else next_depth(follower.depth, pace, self._most(follower, asked))
            follower.asked = asked
        self._plan(store, follower)

    def _plan(self, store: Store, follower: _Follower) -> None:
        with self._lock:
            asked = follower.asked
            if asked is None or self._followers.get(follower.who) is not follower:
                return  # forgotten meanwhile
            depth = min(follower.depth, self._most(follower, asked))
            names = names_ahead(asked, path_of(asked, follower.history), follower.absent, depth)
            read = partial(self._read, store, follower, asked.segment_size)
            self._shelf.want(follower.who, [str(name) for name in names], asked.segment_size, read)

    def _most(self, follower: _Follower, asked: SegmentName) -> int:
        """The deepest window; where the shares of many are too small for one segment, the first to come has one."""
        budget, size = self._options.budget, asked.segment_size
        share = deepest(follower.ahead, budget // max(1, len(self._followers)), size)
        return share or min(1, deepest(follower.ahead, budget, size))

    def _read(self, store: Store, follower: _Follower, size: int, name: str, alive: Alive) -> bytes | None:
        try:
            return read_ahead(store, name, size, alive)
        except (NotFound, ArchiveError):  # it will not be another one so soon: not tried again at every ask
            with self._lock:
                follower.absent.add(SegmentName.parse(name, size))
        except (WalEError, OSError, MemoryError):
            pass  # the ask will meet it, and say it
        return None

    def _count(self, slot: Slot | None, ask: _Ask) -> None:
        with self._lock:
            self._counts["from store" if slot is None else "from memory"] += 1
            self._counts["waited"] += slot is not None and slot.ready > ask.at


def _goes_back(asked: SegmentName | None, name: str) -> bool:
    """Whether the segment `name` lies before the one that the server got last, or is of another size."""
    if asked is None or not is_segment(name):
        return False
    try:
        return SegmentName.parse(name, asked.segment_size).number < asked.number
    except UsageError:
        return True
