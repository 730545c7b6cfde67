"""How many packs a backup may have in memory, from one number that the user gives. Pure."""

from dataclasses import dataclass
from typing import Final

from wal_e.repo.pack import PACK_TARGET
from wal_e.repo.packer import SLACK
from wal_e.units import MIB

DEFAULT_MEMORY: Final = 256 * MIB
_PROGRAM: Final = 72 * MIB
"""The interpreter with all that a backup imports, the files' list and one batch of block maps, as measured."""
_EACH_THREAD: Final = 6 * MIB
"""Two pieces of 1 MiB under way or waiting, their frames, and what compressing one takes."""
_MOST_UPLOADS: Final = 4
_SMALLEST_PACK: Final = 2 * MIB


@dataclass(frozen=True, slots=True)
class Packing:
    """How large packs are, in bytes, and how many are sent at once while the next one is filled."""

    target: int
    uploads: int


def share_out(memory: int, threads: int) -> Packing:
    """
    Divides `memory` bytes among the program, `threads` threads and packs.

    Packs get smaller where it is little, down to 2 MiB; less than that takes cannot be asked for, and is ignored.
    """
    room = max(memory - _PROGRAM - threads * _EACH_THREAD, 2 * (_SMALLEST_PACK + SLACK))
    target = min(PACK_TARGET, max(room // 2 - SLACK, _SMALLEST_PACK))
    return Packing(target, max(1, min(_MOST_UPLOADS, room // (target + SLACK) - 1)))
