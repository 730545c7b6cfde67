"""Before there is an archive in Swift: which addresses are spoken to, and making the container."""

import contextlib
from collections.abc import Generator
from urllib.parse import urlsplit

from wal_e.config import Settings, environment
from wal_e.errors import Denied, NotFound
from wal_e.store.api import PATIENCE
from wal_e.store.drivers.swift.login import open_login
from wal_e.store.drivers.swift.options import SwiftOptions
from wal_e.store.drivers.swift.wire import Wire
from wal_e.store.endpoint import Endpoint
from wal_e.store.url import ArchiveUrl

_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def endpoints(_url: ArchiveUrl, settings: Settings) -> Generator[Endpoint, None, bool]:
    """
    Yield the identity service's address, then log in, and yield the object store's.

    A cloud of clouds.yaml is looked up by the login only. Raises `Misconfigured` and what a login raises.
    """
    options = SwiftOptions.of(settings)
    login = open_login(options)
    verify = _trusted(options)
    asked = options.auth_url if not (options.storage_url and options.auth_token) else ""
    if asked:
        yield Endpoint("the identity service", asked, verify)
    storage_url = login.access().storage_url
    if urlsplit(storage_url).netloc != urlsplit(asked).netloc:
        yield Endpoint("the object store", storage_url, verify)
    return True


def create_container(url: ArchiveUrl, settings: Settings) -> bool:
    """Make the container where it is missing, and return whether it was; raises `Denied` where the user may not."""
    options = SwiftOptions.of(settings)
    with contextlib.closing(Wire(open_login(options), PATIENCE)) as wire:
        try:
            wire.call(
                f'could not look at the container "{url.container}"',
                lambda client, where: client.head_container(**where, container=url.container),
            )
        except NotFound:
            _create(wire, url.container)
            return True
    return False


def _create(wire: Wire, container: str) -> None:
    try:
        wire.call(
            f'could not create the container "{container}"',
            lambda client, where: client.put_container(**where, container=container),
        )
    except Denied as error:
        hint = f"Let a user create it who has an operator's role in the project: swift post {container}"
        raise Denied(error.message, detail=error.detail, hint=hint) from error


def _trusted(options: SwiftOptions) -> str | bool:
    """Whom requests trusts: what is set, else its variables, else the authorities that it comes with."""
    from requests.utils import DEFAULT_CA_BUNDLE_PATH  # noqa: PLC0415 - comes with swiftclient, only Swift needs it

    if options.insecure:
        return False
    variables = environment()
    named = [variables[name] for name in _BUNDLES if variables.get(name)]
    return options.cacert or next(iter(named), None) or DEFAULT_CA_BUNDLE_PATH
