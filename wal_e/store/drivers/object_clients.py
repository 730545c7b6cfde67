"""The library obstore, and its clients of one bucket or container: one for each of the few timeouts that are needed."""

from collections.abc import Callable
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final

from wal_e.errors import Misconfigured
from wal_e.store.drivers.pace import timeouts, upload_seconds

NO_RETRIES: Final = MappingProxyType({"max_retries": 0, "retry_timeout": timedelta(seconds=1)})

Make = Callable[..., Any]
"""Given obstore's `client_options` and `retry_config`, returns a store of obstore's."""


class Clients:
    """
    What `make` makes with different timeouts; for any number of threads.

    A client waits so many seconds for an answer to begin, from the first byte that is sent. The whole of a request is
    bounded, too: a download that takes longer goes on where it was.
    """

    def __init__(self, make: Make, options: dict[str, Any], patience: float) -> None:
        self._make = make
        self._options = options
        self._patience = patience
        self._known: dict[float, Any] = {}

    @property
    def reader(self) -> Any:
        """The client for all that is no upload."""
        return self._waiting(timeouts(self._patience)[1])

    def for_upload(self, size: int) -> Any:
        """Return the client for a body of so many bytes."""
        return self._waiting(upload_seconds(size, self._patience))

    def close(self) -> None:
        """Forget the clients, which gives their connections back once nobody uses them."""
        self._known.clear()

    def _waiting(self, silence: float) -> Any:
        client = self._known.get(silence)
        if client is None:
            connect, _ = timeouts(self._patience)
            options = self._options | {
                "connect_timeout": timedelta(seconds=connect),
                "read_timeout": timedelta(seconds=silence),
                "timeout": timedelta(seconds=max(silence, self._patience)),
                "default_content_type": "application/octet-stream",
            }
            made = self._make(client_options=options, retry_config=dict(NO_RETRIES))
            client = self._known.setdefault(silence, made)
        return client


def import_obstore(label: str) -> Any:
    """Return the library, imported when the first such store is used; raises `Misconfigured` where it is missing."""
    try:
        import obstore  # noqa: PLC0415 - costs memory and threads, and only these stores need it
        import obstore.exceptions  # noqa: PLC0415 - the same
        import obstore.store  # noqa: PLC0415 - the same
    except ImportError as error:
        raise Misconfigured(
            f"{label} needs a library that is not installed",
            detail=f"Python says: {error}.",
            hint="Install it into the environment of WAL-E: pip install 'obstore>=0.12'",
        ) from error
    return obstore
