"""Page checksums against a plain implementation of their definition; real pages are in test_real_clusters.py."""

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wal_e.pg.page import PAGE_SIZE, bad_pages, page_checksums

BASE = """
5b1f36e9 b8525960 02ab50aa 1de66d2a 79ff467a 9bb9f8a3 217e7cd2 83e13d2c f8d4474f e39eb970 42c6ae16 993216fa 7b093b5d
98daff3c f718902a 0b1c9cdb e58f764b 187636bc 5d7b3bb1 e73de7de 92bec979 cca6c0b2 304a0979 85aa43d4 783125bb 6ca8eaa2
e407eac6 4b5cfc3e 9fbf8c76 15ca20be f2ca9fd3 959bd756
"""


def reference(page: bytes, block: int) -> int:
    words = struct.unpack("<2048I", page[:8] + bytes(2) + page[10:])
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
    page = bytearray(random.Random(seed).randbytes(PAGE_SIZE))
    struct.pack_into("<H", page, 14, 100 + seed % 8000)
    struct.pack_into("<H", page, 8, reference(bytes(page), block))
    return bytes(page)


@settings(max_examples=20)
@given(st.integers(0, 1 << 20), st.integers(0, (1 << 32) - 1))
def test_the_reference_and_numpy_agree(seed: int, block: int) -> None:
    page = random_page(seed, block)
    assert page_checksums(page, block) == [reference(page, block)]
    assert bad_pages(page, block) == []


GOOD = b"".join(random_page(seed, 131072 + seed) for seed in range(6))


@settings(max_examples=60)
@given(st.integers(0, 6 * PAGE_SIZE * 8 - 1))
def test_any_flipped_bit_is_found_in_its_page(bit: int) -> None:
    data = bytearray(GOOD)
    data[bit // 8] ^= 1 << bit % 8
    assert bad_pages(memoryview(data), 131072) == [bit // 8 // PAGE_SIZE]


def test_h34_another_block_number_is_bad() -> None:
    assert bad_pages(GOOD, 131072) == []
    assert bad_pages(GOOD, 0) == list(range(6))
    assert bad_pages(GOOD[PAGE_SIZE:] + GOOD[:PAGE_SIZE], 131072) == list(range(6))


def test_h34_a_new_page_must_be_wholly_zero() -> None:
    new = bytearray(PAGE_SIZE * 3)
    new[PAGE_SIZE + 8000] = 1
    assert bad_pages(bytes(new), 7) == [1]
    looks_new = bytearray(random_page(3, 0))
    looks_new[14:16] = bytes(2)
    struct.pack_into("<H", looks_new, 8, reference(bytes(looks_new), 0))
    assert bad_pages(looks_new, 0) == [0]


def test_the_order_of_many_pages_is_kept() -> None:
    pages = [random_page(seed % 5, 10 + seed % 5) for seed in range(5)]
    data = bytearray(b"".join(pages) + bytes(PAGE_SIZE * 295))
    for index in (7, 127, 128, 129, 299):
        data[index * PAGE_SIZE + 30] = 1
    assert bad_pages(data, 10) == [7, 127, 128, 129, 299]


def test_nothing_and_fractions() -> None:
    assert bad_pages(b"", 0) == []
    with pytest.raises(ValueError, match="whole pages"):
        bad_pages(bytes(PAGE_SIZE + 4), 0)
