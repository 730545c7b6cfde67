"""
What waits in the data directories: names from `archive_status`, read now and then, never touched (H10).

Nothing here locks: the owner does, except around `Scan.read`, which looks at the disk.
"""

import enum
import os
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from wal_e.wal.ahead import HORIZON, WINDOW, next_files, ready_names
from wal_e.wal.asker import data_directory_of

# A scan is followed by a rest of so many times its own length, so that scanning takes 5 % of a core at most.
REST: Final = 20
# pg_wal directories that are looked at; one agent serves one cluster in general.
DIRECTORIES: Final = 64


class Verdict(enum.Enum):
    """What becomes of a file that is next: it is pushed now, not at all, or everything waits for it."""

    NOW = "now"
    DROP = "drop"
    LATER = "later"


@dataclass(eq=False, slots=True)
class WaitingFiles:
    """
    One pg_wal: the names to push next, and those pushed or under way that PostgreSQL has not asked for yet.

    `wanted` and `rested` say whether to scan again, and when that is allowed.
    """

    path: str
    names: deque[str] = field(default_factory=deque)
    ahead: set[str] = field(default_factory=set)
    wanted: bool = False
    rested: float = 0.0

    def place(self, name: str) -> str:
        """The path of a file."""
        return f"{self.path}/{name}"


@dataclass(frozen=True, slots=True)
class Scan:
    """One look at an `archive_status`; `skipped` are names that are not wanted: they are under way."""

    files: WaitingFiles
    skipped: frozenset[str]
    now: Callable[[], float]

    def read(self) -> "Seen":
        """What is there; nothing where it cannot be read, or is not in the data directory of a cluster."""
        begun = self.now()
        ready: set[str] = set()
        path = Path(self.files.path)
        if data_directory_of(path / "any") is not None:
            with suppress(OSError), os.scandir(path / "archive_status") as entries:
                ready = ready_names(entry.name for entry in entries)
        names = next_files(ready, self.skipped, HORIZON)
        ended = self.now()
        return Seen(ready, names, ended + REST * (ended - begun))


@dataclass(frozen=True, slots=True)
class Seen:
    """All that is ready, the names to push next in order, and when the next scan is due at the earliest."""

    ready: set[str]
    names: list[str]
    rested: float


class Backlog:
    """The directories from which files were asked for lately."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._directories: OrderedDict[str, WaitingFiles] = OrderedDict()

    def __len__(self) -> int:
        return sum(len(files.names) for files in self._directories.values())

    def asked(self, path: str) -> None:
        """PostgreSQL asks for this file: it is no longer ahead, and there may be others behind it."""
        directory, _, name = path.rpartition("/")
        files = self._directories.setdefault(directory, WaitingFiles(directory))
        files.ahead.discard(name)
        files.wanted = files.wanted or len(files.names) < WINDOW
        if len(self._directories) > DIRECTORIES:
            self._directories.popitem(last=False)

    def next_scan(self) -> Scan | None:
        """A scan that is due, or None."""
        for files in self._directories.values():
            if files.wanted and self._now() >= files.rested:
                files.wanted = False
                files.rested = float("inf")  # until it is back
                return Scan(files, frozenset(files.ahead), self._now)
        return None

    def scanned(self, scan: Scan, seen: Seen) -> None:
        """What a scan saw takes the place of what the one before it saw."""
        scan.files.names = deque(seen.names)
        scan.files.ahead &= seen.ready  # what is done with, without having been asked for, does not count any more
        scan.files.rested = seen.rested
        scan.files.wanted = scan.files.wanted and len(seen.names) < WINDOW

    def pick(self, judge: Callable[[str], Verdict]) -> str | None:
        """
        The path of the file to push next, counted as ahead, or None; each directory in its turn.

        `judge` is asked for one path after the other: those it drops come back with a later scan only.
        """
        for files in list(self._directories.values()):
            while files.names and len(files.ahead) < WINDOW:
                verdict = judge(files.place(files.names[0]))
                if verdict is Verdict.LATER:
                    break
                name = files.names.popleft()
                if verdict is Verdict.NOW:
                    files.ahead.add(name)
                    self._directories.move_to_end(files.path)
                    return files.place(name)
        return None

    def failed(self, path: str) -> None:
        """The file is not ahead after all."""
        directory, _, name = path.rpartition("/")
        if directory in self._directories:
            self._directories[directory].ahead.discard(name)
