"""One request to a service that gives credentials; what its answer means in the words of the store seam."""

import re
from dataclasses import dataclass
from typing import Final

from wal_e.errors import Denied, Misconfigured, StoreError, Unavailable
from wal_e.store.drivers.bare_request import BareRequest, NoReplyError, send

_CODE = re.compile(r"<Code>\s*(\w+)\s*</Code>")
_SUCCESS: Final = range(200, 300)
_LATER: Final = frozenset({408, 429})
_REFUSED: Final = frozenset({400, 401, 403})
_SERVER_ERRORS: Final = 500


@dataclass(frozen=True, slots=True)
class Question:
    """A request: `who` is asked, for errors, and `hint` says what to do where it refuses."""

    who: str
    hint: str
    request: BareRequest


def ask(question: Question) -> str:
    """
    Return the text of the answer.

    Raises `Denied` where the service refuses, `Unavailable` where asking again may help, else `Misconfigured`: never
    `NotFound`, which is what a store says of an object.
    """
    try:
        status, content = send(question.request)
    except NoReplyError as error:
        raise _silent(question, error) from None
    if status not in _SUCCESS:
        raise _refused(question, status, content.decode("utf-8", "replace"))
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise no_credentials(question.who, question.hint) from None


def no_credentials(who: str, hint: str) -> Unavailable:
    """Return the error for an answer that the service does not give: a page of somebody's, or half a document (H20)."""
    return Unavailable(f"the answer of {who} holds no credentials", hint=hint)


def _refused(question: Question, status: int, text: str) -> StoreError:
    code = _CODE.search(text)
    detail = f"The answer was {status}{f' {code[1]}' if code else ''}."
    if status >= _SERVER_ERRORS or status in _LATER:
        return Unavailable(f"{question.who} did not serve the login", detail=detail)
    kind = Denied if status in _REFUSED else Misconfigured
    return kind(f"{question.who} gives no credentials", detail=detail, hint=question.hint)


def _silent(question: Question, error: NoReplyError) -> StoreError:
    if error.safe:
        return Unavailable(f"no answer from {question.who}", detail=f"{error}", hint=question.hint)
    hint = "Set AWS_CA_BUNDLE to the file with the authority's certificate, and check the address."
    return Misconfigured(f"no safe connection to {question.who}", detail=f"It says: {error}", hint=hint)
