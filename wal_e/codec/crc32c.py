"""
CRC-32C of a file from the CRCs of its pieces, so that threads can read pieces in any order.

The combination is zlib's crc32_combine (Mark Adler): the CRC of the first piece is advanced over the length of the
second by a matrix over GF(2), here for the Castagnoli polynomial, reflected 0x82F63B78.
"""

from functools import lru_cache
from typing import Final

import google_crc32c

_POLYNOMIAL: Final = 0x82F63B78
_Matrix = tuple[int, ...]


def crc32c(data: bytes | memoryview) -> int:
    """The CRC-32C of the bytes."""
    return int(google_crc32c.value(bytes(data)))


def combine(first: int, second: int, second_length: int) -> int:
    """The CRC-32C of two pieces put together, from theirs and the length of the second in bytes."""
    return first if second_length == 0 else _apply(_advance(second_length), first) ^ second


@lru_cache(maxsize=1024)
def _advance(length: int) -> _Matrix:
    """The operator that advances a CRC over `length` zero bytes."""
    result: _Matrix | None = None
    power = _one_byte()
    while length:
        if length & 1:
            result = power if result is None else _multiply(power, result)
        power = _multiply(power, power)
        length >>= 1
    return result or tuple(1 << bit for bit in range(32))


@lru_cache(maxsize=1)
def _one_byte() -> _Matrix:
    operator = (_POLYNOMIAL, *(1 << bit for bit in range(31)))
    for _ in range(3):
        operator = _multiply(operator, operator)
    return operator


def _apply(matrix: _Matrix, vector: int) -> int:
    result = 0
    for row in matrix:
        if vector & 1:
            result ^= row
        vector >>= 1
        if not vector:
            break
    return result


def _multiply(left: _Matrix, right: _Matrix) -> _Matrix:
    return tuple(_apply(left, row) for row in right)
