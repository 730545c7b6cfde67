"""
The base backups that WAL-E 1.x and WAL-G left in `basebackups_005/`: which there are, and which objects they have.

They are listed and can be deleted; nothing is ever written there. What is known without opening anything is in
the names of the keys: the sentinel, written last, makes a backup count.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from wal_e.errors import ArchiveError
from wal_e.store.api import ObjectInfo, Store

LEGACY_PREFIX: Final = "basebackups_005/"
_SENTINEL: Final = "_backup_stop_sentinel.json"
_NAME = re.compile(r"base_(?P<start>[0-9A-F]{24})(?:_D_(?P<parent>[0-9A-F]{24}))?(?:_(?P<offset>[0-9A-F]{8}))?")


@dataclass(frozen=True, slots=True)
class LegacyBackup:
    """
    One committed backup: what its name and its sentinel's listing entry tell.

    `start_segment` is a segment's name without timeline arithmetic: the segment size is not known here.
    `offset` is an opaque label of eight digits, or `None` (WAL-G writes none). `parent_segment` is the start
    segment of the backup that a WAL-G delta needs.
    """

    name: str
    last_modified: datetime
    start_segment: str
    offset: str | None
    parent_segment: str | None

    @classmethod
    def of_name(cls, name: str, last_modified: datetime) -> "LegacyBackup":
        """What a name tells; one that neither program gives raises `ArchiveError`."""
        match = _NAME.fullmatch(name)
        if match is None:
            raise ArchiveError(f'"{name}" is not the name of a base backup')
        return cls(name, last_modified, match["start"], match["offset"], match["parent"])

    @property
    def start_certain(self) -> bool:
        """
        Whether the name's segment can be believed.

        WAL-E's `--while-offline` made segment and offset from the same two digits, sometimes of the wrong weight
        (0/5000028 became 50 where 05 was meant).
        """
        return self.offset != self.start_segment[16:]


@dataclass(frozen=True, slots=True)
class LegacyObjects:
    """The objects of one backup, committed (its sentinel is there) or not: the other keys, and the newest time."""

    name: str
    committed: bool
    parts: tuple[str, ...]
    newest: datetime


@dataclass(frozen=True, slots=True)
class LegacyListing:
    """Everything under `basebackups_005/`: committed backups, the objects of all, and keys that nothing explains."""

    backups: tuple[LegacyBackup, ...]
    objects: tuple[LegacyObjects, ...]
    unexplained: tuple[str, ...]


def is_legacy_name(name: str) -> bool:
    """Whether WAL-E or WAL-G could have given a backup this name."""
    return _NAME.fullmatch(name) is not None


def sentinel_key(name: str) -> str:
    """The key of the object that makes such a backup count."""
    return f"{LEGACY_PREFIX}{name}{_SENTINEL}"


def list_legacy(store: Store) -> tuple[LegacyBackup, ...]:
    """The committed backups of WAL-E and WAL-G, in the order of their names."""
    return survey_legacy(store).backups


def survey_legacy(store: Store) -> LegacyListing:
    """Lists `basebackups_005/` to its end and sorts out what belongs to which backup."""
    return sort_out(store.list(LEGACY_PREFIX))


def sort_out(listing: Iterable[ObjectInfo]) -> LegacyListing:
    """The same for a listing that is already there; a function of values."""
    sentinels: dict[str, ObjectInfo] = {}
    parts: dict[str, list[ObjectInfo]] = {}
    unexplained: list[str] = []
    for info in listing:
        head, slash, _rest = info.key.removeprefix(LEGACY_PREFIX).partition("/")
        name = head if slash else head.removesuffix(_SENTINEL)
        if not is_legacy_name(name) or (not slash and name == head):
            unexplained.append(info.key)
        elif slash:
            parts.setdefault(name, []).append(info)
        else:
            sentinels[name] = info
    backups = tuple(LegacyBackup.of_name(name, info.last_modified) for name, info in sorted(sentinels.items()))
    names = sorted(sentinels.keys() | parts.keys())
    objects = tuple(_objects(name, sentinels.get(name), parts.get(name, [])) for name in names)
    return LegacyListing(backups, objects, tuple(unexplained))


def _objects(name: str, sentinel: ObjectInfo | None, parts: list[ObjectInfo]) -> LegacyObjects:
    newest = max(info.last_modified for info in (*parts, *([sentinel] if sentinel else [])))
    return LegacyObjects(name, sentinel is not None, tuple(info.key for info in parts), newest)


def refuse(name: str) -> ArchiveError:
    """The error for a restore of such a backup, to be raised by the caller."""
    return ArchiveError(
        f'backup "{name}" was written by another program',
        detail=f'WAL-E 1.x or WAL-G left it in "{LEGACY_PREFIX}"; it can be listed and deleted here, not restored.',
        hint='Restore it with the program that wrote it, or choose another backup from "wal-e backup-list".',
    )
