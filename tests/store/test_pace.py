"""What only trickles is ended, whatever moves goes on: the bounds on the time that requests take."""

import io
from collections.abc import Callable

import pytest

from wal_e.errors import Unavailable
from wal_e.store.drivers import pace
from wal_e.store.drivers.pace import SLOWEST_UPLOAD, Sending, next_piece, read_whole, timeouts, upload_seconds


class Ticking:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def passing(self, seconds: float, data: bytes) -> bytes:
        self.now += seconds
        return data


class Trickle:
    """A response of urllib3 that brings some bytes after some seconds each time."""

    def __init__(self, clock: Ticking, pieces: list[bytes], seconds: float) -> None:
        self._clock, self._pieces, self._seconds = clock, pieces, seconds

    def read1(self, size: int, *, decode_content: bool = False) -> bytes:
        del decode_content
        piece = self._pieces.pop(0) if self._pieces else b""
        assert len(piece) <= size
        return self._clock.passing(self._seconds, piece)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Ticking:
    ticking = Ticking()
    monkeypatch.setattr(pace, "time", ticking)
    return ticking


def test_an_upload_may_take_as_long_as_its_size_needs() -> None:
    assert upload_seconds(0, 300) == upload_seconds(15 << 20, 300) == 60
    assert upload_seconds(32 << 20, 300) == 240
    sizes = (0, 1, 15 << 20, 16 << 20, 32 << 20, 1 << 30, 5 << 30)
    assert all(upload_seconds(size, 300) * SLOWEST_UPLOAD >= size for size in sizes)
    assert len({upload_seconds(size, 300) for size in range(0, 5 << 30, 1 << 24)}) < 12


def test_who_has_little_patience_waits_for_no_longer() -> None:
    assert timeouts(300) == (10, 60)
    assert timeouts(5) == (5, 5)
    assert upload_seconds(100, 5) == 5


def test_an_upload_ends_once_its_taker_has_had_the_time(clock: Ticking) -> None:
    sending = Sending(io.BytesIO(bytes(10)), "could not store", 3)
    for _ in range(3):
        assert sending.read(1) == b"\0"
        clock.now += 1
    assert sending.read(1) == b"\0"
    clock.now += 0.1
    with pytest.raises(Unavailable, match="too slowly"):
        sending.read(1)


def test_the_time_of_a_paced_source_is_not_the_services(clock: Ticking) -> None:
    class Paced(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return clock.passing(100, super().read(size))

    sending = Sending(Paced(b"abc"), "could not store", 1)
    assert [sending.read(1) for _ in range(4)] == [b"a", b"b", b"c", b""]


@pytest.mark.parametrize(
    ("seconds", "patience", "ends"), [(1, 4, False), (1, 2.5, True), (10, 9, True), (0, 0.001, False)]
)
def test_an_answer_must_be_whole_in_time(clock: Ticking, seconds: float, patience: float, ends: bool) -> None:
    raw = Trickle(clock, [b"a", b"b", b"c"], seconds)
    if ends:
        with pytest.raises(TimeoutError, match="bytes came in"):
            read_whole(raw, patience)
    else:
        assert read_whole(raw, patience) == b"abc"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.0, [b"abcd", b"ef"]), (0.4, [b"abc", b"def"]), (2.0, [b"a", b"b", b"c", b"d", b"e", b"f"])],
)
def test_a_trickle_is_handed_on_second_by_second(clock: Ticking, seconds: float, expected: list[bytes]) -> None:
    raw = Trickle(clock, [bytes([letter]) for letter in b"abcdef"], seconds)
    again: Callable[[], bytes] = lambda: next_piece(raw, 4)  # noqa: E731 - what iter() wants
    assert list(iter(again, b"")) == expected
