"""The keys that requests to S3 are signed with, and how temporary ones are renewed in mid-run."""

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from wal_e.errors import StoreError

EARLY: Final = timedelta(minutes=5)  # an instance has new keys so long before the old ones end
PAUSE: Final = timedelta(seconds=1)  # so long threads share a failure, and do not try one after the other
AGAIN: Final = timedelta(seconds=30)  # between attempts to renew keys that have not ended
MARK: Final = "External AWS credential provider"  # how obstore names what raised in a provider


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """An access key; `token` is None for one that is not temporary, `until` says how long it may be used."""

    key: str
    secret: str
    token: str | None = None
    until: datetime | None = None


class Renewing:
    """
    Keys for obstore, fetched when they are first needed and again before they end; for any number of threads.

    Where fetching fails, keys that have not ended are used on. `failure` is why there are none.
    """

    def __init__(self, fetch: Callable[[], Keys], now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.failure: StoreError | None = None
        self._fetch = fetch
        self._now = now
        self._lock = threading.Lock()
        self._keys: Keys | None = None
        self._next: datetime | None = None

    def __call__(self) -> dict[str, Any]:
        """Return what obstore signs with until `expires_at`, when it asks again; raises what a login raises."""
        with self._lock:
            keys = self._current(self._now())
            return {
                "access_key_id": keys.key,
                "secret_access_key": keys.secret,
                "token": keys.token,
                "expires_at": self._next,
            }

    def _current(self, now: datetime) -> Keys:
        due = self._next is not None and now >= self._next
        if self._keys is not None and not due:
            return self._keys
        if self.failure is not None and not due:
            raise copy.copy(self.failure)
        try:
            self._keys = self._fetch()
        except StoreError as error:
            now = self._now()
            if self._keys is None or self._keys.until is None or now >= self._keys.until:
                self._keys, self.failure, self._next = None, error, now + PAUSE
                raise
            self._next = min(now + AGAIN, self._keys.until)
            return self._keys
        self.failure = None
        self._next = renewal(now, self._keys.until)
        return self._keys

    def explain(self, error: BaseException) -> StoreError | None:
        """Return our error for an exception of obstore that comes from here; each caller's own, to add to."""
        return copy.copy(self.failure) if MARK in str(error) else None


def renewal(now: datetime, until: datetime | None) -> datetime | None:
    """Return when keys are to be fetched again: some minutes before they end, or after half of a shorter life."""
    if until is None:
        return None
    return until - min(EARLY, max(until - now, timedelta()) / 2)
