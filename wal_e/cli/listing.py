"""`backup-list`: our backups and those that WAL-E 1.x or WAL-G left, in the original's columns."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from wal_e.cli.context import Context
from wal_e.cli.log import MAIN
from wal_e.cli.render import tsv, write_out
from wal_e.errors import Corrupt, NoSuchBackup, NotFound
from wal_e.events import Level, Message, Sink
from wal_e.legacy.catalogue import LegacyBackup, list_legacy, sentinel_key
from wal_e.pg.wal import SegmentName
from wal_e.repo.catalogue import list_backups, load_summary
from wal_e.repo.layout import parse_backup_name
from wal_e.repo.manifest import Summary
from wal_e.store.api import Store, read_object
from wal_e.units import format_timestamp

LATEST: Final = "LATEST"
UNKNOWN: Final = ("", "", "")
FAILED: Final = ("timeout", "timeout", "timeout")
"""What the original prints where a backup's details cannot be had, whatever the reason."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One line: name, time, where the backup starts, and the size and stop position that --detail adds."""

    name: str
    last_modified: datetime
    segment: str
    offset: str
    legacy: bool = False

    def row(self, detail: tuple[str, str, str]) -> tuple[str, ...]:
        """The line's fields; `detail` is size, segment and offset of the stop."""
        size, stop_segment, stop_offset = detail
        when = format_timestamp(self.last_modified)
        return (self.name, when, size, self.segment, self.offset, stop_segment, stop_offset)


def run(context: Context) -> int:
    """Prints the list; with a query that fits no backup it is an error."""
    arguments = context.arguments
    with context.store() as store:
        listed = list(_chosen(store, arguments.QUERY, context.emit))
        details = (_detail(store, one, context.emit) if arguments.detail else UNKNOWN for one in listed)
        write_out(tsv(one.row(detail) for one, detail in zip(listed, details, strict=True)))
    return 0


def _chosen(store: Store, query: str | None, emit: Sink) -> Iterable[Listed]:
    every = sorted(_all(store), key=lambda one: (one.name, one.legacy))
    if query is None:
        return every
    found = _latest(store, every, emit) if query == LATEST else [one for one in every if one.name == query]
    if not found:
        asked = "the archive holds no backup" if query == LATEST else f'there is no backup "{query}"'
        raise NoSuchBackup(asked, hint='"wal-e backup-list" shows the backups that there are.')
    return found


def _all(store: Store) -> Iterator[Listed]:
    for entry in list_backups(store):
        parts = parse_backup_name(entry.name)
        yield Listed(entry.name, entry.last_modified, parts.segment, f"{parts.offset:08d}")
    for backup in list_legacy(store):
        yield Listed(backup.name, backup.last_modified, *_legacy_start(backup), legacy=True)


def _legacy_start(backup: LegacyBackup) -> tuple[str, str]:
    return backup.start_segment, backup.offset or ""


def _latest(store: Store, every: list[Listed], emit: Sink) -> list[Listed]:
    """The backup that completed last, by what its manifest says (H21)."""
    times: list[tuple[datetime, Listed]] = []
    for one in every:
        if one.legacy:
            times.append((one.last_modified, one))
        elif (summary := _summary(store, one.name, emit)) is not None:
            times.append((summary.stop_time, one))
    return [max(times, key=lambda pair: pair[0])[1]] if times else []


def _summary(store: Store, name: str, emit: Sink) -> Summary | None:
    try:
        return load_summary(store, name)
    except Corrupt as error:
        emit(_damaged(name, error.message))
        return None


def _detail(store: Store, one: Listed, emit: Sink) -> tuple[str, str, str]:
    if one.legacy:
        return _legacy_detail(store, one.name, emit)
    summary = _summary(store, one.name, emit)
    if summary is None:
        return FAILED
    last = max(summary.start_lsn, summary.stop_lsn - 1)
    segment = SegmentName.containing(summary.timeline, last, summary.segment_size)
    return str(summary.size), str(segment), f"{summary.stop_lsn - segment.start:08d}"


def _legacy_detail(store: Store, name: str, emit: Sink) -> tuple[str, str, str]:
    """What a sentinel of WAL-E's tells; WAL-G's has other fields, of which only the size is among ours."""
    try:
        sentinel: Any = json.loads(read_object(store, sentinel_key(name)))
    except (ValueError, NotFound) as error:
        emit(_damaged(name, str(error)))
        return FAILED
    if not isinstance(sentinel, dict):
        emit(_damaged(name, "its sentinel is not a JSON object"))
        return FAILED
    size = sentinel.get("expanded_size_bytes", sentinel.get("UncompressedSize", ""))
    segment = sentinel.get("wal_segment_backup_stop", "")
    return str(size), str(segment), str(sentinel.get("wal_segment_offset_backup_stop", ""))


def _damaged(name: str, why: str) -> Message:
    return Message(
        MAIN,
        f'the details of "{name}" cannot be read',
        detail=f"{why[:1].upper()}{why[1:]}.",
        hint="This backup cannot be restored as it is. Take a new one soon.",
        level=Level.WARNING,
    )
