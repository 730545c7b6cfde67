"""The ground: sizes and times, durable files (the order of fsyncs), work on threads in order."""

import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wal_e import fsio
from wal_e.errors import Interrupted, UsageError
from wal_e.events import Level, Message, Progress, silent
from wal_e.fsio import fsync_directory, make_directories, write_atomically
from wal_e.parallel import ordered_map
from wal_e.units import format_size, format_timestamp, parse_duration, parse_size, parse_timestamp


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("4096", 4096), ("64MB", 64 << 20), ("1 GiB", 1 << 30), (" 2k ", 2048), ("3T", 3 << 40), ("17 B", 17)],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-1", "1.5GB", "1PB", "1 2", "0x10"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_size(text)
    assert error.value.hint


@given(st.integers(0, 1 << 60))
def test_sizes_are_written_with_a_unit(count: int) -> None:
    number, unit = format_size(count).split()
    assert unit in {"B", "KiB", "MiB", "GiB", "TiB"}
    assert float(number) < 1024 or unit == "TiB" or number == "1024.0"


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("15min", 900), ("1h", 3600), ("2d", 172800), ("250ms", 0.25)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "s", "-5s", "1y", "1h30"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_duration(text)


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)), st.integers(-12, 14))  # noqa: DTZ001 - hypothesis wants bounds without a zone
def test_a_time_is_the_same_whatever_zone_it_is_said_in(moment: datetime, hours: int) -> None:
    there = moment.astimezone(timezone(timedelta(hours=hours)))
    assert format_timestamp(there) == format_timestamp(moment)
    assert parse_timestamp(format_timestamp(there)) == moment


def test_h54_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(UsageError, match="no time zone") as error:
        parse_timestamp("2026-11-23 14:30:00")
    assert "2026-11-23 14:30:00+00" in (error.value.hint or "")
    with pytest.raises(UsageError, match="is not a time"):
        parse_timestamp("yesterday")


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The order in which files and directories are made durable and renamed."""
    found: list[tuple[str, str]] = []
    real_fsync, real_link, real_replace = os.fsync, os.link, Path.replace

    def fsync(descriptor: int) -> None:
        found.append(("fsync", Path(f"/proc/self/fd/{descriptor}").readlink().name))
        real_fsync(descriptor)

    def link(source: Path, target: Path) -> None:
        found.append(("link", Path(target).name))
        real_link(source, target)

    def replace(source: Path, target: Path) -> Path:
        found.append(("rename", Path(target).name))
        return real_replace(source, target)

    monkeypatch.setattr(fsio.os, "fsync", fsync)
    monkeypatch.setattr(fsio.os, "link", link)
    monkeypatch.setattr(Path, "replace", replace)
    return found


@pytest.mark.parametrize("replace", [True, False])
def test_content_is_durable_before_its_name_and_its_name_before_the_return(
    tmp_path: Path, steps: list[tuple[str, str]], replace: bool
) -> None:
    size = write_atomically(tmp_path / "target", [b"ab", memoryview(b"cde")], replace=replace, mode=0o640)
    temporary = steps[0][1]
    assert temporary.startswith(".target.")
    assert steps == [("fsync", temporary), ("rename" if replace else "link", "target"), ("fsync", tmp_path.name)]
    assert size == 5
    assert (tmp_path / "target").read_bytes() == b"abcde"
    assert (tmp_path / "target").stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_without_durability_nothing_is_synced(tmp_path: Path, steps: list[tuple[str, str]]) -> None:
    write_atomically(tmp_path / "target", [b"x"], durable=False)
    assert steps == [("rename", "target")]


def test_an_existing_file_is_replaced_or_kept_but_never_mixed(tmp_path: Path) -> None:
    write_atomically(tmp_path / "target", [b"first, and long"])
    with pytest.raises(FileExistsError):
        write_atomically(tmp_path / "target", [b"second"], replace=False)
    assert (tmp_path / "target").read_bytes() == b"first, and long"
    write_atomically(tmp_path / "target", [b"third"])
    assert (tmp_path / "target").read_bytes() == b"third"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_source_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_atomically(tmp_path / "target", [b"old"])

    def failing() -> Iterator[bytes]:
        yield b"half"
        raise ValueError("the source's")

    with pytest.raises(ValueError, match="the source's"):
        write_atomically(tmp_path / "target", failing())
    assert (tmp_path / "target").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_failed_fsync_publishes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def fail(descriptor: int) -> None:
        calls.append(descriptor)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(fsio.os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        write_atomically(tmp_path / "target", [b"x"])
    assert len(calls) == 1
    assert list(tmp_path.iterdir()) == []


def test_directories_are_durable_in_their_parents_from_the_top(tmp_path: Path, steps: list[tuple[str, str]]) -> None:
    make_directories(tmp_path / "a/b/c", mode=0o750)
    assert steps == [("fsync", tmp_path.name), ("fsync", "a"), ("fsync", "b")]
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o750
    make_directories(tmp_path / "a/b/c")
    assert len(steps) == 3


def test_a_file_is_no_directory_to_sync(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        fsync_directory(tmp_path / "file")


@given(st.lists(st.integers(), max_size=40), st.integers(1, 4), st.integers(1, 8))
def test_results_come_in_the_order_of_the_items(items: list[int], threads: int, ahead: int) -> None:
    assert list(ordered_map(lambda item: item * 2, items, threads=threads, ahead=ahead)) == [i * 2 for i in items]


def test_no_more_than_ahead_is_under_way() -> None:
    taken = 0
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for number in range(50):
            drawn.append(number)
            assert len(drawn) - taken <= 5
            yield number

    for _ in ordered_map(lambda item: item, items(), threads=2, ahead=5):
        taken += 1
    assert taken == 50


def test_the_first_error_stands_where_its_result_would_and_later_work_is_dropped() -> None:
    started: list[int] = []
    lock = threading.Lock()

    def work(item: int) -> int:
        with lock:
            started.append(item)
        if item == 3:
            raise KeyError(item)
        return item

    results = ordered_map(work, range(1000), threads=2, ahead=4)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError):
        next(results)
    assert max(started) < 20


def test_leaving_early_waits_for_what_has_begun() -> None:
    begun, ended = [], []

    def work(item: int) -> int:
        begun.append(item)
        ended.append(item)
        return item

    results = ordered_map(work, range(1000), threads=2, ahead=4)
    next(results)
    results.close()  # type: ignore[attr-defined] # it is a generator
    assert sorted(begun) == sorted(ended)
    assert len(begun) < 20


def test_events_are_values() -> None:
    message = Message("here", "it happened")
    assert (message.level, dict(message.fields), message.detail) == (Level.INFO, {}, None)
    assert message == Message("here", "it happened")
    assert silent(Progress("x", 1, 2, 3)) is None


@pytest.mark.parametrize("where", ["in the work", "in the items"])
def test_h47_an_interruption_waits_for_nothing(where: str) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(item: int) -> int:
        if item == 0:
            begun.set()
            go_on.wait(60)
        elif where == "in the work":
            raise Interrupted("stopped by SIGTERM")
        return item

    def items() -> Iterator[int]:
        yield 1
        yield 0
        assert begun.wait(60)
        if where == "in the items":
            raise Interrupted("stopped by SIGTERM")

    with pytest.raises(Interrupted):
        list(ordered_map(work, items(), threads=2, ahead=9))
    assert not go_on.is_set()
    go_on.set()
