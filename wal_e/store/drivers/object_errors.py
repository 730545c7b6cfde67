"""
What the answers of S3, Azure and Google, and obstore's exceptions, mean in the words of the store seam.

The classes of those exceptions do not tell enough: a listing that is refused is a `GenericError`, and a missing bucket
is the same `FileNotFoundError` as a missing object. What the service answered, its status and its own code, stands in
the text. Of that text only these are shown: the rest may hold a signed address.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

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

_STATUS = re.compile(r"status code: (\d{3})|\(code: (\d{3})\)")
_CODE = re.compile(r"<Code>\s*([A-Za-z0-9]+)\s*</Code>|\(code: ([A-Za-z]\w*)\)")
_SAID = re.compile(r"<Message>([^<\n]*)|request failed for key [^\n]*?: ([^\n]*?) \(code: ")
_TRANSPORT = re.compile(r"\bkind: (Connect|Timeout|Interrupted|Request|Decode|Body)\b")
_REASON = re.compile(r'"(tcp connect error|dns error|failed to lookup[^"]*)"|message: "([^"]*)"|(InvalidCertificate\()')
_DEBUG = "\n\nDebug source"
LOGIN = "Error performing token request"
_CERTIFICATE = re.compile(r"InvalidCertificate\(\s*(\w+)")
_CERTIFICATES = {
    "NotValidForName": "The certificate is for another name",
    "NotValidForNameContext": "The certificate is for another name",
    "Expired": "The certificate has ended",
    "ExpiredContext": "The certificate has ended",
    "NotValidYet": "The certificate is not valid yet",
    "NotValidYetContext": "The certificate is not valid yet",
}
_NO_TLS = "It speaks no TLS"
_ELSEWHERE = "answers from another place"
_WHERE_HINT = "Check the region and the endpoint."

NO_CONTAINER = frozenset({"NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted", "ContainerDisabled"})
_NO_OBJECT = frozenset({"NoSuchKey", "BlobNotFound", "NoSuchVersion"})
_EXISTS = frozenset({"PreconditionFailed", "BlobAlreadyExists", "ConditionNotMet", ""})
_BAD_BYTES = frozenset(
    {"BadDigest", "Md5Mismatch", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "IncompleteBody"}
)
_BAD_LOGIN = frozenset(
    {
        "ExpiredToken",
        "InvalidToken",
        "InvalidAccessKeyId",
        "TokenRefreshRequired",
        "InvalidAuthenticationInfo",
        "AuthenticationFailed",
    }
)
_BUSY = frozenset({"SlowDown", "ServerBusy", "TooManyRequests", "RequestLimitExceeded"})
_AGAIN = frozenset({"RequestTimeout", "OperationAborted", "ConditionalRequestConflict", "OperationTimedOut"})
_SKEWED = frozenset({"RequestTimeTooSkewed"})
_BAD_NAME = frozenset({"InvalidResourceName", "InvalidBucketName", "OutOfRangeInput"})
_BAD_REQUEST = 400
_UNAUTHORIZED = 401
_REFUSED = frozenset({401, 403})
_CONFLICT = frozenset({409, 412})
_LATER = frozenset({408, 409, 500, 502, 503, 504, 507})
_SLOW_DOWN = frozenset({429, 503})
_REDIRECTS = range(300, 400)
_FINAL: dict[int, tuple[type[StoreError], str]] = {
    404: (NotFound, "there is no such object"),
    416: (ShortRead, "the object has no such bytes"),
    429: (Throttled, "the service asks to slow down"),
}


@dataclass(frozen=True, slots=True)
class Service:
    """How a service's errors are worded: `label` names it, `noun` what its addresses begin with, and the hints."""

    label: str
    noun: str
    create_hint: str
    denied_hint: str
    tls_hint: str


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What the service answered: its HTTP status, 0 where there was no answer, its own code, and its words.

    `retry_after` is in seconds, where it asked for a wait that the driver got to see: obstore tells of none.
    """

    status: int
    code: str
    said: str
    retry_after: float | None = None

    @classmethod
    def of(cls, error: BaseException) -> "Answer":
        """Read it out of an exception of obstore; what another service answered to a login is none."""
        text = str(error).partition(_DEBUG)[0]
        if LOGIN in text:
            return cls(0, "", "")
        status, code, said = (_first(pattern, text) for pattern in (_STATUS, _CODE, _SAID))
        return cls(int(status or 0), code, said.strip().rstrip("."))

    @property
    def is_about_container(self) -> bool:
        """Whether it says that the bucket or container is not there."""
        return self.code in NO_CONTAINER or "specified container does not exist" in self.said

    @property
    def is_about_object(self) -> bool:
        """Whether it says that the object is not there; a 404 may also be a proxy's."""
        return self.code in _NO_OBJECT or "specified blob does not exist" in self.said

    @property
    def is_bare_refusal(self) -> bool:
        """Whether it says no and not why, as one to HEAD; S3's is 400 where temporary keys have ended."""
        return self.status in {_BAD_REQUEST, *_REFUSED} and not self.code

    @property
    def is_about_login(self) -> bool:
        """Whether it says that the login is no good, and not that it may not do this."""
        return self.status == _UNAUTHORIZED or self.code in _BAD_LOGIN

    def detail(self, service: Service) -> str:
        """The answer as a sentence."""
        what = " ".join(part for part in (str(self.status or ""), self.code) if part)
        return f"{service.label}'s answer was {what or 'an error'}{f': {self.said}' if self.said else ''}."


