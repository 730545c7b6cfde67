"""
Gathering blocks into frames: tails of files, small files and single changed blocks share frames of 128 blocks.

Whoever completes a frame gets it, and compresses it on its own thread; so there is no thread that only compresses.
"""

import threading
from dataclasses import dataclass

from wal_e.repo.blockmap import BLOCK_SIZE, FRAME_BLOCKS


@dataclass(frozen=True, slots=True)
class Run:
    """Blocks of one file that lie behind each other: whole blocks from block `first` on."""

    path: str
    first: int
    data: bytes | memoryview

    @property
    def count(self) -> int:
        """How many blocks."""
        return len(self.data) // BLOCK_SIZE


class Gatherer:
    """Holds less than one frame of blocks; used by several threads at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: list[Run] = []
        self._blocks = 0

    def add(self, runs: list[Run]) -> list[list[Run]]:
        """Takes runs, and gives back what makes whole frames by now, each frame a list of runs."""
        frames: list[list[Run]] = []
        with self._lock:
            for run in runs:
                self._add(run, frames)
        return frames

    def take(self) -> list[Run]:
        """Gives back all that waits."""
        with self._lock:
            runs, self._runs, self._blocks = self._runs, [], 0
            return runs

    def _add(self, run: Run, frames: list[list[Run]]) -> None:
        while run.count:
            count = min(run.count, FRAME_BLOCKS - self._blocks)
            # A copy: the run is a part of a buffer that would stay in memory as a whole.
            self._runs.append(Run(run.path, run.first, bytes(run.data[: count * BLOCK_SIZE])))
            self._blocks += count
            run = Run(run.path, run.first + count, run.data[count * BLOCK_SIZE :])
            if self._blocks == FRAME_BLOCKS:
                frames.append(self._runs)
                self._runs, self._blocks = [], 0
