"""
Page checksums of many pages at once (PostgreSQL's checksum_impl.h: 32 lanes of FNV-1a, folded).

The LSN of a page never excuses it (H34): whoever reads a page that is bad here reads it again, and excuses it only
where the bytes have changed in between. The work is done by native/page.c, which keeps no other thread waiting, or with
numpy where no compiler was there when the package was installed.
"""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Final

PAGE_SIZE: Final = 8192
Buffer = bytes | bytearray | memoryview
Check = Callable[[bytes, int], list[int]]


def bad_pages(data: Buffer, first_block: int) -> list[int]:
    """
    The indices, within `data`, of the pages whose content contradicts their checksum.

    `data` is whole pages of 8192 bytes; `first_block` is the number of the first within its relation (across
    its files, see `relation_block_offset`). A page that was never written is all zero and good; one that only says
    it was never written (`pd_upper` is 0) and is not all zero is bad.
    """
    if len(data) % PAGE_SIZE:
        raise ValueError(f"{len(data)} bytes are not whole pages")
    return _check(data if isinstance(data, bytes) else bytes(data), first_block)


def load_native(folder: Path = Path(__file__).parent) -> Check | None:
    """The check of native/page.c, or None where it was not built or cannot be loaded."""
    library = next(folder.glob("_page.*so"), None)
    if library is None:
        return None
    try:
        function = ctypes.CDLL(str(library)).wal_e_bad_pages
    except (OSError, AttributeError):
        return None
    function.restype = ctypes.c_size_t
    function.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint32, ctypes.c_void_p)

    def check(data: bytes, first_block: int) -> list[int]:
        pages = len(data) // PAGE_SIZE
        bad = (ctypes.c_uint32 * pages)()
        count = function(data, pages, first_block & 0xFFFFFFFF, ctypes.addressof(bad))
        return bad[:count]

    return check


def _numpy(data: bytes, first_block: int) -> list[int]:
    from wal_e.pg import page_numpy  # noqa: PLC0415 - a tenth of a second that is rarely needed

    return page_numpy.bad_pages(data, first_block)


_check: Check = load_native() or _numpy
