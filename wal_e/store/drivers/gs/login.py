"""Google's credentials, by Google's own library for logins, which is imported when they are needed."""

import warnings
from typing import Any, Final

from wal_e.config import Settings
from wal_e.errors import Misconfigured
from wal_e.store.drivers.gs.options import CREDENTIALS, EMULATOR

SCOPE: Final = "https://www.googleapis.com/auth/devstorage.read_write"


def credentials(settings: Settings) -> Any:
    """
    Return the credentials of google-auth, whose token may still have to be fetched.

    Raises `Misconfigured` without any.
    """
    auth = import_auth()
    if settings[EMULATOR]:
        return auth.credentials.AnonymousCredentials()
    try:
        if settings[CREDENTIALS]:
            with warnings.catch_warnings():
                # It warns of files from strangers; this one is named by whoever runs us.
                warnings.simplefilter("ignore", DeprecationWarning)
                return auth.load_credentials_from_file(settings[CREDENTIALS], scopes=[SCOPE])[0]
        return auth.default(scopes=[SCOPE])[0]
    except (auth.exceptions.GoogleAuthError, OSError, ValueError) as error:
        hint = "Set GOOGLE_APPLICATION_CREDENTIALS to a file with credentials that can be read."
        raise Misconfigured("no credentials for Google", detail=sentence_of(error), hint=hint) from error


def import_auth() -> Any:
    """Return the library; raises `Misconfigured` where it is missing."""
    try:
        import google.auth  # noqa: PLC0415 - only Google needs it
        import google.auth.credentials  # noqa: PLC0415 - the same
        import google.auth.exceptions  # noqa: PLC0415 - the same
    except ImportError as error:
        raise Misconfigured(
            "Google Cloud Storage needs a library that is not installed",
            detail=f"Python says: {error}.",
            hint="Install it into the environment of WAL-E: pip install 'google-auth>=2.30'",
        ) from error
    return google.auth


def sentence_of(error: Exception) -> str:
    """Return what an error says as one sentence of a bounded length."""
    return f"It says: {' '.join(str(error).split())[:300].rstrip('.')}."