def store_error(error: BaseException, what: str, service: Service) -> StoreError:
    """
    Return our error for an exception of obstore; `what` says what could not be done ("could not store ...").

    404 is `NotFound` here: whether the bucket is there at all, where the answer does not say, is the driver's to find
    out.
    """
    answer = Answer.of(error)
    if not answer.status and not answer.code:
        return _without_answer(error, what, service)
    return answer_error(answer, what, service)


def answer_error(answer: Answer, what: str, service: Service) -> StoreError:
    """Return our error for an answer; see `store_error`."""
    detail = answer.detail(service)
    if answer.is_about_container:
        return container_missing(service, detail)
    if answer.retry_after is not None and answer.status in _SLOW_DOWN:
        text = f"{what}: {service.label} asks to slow down"
        return Throttled(text, detail=detail, retry_after=answer.retry_after)
    return _by_code(answer, what, service, detail) or _by_status(answer, what, service, detail)


def container_missing(service: Service, detail: str | None = None) -> ContainerMissing:
    """Return the error for a bucket or container that is not there."""
    seen = "An archive that cannot be seen is not taken for an empty one."
    return ContainerMissing(
        f"the {service.noun} does not exist",
        detail=f"{detail} {seen}" if detail else seen,
        hint=f"Check the archive's address, or create the {service.noun}: {service.create_hint} "
        "(or wal-e check --create)",
    )


def not_the_service(what: str, service: Service, detail: str | None = None) -> Unavailable:
    """
    Return the error for an answer that the service does not give (H20): a proxy's page, or a document that was damaged.

    It says nothing about the object, so it is an outage.
    """
    hint = "Check the endpoint, and look for an HTTP proxy, a load balancer or a login page before it."
    return Unavailable(f"{what}: the answer is not one of {service.label}", detail=detail, hint=hint)


@contextmanager
def listing_errors(what: str, service: Service) -> Iterator[None]:
    """
    No listing is of something absent: a 404 that does not mean the container comes from another place than is meant.

    With a code it is the service's own, about its address; without one it is somebody else's page.
    """
    try:
        yield
    except NotFound as error:
        if error.__cause__ is None or not Answer.of(error.__cause__).code:
            raise not_the_service(what, service, error.detail) from error
        hint = "Check the endpoint, and the account's name in it."
        message = f"{what}: {service.label} does not know the address"
        raise Misconfigured(message, detail=error.detail, hint=hint) from error


def _by_code(answer: Answer, what: str, service: Service, detail: str) -> StoreError | None:
    """Return the error for a code that means more than its status."""
    if answer.code in _BAD_BYTES:
        return ShortRead(f"{what}: other bytes arrived than were announced", detail=detail)
    if answer.code in _BUSY:
        return Throttled(f"{what}: {service.label} asks to slow down", detail=detail)
    if answer.code in _AGAIN:
        return Unavailable(f"{what}: {service.label} did not serve the request", detail=detail)
    if answer.code in _SKEWED:
        return Denied(f"{what}: this host's clock is wrong", detail=detail, hint="Set the clock; see timedatectl.")
    if answer.code in _BAD_LOGIN or answer.code == "AccessDenied":
        return Denied(f"{what}: {service.label} refuses", detail=detail, hint=service.denied_hint)
    return None


def _by_status(answer: Answer, what: str, service: Service, detail: str) -> StoreError:
    status = answer.status
    if status in _REFUSED:
        return Denied(f"{what}: {service.label} refuses", detail=detail, hint=service.denied_hint)
    if status in _CONFLICT and answer.code in _EXISTS:
        return Exists(f"{what}: it exists already", detail=detail)
    if status in _LATER:
        return Unavailable(f"{what}: {service.label} did not serve the request", detail=detail)
    said = _ELSEWHERE if status in _REDIRECTS else "did not accept the request"
    kind, text = _FINAL.get(status, (Misconfigured, f"{service.label} {said}"))
    hint = _WHERE_HINT if kind is Misconfigured else None
    if answer.code in _BAD_NAME:
        hint = "Check the archive's address, whose first part is small letters, digits and hyphens, and the endpoint."
    return kind(f"{what}: {text}", detail=detail, hint=hint)


def _without_answer(error: BaseException, what: str, service: Service) -> StoreError:
    text, _, debug = str(error).partition(_DEBUG)
    transport = _first(_TRANSPORT, debug)
    if "InvalidRangeRequest" in debug:
        return ShortRead(f"{what}: the object has no such bytes")
    if "InvalidCertificate" in debug or "InvalidContentType" in debug:
        why = _CERTIFICATE.search(debug)
        said = _CERTIFICATES.get(why[1], "The certificate is not one that this host trusts") if why else _NO_TLS
        return Misconfigured(f"{what}: no safe connection to {service.label}", detail=f"{said}.", hint=service.tls_hint)
    if "response body error" in text and transport == "Interrupted":
        return ShortRead(f"{what}: the connection ended early")
    if transport:
        reason = "It fell silent" if transport == "Timeout" else _first(_REASON, debug) or "The connection broke"
        detail = f"{reason[:1].upper()}{reason[1:].rstrip('.')}."
        hint = "Check the network, the endpoint and the service."
        return Unavailable(f"{what}: no answer from {service.label}", detail=detail, hint=hint)
    if "redirect" in text:
        return Misconfigured(f"{what}: {service.label} {_ELSEWHERE}", hint=_WHERE_HINT)
    return not_the_service(what, service, _bare(text))


def _bare(text: str) -> str:
    """Return a line of obstore without addresses, which may be signed."""
    line = re.sub(r"https?://\S+", "(address)", text.strip().splitlines()[0] if text.strip() else "No reason was given")
    return f"obstore says: {line[:300].rstrip('.')}."


def _first(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return next((group for group in match.groups() if group), "") if match else ""
