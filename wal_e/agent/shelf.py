"""
What was fetched before anybody asked for it: a bounded number of bytes, and the threads that fetch them.

Each asker says which names it wants next; what nobody wants any more is dropped. A name is queued, under way, or
held. Nothing is kept of one that was absent or could not be had: whoever asks for it asks the store (H18). And
nobody waits for long for a read that stands still: whoever asks then asks the store beside it.
"""

import enum
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from wal_e.agent.crew import Crew, Job
from wal_e.wal.lookahead import HELD_FOR

Alive = Callable[[], None]
Read = Callable[[str, Alive], bytes | None]

# A store that sends nothing for so many seconds is in trouble, and an ask has deadlines of its own to keep.
PATIENCE: Final = 10.0


class _State(enum.Enum):
    QUEUED = 1
    UNDER_WAY = 2
    HELD = 3
    GONE = 4


@dataclass(slots=True, eq=False)
class Slot:
    """
    One segment: of `size` bytes, begun and ready at times of the shelf's clock, in seconds.

    Only `data`, `size`, `begun` and `ready` are for readers, and only of a slot that `take` returned.
    """

    name: str
    size: int
    read: Read
    state: _State = _State.QUEUED
    data: bytes | None = None
    begun: float = 0.0
    moved: float = 0.0
    ready: float = 0.0
    readers: int = 0

    @property
    def cost(self) -> int:
        """The bytes of memory that it may take: while it is read, its compressed form is there too."""
        return self.size if self.state is _State.HELD else 2 * self.size


class Shelf:
    """Segments by name, `budget` bytes of them at most, fetched by up to `threads` threads."""

    def __init__(self, threads: int, budget: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._budget = budget
        self._clock = clock
        self._changed = threading.Condition()  # guards all that follows
        self._crew = Crew(threads, self._changed, self._next_job)
        self._slots: dict[str, Slot] = {}
        self._abandoned: set[Slot] = set()
        self._wishes: dict[str, frozenset[str]] = {}
        self._closed = False

    def want(self, who: str, names: Sequence[str], size: int, read: Read) -> None:
        """
        Makes these the names that `who` wants, in this order; each is a segment of `size` bytes.

        `read` returns the content, or None where it could not be had, and calls its second argument whenever bytes
        arrive. Names for which the budget has no room now are not queued, and none is without a thread to fetch it.
        """
        with self._changed:
            self._wishes[who] = frozenset(names)
            self._tidy()
            for name in () if self._closed else names:
                if name in self._slots:
                    continue
                if self._bytes() + 2 * size > self._budget:
                    break
                self._slots[name] = Slot(name, size, read)
                self._crew.call()
            if not len(self._crew):
                self._unqueue(self._slots)

    def drop(self, who: str) -> None:
        """Forgets what `who` wants; what is under way for it alone will not be used."""
        with self._changed:
            self._wishes.pop(who, None)
            self._abandon()
            self._tidy()

    def take(self, name: str) -> Slot | None:
        """
        The slot with the content of `name`, or None where it is not held; to be given back.

        Where it is under way, this waits for it for as long as bytes arrive.
        """
        with self._changed:
            self._tidy()
            slot = self._slots.get(name)
            if slot is None or slot.state is _State.QUEUED:
                self._slots.pop(name, None)  # the asker is faster
                return None
            slot.readers += 1
            self._await(slot)
            if slot.state is _State.HELD:
                return slot
            slot.readers -= 1
            return None

    def give_back(self, slot: Slot) -> None:
        """The taker has written it; it is dropped unless another asker wants it."""
        with self._changed:
            slot.readers -= 1
            self._tidy()

    def facts(self) -> dict[str, int]:
        """How many segments are queued, under way and held, the bytes that they may take, and the threads."""
        with self._changed:
            self._tidy()
            states = [slot.state for slot in (*self._slots.values(), *self._abandoned)]
            return {
                "queued": states.count(_State.QUEUED),
                "under way": states.count(_State.UNDER_WAY),
                "held": states.count(_State.HELD),
                "bytes": self._bytes(),
                "threads": len(self._crew),
            }

    def clear(self) -> None:
        """Drops everything that nobody is writing or waiting for at this moment; what is under way is not used."""
        with self._changed:
            self._wishes.clear()
            self._abandon()
            self._tidy()

    def close(self, patience: float) -> None:
        """Drops everything and begins nothing new; reads under way are waited for `patience` seconds at most."""
        with self._changed:
            self._closed = True
        self.clear()
        self._crew.dismiss(patience)

    def _await(self, slot: Slot) -> None:
        while slot.state is _State.UNDER_WAY:
            left = slot.moved + PATIENCE - self._clock()
            if left <= 0:
                return
            self._changed.wait(left)

    def _tidy(self) -> None:
        """What nobody wants and nobody uses goes; a read that is under way is let go when it ends."""
        wanted = self._wanted()
        oldest = self._clock() - HELD_FOR
        for slot in list(self._slots.values()):
            stale = slot.state is _State.HELD and slot.ready < oldest
            in_use = slot.readers or slot.state is _State.UNDER_WAY
            if not in_use and (stale or slot.name not in wanted):
                del self._slots[slot.name]
                slot.data = None  # the thread that read it may remember the slot while it rests

    def _abandon(self) -> None:
        """Reads that were begun for those who are gone end unseen; their bytes count until then."""
        wanted = self._wanted()
        for slot in list(self._slots.values()):
            if slot.state is _State.UNDER_WAY and not slot.readers and slot.name not in wanted:
                self._abandoned.add(self._slots.pop(slot.name))

    def _wanted(self) -> frozenset[str]:
        return frozenset[str]().union(*self._wishes.values())

    def _bytes(self) -> int:
        return sum(slot.cost for slot in (*self._slots.values(), *self._abandoned))

    def _next_job(self) -> Job | None:
        for slot in self._slots.values():
            if slot.state is _State.QUEUED:
                slot.state, slot.begun = _State.UNDER_WAY, self._clock()
                slot.moved = slot.begun
                return partial(self._fetch, slot)
        return None

    def _fetch(self, slot: Slot) -> None:
        def alive() -> None:
            slot.moved = self._clock()

        data = None
        try:
            data = slot.read(slot.name, alive)
        finally:
            with self._changed:
                self._settle(slot, data)

    def _settle(self, slot: Slot, data: bytes | None) -> None:
        if slot in self._abandoned:
            self._abandoned.discard(slot)
            return
        slot.data, slot.ready = data, self._clock()
        slot.state = _State.GONE if data is None else _State.HELD
        if data is None:
            del self._slots[slot.name]
            # Behind the end of the archive, and in an outage, what the same askers want after it is not tried.
            self._unqueue(frozenset[str]().union(*(names for names in self._wishes.values() if slot.name in names)))
        self._tidy()
        self._changed.notify_all()

    def _unqueue(self, names: Collection[str]) -> None:
        for slot in list(self._slots.values()):
            if slot.state is _State.QUEUED and slot.name in names:
                del self._slots[slot.name]
