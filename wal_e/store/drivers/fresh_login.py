"""
A login that was good and is refused now is done again: tokens and temporary keys may be withdrawn before they end.

obstore keeps them until then, a day in Azure, and an agent lives longer. So the store is opened anew, and the request
that was refused is `Unavailable`, which is repeated; where the new login is refused as well, it is `Denied`.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from wal_e.errors import Denied, Exists, NotFound, StoreError, Unavailable
from wal_e.store.api import Body, ObjectInfo, Store
from wal_e.store.drivers.object_errors import Answer


class FreshLogin:
    """A store of `open_store`, which logs in anew each time it is called; for any number of threads."""

    def __init__(self, open_store: Callable[[], Store]) -> None:
        self._open = open_store
        self._lock = threading.Lock()
        self._store = open_store()
        self._login = 1
        self._was_good = False
        self.capabilities = self._store.capabilities

    def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
        """See `Store.put`."""
        with self._watched() as store:
            return store.put(key, body, create_only=create_only)

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """See `Store.get`."""
        with self._watched() as store:
            yield from store.get(key, start=start, length=length)

    def head(self, key: str) -> ObjectInfo:
        """See `Store.head`."""
        with self._watched() as store:
            return store.head(key)

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """See `Store.list`."""
        with self._watched() as store:
            yield from store.list(prefix, after=after)

    def delete(self, keys: Iterable[str]) -> None:
        """See `Store.delete`."""
        with self._watched() as store:
            store.delete(keys)

    def close(self) -> None:
        """See `Store.close`."""
        self._store.close()

    @contextmanager
    def _watched(self) -> Iterator[Store]:
        with self._lock:
            login, store = self._login, self._store
        try:
            yield store
        except Denied as error:
            if not _is_about_login(error, store) or not self._renewed(login):
                raise
            message = f"{error.message}, which was accepted before; logging in again"
            raise Unavailable(message, detail=error.detail, hint=error.hint) from error
        except (NotFound, Exists):
            self._note(login)
            raise
        self._note(login)

    def _note(self, login: int) -> None:
        with self._lock:
            self._was_good |= login == self._login

    def _renewed(self, login: int) -> bool:
        """Whether there is another login than this one now; of threads that were refused together the first gets it."""
        with self._lock:
            if login == self._login:
                if not self._was_good:
                    return False
                self._store = self._open()
                self._login += 1
                self._was_good = False
            return True


def _is_about_login(error: Denied, store: Store) -> bool:
    """Whether it is not about rights; where the answer does not say, as one to HEAD, that of a listing does."""
    answer = _answer(error)
    if answer.is_bare_refusal and not answer.is_about_login:
        try:
            next(iter(store.list()), None)
        except StoreError as said:
            answer = _answer(said)
    return answer.is_about_login


def _answer(error: StoreError) -> Answer:
    return Answer(0, "", "") if error.__cause__ is None else Answer.of(error.__cause__)
