"""The address of a service, as options give it."""

from urllib.parse import urlsplit

from wal_e.errors import UsageError


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
