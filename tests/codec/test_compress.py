"""What is compressed comes back, and nothing else passes for it."""

import io
import random

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from wal_e.codec.compress import compress, compress_stream, decompress, decompress_stream
from wal_e.errors import Corrupt
from wal_e.units import MIB

NOISE = random.Random(1).randbytes(300_000)
DATA = NOISE + b"\0" * 3_000_000


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@given(st.binary(max_size=5000), st.integers(1, 700))
def test_every_content_comes_back_in_any_chunking(data: bytes, size: int) -> None:
    frame = compress(data)
    assert decompress(frame, limit=len(data)) == data
    assert b"".join(decompress_stream(pieces(frame, size))) == data


@given(st.lists(st.binary(max_size=500), min_size=1, max_size=5), st.integers(1, 300))
def test_frames_one_after_the_other_are_one_content(parts: list[bytes], size: int) -> None:
    frames = b"".join(map(compress, parts))
    whole = b"".join(parts)
    assert decompress(frames, limit=len(whole)) == whole
    assert b"".join(decompress_stream(pieces(frames, size))) == whole


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_corrupt_or_a_frame(data: bytes) -> None:
    try:
        decompress(data, limit=MIB)
    except Corrupt:
        return
    assert data[:4] == b"\x28\xb5\x2f\xfd" or data[1:4] == b"\x2a\x4d\x18"


def test_a_frame_says_its_size_and_carries_a_checksum() -> None:
    for frame in (compress(DATA), b"".join(compress_stream(io.BytesIO(DATA), size=len(DATA)))):
        facts = zstandard.get_frame_parameters(frame)
        assert facts.content_size == len(DATA)
        assert facts.has_checksum


@pytest.mark.parametrize("known", [True, False])
def test_a_stream_gives_one_frame(known: bool) -> None:
    frame = b"".join(compress_stream(io.BytesIO(DATA), 5, size=len(DATA) if known else -1))
    assert decompress(frame, limit=len(DATA)) == DATA


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_file_that_grows_or_shrinks_is_noticed(difference: int) -> None:
    with pytest.raises(Corrupt, match="changed its size"):
        list(compress_stream(io.BytesIO(DATA), size=len(DATA) + difference))


@pytest.mark.parametrize(
    "damage",
    [
        lambda frame: frame[:-1],
        lambda frame: frame[: len(frame) // 2],
        lambda frame: frame + b"x",
        lambda frame: frame + frame[:9],
        lambda frame: b"x" + frame,
        lambda _frame: b"<html>502 Bad Gateway</html>",
        lambda _frame: b"",
    ],
)
def test_h20_truncation_garbage_and_trailing_bytes_are_corrupt(damage: object) -> None:
    bad = damage(compress(DATA))  # type: ignore[operator]  # parametrised over functions
    with pytest.raises(Corrupt):
        decompress(bad, limit=2 * len(DATA))
    with pytest.raises(Corrupt):
        list(decompress_stream(pieces(bad, 1000)))


def test_no_bit_can_be_flipped_unnoticed() -> None:
    frame = compress(NOISE[:2000])
    for position in range(len(frame)):
        bad = bytearray(frame)
        bad[position] ^= 0x10
        try:
            assert decompress(bytes(bad), limit=MIB) == NOISE[:2000]
        except Corrupt:
            continue


def test_a_bomb_is_refused_by_its_header_and_by_its_content() -> None:
    honest = compress(b"\0" * (64 * MIB))
    silent = b"".join(compress_stream(io.BytesIO(b"\0" * (64 * MIB))))
    for bomb in (honest, silent, compress(b"") + honest):
        with pytest.raises(Corrupt, match="more than it can"):
            decompress(bomb, limit=MIB)
        with pytest.raises(Corrupt, match="more than it can"):
            list(decompress_stream([bomb], limit=MIB))
