"""`backup-list`: our backups and those that WAL-E 1.x or WAL-G left, in the original's columns; ours stand behind."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from wal_e.cli.context import Context
from wal_e.cli.log import MAIN
from wal_e.cli.render import LIST_COLUMNS, tsv, write_out
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
DETAIL_COLUMNS: Final = ("added_bytes", "shared_bytes", "duration_seconds", "checksum_failures", "pg_version")
"""What --detail appends to the original's columns: scripts count those from the left."""
FAILED: Final = "timeout"
"""What the original prints where a backup's details cannot be had, whatever the reason."""
_MINORS: Final = 10000


@dataclass(frozen=True, slots=True)
class Listed:
    """One line without details: name, time, and where the backup starts."""

    name: str
    last_modified: datetime
    segment: str
    offset: str
    legacy: bool = False


@dataclass(frozen=True, slots=True)
class Details:
    """What only a look into the backup tells; of a backup of WAL-E's or WAL-G's some fields, and no summary."""

    size: str = ""
    stop_segment: str = ""
    stop_offset: str = ""
    summary: Summary | None = None


UNKNOWN: Final = Details()
NOT_TO_BE_HAD: Final = Details(FAILED, FAILED, FAILED)


def run(context: Context) -> int:
    """Prints the list; with a query that fits no backup it is an error."""
    arguments = context.arguments
    with context.store() as store:
        listed = list(choose(store, arguments.QUERY, context.emit))
        looked = arguments.detail or arguments.json
        found = [(one, _details(store, one, context.emit) if looked else UNKNOWN) for one in listed]
    if arguments.json:
        write_out(json.dumps([_document(one, details) for one, details in found], indent=2) + "\n")
    elif arguments.detail:
        rows = ((*_row(one, details), *_own_cells(details.summary)) for one, details in found)
        write_out(tsv(rows, (*LIST_COLUMNS, *DETAIL_COLUMNS)))
    else:
        write_out(tsv(_row(one, details) for one, details in found))
    return 0


def format_version(number: int) -> str:
    """A `server_version_num` as people write it; of an offline backup only the major version is known."""
    major, minor = divmod(number, _MINORS)
    return f"{major}.{minor}" if minor else str(major)


def _row(one: Listed, details: Details) -> tuple[str, ...]:
    when = format_timestamp(one.last_modified)
    return (one.name, when, details.size, one.segment, one.offset, details.stop_segment, details.stop_offset)


def _own_cells(summary: Summary | None) -> tuple[str, ...]:
    if summary is None:
        return ("",) * len(DETAIL_COLUMNS)
    return tuple(str(value) for value in _own_values(summary).values())


def _own_values(summary: Summary) -> dict[str, Any]:
    values = (
        summary.stored,
        summary.shared,
        round((summary.stop_time - summary.start_time).total_seconds(), 3),
        summary.checksum_failures,
        format_version(summary.pg_version),
    )
    return dict(zip(DETAIL_COLUMNS, values, strict=True))


def _document(one: Listed, details: Details) -> dict[str, Any]:
    """One backup for programs: what cannot be had is null, and sizes are numbers."""
    summary = details.summary
    known = details not in {UNKNOWN, NOT_TO_BE_HAD}
    return {
        "name": one.name,
        "last_modified": format_timestamp(one.last_modified),
        "legacy": one.legacy,
        "readable": known,
        "expanded_size_bytes": int(details.size) if details.size.isdecimal() else None,
        "wal_segment_backup_start": one.segment,
        "wal_segment_offset_backup_start": one.offset,
        "wal_segment_backup_stop": (details.stop_segment or None) if known else None,
        "wal_segment_offset_backup_stop": (details.stop_offset or None) if known else None,
        "start_time": format_timestamp(summary.start_time) if summary else None,
        "stop_time": format_timestamp(summary.stop_time) if summary else None,
        "parent": summary.parent if summary else None,
        **(_own_values(summary) if summary else dict.fromkeys(DETAIL_COLUMNS)),
    }


def choose(store: Store, query: str | None, emit: Sink) -> Iterable[Listed]:
    """The backups that fit a query: a name, LATEST, or None for all; `NoSuchBackup` where none does."""
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


def _details(store: Store, one: Listed, emit: Sink) -> Details:
    if one.legacy:
        return _legacy_details(store, one.name, emit)
    summary = _summary(store, one.name, emit)
    if summary is None:
        return NOT_TO_BE_HAD
    last = max(summary.start_lsn, summary.stop_lsn - 1)
    segment = SegmentName.containing(summary.timeline, last, summary.segment_size)
    return Details(str(summary.size), str(segment), f"{summary.stop_lsn - segment.start:08d}", summary)


def _legacy_details(store: Store, name: str, emit: Sink) -> Details:
    """What a sentinel of WAL-E's tells; WAL-G's has other fields, of which only the size is among ours."""
    try:
        sentinel: Any = json.loads(read_object(store, sentinel_key(name)))
    except (ValueError, NotFound) as error:
        emit(_damaged(name, str(error)))
        return NOT_TO_BE_HAD
    if not isinstance(sentinel, dict):
        emit(_damaged(name, "its sentinel is not a JSON object"))
        return NOT_TO_BE_HAD
    size = sentinel.get("expanded_size_bytes", sentinel.get("UncompressedSize", ""))
    segment = sentinel.get("wal_segment_backup_stop", "")
    return Details(str(size), str(segment), str(sentinel.get("wal_segment_offset_backup_stop", "")))


def _damaged(name: str, why: str) -> Message:
    return Message(
        MAIN,
        f'the details of "{name}" cannot be read',
        detail=f"{why[:1].upper()}{why[1:]}.",
        hint="This backup cannot be restored as it is. Take a new one soon.",
        level=Level.WARNING,
    )
