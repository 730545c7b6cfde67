"""The address of a service and the certificates of its authority, as options give them."""

from pathlib import Path
from urllib.parse import urlsplit

from wal_e.errors import Misconfigured, UsageError


def parse_address(text: str) -> str:
    """Reads the http or https address of a service, perhaps with a path; returns it without a slash at its end."""
    address = text.strip()
    if not address.isascii() or not _usable(address):
        hint = "Write it like https://host or http://host:port/account."
        raise UsageError(f'"{text}" is not the address of a service', hint=hint)
    return address.rstrip("/")


def _usable(address: str) -> bool:
    try:
        parts = urlsplit(address)
        host_and_port = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
    extra = parts.username or parts.query or parts.fragment or any(letter <= " " for letter in address)
    return parts.scheme in {"http", "https"} and host_and_port and not extra


def read_certificates(path: str, variable: str) -> str:
    """Return the text of a file of certificates; raises `Misconfigured` where there is none."""
    try:
        text = Path(path).read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "It is not text"
        raise _no_certificates(path, variable, reason) from error
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise _no_certificates(path, variable, "It holds none")
    return text


def _no_certificates(path: str, variable: str, reason: str) -> Misconfigured:
    hint = f"Check {variable}: certificates begin with -----BEGIN CERTIFICATE-----."
    return Misconfigured(f'the certificates in "{path}" cannot be read', detail=f"{reason}.", hint=hint)
