"""
How sessions of requests send what Swift, Google and their logins are given; imported with the first request.

A timeout of a socket bounds each wait only, and the standard library reads the head of an answer line by line: a byte
now and then would hold a request for ever. Here a head has the time of one wait in all, and so has an answer that is
not streamed.
"""

import io
import time
from http.client import HTTPResponse
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from wal_e.store.drivers.pace import read_whole
from wal_e.units import KIB

BLOCK: Final = 256 * KIB  # bytes at once, for http.client's own 16 KiB cost a call each


class Prompt(HTTPAdapter):
    """Sends bodies in blocks of `BLOCK`; answers that are read at once must be whole after `patience` seconds."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """See `HTTPAdapter.init_poolmanager`."""
        super().init_poolmanager(*args, **options, blocksize=BLOCK)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """See `HTTPAdapter.proxy_manager_for`."""
        manager = super().proxy_manager_for(proxy, **options, blocksize=BLOCK)
        if not proxy.lower().startswith("socks"):  # whose pools are of other kinds
            manager.pool_classes_by_scheme = _POOLS
        return manager

    def send(self, request: Any, stream: bool = False, *args: Any, **options: Any) -> Any:  # noqa: FBT001, FBT002 - as it is there
        """See `HTTPAdapter.send`."""
        answer = super().send(request, stream, *args, **options)
        if not stream:
            try:
                answer.raw = io.BytesIO(read_whole(answer.raw, self._patience))
            except (HTTPError, TimeoutError) as error:
                answer.close()
                raise requests.exceptions.ConnectionError(error, request=request) from error
        return answer


class _PromptHead(HTTPResponse):
    """An answer whose head must be there in the time of one wait."""

    def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self._bounded = _Bounded(sock, self.fp.detach())
        self.fp = io.BufferedReader(self._bounded)

    def begin(self) -> None:
        """See `http.client`."""
        super().begin()
        self._bounded.release()


class _Bounded(io.RawIOBase):
    """What arrives at a socket, in the time of one wait of it for all reads until `release`."""

    def __init__(self, sock: Any, raw: io.RawIOBase) -> None:
        self._sock = sock
        self._raw = raw
        self._wait: float | None = sock.gettimeout()
        self._ends = None if self._wait is None else time.monotonic() + self._wait

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._ends is not None:
            left = self._ends - time.monotonic()
            if left <= 0:
                raise TimeoutError("the head of the answer only trickles")
            self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def release(self) -> None:
        """Let each read wait for itself from now on."""
        if self._ends is not None:
            self._ends = None
            self._sock.settimeout(self._wait)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Connection(HTTPConnection):
    response_class = _PromptHead


class _SafeConnection(HTTPSConnection):
    response_class = _PromptHead


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SafePool(HTTPSConnectionPool):
    ConnectionCls = _SafeConnection


_POOLS: Final = {"http": _Pool, "https": _SafePool}
