"""What `wal-e check` asks of a store of buckets before there is an archive: who we are there, and what is missing."""

import re
from dataclasses import replace
from typing import Final

from wal_e.errors import ContainerMissing, Denied, Misconfigured, StoreError, Unavailable
from wal_e.store.api import Store
from wal_e.store.drivers.bare_request import BareRequest, NoReplyError, send
from wal_e.store.drivers.object_errors import Answer, Service, answer_error
from wal_e.store.drivers.object_store import NOWHERE
from wal_e.store.url import ArchiveUrl

PATIENCE: Final = 15.0
"""Seconds that such a request may take; somebody waits for it."""
_NOT_DONE: Final = 300  # statuses from here on; a redirection makes nothing
# What a service says to somebody whom it knows, and who may not do this.
_RIGHTS: Final = frozenset(
    {
        "AccessDenied",
        "AllAccessDisabled",
        "AuthorizationPermissionMismatch",
        "AuthorizationResourceTypeMismatch",
        "InsufficientAccountPermissions",
    }
)
_PERFORMED: Final = re.compile(r"Error performing [A-Z]+ (\S+) in ")


def are_credentials_good(store: Store, url: ArchiveUrl, address: str) -> bool:
    """
    Whether the service at `address` took our credentials, by one listing; False where that is not known.

    Who is known and may not list has good credentials, and so has who hears that the bucket is missing. Raises `Denied`
    where they are refused, or where there are none to be had.
    """
    try:
        next(store.list(_nothing(url)), None)
    except ContainerMissing:
        return True
    except Denied as error:
        if _lacks_right(error, address):
            return True
        if error.__cause__ is None:
            raise
        raise Denied("the service refuses the credentials", detail=error.detail, hint=error.hint) from error.__cause__
    except StoreError:
        return False
    return True


def is_missing(store: Store, url: ArchiveUrl) -> bool:
    """
    Whether there is no such bucket or container; who may not list it hears that it is there.

    Raises `StoreError` where that cannot be found out.
    """
    try:
        next(store.list(_nothing(url)), None)
    except ContainerMissing:
        return True
    except Denied:
        return False
    return False


def answer_to(request: BareRequest, what: str, service: Service) -> Answer:
    """
    Make a request to the service, and return its answer, errors too; `what` says what could not be done.

    Raises `Unavailable` where no answer comes, `Misconfigured` where no connection is safe.
    """
    try:
        status, content = send(request)
    except NoReplyError as error:
        if error.safe:
            hint = "Check the network, the endpoint and the service."
            raise Unavailable(f"{what}: no answer from {service.label}", detail=f"{error}", hint=hint) from None
        text = f"{what}: no safe connection to {service.label}"
        raise Misconfigured(text, detail=f"{error}", hint=service.tls_hint) from None
    return replace(Answer.of(ValueError(content.decode("utf-8", "replace"))), status=status)


def was_made(answer: Answer, what: str, service: Service, *, exists: str, hint: str) -> bool:
    """
    Whether a request made the bucket or container, by its answer; `exists` is the code for one that is there, and ours.

    Raises what the answer means; `hint` says what to do where the user may not.
    """
    if answer.status < _NOT_DONE:
        return True
    if answer.code == exists:
        return False
    error = answer_error(answer, what, service)
    if isinstance(error, Denied):
        raise Denied(error.message, detail=error.detail, hint=hint)
    raise error


def _nothing(url: ArchiveUrl) -> str:
    """Return a prefix that is in the archive, for a policy may allow no other, and that nobody uses."""
    return f"{url.path}/{NOWHERE}/".lstrip("/")


def _lacks_right(error: Denied, address: str) -> bool:
    """Whether it was the store that refused, and for a missing right: obstore asks others for credentials."""
    cause = error.__cause__
    if cause is None or Answer.of(cause).code not in _RIGHTS:
        return False
    performed = _PERFORMED.search(str(cause))  # a signed address is shown as REDACTED, and is the store's
    return performed is None or performed[1].startswith((address, "REDACTED"))
