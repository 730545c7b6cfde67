"""Before there is an archive in Google Cloud Storage: which addresses are spoken to, and making the bucket."""

import json
from collections.abc import Generator
from contextlib import closing
from typing import Any, Final

from wal_e.config import Settings, environment
from wal_e.errors import Denied, UsageError
from wal_e.store.drivers.gs.driver import open_driver
from wal_e.store.drivers.gs.login import credentials
from wal_e.store.drivers.gs.options import CACERT, EMULATOR, LOCATION, PROJECT
from wal_e.store.drivers.gs.wire import Call, Upload, address, open_wire
from wal_e.store.drivers.object_setup import PATIENCE, is_missing
from wal_e.store.endpoint import Endpoint
from wal_e.store.url import ArchiveUrl

_METADATA: Final = "metadata.google.internal"
_TOKEN_ADDRESSES: Final = ("token_uri", "_token_uri", "token_url", "_token_url")
"""Where the kinds of credentials in google-auth keep the address that gives tokens."""
_PRIVATE: Final = {"uniformBucketLevelAccess": {"enabled": True}, "publicAccessPrevention": "enforced"}
"""No rights on single objects, which a role with a condition needs, and none for everybody."""


def endpoints(url: ArchiveUrl, settings: Settings) -> Generator[Endpoint, None, bool]:
    """
    Yield the address that gives tokens, as far as the credentials show it, log in, and yield the service's.

    Raises `Misconfigured` without credentials, and what a login raises.
    """
    from requests.utils import DEFAULT_CA_BUNDLE_PATH  # noqa: PLC0415 - comes with google-auth, only Google needs it

    verify = settings[CACERT] or DEFAULT_CA_BUNDLE_PATH
    service = Endpoint("Google", address(settings), verify)
    if settings[EMULATOR]:
        yield service
        return False
    asked = _token_address(credentials(settings))
    if asked:
        yield Endpoint("the login service", asked, verify)
    with closing(open_wire(url.container, settings, PATIENCE)) as wire:
        wire.log_in()
    yield service
    return True


def create_container(url: ArchiveUrl, settings: Settings) -> bool:
    """
    Make the bucket where it is missing, and return whether it was.

    Raises `UsageError` where no project is known, `Denied` where the user may not.
    """
    with closing(open_driver(url, settings, PATIENCE)) as store:
        if not is_missing(store, url):
            return False
    about: dict[str, Any] = {"name": url.container, "iamConfiguration": _PRIVATE}
    if settings[LOCATION]:
        about["location"] = settings[LOCATION]
    document = json.dumps(about).encode()
    query = {"project": _project(settings), "fields": "name"}
    body = Upload(len(document), lambda: iter((document,)))
    call = Call("POST", "/storage/v1/b", query, {"Content-Type": "application/json"}, body)
    with closing(open_wire(url.container, settings, PATIENCE)) as wire:
        try:
            wire.request(f'could not create the bucket "{url.container}"', call).json()
        except Denied as error:
            hint = f"Let somebody create it who may (storage.buckets.create): {_command(url, query['project'])}"
            raise Denied(error.message, detail=error.detail, hint=hint) from error
    return True


def _project(settings: Settings) -> str:
    found = settings[PROJECT] or getattr(credentials(settings), "project_id", None)
    if not found:
        raise UsageError(
            "no project of Google is known to create the bucket in", hint=f"Set {PROJECT.variables[0]} to its id."
        )
    return str(found)


def _command(url: ArchiveUrl, project: str) -> str:
    return f"gcloud storage buckets create gs://{url.container} --project={project} --uniform-bucket-level-access"


def _token_address(found: Any) -> str:
    """Return the address that gives these credentials their tokens; empty where it is not known."""
    for name in _TOKEN_ADDRESSES:
        text = getattr(found, name, None)
        if text:
            return str(text)
    if type(found).__module__.startswith("google.auth.compute_engine"):
        return f"http://{environment().get('GCE_METADATA_HOST') or _METADATA}"
    return ""
