"""
Logging in to Swift: from what the user set to a storage URL and a token that all threads share.

A storage URL with a token, keystoneauth1's plugin for an authentication URL (`swift_auth` chooses it), or a cloud of
clouds.yaml. keystoneauth1's errors become ours here.
"""

import re
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from wal_e.errors import Denied, Misconfigured, StoreError, Throttled, Unavailable
from wal_e.store.api import PATIENCE
from wal_e.store.drivers.swift.auth import choose_plugin
from wal_e.store.drivers.swift.options import SwiftOptions

TIMEOUT = 30.0  # seconds, for connecting and for each wait
WHO = "Check SWIFT_USER, SWIFT_PASSWORD and SWIFT_TENANT or SWIFT_PROJECT_NAME (or their OS_ names), and the domains."
WHICH_KEY = "Check SWIFT_APPLICATION_CREDENTIAL_ID and SWIFT_APPLICATION_CREDENTIAL_SECRET."
_HTTP = re.compile(r"https?://[^/]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Access:
    """Where the account is, the token that opens it, and `verify`: a CA file, or whether to check certificates."""

    storage_url: str
    token: str
    verify: bool | str = True


class Login(Protocol):
    """A way to get in; both methods may be called from several threads."""

    def access(self) -> Access:
        """Return what the next request uses; logs in where that has not been done."""
        ...

    def renew(self, stale: Access) -> None:
        """Forget an access that was refused, so that the next one is new; raises `Denied` where there is none."""
        ...


class TokenLogin:
    """A storage URL and a token that somebody else got; there is no second one."""

    def __init__(self, options: SwiftOptions) -> None:
        self._access = Access(options.storage_url.rstrip("/"), options.auth_token, _verify(options))

    def access(self) -> Access:
        """See `Login.access`."""
        return self._access

    def renew(self, stale: Access) -> None:
        """See `Login.renew`."""
        raise Denied(
            "the object store does not take the token",
            detail=f"It was refused at {stale.storage_url}.",
            hint="Set SWIFT_AUTH_TOKEN to a fresh token (openstack token issue), or give a user and a password.",
        )


@dataclass(frozen=True, slots=True)
class Account:
    """What keystoneauth1 needs: its session (which carries the plugin), and which endpoint to look up."""

    session: Any
    service_type: str
    interface: str
    region: str | None
    storage_url: str | None


class SessionLogin:
    """One keystoneauth1 session; `connect` makes it when it is first needed, for it costs imports."""

    def __init__(self, connect: Callable[[], Account], *, hint: str = WHO) -> None:
        self._connect = connect
        self._hint = hint
        self._lock = threading.Lock()
        self._account: Account | None = None
        self._access: Access | None = None

    def access(self) -> Access:
        """
        See `Login.access`; a token is renewed before it expires, too.

        Where that fails, the old one serves on (H44): it may be good for two more minutes, and Swift says when not.
        """
        from keystoneauth1.exceptions import ClientException  # noqa: PLC0415 - costs 200 ms, and only Swift needs it

        with self._lock:
            if self._account is None:
                self._account = self._connect()
            try:
                token = self._account.session.get_token()
                if self._access is None or self._access.token != token:
                    session = self._account.session
                    self._access = Access(_storage_url(self._account), token, session.verify)
            except ClientException as error:
                if self._access is None:
                    raise login_error(error, self._hint) from error
            return self._access

    def renew(self, stale: Access) -> None:
        """See `Login.renew`; several threads that were refused together cost one login."""
        with self._lock:
            if self._account is not None and self._access == stale:
                self._account.session.invalidate()
                self._access = None


def open_login(options: SwiftOptions, patience: float = PATIENCE) -> Login:
    """
    Choose how to log in; asks the network nothing. No wait of a login is longer than `patience` seconds.

    A storage URL with a token comes first, then an authentication URL, then a cloud of clouds.yaml. Raises
    `Misconfigured` where something is missing, or the pieces contradict each other.
    """
    for address in (options.storage_url, options.auth_url):
        if address and not _HTTP.match(address):
            raise Misconfigured(f'"{address}" is not an address of Swift', hint="It starts with http:// or https://.")
    wait = min(TIMEOUT, patience)
    if options.storage_url and options.auth_token:
        return TokenLogin(options)
    if options.auth_url:
        plugin = choose_plugin(options)
        hint = WHICH_KEY if options.application_credential_id else WHO
        return SessionLogin(lambda: _account(options, plugin, wait), hint=hint)
    if options.cloud:
        return SessionLogin(lambda: _cloud_account(options, wait), hint=f'Check "{options.cloud}" in clouds.yaml.')
    raise Misconfigured(
        "no address to log in at is set for Swift",
        hint="Set SWIFT_AUTHURL (or OS_AUTH_URL), OS_CLOUD, or SWIFT_STORAGE_URL with SWIFT_AUTH_TOKEN.",
    )


def allow_insecure() -> None:
    """Silence urllib3, which else writes to stderr for every request that the user wanted to be insecure."""
    import urllib3  # noqa: PLC0415 - comes with swiftclient, and only Swift needs it

    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)


def _verify(options: SwiftOptions) -> bool | str:
    return False if options.insecure else options.cacert or True


