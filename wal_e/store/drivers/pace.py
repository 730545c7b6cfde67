"""
How long a request may take: uploads and answers that only trickle are ended, whatever moves goes on.

A timeout of a socket bounds each wait, not the whole: a byte a minute would hold a request for ever.
"""

import math
import time
from typing import Any, BinaryIO, Final

from wal_e.errors import Unavailable
from wal_e.units import KIB, MIB

CONNECT: Final = 10.0  # seconds for a connection to stand
SILENCE: Final = 60.0  # seconds without a byte
SLOWEST_UPLOAD: Final = MIB // 4  # bytes per second; an upload that is slower counts as stuck
_PIECE: Final = 64 * KIB


def timeouts(patience: float) -> tuple[float, float]:
    """Return the seconds to connect, and for each wait while reading or writing, for a caller with this patience."""
    return min(CONNECT, patience), min(SILENCE, patience)


def upload_seconds(size: int, patience: float) -> float:
    """Return how long sending so many bytes may take until the answer begins, in few different steps."""
    silence = min(SILENCE, patience)
    needed = size / SLOWEST_UPLOAD / silence
    return silence * 2 ** max(0, math.ceil(math.log2(needed))) if needed > 1 else silence


class Sending:
    """
    A body as it is sent: raises `Unavailable` at the read before which whoever sends it has taken `seconds` in all.

    The time that the source takes, for a limit on bytes per second, is not counted.
    """

    def __init__(self, source: BinaryIO, what: str, seconds: float) -> None:
        self._source = source
        self._what = what
        self._left = seconds
        self._given = time.monotonic()

    def read(self, size: int = -1) -> bytes:
        """Return up to so many bytes, all for -1."""
        self._left -= time.monotonic() - self._given
        if self._left < 0:
            raise Unavailable(
                f"{self._what}: the service takes it too slowly",
                detail=f"Less than {SLOWEST_UPLOAD // KIB} KiB per second went out.",
                hint="Check the network and the service.",
            )
        piece = self._source.read(size)
        self._given = time.monotonic()
        return piece


def next_piece(raw: Any, size: int) -> bytes:
    """Return `size` bytes of a urllib3 response or as many as came in a second; none at its end."""
    parts: list[bytes] = []
    begun, missing = time.monotonic(), size
    while missing and (not parts or time.monotonic() - begun < 1):
        part = raw.read1(min(missing, _PIECE))
        if not part:
            break
        parts.append(part)
        missing -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def read_whole(raw: Any, patience: float) -> bytes:
    """Return all of a urllib3 response; raises `TimeoutError` where it takes longer than `patience` seconds."""
    begun, whole = time.monotonic(), bytearray()
    while part := raw.read1(_PIECE, decode_content=True):
        whole += part
        if time.monotonic() - begun > patience:
            raise TimeoutError(f"{len(whole)} bytes came in {patience:.0f} seconds")
    return bytes(whole)
