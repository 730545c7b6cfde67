"""What is pushed ahead, in which order, and how hard it is compressed: the decisions, without disk or clock."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wal.material import FIRST, HISTORY_2
from wal_e.codec.compress import compress
from wal_e.events import Message
from wal_e.repo.source import FileIdentity
from wal_e.units import GIB, MIB
from wal_e.wal.ahead import (
    BACKLOG,
    LEVELS,
    MEASURED,
    REPEATED,
    TICK,
    Durable,
    Gear,
    Known,
    memory_for,
    next_files,
    ready_names,
    settled,
)
from wal_e.wal.push import Pushed

NAME = str(FIRST)
IDENTITY = FileIdentity(1, 2, 16 * MIB, 1_000, 2_000)
PUSHED = Pushed(NAME, f"wal_005/{NAME}.zst", fresh=True, size=16 * MIB, stored=MIB, identity=IDENTITY)


def test_only_what_is_ready_and_archivable_waits() -> None:
    entries = [
        f"{NAME}.ready",
        f"{NAME}.done",
        "00000002.history.ready",
        "x.ready",
        ".ready",
        NAME,
        f"{NAME}.ready.tmp",
    ]
    assert ready_names(entries) == {NAME, "00000002.history"}


def test_h09_histories_go_first_and_the_rest_by_name() -> None:
    later = str(FIRST.next())
    ready = [later, "00000003.history", f"{NAME}.00000028.backup", f"{NAME}.partial", NAME, "00000002.history"]
    order = ["00000002.history", "00000003.history", NAME, f"{NAME}.00000028.backup", f"{NAME}.partial", later]
    assert next_files(ready, (), 10) == order
    assert next_files(ready, {NAME, "00000002.history"}, 2) == ["00000003.history", f"{NAME}.00000028.backup"]
    assert next_files([], (), 10) == []


@given(st.sets(st.integers(1, 500)), st.sets(st.integers(1, 500)), st.integers(0, 20))
def test_the_next_files_are_the_least_that_are_not_skipped(ready: set[int], skipped: set[int], count: int) -> None:
    names, not_these = ({f"{number:024X}" for number in numbers} for numbers in (ready, skipped))
    assert next_files(names, not_these, count) == sorted(names - not_these)[:count]


@given(st.binary(max_size=5000))
def test_memory_covers_the_file_and_its_frame(data: bytes) -> None:
    for level in LEVELS:
        assert len(data) + len(compress(data, level)) <= memory_for(len(data))
    assert memory_for(GIB) > 2 * GIB


DECISIONS = [
    # level, files waiting, threads and cores, seconds compressing and sending, the level for the next file
    (3, 0, (2, 2), (0.02, 0.001), 3),  # nothing waits
    (-1, 0, (2, 2), (0.02, 0.001), 3),
    (6, 0, (2, 2), (0.02, 0.001), 3),
    (3, BACKLOG - 1, (2, 2), (0.02, 0.001), 3),  # too few for a change
    (-1, BACKLOG - 1, (2, 2), (0.02, 0.001), -1),  # and too many for the way back
    (3, BACKLOG, (2, 2), (0.02, 0.001), 1),  # a local folder: the cores hold it up
    (1, 100, (2, 2), (0.02, 0.001), -1),
    (-1, 100, (2, 2), (0.02, 0.001), -1),  # no faster than that
    (6, 100, (2, 2), (0.02, 0.001), 3),
    (3, 100, (2, 16), (0.02, 0.001), 1),  # more cores than threads: what a thread does counts
    (3, 100, (2, 2), (0.02, 1.0), 6),  # a slow link
    (6, 100, (2, 2), (0.02, 1.0), 6),  # no harder than that
    (-1, 100, (2, 2), (0.02, 1.0), 1),
    (3, 100, (32, 2), (0.02, 0.2), 1),  # a slow link, and so many threads that they fill the cores
    (3, 100, (2, 2), (0.02, 0.05), 3),  # both are used
    (3, 100, (2, 2), (0.0, 0.0), 3),  # a clock that stands still tells nothing
]


@pytest.mark.parametrize(("level", "waiting", "means", "seconds", "expected"), DECISIONS)
def test_the_level_follows_the_bottleneck(
    level: int, waiting: int, means: tuple[int, int], seconds: tuple[float, float], expected: int
) -> None:
    assert Gear(level, 100, *seconds).shifted(waiting, *means).level == expected


def test_a_level_is_measured_before_the_next_step() -> None:
    threads = 2
    gear = Gear()
    for _ in range(MEASURED * threads):
        assert gear.shifted(100, threads, 2).level == 3
        gear = gear.measured(3, replace(PUSHED, compressing=0.02, sending=0.001))
    gear = gear.shifted(100, threads, 2)
    assert gear == Gear(1)
    assert gear.measured(3, replace(PUSHED, compressing=9.0)) == gear  # begun before the step
    assert gear.measured(1, replace(PUSHED, fresh=False)) == gear
    assert gear.measured(1, replace(PUSHED, size=len(HISTORY_2))) == gear


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=30))
def test_averages_stay_among_what_was_measured(seconds: list[float]) -> None:
    gear = Gear()
    for one in seconds:
        gear = gear.measured(3, replace(PUSHED, compressing=one, sending=one))
    assert min(seconds) - 1e-9 <= gear.compressing <= max(seconds) + 1e-9
    assert gear.sending == gear.compressing


# Milliseconds and size of a segment at each level, as the module's constants record them.
COSTS = {-1: (13.7, 1.79), 1: (16.2, 1.52), 3: (23.5, 1.38), 6: (92.9, 1.25)}


@given(st.floats(0.01, 1000), st.integers(1, 32), st.integers(1, 32))
def test_two_levels_never_alternate(rate: float, threads: int, cores: int) -> None:
    """Whatever the link's rate (MiB/s for a thread): the level settles."""
    gear, seen = Gear(), []
    for _ in range(400):
        compressing, size = COSTS[gear.level]
        cost = replace(PUSHED, compressing=compressing / 1000, sending=size / rate)
        gear = gear.measured(gear.level, cost).shifted(100, threads, cores)
        seen.append(gear.level)
    assert len(set(seen[-100:])) == 1