def _account(options: SwiftOptions, plugin: Callable[[], Any], wait: float) -> Account:
    from keystoneauth1.session import Session  # noqa: PLC0415 - lazy, as above

    if options.insecure:
        allow_insecure()
    session = Session(auth=plugin(), verify=_verify(options))
    _bound(session, wait)
    interface = options.endpoint_type or "public"
    service_type = options.service_type or "object-store"
    return Account(session, service_type, interface, options.region or None, options.storage_url or None)


def _cloud_account(options: SwiftOptions, wait: float) -> Account:
    from openstack.config import OpenStackConfig  # noqa: PLC0415 - costs 500 ms, and only OS_CLOUD needs it
    from openstack.exceptions import ConfigException  # noqa: PLC0415 - as above

    files: dict[str, Any] = {"config_files": [options.clouds_file]} if options.clouds_file else {}
    try:
        # Variables are our option table's to read, not the loader's.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PendingDeprecationWarning)  # the loader warns of what it does itself
            cloud = OpenStackConfig(load_envvars=False, **files).get_one(cloud=options.cloud)
            session = cloud.get_session()
    except ConfigException as error:
        raise Misconfigured(
            f'clouds.yaml does not let us into the cloud "{options.cloud}"',
            detail=f"The loader says: {str(error).rstrip('.')}.",
            hint="Check OS_CLOUD, and that clouds.yaml is in ~/.config/openstack or /etc/openstack.",
        ) from error
    _bound(session, wait)
    if options.insecure or options.cacert:
        session.verify = _verify(options)
    interface = options.endpoint_type or str(cloud.get_interface("object-store") or "public")
    service_type = options.service_type or cloud.get_service_type("object-store") or "object-store"
    region = options.region or cloud.get_region_name("object-store") or None
    return Account(session, service_type, interface.removesuffix("URL"), region, options.storage_url or None)


def _bound(session: Any, wait: float) -> None:
    """Have no wait of a login, and no answer as a whole, take more than so many seconds."""
    from wal_e.store.drivers.adapter import Prompt  # noqa: PLC0415 - imports requests

    session.timeout = wait
    for scheme in ("http://", "https://"):
        session.mount(scheme, Prompt(wait))


def _storage_url(account: Account) -> str:
    from keystoneauth1.exceptions import EndpointNotFound  # noqa: PLC0415 - lazy, as above

    if account.storage_url:
        return account.storage_url.rstrip("/")
    # The catalog's word is the address; asking it for versions would cost a request to Swift, which has none.
    with suppress(EndpointNotFound):
        url = account.session.get_endpoint(
            service_type=account.service_type,
            interface=account.interface,
            region_name=account.region,
            skip_discovery=True,
        )
        if url is not None:
            return str(url).rstrip("/")
    regions = _regions(account)
    if not regions:
        raise Misconfigured(
            f'the catalog has no "{account.service_type}" service with a {account.interface} address',
            hint="Check SWIFT_SERVICE_TYPE and SWIFT_ENDPOINT_TYPE, and that the project may use object storage.",
        )
    raise Misconfigured(
        f'there is no object store in the region "{account.region}"',
        detail=f"The catalog has these regions: {', '.join(regions)}.",
        hint=f"Set SWIFT_REGION (or OS_REGION_NAME), for example to {regions[0]}.",
    )


def _regions(account: Account) -> list[str]:
    catalog = account.session.auth.get_access(account.session).service_catalog
    found = catalog.get_endpoints_data(service_type=account.service_type, interface=account.interface)
    return sorted({data.region_name for several in found.values() for data in several if data.region_name})


def login_error(error: Exception, hint: str = WHO) -> StoreError:
    """Return our error for one of keystoneauth1's that a login met."""
    from keystoneauth1 import exceptions  # noqa: PLC0415 - lazy, as above

    detail = f"The identity service says: {str(error).strip().rstrip('.')}."
    if isinstance(error, exceptions.Unauthorized | exceptions.Forbidden):
        return Denied("the login to Swift was refused", detail=detail, hint=hint)
    if isinstance(error, exceptions.SSLError):
        hint = "Set SWIFT_CACERT (or OS_CACERT) to the file with the authority's certificate."
        return Misconfigured("the identity service's certificate is not trusted", detail=detail, hint=hint)
    wait = getattr(error, "retry_after", 0) or None
    slow_down = exceptions.TooManyRequests | exceptions.RequestEntityTooLarge
    if isinstance(error, slow_down) or (wait and isinstance(error, exceptions.HttpServerError)):
        return Throttled("the identity service asks to slow down", detail=detail, retry_after=wait)
    retriable = exceptions.ConnectionError | exceptions.HttpServerError | exceptions.RequestTimeout
    if isinstance(error, retriable):
        hint = "Check the network, and SWIFT_AUTHURL (or OS_AUTH_URL)."
        return Unavailable("the identity service cannot be reached", detail=detail, hint=hint)
    hint = "Check SWIFT_AUTHURL (or OS_AUTH_URL) and SWIFT_AUTH_VERSION."
    return Misconfigured("the identity service did not understand the login", detail=detail, hint=hint)
