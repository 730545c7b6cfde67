"""How sessions of requests send what Swift and Google are given; imported with the first request."""

from typing import Any, Final

from requests.adapters import HTTPAdapter

from wal_e.units import KIB

BLOCK: Final = 256 * KIB  # bytes at once, for http.client's own 16 KiB cost a call each


class LargeBlocks(HTTPAdapter):
    """Reads and sends bodies in blocks of `BLOCK`."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """See `HTTPAdapter.init_poolmanager`."""
        super().init_poolmanager(*args, **options, blocksize=BLOCK)
