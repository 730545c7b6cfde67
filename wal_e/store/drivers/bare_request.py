"""One HTTP request that obstore has no call for: making a bucket, making a container."""

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from wal_e.errors import Misconfigured, Unavailable
from wal_e.store.drivers.object_errors import Answer, Service

TIMEOUT: Final = 15.0
"""Seconds for a connection, and for each wait for an answer."""
_MOST: Final = 1 << 16  # bytes of an answer that are looked at; errors are much shorter


@dataclass(frozen=True, slots=True)
class BareRequest:
    """
    A request; `url` may be signed and is never shown.

    `authorities` is a file of certificates that are trusted besides the system's.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    authorities: str = ""


def send(request: BareRequest, what: str, service: Service) -> Answer:
    """
    Make the request once, through the proxy that the environment names, and return its answer, errors too.

    `what` says what could not be done. Raises `Unavailable` where no answer comes, `Misconfigured` where no connection
    is safe.
    """
    headers = {"Content-Type": "application/octet-stream", **request.headers}
    context = ssl.create_default_context()
    try:
        if request.authorities:
            context.load_verify_locations(request.authorities)
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
        asked = urllib.request.Request(request.url, request.body, headers, method=request.method)  # noqa: S310 - http(s)
        with opener.open(asked, timeout=TIMEOUT) as answer:
            return _answer(answer.status, answer.read(_MOST))
    except urllib.error.HTTPError as error:
        with error:
            return _answer(error.code, error.read(_MOST))
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        reason = getattr(error, "reason", error)
        said = f"{getattr(reason, 'strerror', None) or type(reason).__name__}."
        if isinstance(reason, ssl.SSLError):
            raise Misconfigured(
                f"{what}: no safe connection to {service.label}", detail=said, hint=service.tls_hint
            ) from error
        hint = "Check the network, the endpoint and the service."
        raise Unavailable(f"{what}: no answer from {service.label}", detail=said, hint=hint) from error


def _answer(status: int, text: bytes) -> Answer:
    return replace(Answer.of(ValueError(text.decode("utf-8", "replace"))), status=status)
