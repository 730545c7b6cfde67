"""What a body promises to whoever sends it: all its bytes, no others, at its pace, and that they stay what they are."""

import io
from collections.abc import Callable
from dataclasses import replace

import pytest

from wal_e.errors import ShortRead
from wal_e.store.body import Body, Pace

DATA = bytes(range(256)) * 10

BODIES: dict[str, Callable[[], Body]] = {
    "bytes": lambda: Body.of(DATA),
    "mutable memory": lambda: Body.of(bytearray(DATA)),
    "a part of bytes": lambda: Body.of(memoryview(b"before" + DATA + b"after")[6 : 6 + len(DATA)]),
    "a source": lambda: Body(len(DATA), lambda: io.BytesIO(DATA)),
}
every_body = pytest.mark.parametrize("make", BODIES.values(), ids=BODIES)


@every_body
@pytest.mark.parametrize("size", [1, 1000, len(DATA), len(DATA) + 1])
def test_each_way_gives_all_the_bytes_every_time(make: Callable[[], Body], size: int) -> None:
    body = make()
    for _ in range(2):
        assert b"".join(body.pieces(size)) == DATA
        assert max(map(len, body.pieces(size))) <= size
        assert b"".join(body.look()) == DATA
        assert bytes(body.whole()) == bytes(body.whole(lent=True)) == DATA
        with body.open() as source:
            assert source.read() == DATA


def test_what_is_not_lent_outlives_the_memory() -> None:
    """Packs are made in the same memory one after the other, and a request that was given up may still be sent."""
    memory = bytearray(DATA)
    body = Body.of(memory)
    kept, lent = body.whole(), body.whole(lent=True)
    memory[:] = bytes(len(memory))
    assert kept == DATA
    assert lent == bytes(len(DATA))


@every_body
@pytest.mark.parametrize("way", ["pieces", "whole", "open"])
def test_whoever_sends_is_held_to_the_pace_and_who_looks_is_not(make: Callable[[], Body], way: str) -> None:
    passed: list[int] = []
    body = replace(make(), pace=Pace(100, lambda: passed.append))
    if way == "open":
        with body.open() as source:
            assert source.read() == DATA
    else:
        assert b"".join(body.pieces() if way == "pieces" else [body.whole()]) == DATA
    assert sum(passed) == len(DATA)
    assert max(passed) <= 100
    passed.clear()
    assert b"".join(body.look()) == DATA
    assert passed == []


@pytest.mark.parametrize("size", [0, len(DATA) - 1, len(DATA) + 1])
@pytest.mark.parametrize("pace", [None, Pace(100, lambda: lambda _: None)])
@pytest.mark.parametrize(
    "read", [lambda body: list(body.pieces(64)), lambda body: list(body.look()), lambda body: body.whole()]
)
def test_h05_a_source_of_another_size_is_noticed(size: int, pace: Pace | None, read: Callable[[Body], object]) -> None:
    with pytest.raises(ShortRead, match="to be stored"):
        read(Body(size, lambda: io.BytesIO(DATA), pace=pace))
