"""
Requests to Google's JSON API: sessions taken from a pool, one login for all, a refused token renewed once.

A session belongs to one request until its answer is read, so nothing here depends on which thread does what.
"""

import json
import re
import threading
from base64 import b64decode
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from wal_e.config import Settings
from wal_e.errors import Denied, Misconfigured, ShortRead, StoreError, Unavailable
from wal_e.store.drivers.gs.login import credentials, import_auth, sentence_of
from wal_e.store.drivers.gs.options import CACERT, EMULATOR, ENDPOINT
from wal_e.store.drivers.object_errors import Answer, Service, answer_error, not_the_service
from wal_e.store.drivers.pace import next_piece, read_whole, timeouts
from wal_e.store.drivers.retry_after import parse_retry_after

GOOGLE: Final = "https://storage.googleapis.com"
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(?:\d+|\*)")
_MD5 = re.compile(r"\bmd5=([A-Za-z0-9+/=]+)")
SUCCESS: Final = range(200, 300)
UNAUTHORIZED: Final = 401
NOT_FOUND: Final = 404
# What JSON errors call the things that XML errors have a code for.
_CODES: Final = {
    "conditionNotMet": "PreconditionFailed",
    "rateLimitExceeded": "SlowDown",
    "userRateLimitExceeded": "SlowDown",
    "invalid": "BadDigest",
}


class Response:
    """An answer without an error; as a context manager it gives the session back, or drops it."""

    def __init__(self, wire: "Wire", what: str, session: Any, answer: Any) -> None:
        self._wire = wire
        self._what = what
        self._session = session
        self._answer = answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._answer.close()  # a connection whose body is not read to its end is closed by this
        self._wire.give_back(self._session)

    @property
    def size(self) -> int | None:
        """How many bytes were announced."""
        text = self._answer.headers.get("Content-Length")
        return int(text) if text is not None else None

    @property
    def md5(self) -> bytes | None:
        """The MD5 of the whole object, where the service knows it."""
        match = _MD5.search(self._answer.headers.get("X-Goog-Hash", ""))
        return b64decode(match[1]) if match else None

    def confirm(self, start: int, length: int | None) -> None:
        """Raise where these bytes are not in it, all for None: Google tells a checksum of each whole object."""
        if length is None:
            if "X-Goog-Hash" not in self._answer.headers:
                raise not_the_service(self._what, self._wire.service)
            return
        match = _CONTENT_RANGE.fullmatch(self._answer.headers.get("Content-Range", ""))
        if match is None or (int(match[1]), int(match[2])) != (start, start + length - 1):
            raise ShortRead(f"{self._what}: asked for bytes {start} to {start + length - 1}, the answer has others")

    def json(self) -> dict[str, Any]:
        """The document in the answer; raises `Unavailable` where it is none, or is not there in time."""
        text = self._whole()
        try:
            document = json.loads(text)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise not_the_service(self._what, self._wire.service)
        return document

    def confirm_empty(self) -> None:
        """Raises `Unavailable` where a body comes, as Google sends none to who deletes: it is somebody else's."""
        if self._whole():
            raise not_the_service(self._what, self._wire.service)

    def chunks(self, size: int) -> Iterator[bytes]:
        """
        Yield the bytes, `size` at once or as many as came in a second.

        A connection that ends early is `ShortRead`, one that falls silent `Unavailable`.
        """
        with self._broken():
            while chunk := next_piece(self._answer.raw, size):
                yield chunk

    def _whole(self) -> bytes:
        with self._broken():
            return read_whole(self._answer.raw, self._wire.patience)

    @contextmanager
    def _broken(self) -> Iterator[None]:
        from urllib3 import exceptions  # noqa: PLC0415 - comes with requests, and only Google needs it here

        try:
            yield
        except exceptions.ProtocolError as error:
            raise ShortRead(f"{self._what}: the connection ended early", detail=f"It says: {error}.") from error
        except (exceptions.HTTPError, OSError) as error:
            raise _no_answer(self._what, error) from error


