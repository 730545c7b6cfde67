"""An address before the first request: proxy, name, connection, certificate, and the clock behind it."""

import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

from wal_e.finding import Finding, Verdict, failed, ok, warning
from wal_e.maintain.checkup.clock import judge_clock
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
    name = urlsplit(endpoint.url).netloc.rpartition("@")[2]
    try:
        place = _place(endpoint.url)
        proxy = proxy_for(place.scheme, f"{place}", variables)
        if proxy is not None:
            variable, address = proxy
            yield ok("proxy", f"requests to {place.host} go through the one that {variable} names")
            hint = f"Check {variable}, or add {place.host} to no_proxy if the store is on this side of the proxy."
            what, place = "the proxy", _place(address if "://" in address else f"http://{address}")
        name = place.host
        socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:  # ValueError: a port that is no number, a name that cannot be one
        yield failed("name", f"the address of {what} does not resolve: {name}: {_said(error)}", hint)
        return
    if not _is_number(place.host):
        yield ok("name", f"{place.host} resolves")
    secure = proxy is None and place.scheme == "https"
    good = yield from _connection(endpoint, place, what, secure=secure)
    off = _clock(endpoint, place) if good and proxy is None else None
    if off is not None:
        yield off


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


def _connection(endpoint: Endpoint, place: _Place, what: str, *, secure: bool) -> Generator[Finding, None, bool]:
    """Yields what a connection shows, and returns whether requests may go that way."""
    try:
        connection = socket.create_connection((place.host, place.port), timeout=_PATIENCE)
    except OSError as error:
        hint = "Check the port, that the service runs, and that no firewall is in between."
        yield failed("connection", f"{what} at {place} cannot be reached: {_said(error)}", hint)
        return False
    with connection:
        yield ok("connection", f"{what} at {place} accepts connections")
        if not secure:
            return True
        yield (seen := _certificate(endpoint, place, connection))
    return seen.verdict is not Verdict.FAILED


def _certificate(endpoint: Endpoint, place: _Place, connection: socket.socket) -> Finding:
    if endpoint.verify is False:
        return warning(
            "certificate",
            f"that of {endpoint.what} is not verified, so anybody could take its place",
            "Name the authority's certificate instead of believing any.",
        )
    trusted = endpoint.besides or endpoint.verify
    now = "those of this system" if trusted is True else trusted
    try:
        with _context(endpoint).wrap_socket(connection, server_hostname=place.host) as secured:
            ends = str((secured.getpeercert() or {})["notAfter"])
    except ssl.SSLCertVerificationError as error:
        hint = f"If it is the right server, give the file with its authority's certificate (now: {now})."
        return failed("certificate", f"that of {place} is not trusted: {error.verify_message}", hint)
    except OSError as error:  # ssl.SSLError is one; so is a file of authorities that is not there
        return failed(
            "certificate",
            f"no secure connection to {place}: {_said(error)}",
            f"Check that it speaks TLS, and the authorities that are trusted (now: {now}).",
        )
    days = (ssl.cert_time_to_seconds(ends) - time.time()) / _DAY
    if days < _SOON:
        return warning("certificate", f"that of {place} ends on {ends}", "Have it renewed.")
    return ok("certificate", f"that of {place} is trusted")


def _context(endpoint: Endpoint) -> ssl.SSLContext:
    """Whom the endpoint's driver trusts; raises `OSError` where a file of authorities cannot be read."""
    if endpoint.verify is False:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # as the user has set it
        return context
    context = ssl.create_default_context(cafile=endpoint.verify if isinstance(endpoint.verify, str) else None)
    if endpoint.besides:
        context.load_verify_locations(endpoint.besides)
    return context


def _clock(endpoint: Endpoint, place: _Place) -> Finding | None:
    """
    This machine's clock by the service's, as any of its answers tells it (RFC 9110, Date); None where all is well.

    A service that tells no time is no finding: if it refuses requests for their time, it will say so.
    """
    connection = http.client.HTTPConnection(place.host, place.port, timeout=_PATIENCE)
    if place.scheme == "https":
        connection = http.client.HTTPSConnection(place.host, place.port, timeout=_PATIENCE, context=_context(endpoint))
    before = datetime.now(UTC)
    try:
        with closing(connection):
            connection.request("HEAD", "/")
            told = parsedate_to_datetime(connection.getresponse().getheader("Date", "")).astimezone(UTC)
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finding = judge_clock(told, before, datetime.now(UTC))
    return None if finding.verdict is Verdict.OK else finding


def _place(url: str) -> _Place:
    parts = urlsplit(url)
    return _Place(parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0))


def _is_number(host: str) -> bool:
    with suppress(ValueError):
        return bool(ipaddress.ip_address(host))
    return False


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