def test_an_answer_is_for_one_state_of_a_file() -> None:
    known = Known()
    event = Message("x", "begin")
    known.add("/pg_wal/a", Durable(PUSHED, (event,)))
    for field in ("device", "inode", "size", "mtime_ns", "ctime_ns"):
        other = replace(IDENTITY, **{field: 7})
        assert known.answer("/pg_wal/a", other, 0) is None
        assert not known.has("/pg_wal/a", other)
    assert known.answer("/pg_wal/a", None, 0) is None
    assert known.answer("/pg_wal/b", IDENTITY, 0) is None
    assert known.has("/pg_wal/a", IDENTITY)
    first = known.answer("/pg_wal/a", IDENTITY, 5)
    assert first is not None
    assert (first.answered, first.events) == (None, (event,))
    again = known.answer("/pg_wal/a", IDENTITY, 6)
    assert again is not None
    assert (again.answered, again.events) == (5, ())


def test_h04_what_was_told_long_ago_is_not_told_again() -> None:
    """Somebody has it archived again: the archive may have been lost."""
    known = Known()
    known.add("a", Durable(PUSHED, answered=10.0))
    assert known.answer("a", IDENTITY, 10 + REPEATED - 1) is not None
    assert known.answer("a", IDENTITY, 10 + REPEATED) is None


def test_h13_a_file_that_had_just_changed_is_not_answered_for() -> None:
    known = Known()
    known.add("a", Durable(PUSHED, certain=False))
    assert known.answer("a", IDENTITY, 0) is None
    assert known.has("a", IDENTITY)
    assert not settled(IDENTITY, 2_000 + TICK - 1)
    assert settled(IDENTITY, 2_000 + TICK)
    assert not settled(IDENTITY, 0)  # the clock was set back


def test_the_memory_of_what_is_durable_is_bounded() -> None:
    known = Known(limit=3)
    for name in ("a", "b", "a", "c", "d"):
        known.add(name, Durable(PUSHED))
    assert len(known) == 3
    assert not known.has("b", IDENTITY)
    assert known.has("a", IDENTITY)
