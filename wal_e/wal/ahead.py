"""
Pushing ahead of being asked: which files, how many at once, and how hard to compress them. Pure decisions.

PostgreSQL says by `archive_status/<name>.ready` that a file is complete and will be asked for, so it may be archived
before that; `agent.pusher` does it, and remembers in `Known` what is durable.
"""

import heapq
from collections import OrderedDict
from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from typing import Final

from wal_e.codec.compress import DEFAULT_LEVEL
from wal_e.events import Event
from wal_e.pg.wal import is_archivable, is_history
from wal_e.repo.source import FileIdentity
from wal_e.units import KIB, MIB
from wal_e.wal.push import Pushed

READY: Final = ".ready"

# The archiver of 15 and later picks 64 files per scan of its directory (NUM_FILES_PER_DIRECTORY_SCAN, pgarch.c). It
# is also what a killed agent costs: its successor compares so many stored files at most.
WINDOW: Final = 64
# One scan serves several windows: with 100,000 entries it takes a tenth of a second.
HORIZON: Final = 4 * WINDOW

# From the fastest to the hardest. Segments of pgbench (PostgreSQL 15, 16 MiB, one core), in milliseconds each and
# times smaller: -4 12.5 6.8, -2 13.0 8.2, -1 13.7 9.4, 1 16.2 10.5, 3 23.5 11.6, 4 24.2 11.6, 5 54.2 11.9,
# 6 92.9 12.8. So below -1 no time is gained, and 4 and 5 gain no space.
LEVELS: Final = (-1, 1, DEFAULT_LEVEL, 6)
# So many files waiting are a backlog: fewer are gone before a change of level shows.
BACKLOG: Final = 8
# Of the cores that compression can use: from here on they are the bottleneck, below the other the link is. What is
# between keeps the level. The longest step costs 4 times the work of the one before, so SPARE is below BUSY / 4:
# no step leads to where it is taken back.
BUSY: Final = 0.7
SPARE: Final = 0.15
# Files to measure at one level before the next step, per thread.
MEASURED: Final = 2


def ready_names(entries: Iterable[str]) -> set[str]:
    """The files that wait to be archived, from the names of the entries of `archive_status`."""
    names = (entry.removesuffix(READY) for entry in entries if entry.endswith(READY))
    return {name for name in names if is_archivable(name)}


def next_files(ready: Iterable[str], skipped: Container[str], count: int) -> list[str]:
    """
    The first `count` files that PostgreSQL will ask for, in its order, without those that are skipped.

    Timeline histories come first, the rest by name (ready_file_comparator in pgarch.c). A server that picks
    otherwise loses nothing: what it asks for is done at once.
    """
    return heapq.nsmallest(count, (name for name in ready if name not in skipped), key=_order)


def memory_for(size: int) -> int:
    """The most bytes that a push of a file of `size` bytes holds: the file and its frame (ZSTD_COMPRESSBOUND)."""
    return size + size + size // 256 + 64 * KIB


@dataclass(frozen=True, slots=True)
class Gear:
    """The level in use, and what a file costs at it: seconds per file, as an average of the last ones."""

    level: int = DEFAULT_LEVEL
    files: int = 0
    compressing: float = 0.0
    sending: float = 0.0

    def measured(self, level: int, pushed: Pushed) -> "Gear":
        """With one more file; small files and files of another level tell nothing."""
        if level != self.level or not pushed.fresh or pushed.size < MIB:
            return self
        weight = 1 / min(self.files + 1, 8)
        return Gear(
            level,
            self.files + 1,
            self.compressing + weight * (pushed.compressing - self.compressing),
            self.sending + weight * (pushed.sending - self.sending),
        )

    def shifted(self, waiting: int, threads: int, cores: int) -> "Gear":
        """
        The gear for the next file, with `waiting` files behind it.

        Nothing waits: the default level. A backlog, and compression is what holds it up: one step faster. A
        backlog, and the cores are spare because the link holds it up: one step harder.
        """
        if not waiting:
            return self if self.level == DEFAULT_LEVEL else Gear()
        if waiting < BACKLOG or self.files < MEASURED * threads:
            return self
        step = self._step(threads, cores)
        place = min(max(LEVELS.index(self.level) + step, 0), len(LEVELS) - 1)
        return self if LEVELS[place] == self.level else Gear(LEVELS[place])

    def _step(self, threads: int, cores: int) -> int:
        spent = self.compressing + self.sending
        usable = min(threads, cores)
        # Of the usable cores, how many are in use; above 1 where threads wait for a core.
        busy = threads * self.compressing / spent / usable if spent else 0.5
        return -1 if busy >= BUSY else 1 if busy <= SPARE else 0


def _order(name: str) -> tuple[bool, str]:
    return not is_history(name), name


# For so long after its first answer a file is answered for from memory again, in seconds: for an archiver that was
# killed meanwhile. Who has a file archived again later on has a reason, such as a lost archive, and the store is asked.
REPEATED: Final = 60.0
# Two changes of a file within a tick of the kernel's clock (10 ms at most) look like one; nanoseconds.
TICK: Final = 20_000_000


@dataclass(frozen=True, slots=True)
class Durable:
    """
    A file that is in the archive: in which state, what its push returned and said, when PostgreSQL was first told.

    `answered` is in seconds of the caller's clock. `certain` is false where the file had changed so recently that a
    later change could look the same: then it is not pushed ahead again, but not answered for either.
    """

    pushed: Pushed
    events: tuple[Event, ...] = ()
    answered: float | None = None
    certain: bool = True

    def answers(self, identity: FileIdentity, now: float) -> bool:
        """Whether this is the answer to a request for the file in this state."""
        recent = self.answered is None or now - self.answered < REPEATED
        return self.certain and recent and self.pushed.identity == identity


def settled(identity: FileIdentity, now: int) -> bool:
    """Whether every later change of the file will show in its identity; `now` is in nanoseconds since the epoch."""
    return now - identity.changed_at >= TICK


class Known:
    """The files that are durable, by path: the `limit` latest."""

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
        self._files: OrderedDict[str, Durable] = OrderedDict()

    def __len__(self) -> int:
        return len(self._files)

    def has(self, path: str, identity: FileIdentity) -> bool:
        """Whether the file is durable in this state."""
        found = self._files.get(path)
        return found is not None and found.pushed.identity == identity

    def add(self, path: str, durable: Durable) -> None:
        """Remembers a file, and forgets the oldest one where there are too many."""
        self._files[path] = durable
        self._files.move_to_end(path)
        if len(self._files) > self._limit:
            self._files.popitem(last=False)

    def answer(self, path: str, identity: FileIdentity | None, now: float) -> Durable | None:
        """What is known of the file in this state, where that may be told; the next time its events are gone."""
        found = self._files.get(path)
        if found is None or identity is None or not found.answers(identity, now):
            return None
        first = now if found.answered is None else found.answered
        self.add(path, replace(found, answered=first, events=()))
        return found
