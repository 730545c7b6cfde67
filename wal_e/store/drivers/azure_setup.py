"""
Before there is an archive in Azure: which addresses are spoken to, and making the container.

obstore has no call that makes a container, so that one request is signed here, with the account's key (Shared Key) or
by the shared access signature.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from email.utils import formatdate
from typing import Any, Final
from urllib.parse import urlsplit

from wal_e.config import Settings
from wal_e.errors import Misconfigured, UsageError
from wal_e.store.drivers.azure import AUTHORITY, CACERT, azure_config, open_driver, service_of
from wal_e.store.drivers.bare_request import BareRequest
from wal_e.store.drivers.object_setup import PATIENCE, answer_to, are_credentials_good, is_missing, was_made
from wal_e.store.endpoint import Endpoint
from wal_e.store.url import ArchiveUrl

_VERSION: Final = "2021-08-06"  # of the service's API
_LOGIN: Final = "https://login.microsoftonline.com"
_INSTANCE: Final = "http://169.254.169.254"  # the metadata service of every machine
_TYPE: Final = "application/octet-stream"
_EXISTS: Final = "ContainerAlreadyExists"


def endpoints(url: ArchiveUrl, settings: Settings) -> Generator[Endpoint, None, bool]:
    """
    Yield the address of the service that gives tokens, for an identity, and that of the account.

    Raises `Misconfigured`, and `Denied` where the credentials are refused.
    """
    config, besides = azure_config(settings), settings[CACERT] or None
    with closing(open_driver(url, settings, PATIENCE)) as store:
        kind = config["credential_type"]
        if kind == "managed_identity":
            yield Endpoint("the machine's metadata service", config.get("msi_endpoint") or _INSTANCE, verify=True)
        elif kind in {"client_secret", "workload_identity"}:
            yield Endpoint("the login service", settings[AUTHORITY] or _LOGIN, verify=True, besides=besides)
        address = _account_address(config)
        yield Endpoint("Azure", address, verify=True, besides=besides)
        return are_credentials_good(store, url, address)


def create_container(url: ArchiveUrl, settings: Settings) -> bool:
    """
    Make the container where it is missing, and return whether it was.

    Raises `Denied` where the key or the signature may not, `UsageError` with an identity, whose tokens obstore keeps.
    """
    with closing(open_driver(url, settings, PATIENCE)) as store:
        if not is_missing(store, url):
            return False
    what, service = f'could not create the container "{url.container}"', service_of(url.container)
    request = replace(_request(url, azure_config(settings)), authorities=settings[CACERT])
    answer = answer_to(request, what, service)
    hint = f"Let somebody create it who may; a signature must be one of the account: {service.create_hint}"
    return was_made(answer, what, service, exists=_EXISTS, hint=hint)


def _request(url: ArchiveUrl, config: dict[str, Any]) -> BareRequest:
    address = f"{_account_address(config)}/{url.container}"
    asked = f"{address}?restype=container"
    headers = {"Content-Type": _TYPE, "x-ms-date": formatdate(usegmt=True), "x-ms-version": _VERSION}
    if "account_key" in config:
        text = _signed_text(headers, config["account_name"], urlsplit(address).path)
        return BareRequest("PUT", asked, headers | {"Authorization": _shared_key(config, text)}, b"")
    if "sas_key" in config:
        return BareRequest("PUT", f"{asked}&{config['sas_key']}", headers, b"")
    raise UsageError(
        f'the container "{url.container}" cannot be created by an identity from here',
        hint=f"Create it with Azure's own tool: {service_of(url.container).create_hint} "
        f"--account-name {config['account_name']} --auth-mode login",
    )


def _signed_text(headers: dict[str, str], account: str, path: str) -> str:
    """Return what Shared Key signs: eleven standard headers, of which we send one, the x-ms ones, the resource."""
    own = "".join(f"{name}:{text}\n" for name, text in sorted(headers.items()) if name.startswith("x-ms-"))
    return f"PUT\n\n\n\n\n{headers['Content-Type']}\n\n\n\n\n\n\n{own}/{account}{path}\nrestype:container"


def _shared_key(config: dict[str, Any], text: str) -> str:
    try:
        key = base64.b64decode(config["account_key"], validate=True)
    except binascii.Error as error:
        raise Misconfigured("the account's key is not one of Azure", hint="Check WABS_ACCESS_KEY.") from error
    digest = base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest())
    return f"SharedKey {config['account_name']}:{digest.decode()}"


def _account_address(config: dict[str, Any]) -> str:
    return config.get("endpoint") or f"https://{config['account_name']}.blob.core.windows.net"
