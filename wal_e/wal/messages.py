"""The words of a push and a fetch, in the original's spelling: people's scripts look for them."""

from dataclasses import dataclass
from pathlib import Path

from wal_e.events import Level, Message
from wal_e.units import KIB

_PUSH = "wal_e.worker.upload"
_FETCH = "wal_e.operator.backup"


@dataclass(frozen=True, slots=True)
class Place:
    """One WAL file in one archive: `location` is the archive's address as the user gave it, such as swift://c/p."""

    location: str
    key: str
    name: str

    @property
    def url(self) -> str:
        """The object's address."""
        return f"{self.location.rstrip('/')}/{self.key}" if self.location else self.key

    def fields(self, action: str, state: str, **more: object) -> dict[str, object]:
        """The STRUCTURED part."""
        path = self.location.partition("://")[2].partition("/")[2].strip("/")
        prefix = f"{path}/" if path else ""
        return {"action": action, "key": self.url, "prefix": prefix, "seg": self.name, "state": state, **more}


def push_begins(place: Place, path: Path) -> Message:
    """Before the upload."""
    return Message(
        _PUSH,
        "begin archiving a file",
        detail=f'Uploading "{path}" to "{place.url}".',
        fields=place.fields("push-wal", "begin"),
    )


def push_completes(place: Place, size: int, seconds: float) -> Message:
    """After the upload of `size` bytes."""
    rate = f"{size / KIB / max(seconds, 1e-6):.6g}"
    return Message(
        _PUSH,
        "completed archiving to a file",
        detail=f'Archiving to "{place.url}" complete at {rate}KiB/s.',
        fields=place.fields("push-wal", "complete", rate=rate),
    )


def push_skips(place: Place) -> Message:
    """The archive has the file, with this content."""
    return Message(
        _PUSH,
        "the file is already in the archive",
        detail=f'"{place.url}" has the same content.',
        fields=place.fields("push-wal", "skip"),
    )


def push_aside(place: Place) -> Message:
    """A second partial segment was kept apart."""
    return Message(
        _PUSH,
        "stored a partial segment aside",
        detail=f'The archive holds another one with this name; this one is "{place.url}".',
        fields=place.fields("push-wal", "aside"),
        level=Level.WARNING,
    )


def fetch_begins(place: Place) -> Message:
    """Before the download."""
    return Message(
        _FETCH,
        "begin wal restore",
        fields=place.fields("wal-fetch", "begin"),
    )


def fetch_completes(place: Place) -> Message:
    """The file is in its place."""
    return Message(
        _FETCH,
        "complete wal restore",
        fields=place.fields("wal-fetch", "complete"),
    )


def fetch_finds_nothing(place: Place) -> Message:
    """The archive answered that it has no such file."""
    return Message(
        _FETCH,
        "could no longer locate object while performing wal restore",
        detail=f'The absolute URI that could not be located is "{place.url}".',
        hint=("This can be normal when Postgres is trying to detect what timelines are available during restoration."),
        fields=place.fields("wal-fetch", "absent"),
    )