@dataclass(frozen=True, slots=True)
class Call:
    """One request; `body` can be sent again."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(default_factory=dict)
    body: "Upload | None" = None


@dataclass(frozen=True, slots=True)
class Upload:
    """`size` bytes in pieces, as requests takes them: it announces the length that `len` gives."""

    size: int
    pieces: Callable[[], Iterator[bytes]]

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[bytes]:
        return self.pieces()


class Wire:
    """
    Makes requests for any number of threads; `log_in` is asked for the credentials when they first matter.

    No request waits for longer than `patience` seconds without getting on.
    """

    def __init__(self, address: str, service: Service, log_in: Callable[[], Any], cacert: str, patience: float) -> None:
        self._address = address
        self.service = service
        self.patience = patience
        self._log_in = log_in
        self._verify = cacert or True
        self._lock = threading.Lock()
        self._credentials: Any = None
        self._idle: deque[Any] = deque()

    def request(self, what: str, call: Call) -> Response:
        """
        Make a request and return its answer; `what` says what could not be done, for errors.

        A refused token is renewed once. Raises what `object_errors.answer_error` makes of an answer; it is `NotFound`
        for each 404 that does not say that the bucket is not there.
        """
        session = self._session()
        try:
            answer = self._send(what, session, call, renew=False)
            if answer.status_code == UNAUTHORIZED:
                answer.close()
                answer = self._send(what, session, call, renew=True)
            failure = self._failure(what, call, answer)
        except BaseException:
            session.close()
            raise
        if failure is None:
            return Response(self, what, session, answer)
        answer.close()
        self.give_back(session)
        raise failure

    def log_in(self) -> None:
        """Fetch a token; raises `Denied` where that is refused, `Unavailable` where nobody answers."""
        session = self._session()
        try:
            self._authorize("could not log in", session, {}, renew=False)
        finally:
            self.give_back(session)

    def give_back(self, session: Any) -> None:
        """Keep a session for the next request."""
        self._idle.append(session)

    def close(self) -> None:
        """Close the sessions that nobody uses."""
        while self._idle:
            self._idle.pop().close()

    def _session(self) -> Any:
        import requests  # noqa: PLC0415 - costs 100 ms, and only Google needs it here

        from wal_e.store.drivers.adapter import Prompt  # noqa: PLC0415 - imports requests

        try:
            return self._idle.pop()
        except IndexError:
            session = requests.Session()
            session.verify = self._verify
            for scheme in ("http://", "https://"):
                session.mount(scheme, Prompt(self.patience))
            return session

    def _send(self, what: str, session: Any, call: Call, *, renew: bool) -> Any:
        import requests  # noqa: PLC0415 - as above
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - as above

        headers = dict(call.headers)
        url = f"{self._address}{call.path}"
        self._authorize(what, session, headers, renew=renew)
        try:
            return session.request(
                call.method,
                url,
                params=call.query,
                headers=headers,
                data=call.body,
                timeout=timeouts(self.patience),
                stream=True,
                allow_redirects=False,  # Google has none, and what stands elsewhere is not the object
            )
        except (requests.exceptions.RequestException, HTTPError) as error:
            raise _no_answer(what, error) from error

    def _authorize(self, what: str, session: Any, headers: dict[str, str], *, renew: bool) -> None:
        from google.auth import exceptions  # noqa: PLC0415 - only Google needs it
        from google.auth.transport.requests import Request  # noqa: PLC0415 - the same

        login = partial(Request(session=session), timeout=timeouts(self.patience))  # else it waits for two minutes
        try:
            with self._lock:  # one thread renews a token, the others wait for it
                if self._credentials is None:
                    self._credentials = self._log_in()
                if renew:
                    self._credentials.refresh(login)
                self._credentials.before_request(login, "", self._address, headers)
        except (exceptions.RefreshError, exceptions.InvalidOperation) as error:
            hint = "Check the credentials, and that they have not been withdrawn: gcloud auth application-default login"
            failure = Unavailable if getattr(error, "retryable", False) else Denied
            raise failure(f"{what}: the login to Google was refused", detail=sentence_of(error), hint=hint) from error
        except exceptions.TransportError as error:
            raise _no_answer(what, error) from error

    def _failure(self, what: str, call: Call, answer: Any) -> StoreError | None:
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - as above

        if answer.status_code in SUCCESS:
            return None
        try:
            said, reason = _message(read_whole(answer.raw, self.patience))
        except (HTTPError, OSError) as error:
            raise _no_answer(what, error) from error
        bare = not reason and (call.method == "DELETE" or not said or said.startswith("<"))
        if answer.status_code == NOT_FOUND and bare:
            return not_the_service(what, self.service)  # Google says what is missing: a document, of a download a line
        code = "NoSuchBucket" if "bucket does not exist" in said else _CODES.get(reason, reason)
        wait = parse_retry_after(answer.headers.get("Retry-After"))
        return answer_error(Answer(answer.status_code, code, said.rstrip("."), wait), what, self.service)


def open_wire(bucket: str, settings: Settings, patience: float) -> Wire:
    """Return the way to a bucket's service; raises `Misconfigured` where google-auth is missing."""
    import_auth()
    return Wire(address(settings), service_of(bucket), lambda: credentials(settings), settings[CACERT], patience)


def address(settings: Settings) -> str:
    """Return the address of the service."""
    return settings[EMULATOR] or settings[ENDPOINT] or GOOGLE


def service_of(bucket: str) -> Service:
    """Return how errors about a bucket are worded."""
    return Service(
        label="Google",
        noun=f'bucket "{bucket}"',
        create_hint=f"gcloud storage buckets create gs://{bucket}",
        denied_hint="Give the account the role roles/storage.objectAdmin on the bucket.",
        tls_hint="Set WALE_GS_CACERT to the file with the authority's certificate.",
    )


def _no_answer(what: str, error: Exception) -> StoreError:
    """Return our error for a failure before an answer was complete."""
    import requests  # noqa: PLC0415 - comes with google-auth, and only Google needs it here

    if isinstance(error, requests.exceptions.SSLError):
        hint = "Set WALE_GS_CACERT to the file with the authority's certificate."
        return Misconfigured(f"{what}: no safe connection to Google", detail=sentence_of(error), hint=hint)
    hint = "Check the network, the endpoint and the service."
    return Unavailable(f"{what}: no answer from Google", detail=sentence_of(error), hint=hint)


def _message(content: bytes) -> tuple[str, str]:
    """Return the words and the reason of an error; a download's is bare text."""
    try:
        error = json.loads(content)["error"]
        return str(error["message"]), str(error["errors"][0]["reason"])
    except (ValueError, KeyError, TypeError, IndexError):
        return " ".join(content[:200].decode("utf-8", "replace").split()), ""
