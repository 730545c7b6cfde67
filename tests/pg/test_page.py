"""
Page checksums, in C and with numpy, against a plain implementation of their definition.

Real pages are in test_real_clusters.py.
"""

import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wal_e.pg import page, page_numpy
from wal_e.pg.page import PAGE_SIZE, Buffer, load_native
from wal_e.pg.page_numpy import page_checksums

Checked = Callable[[Buffer, int], list[int]]
BASE = """
5b1f36e9 b8525960 02ab50aa 1de66d2a 79ff467a 9bb9f8a3 217e7cd2 83e13d2c f8d4474f e39eb970 42c6ae16 993216fa 7b093b5d
98daff3c f718902a 0b1c9cdb e58f764b 187636bc 5d7b3bb1 e73de7de 92bec979 cca6c0b2 304a0979 85aa43d4 783125bb 6ca8eaa2
e407eac6 4b5cfc3e 9fbf8c76 15ca20be f2ca9fd3 959bd756
"""


def reference(data: bytes, block: int) -> int:
    words = struct.unpack("<2048I", data[:8] + bytes(2) + data[10:])
    lanes = [int(word, 16) for word in BASE.split()]
    for row in range(66):
        for lane in range(32):
            word = words[row * 32 + lane] if row < 64 else 0
            mixed = lanes[lane] ^ word
            lanes[lane] = (mixed * 16777619 & 0xFFFFFFFF) ^ (mixed >> 17)
    folded = block & 0xFFFFFFFF
    for lane in lanes:
        folded ^= lane
    return folded % 65535 + 1


def random_page(seed: int, block: int) -> bytes:
    data = bytearray(random.Random(seed).randbytes(PAGE_SIZE))
    struct.pack_into("<H", data, 14, 100 + seed % 8000)
    struct.pack_into("<H", data, 8, reference(bytes(data), block))
    return bytes(data)


@pytest.fixture(params=["native", "numpy"])
def bad_pages(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Checked:
    """The check as the program calls it, with either of the two below it; a missing one fails the test."""
    below = load_native() if request.param == "native" else page_numpy.bad_pages
    assert below is not None, "native/page.c was not built: make install"
    monkeypatch.setattr(page, "_check", below)
    return page.bad_pages


@settings(max_examples=20)
@given(st.integers(0, 1 << 20), st.integers(0, (1 << 32) - 1))
def test_all_three_agree(seed: int, block: int) -> None:
    data = random_page(seed, block)
    native = load_native()
    assert native is not None
    assert page_checksums(data, block) == [reference(data, block)]
    assert native(data, block) == page_numpy.bad_pages(data, block) == []
    others = bytearray(data * 5)
    struct.pack_into("<H", others, 2 * PAGE_SIZE + 8, seed % 65536)
    assert native(bytes(others), block) == page_numpy.bad_pages(others, block)


def test_without_a_library_that_can_be_loaded_numpy_serves(tmp_path: Path) -> None:
    assert load_native(tmp_path) is None
    (tmp_path / "_page.abi3.so").write_bytes(b"not a library")
    assert load_native(tmp_path) is None
    assert page._numpy(random_page(1, 5), 5) == []


GOOD = b"".join(random_page(seed, 131072 + seed) for seed in range(6))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bit=st.integers(0, 6 * PAGE_SIZE * 8 - 1))
def test_any_flipped_bit_is_found_in_its_page(bad_pages: Checked, bit: int) -> None:
    data = bytearray(GOOD)
    data[bit // 8] ^= 1 << bit % 8
    assert bad_pages(memoryview(data), 131072) == [bit // 8 // PAGE_SIZE]


def test_h34_another_block_number_is_bad(bad_pages: Checked) -> None:
    assert bad_pages(GOOD, 131072) == []
    assert bad_pages(GOOD, 0) == list(range(6))
    assert bad_pages(GOOD[PAGE_SIZE:] + GOOD[:PAGE_SIZE], 131072) == list(range(6))


def test_h34_a_new_page_must_be_wholly_zero(bad_pages: Checked) -> None:
    new = bytearray(PAGE_SIZE * 3)
    new[PAGE_SIZE + 8000] = 1
    assert bad_pages(bytes(new), 7) == [1]
    looks_new = bytearray(random_page(3, 0))
    looks_new[14:16] = bytes(2)
    struct.pack_into("<H", looks_new, 8, reference(bytes(looks_new), 0))
    assert bad_pages(looks_new, 0) == [0]


def test_the_order_of_many_pages_is_kept(bad_pages: Checked) -> None:
    pages = [random_page(seed % 5, 10 + seed % 5) for seed in range(5)]
    data = bytearray(b"".join(pages) + bytes(PAGE_SIZE * 295))
    for index in (7, 127, 128, 129, 299):
        data[index * PAGE_SIZE + 30] = 1
    assert bad_pages(data, 10) == [7, 127, 128, 129, 299]


def test_nothing_and_fractions(bad_pages: Checked) -> None:
    assert bad_pages(b"", 0) == []
    with pytest.raises(ValueError, match="whole pages"):
        bad_pages(bytes(PAGE_SIZE + 4), 0)
