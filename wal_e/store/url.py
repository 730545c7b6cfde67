"""The address of an archive: `swift://container/path`, `file://localhost/abs/path`, `memory://name`. Pure."""

import re
from dataclasses import dataclass

from wal_e.errors import UsageError

_SHAPE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/]*)(/.*)?", re.DOTALL)
_LOCAL = ("", "localhost")


@dataclass(frozen=True, slots=True)
class ArchiveUrl:
    """
    Where an archive is.

    `container` is empty for a folder. `path` is absolute for a folder; elsewhere it has no slash at either end.
    """

    scheme: str
    container: str
    path: str

    def __str__(self) -> str:
        if self.scheme == "file":
            return f"file://localhost{self.path}"
        return f"{self.scheme}://{self.container}/{self.path}" if self.path else f"{self.scheme}://{self.container}"


def parse_url(text: str) -> ArchiveUrl:
    """
    Read the address of an archive; nothing in it is percent-decoded, as the original never did.

    Raises `UsageError` where it has no scheme, no container, control characters, or `.` or `..` in its path. Whether
    the scheme is one that we know is the registry's to say.
    """
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise UsageError(
            f'"{text}" is not the address of an archive',
            hint="Write it like swift://container/path or file://localhost/var/backups/main.",
        )
    scheme, host, path = match[1].lower(), match[2], match[3] or ""
    if not text.isprintable() or {".", ".."} & set(path.split("/")):
        raise UsageError(f"the archive address {text!r} holds control characters, or . or .. in its path")
    return _folder(text, host, path) if scheme == "file" else _container(text, scheme, host, path.strip("/"))


def _folder(text: str, host: str, path: str) -> ArchiveUrl:
    if host.lower() not in _LOCAL:
        raise UsageError(
            f'the folder "{text}" is on another host',
            hint=f"Write file://localhost/{host}{path} if it is on this one; mount it here if it is not.",
        )
    squeezed = "/" + "/".join(part for part in path.split("/") if part)
    if squeezed == "/":
        raise UsageError(f'"{text}" names no folder', hint="Write it like file://localhost/var/backups/main.")
    return ArchiveUrl("file", "", squeezed)


def _container(text: str, scheme: str, host: str, path: str) -> ArchiveUrl:
    if not host:
        raise UsageError(f'"{text}" names no container', hint=f"Write it like {scheme}://container/path.")
    if " " in text:
        raise UsageError(
            f'the archive address "{text}" holds a space', hint="Take another name for it, without spaces."
        )
    return ArchiveUrl(scheme, host, path)
