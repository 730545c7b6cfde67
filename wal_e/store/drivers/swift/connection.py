"""A connection of swiftclient that is bounded in time and sends in large pieces; imported with the first request."""

from typing import Any

from swiftclient.client import HTTPConnection

from wal_e.store.drivers.adapter import Prompt
from wal_e.store.drivers.pace import read_whole


class BoundedConnection(HTTPConnection):  # type: ignore[misc] # swiftclient has no types
    """Answers that are read at once must be whole after `patience` seconds; `TimeoutError` says that one was not."""

    def __init__(self, url: str, patience: float, **options: Any) -> None:
        super().__init__(url, **options)
        self._patience = patience
        self.requests_args["allow_redirects"] = False  # requests would take our token along to wherever it is sent
        for scheme in ("http://", "https://"):
            self.request_session.mount(scheme, Prompt(patience))

    def getresponse(self) -> Any:
        """Return the answer as swiftclient wants it."""
        answer = super().getresponse()
        some, raw = answer.read, answer.raw

        def read(size: int | None = None) -> bytes:
            if size is not None:
                part: bytes = some(size)
                return part
            whole = read_whole(raw, self._patience)
            some(1)  # tells the pool that the connection is free
            return whole

        answer.read = read
        return answer
