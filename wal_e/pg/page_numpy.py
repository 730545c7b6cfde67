"""
Page checksums with numpy: the reference for native/page.c, and what is used where that was not built.

A page is viewed as rows of 32 little-endian words, one for each lane, with its own checksum field taken as zero. numpy
runs one row of many pages per call.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

PAGE_SIZE: Final = 8192
_LANES: Final = 32
_PRIME: Final = np.uint32(16777619)
_SHIFT: Final = np.uint32(17)
_MODULUS: Final = np.uint32(65535)
_FLAGS_ONLY: Final = np.uint32(0xFFFF0000)
_HEADER_WORDS: Final = 12
_CHECKSUM: Final = 4
_UPPER: Final = 7
# One MiB: with fewer pages numpy's calls are too short (32 give half the speed), more leave the cache.
_AT_ONCE: Final = 128
_BASE: Final = np.array(
    [
        *(0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C),
        *(0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB),
        *(0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4),
        *(0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756),
    ],
    dtype=np.uint32,
)

Buffer = bytes | bytearray | memoryview
_Words = npt.NDArray[np.uint32]


def bad_pages(data: Buffer, first_block: int) -> list[int]:
    """See `wal_e.pg.page.bad_pages`."""
    words: _Words = np.frombuffer(data, dtype="<u4")
    pages = words.reshape(-1, PAGE_SIZE // 4)
    bad: list[int] = []
    for start in range(0, len(pages), _AT_ONCE):
        some = pages[start : start + _AT_ONCE]
        wrong = _wrong(some, first_block + start)
        if wrong.any():
            bad += [start + int(index) for index in np.flatnonzero(wrong)]
    return bad


def page_checksums(data: Buffer, first_block: int) -> list[int]:
    """The checksum that each page of `data` should carry; both are as for `bad_pages`."""
    words: _Words = np.frombuffer(data, dtype="<u4")
    return [int(value) for value in _checksums(words.reshape(-1, PAGE_SIZE // 4), first_block)]


def _wrong(pages: _Words, first_block: int) -> npt.NDArray[np.bool_]:
    header = pages[:, :_HEADER_WORDS].view("<u2")
    wrong: npt.NDArray[np.bool_] = _checksums(pages, first_block) != header[:, _CHECKSUM]
    for index in np.flatnonzero(header[:, _UPPER] == 0):
        wrong[index] = pages[index].any()
    return wrong


def _checksums(pages: _Words, first_block: int) -> _Words:
    count = len(pages)
    rows = np.array(pages.reshape(count, -1, _LANES).transpose(1, 0, 2), order="C")
    rows[0, :, 2] &= _FLAGS_ONLY
    lanes = np.tile(_BASE, (count, 1))
    mixed = np.empty_like(lanes)
    for row in rows:
        np.bitwise_xor(lanes, row, out=mixed)
        _round(mixed, lanes)
    for _ in range(2):
        np.copyto(mixed, lanes)
        _round(mixed, lanes)
    folded = np.bitwise_xor.reduce(lanes, axis=1)
    blocks = np.arange(first_block, first_block + count, dtype=np.uint64).astype(np.uint32)
    result: _Words = (folded ^ blocks) % _MODULUS + np.uint32(1)
    return result


def _round(mixed: _Words, lanes: _Words) -> None:
    np.right_shift(mixed, _SHIFT, out=lanes)
    np.multiply(mixed, _PRIME, out=mixed)
    np.bitwise_xor(mixed, lanes, out=lanes)
