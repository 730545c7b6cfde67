"""One HTTP request that obstore has no call for, or must not make: for a bucket, a container, or credentials."""

import http.client
import ssl
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

TIMEOUT: Final = 15.0
"""Seconds for a connection, for each wait, and for the whole content of an answer."""
_MOST: Final = 1 << 20  # bytes of an answer that are looked at; credentials have some thousand
_PIECE: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class BareRequest:
    """
    A request; `url` may be signed and is never shown.

    `authorities` is a file of certificates that are trusted besides the system's. `direct` goes past the proxy that
    the environment names, as is right for a machine's own services. `patience` is as `TIMEOUT`.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    authorities: str = ""
    direct: bool = False
    patience: float = TIMEOUT


class NoReplyError(Exception):
    """No whole answer came, or none that is `safe`; says why as a sentence, without the address."""

    def __init__(self, said: str, *, safe: bool) -> None:
        super().__init__(f"{said[:200].rstrip('.')}.")
        self.safe = safe


def send(request: BareRequest) -> tuple[int, bytes]:
    """
    Make the request once, and return the status and the content of the answer, whatever it is.

    Nobody is followed to another place: what is sent may open doors. Raises `NoReplyError`.
    """
    asked = urllib.request.Request(request.url, request.body, dict(request.headers), method=request.method)  # noqa: S310 - http(s)
    try:
        with _opener(request).open(asked, timeout=request.patience) as answer:
            return answer.status, _content(answer, request.patience)
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        raise _no_reply(getattr(error, "reason", error)) from None


def _opener(request: BareRequest) -> urllib.request.OpenerDirector:
    context = ssl.create_default_context()
    if request.authorities:
        context.load_verify_locations(request.authorities)
    handlers: list[urllib.request.BaseHandler] = [_AsItCame(), urllib.request.HTTPSHandler(context=context)]
    if request.direct:
        handlers.append(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(*handlers)


class _AsItCame(urllib.request.HTTPErrorProcessor):
    """Every answer is one: errors are not raised, and redirections not followed."""

    def http_response(
        self, request: urllib.request.Request, response: http.client.HTTPResponse
    ) -> http.client.HTTPResponse:
        """See `urllib.request`."""
        del request
        return response

    https_response = http_response


def _content(answer: http.client.HTTPResponse, patience: float) -> bytes:
    """Return the content up to `_MOST`; raises `TimeoutError` where it trickles."""
    content, ends = bytearray(), time.monotonic() + patience
    while len(content) < _MOST and (part := answer.read1(_PIECE)):
        content += part
        if time.monotonic() > ends:
            raise TimeoutError("The answer comes too slowly")
    return bytes(content)


def _no_reply(reason: object) -> NoReplyError:
    if isinstance(reason, ssl.SSLError):
        return NoReplyError(getattr(reason, "verify_message", "") or reason.reason or "TLS failed", safe=False)
    if isinstance(reason, OSError):
        return NoReplyError(reason.strerror or str(reason), safe=True)
    return NoReplyError(type(reason).__name__, safe=True)  # what other errors say may quote the address
