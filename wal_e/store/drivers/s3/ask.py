"""One request to a service that gives credentials; what its answer means in the words of the store seam."""

import http.client
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from wal_e.errors import Denied, Misconfigured, StoreError, Unavailable

TIMEOUT: Final = 10.0  # seconds for each wait, where the caller is as patient
MOST: Final = 1 << 20  # bytes of an answer; credentials have some thousand
_CODE = re.compile(r"<Code>\s*(\w+)\s*</Code>")
_LATER: Final = frozenset({408, 429})
_REFUSED: Final = frozenset({400, 401, 403})
SERVER_ERRORS: Final = 500


@dataclass(frozen=True, slots=True)
class Question:
    """
    A request: `who` is asked, for errors, and `hint` says what to do where it refuses.

    `direct` goes past proxies, as is right for a machine's own services. `cacert` is a file of authorities to trust
    besides the system's. No wait is longer than `patience` in seconds.
    """

    who: str
    url: str
    hint: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    direct: bool = True
    cacert: str = ""
    patience: float = TIMEOUT


def ask(question: Question) -> str:
    """
    Return the text of the answer.

    Raises `Denied` where the service refuses, `Unavailable` where asking again may help, else `Misconfigured`: never
    `NotFound`, which is what a store says of an object.
    """
    headers = dict(question.headers)
    request = urllib.request.Request(question.url, question.body, headers, method=question.method)  # noqa: S310 - parsed as http or https
    try:
        with _opener(question).open(request, timeout=min(TIMEOUT, question.patience)) as answer:
            return str(answer.read(MOST).decode())
    except urllib.error.HTTPError as error:
        with error:
            raise _refused(question, error) from None  # its address may be a secret
    except (OSError, http.client.HTTPException) as error:
        raise _silent(question, error) from None
    except ValueError:
        raise no_credentials(question.who, question.hint) from None


def no_credentials(who: str, hint: str) -> Unavailable:
    """Return the error for an answer that the service does not give: a page of somebody's, or half a document (H20)."""
    return Unavailable(f"the answer of {who} holds no credentials", hint=hint)


def _opener(question: Question) -> urllib.request.OpenerDirector:
    handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
    if question.direct:
        handlers.append(urllib.request.ProxyHandler({}))
    if question.url.startswith("https:"):
        context = ssl.create_default_context()
        if question.cacert:
            context.load_verify_locations(question.cacert)
        handlers.append(urllib.request.HTTPSHandler(context=context))
    return urllib.request.build_opener(*handlers)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Credentials and tokens go to the address that was set, and to no other."""

    def redirect_request(self, *_: object) -> None:
        """See `urllib.request`."""


def _refused(question: Question, error: urllib.error.HTTPError) -> StoreError:
    code = _CODE.search(error.read(MOST).decode("utf-8", "replace"))
    detail = f"The answer was {error.code}{f' {code[1]}' if code else ''}."
    if error.code >= SERVER_ERRORS or error.code in _LATER:
        return Unavailable(f"{question.who} did not serve the login", detail=detail)
    kind = Denied if error.code in _REFUSED else Misconfigured
    return kind(f"{question.who} gives no credentials", detail=detail, hint=question.hint)


def _silent(question: Question, error: Exception) -> StoreError:
    reason = getattr(error, "reason", error)
    if isinstance(reason, ssl.SSLError):
        said = getattr(reason, "verify_message", "") or reason.reason or "TLS failed"
        hint = "Set AWS_CA_BUNDLE to the file with the authority's certificate, and check the address."
        return Misconfigured(f"no safe connection to {question.who}", detail=f"It says: {said}.", hint=hint)
    detail = f"{str(getattr(reason, 'strerror', None) or reason)[:200].rstrip('.')}."
    return Unavailable(f"no answer from {question.who}", detail=detail, hint=question.hint)
