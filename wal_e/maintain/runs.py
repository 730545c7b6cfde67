"""
Sets of segment numbers as runs: an archive of millions of segments is a handful of runs and the gaps between them.

Pure, and as large as the number of gaps, whatever the number of segments.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple


class Run(NamedTuple):
    """Consecutive numbers, both ends included."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """How many there are."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Runs:
    """A set of whole numbers from 0 on, as ascending runs that neither overlap nor touch; `of` makes them so."""

    runs: tuple[Run, ...] = ()

    @classmethod
    def of(cls, runs: Iterable[tuple[int, int]]) -> "Runs":
        """The set of everything in the runs, which may come in any order and overlap; empty ones are left out."""
        joined: list[Run] = []
        for first, last in sorted(run for run in runs if run[0] <= run[1]):
            if joined and first <= joined[-1].last + 1:
                joined[-1] = Run(joined[-1].first, max(joined[-1].last, last))
            else:
                joined.append(Run(first, last))
        return cls(tuple(joined))

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs)

    def __bool__(self) -> bool:
        return bool(self.runs)

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and self.first_absent(number) != number

    @property
    def count(self) -> int:
        """How many numbers are in the set."""
        return sum(run.length for run in self.runs)

    @property
    def first(self) -> int | None:
        """The lowest number, or None where there is none."""
        return self.runs[0].first if self.runs else None

    @property
    def last(self) -> int | None:
        """The highest number, or None where there is none."""
        return self.runs[-1].last if self.runs else None

    def first_absent(self, number: int) -> int:
        """The lowest number from `number` on that is not in the set."""
        at = bisect_right(self.runs, number, key=lambda run: run.first) - 1
        return self.runs[at].last + 1 if at >= 0 and self.runs[at].last >= number else number

    def union(self, *others: "Runs") -> "Runs":
        """What is in any of them."""
        return Runs.of(run for runs in (self, *others) for run in runs)

    def minus(self, other: "Runs") -> "Runs":
        """What is in this set and not in the other."""
        return Runs(tuple(self._left_by(other)))

    def common(self, other: "Runs") -> "Runs":
        """What is in both."""
        return self.minus(self.minus(other))

    def holes(self) -> "Runs":
        """What is absent between the lowest and the highest number."""
        if not self.runs:
            return self
        return Runs((Run(self.runs[0].first, self.runs[-1].last),)).minus(self)

    def _left_by(self, other: "Runs") -> Iterator[Run]:
        for first, last in self.runs:
            at = max(0, bisect_right(other.runs, first, key=lambda run: run.first) - 1)
            begin = first
            while at < len(other.runs) and other.runs[at].first <= last:
                if begin < other.runs[at].first:
                    yield Run(begin, other.runs[at].first - 1)
                begin = max(begin, other.runs[at].last + 1)
                at += 1
            if begin <= last:
                yield Run(begin, last)


NOTHING: Final = Runs()


class Collector:
    """Makes `Runs` of numbers that come one by one, never descending, as a listing shows them."""

    def __init__(self) -> None:
        self._runs: list[Run] = []

    def add(self, number: int) -> None:
        """Takes one number; the same once more changes nothing."""
        if not self._runs or number > self._runs[-1].last + 1:
            self._runs.append(Run(number, number))
        elif number == self._runs[-1].last + 1:
            self._runs[-1] = Run(self._runs[-1].first, number)

    def runs(self) -> Runs:
        """What was collected so far."""
        return Runs(tuple(self._runs))
