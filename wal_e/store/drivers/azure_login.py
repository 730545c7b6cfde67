"""
What it means where obstore could not log in to Azure: in the words of the store seam, and never `NotFound`.

The login is part of a request, and its errors look like those of the request: a 404 of the service that gives tokens
would pass for an object that is absent, and an outage for the end of the archive (H14).
"""

import re
from dataclasses import replace
from typing import Final

from wal_e.errors import Denied, Misconfigured, StoreError, Unavailable
from wal_e.store.drivers.object_errors import LOGIN, Service, store_error

_LOGIN: Final = re.compile(rf"{LOGIN}|Error (?:getting token response body|reading federated)")
_STATUS: Final = re.compile(r"status code: (\d{3})")
_CODES: Final = (re.compile(r"\b(AADSTS\d+)\b"), re.compile(r'"error":\s*"(\w+)"'))  # the first says more
_REFUSED: Final = frozenset({400, 401, 403})
_LATER: Final = frozenset({408, 410, 429})  # an instance's service says 410 while it is being updated
_SERVER_ERRORS: Final = 500
_HINT: Final = (
    "Check AZURE_CLIENT_ID, AZURE_TENANT_ID and the secret or token; for a managed identity, that this host has it. "
    "An identity logs in where neither WABS_ACCESS_KEY nor WABS_SAS_TOKEN is set."
)


def failed_login(error: BaseException, service: Service) -> StoreError | None:
    """Return our error for an exception of obstore that comes from a login; None for any other."""
    text = str(error).partition("\n")[0]
    match = _LOGIN.search(text)
    if match is None:
        return None
    if match[0] == "Error reading federated":
        hint = "Check AZURE_FEDERATED_TOKEN_FILE."
        return Misconfigured("the token of the workload identity cannot be read", hint=hint)
    if match[0] == "Error getting token response body":
        return Unavailable("the answer of Azure's login service holds no token", hint=_HINT)
    status = _STATUS.search(text)
    if status is not None:
        return _refused(int(status[1]), text)
    return store_error(error, "could not log in", replace(service, label="Azure's login service"))


def _refused(status: int, text: str) -> StoreError:
    codes = [match[1] for pattern in _CODES if (match := pattern.search(text))]
    detail = f"The answer was {' '.join([str(status), *codes[:1]])}."
    if status >= _SERVER_ERRORS or status in _LATER:
        return Unavailable("Azure's login service did not serve the login", detail=detail)
    kind = Denied if status in _REFUSED else Misconfigured
    return kind("Azure's login service gives no token", detail=detail, hint=_HINT)
