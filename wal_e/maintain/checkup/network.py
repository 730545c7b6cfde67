"""An address before the first request: proxy, name, connection, certificate."""

import ipaddress
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from wal_e.finding import Finding, failed, ok, warning
from wal_e.store.endpoint import Endpoint

_PATIENCE: Final = 10.0
"""Seconds for a connection, and for each answer of a handshake."""
_PORTS: Final = {"http": 80, "https": 443}
_DAY: Final = 86_400
_SOON: Final = 14
"""Days until a certificate ends that are worth a warning."""
_SUFFIX: Final = "_proxy"


@dataclass(frozen=True, slots=True)
class _Place:
    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def look(endpoint: Endpoint, variables: Mapping[str, str]) -> Iterator[Finding]:
    """
    Yields what is found on the way to an address; after a failure nothing more, for the rest depends on it.

    `variables` say whether a proxy is in between. Then the proxy's name and connection are looked at, and what is
    behind it is left to the requests.
    """
    what, hint = endpoint.what, f"Check the address of {endpoint.what}, and /etc/resolv.conf."
    try:
        place = _place(endpoint.url)
        proxy = proxy_for(place.scheme, f"{place}", variables)
        if proxy is not None:
            name, address = proxy
            yield ok("proxy", f"requests to {place.host} go through the one that {name} names")
            hint = f"Check {name}, or add {place.host} to no_proxy if the store is on this side of the proxy."
            what, place = "the proxy", _place(address if "://" in address else f"http://{address}")
        socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:  # ValueError: a port that is no number, a name that cannot be one
        yield failed("name", f"the address of {what} does not resolve: {_said(error)}", hint)
        return
    if not _is_number(place.host):
        yield ok("name", f"{place.host} resolves")
    yield from _connection(endpoint, place, what, secure=proxy is None and place.scheme == "https")


def proxy_for(scheme: str, place: str, variables: Mapping[str, str]) -> tuple[str, str] | None:
    """The variable that sends requests of a scheme to `host:port` through a proxy, and its value; None without one."""
    found: dict[str, tuple[str, str]] = {}
    for name, value in sorted(variables.items()):  # capitals come first, so that small letters win
        if name.lower().endswith(_SUFFIX) and value:
            found[name.lower().removesuffix(_SUFFIX)] = name, value
    chosen = found.get(scheme) or found.get("all")
    direct = found["no"][1] if "no" in found else ""
    return None if chosen is None or any(_covers(entry.strip(), place) for entry in direct.split(",")) else chosen


def _covers(entry: str, place: str) -> bool:
    """Whether an entry of no_proxy means this `host:port`: everything, a network, a name, or what is below a name."""
    host = place.rpartition(":")[0]
    if entry == "*":
        return True
    if "/" in entry and _is_number(host):
        with suppress(ValueError):
            return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    name = entry.lstrip(".").lower()
    return bool(name) and any(one == name or one.endswith(f".{name}") for one in (host.lower(), place.lower()))


def _connection(endpoint: Endpoint, place: _Place, what: str, *, secure: bool) -> Iterator[Finding]:
    try:
        connection = socket.create_connection((place.host, place.port), timeout=_PATIENCE)
    except OSError as error:
        hint = "Check the port, that the service runs, and that no firewall is in between."
        yield failed("connection", f"{what} at {place} cannot be reached: {_said(error)}", hint)
        return
    with connection:
        yield ok("connection", f"{what} at {place} accepts connections")
        if secure:
            yield _certificate(endpoint, place, connection)


def _certificate(endpoint: Endpoint, place: _Place, connection: socket.socket) -> Finding:
    if endpoint.verify is False:
        return warning(
            "certificate",
            f"that of {endpoint.what} is not verified, so anybody could take its place",
            "Name the authority's certificate instead of believing any.",
        )
    try:
        context = ssl.create_default_context()
        if isinstance(endpoint.verify, str):
            context = ssl.create_default_context(cafile=endpoint.verify)
        with context.wrap_socket(connection, server_hostname=place.host) as secured:
            ends = str((secured.getpeercert() or {})["notAfter"])
    except ssl.SSLCertVerificationError as error:
        hint = f"If it is the right server, give the file with its authority's certificate (now: {endpoint.verify})."
        return failed("certificate", f"that of {place} is not trusted: {error.verify_message}", hint)
    except OSError as error:  # ssl.SSLError is one; so is a file of authorities that is not there
        return failed(
            "certificate",
            f"no secure connection to {place}: {_said(error)}",
            f"Check that it speaks TLS, and the file of authorities {endpoint.verify}.",
        )
    days = (ssl.cert_time_to_seconds(ends) - time.time()) / _DAY
    if days < _SOON:
        return warning("certificate", f"that of {place} ends on {ends}", "Have it renewed.")
    return ok("certificate", f"that of {place} is trusted")


def _place(url: str) -> _Place:
    parts = urlsplit(url)
    return _Place(parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0))


def _is_number(host: str) -> bool:
    with suppress(ValueError):
        return bool(ipaddress.ip_address(host))
    return False


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
