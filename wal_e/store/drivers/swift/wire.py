"""
Requests to Swift: connections taken from a pool, one login for all, a refused token renewed once.

A connection belongs to one request until its answer is read, so nothing here depends on which thread does what.
"""

from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from wal_e.errors import ShortRead, StoreError
from wal_e.store.drivers.pace import next_piece, timeouts
from wal_e.store.drivers.swift.errors import connection_error, status_error
from wal_e.store.drivers.swift.login import Access, Login, allow_insecure

T = TypeVar("T")
UNAUTHORIZED = 401

Request = Callable[[Any, dict[str, Any]], T]
"""Given swiftclient's module of functions and their url, token and http_conn, makes one request."""


class Stream:
    """The body of an object as it arrives; as a context manager it gives the connection back, or drops it."""

    def __init__(self, wire: "Wire", what: str, http: Any, answer: tuple[dict[str, str], Any]) -> None:
        self._wire = wire
        self._what = what
        self._http = http
        self._complete = False
        self.headers, self._body = answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._complete:
            self._wire.give_back(self._http)
        else:
            self._http[1].close()

    def chunks(self, size: int) -> Iterator[bytes]:
        """
        Yield the bytes, `size` at once or as many as came in a second, so that a trickle is seen to be one.

        A connection that ends early is `ShortRead`, one that falls silent `Unavailable`.
        """
        from urllib3 import exceptions  # noqa: PLC0415 - comes with swiftclient, and only Swift needs it

        try:
            while chunk := next_piece(self._body.resp.raw, size):
                yield chunk
            self._body.close()
        except exceptions.ProtocolError as error:
            raise ShortRead(f"{self._what}: the connection ended early", detail=f"It says: {error}.") from error
        except (exceptions.HTTPError, OSError) as error:
            raise connection_error(error, self._what, self._http[1].host) from error
        self._complete = True


class Wire:
    """Makes requests for any number of threads; none waits for longer than `patience` seconds without getting on."""

    def __init__(self, login: Login, patience: float) -> None:
        self._login = login
        self._patience = patience
        self._idle: deque[Any] = deque()

    def call(self, what: str, request: Request[T], *, sends_body: bool = False) -> T:
        """
        Make a request and return its result; `what` says what could not be done, for errors.

        With `sends_body`, a connection that breaks is taken for a refused token where Swift refuses it a moment later:
        it answers 401 without reading the body, and hangs up.
        """
        result, http = self._attempt(what, request, sends_body=sends_body)
        self.give_back(http)
        return result

    def stream(self, what: str, container: str, name: str, headers: dict[str, str]) -> Stream:
        """Return an object's body; raises as `call` does before there is one."""

        def request(client: Any, where: dict[str, Any]) -> tuple[dict[str, str], Any]:
            answer: tuple[dict[str, str], Any] = client.get_object(
                **where, container=container, name=name, headers=headers, resp_chunk_size=1
            )
            return answer

        answer, http = self._attempt(what, request)
        return Stream(self, what, http, answer)

    def give_back(self, http: Any) -> None:
        """Keep a connection whose answer has been read, for the next request."""
        self._idle.append(http)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            self._idle.pop()[1].close()

    def _attempt(self, what: str, request: Request[T], *, sends_body: bool = False) -> tuple[T, Any]:
        access = self._login.access()
        try:
            return self._once(what, request, access)
        except _RefusedError:
            pass
        except _BrokenError as broken:
            if not (sends_body and self._is_refused(access)):
                raise broken.error from broken.__cause__
        self._login.renew(access)
        try:
            return self._once(what, request, self._login.access())
        except _RefusedError as refused:
            raise refused.error from refused.__cause__
        except _BrokenError as broken:
            raise broken.error from broken.__cause__

    def _once(self, what: str, request: Request[T], access: Access) -> tuple[T, Any]:
        import requests  # noqa: PLC0415 - comes with swiftclient, and only Swift needs it
        from swiftclient import client  # noqa: PLC0415 - costs 200 ms, and only Swift needs it
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - as requests

        http = self._connection(access)
        try:
            where = {"url": access.storage_url, "token": access.token, "http_conn": http}
            return request(client, where), http
        except client.ClientException as error:
            self.give_back(http)
            failure = status_error(error, what)
            if error.http_status == UNAUTHORIZED:
                raise _RefusedError(failure) from error
            raise failure from error
        except (requests.exceptions.RequestException, HTTPError, TimeoutError) as error:
            http[1].close()
            raise _BrokenError(connection_error(error, what, access.storage_url)) from error
        except BaseException:
            http[1].close()
            raise

    def _connection(self, access: Access) -> Any:
        from wal_e.store.drivers.swift.connection import BoundedConnection  # noqa: PLC0415 - imports swiftclient

        while self._idle:
            try:
                http = self._idle.pop()
            except IndexError:  # another thread took the last one
                break
            if http[1].url == access.storage_url:
                return http
            http[1].close()
        if access.verify is False:
            allow_insecure()
        http = BoundedConnection(
            access.storage_url,
            self._patience,
            cacert=access.verify if isinstance(access.verify, str) else None,
            insecure=access.verify is False,
            timeout=timeouts(self._patience),
        )
        return http.parsed_url, http

    def _is_refused(self, access: Access) -> bool:
        try:
            _, http = self._once("", lambda client, where: client.head_account(**where), access)
        except _RefusedError:
            return True
        except (StoreError, _BrokenError):
            return False
        self.give_back(http)
        return False


class _RefusedError(Exception):
    """Swift answered 401; `error` is what the caller hears if that is the end of it."""

    def __init__(self, error: StoreError) -> None:
        self.error = error


class _BrokenError(Exception):
    """There was no whole answer."""

    def __init__(self, error: StoreError) -> None:
        self.error = error
