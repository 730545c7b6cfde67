"""What lies in an archive besides WAL, sorted by the backup that it belongs to: what a deletion decides about."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

from wal_e.errors import ArchiveError, NotFound
from wal_e.legacy import catalogue as legacy
from wal_e.maintain import retention
from wal_e.maintain.retention import Directory
from wal_e.repo import layout
from wal_e.store.api import ObjectInfo, Store


@dataclass(frozen=True, slots=True)
class Survey:
    """All directories, ours and those of WAL-E and WAL-G, committed or not; and the keys that nothing explains."""

    directories: tuple[Directory, ...]
    legacy_backups: tuple[legacy.LegacyBackup, ...]
    unexplained: tuple[str, ...]

    @property
    def own(self) -> tuple[Directory, ...]:
        """The directories of our committed backups."""
        return tuple(d for d in self.directories if d.committed and d.commit_key.startswith(layout.BACKUP_PREFIX))


def survey(store: Store) -> Survey:
    """Lists both layouts to their ends; any error of the store ends it (H45)."""
    own: dict[str, list[ObjectInfo]] = {}
    unexplained: list[str] = []
    for info in store.list(layout.BACKUP_PREFIX):
        parsed = layout.parse_backup_key(info.key)
        if parsed is None:
            unexplained.append(info.key)
        else:
            own.setdefault(parsed.backup, []).append(info)
    old = legacy.survey_legacy(store)
    return Survey(
        tuple(_directory(name, infos) for name, infos in own.items())
        + tuple(_legacy_directory(o) for o in old.objects),
        old.backups,
        tuple(unexplained) + old.unexplained,
    )


def _directory(name: str, infos: Iterable[ObjectInfo]) -> Directory:
    manifest = layout.manifest_key(name)
    keys = {info.key: info.last_modified for info in infos}
    segment = layout.parse_backup_name(name).segment
    return Directory(
        name,
        manifest,
        manifest in keys,
        tuple(key for key in keys if key != manifest),
        max(keys.values()),
        retention.wal_order(segment),
        int(segment[:8], 16),
    )


def _legacy_directory(objects: legacy.LegacyObjects) -> Directory:
    backup = legacy.LegacyBackup.of_name(objects.name, objects.newest)
    start, timeline = retention.legacy_start(backup), int(backup.start_segment[:8], 16)
    commit_key = legacy.sentinel_key(objects.name)
    return Directory(objects.name, commit_key, objects.committed, objects.parts, objects.newest, start, timeline)


def confirm_unfinished(store: Store, directories: Iterable[Directory]) -> None:
    """
    Asks by name for the manifest of each directory that seems to have none: a listing may leave an object out.

    Raises `ArchiveError` where it is there: then nobody knows what else is left out, and which packs are needed.
    """
    for directory in directories:
        if directory.committed:
            continue
        with contextlib.suppress(NotFound):
            store.head(directory.commit_key)
            raise ArchiveError(
                "the store's listing cannot be relied on",
                detail=f'It leaves out "{directory.commit_key}", which is there.',
                hint="Nothing was deleted; run the command again.",
            )
