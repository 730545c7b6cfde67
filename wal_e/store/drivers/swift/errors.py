"""What Swift's statuses and a broken connection mean in the words of the store seam."""

from typing import Any

from wal_e.errors import (
    ContainerMissing,
    Denied,
    Exists,
    Misconfigured,
    NotFound,
    ShortRead,
    StoreError,
    Throttled,
    Unavailable,
)
from wal_e.store.drivers.retry_after import parse_retry_after

_SLOW_DOWN = frozenset({429, 498, 503})
_LATER = frozenset({408, 409, 500, 502, 503, 504})
_FINAL: dict[int, tuple[type[StoreError], str, str | None]] = {
    401: (Denied, "Swift refuses the token", "Check the user and its project."),
    403: (
        Denied,
        "the user may not do this",
        "Give the user a role that may, or an access list: swift post --read-acl ... --write-acl ... CONTAINER",
    ),
    404: (NotFound, "there is no such object", None),
    412: (Exists, "it exists already", None),
    413: (
        Misconfigured,
        "it is too large, or the quota is used up",
        "Raise the quota of the account or the container: swift stat CONTAINER shows it.",
    ),
    416: (ShortRead, "the object has no such bytes", None),
    422: (ShortRead, "other bytes arrived than were announced", None),
    507: (Unavailable, "its disks are full", "Add space to the object store."),
}


def status_error(error: Any, what: str) -> StoreError:
    """
    Return our error for a ClientException of swiftclient; `what` says what could not be done ("could not store ...").

    404 is `NotFound` here: whether the container is there at all is the driver's to find out.
    """
    status = error.http_status
    detail = _detail(error)
    wait = parse_retry_after((error.http_response_headers or {}).get("retry-after"))
    if status in _SLOW_DOWN and (wait is not None or status != 503):  # noqa: PLR2004 - an HTTP status is its own name
        return Throttled(f"{what}: Swift asks to slow down", detail=detail, retry_after=wait)
    if status in _LATER or status is None:
        return Unavailable(f"{what}: Swift did not serve the request", detail=detail)
    return _final(status, what, detail)


def _final(status: int, what: str, detail: str) -> StoreError:
    kind, text, hint = _FINAL.get(status, (Misconfigured, "Swift did not accept the request", None))
    return kind(f"{what}: {text}", detail=detail, hint=hint)


def connection_error(error: Exception, what: str, url: str) -> StoreError:
    """Return our error for a failure of requests or urllib3 before an answer was complete."""
    import requests  # noqa: PLC0415 - comes with swiftclient, and only Swift needs it

    detail = f"The connection to {url} says: {str(error).rstrip('.')}."
    if isinstance(error, requests.exceptions.SSLError):
        hint = "Set SWIFT_CACERT (or OS_CACERT) to the file with the authority's certificate."
        return Misconfigured(f"{what}: Swift's certificate is not trusted", detail=detail, hint=hint)
    if isinstance(error, ValueError):  # every "this is not a URL" of requests is one
        return Misconfigured(f"{what}: Swift's storage URL is not usable", detail=detail, hint="Check the catalog.")
    return Unavailable(f"{what}: no answer from Swift", detail=detail, hint="Check the network and the service.")


def not_swift(what: str) -> Unavailable:
    """
    Return the error for an answer that Swift does not give (H20): a proxy's page, or JSON that was damaged on its way.

    It says nothing about the object, so it is an outage.
    """
    return Unavailable(
        f"{what}: the answer is not one of Swift's",
        detail="It came with a status that means success, and lacks what Swift says with it.",
        hint="Look for an HTTP proxy, a load balancer or a login page between here and Swift.",
    )


def container_missing(container: str) -> ContainerMissing:
    """Return the error for a container that is not there."""
    return ContainerMissing(
        f'the container "{container}" does not exist',
        detail="An archive that cannot be seen is not taken for an empty one.",
        hint=f"Check the archive's address, or create the container: swift post {container} (or wal-e check --create)",
    )


def _detail(error: Any) -> str:
    body = error.http_response_content
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")
    first = " ".join(text.split())[:200].rstrip(".")
    answer = f"{error.http_status or ''} {error.http_reason or ''}".strip() or str(error)
    transaction = f" (transaction {error.transaction_id})" if error.transaction_id else ""
    return f"Swift's answer was {answer}{f': {first}' if first else ''}{transaction}."
