"""`backup-show`: everything about one base backup, for people or as JSON."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

from wal_e.cli.context import Context
from wal_e.cli.listing import choose, format_version
from wal_e.cli.render import write_out
from wal_e.legacy.catalogue import refuse
from wal_e.maintain.backup_facts import BackupFacts, BadFile, describe_backup
from wal_e.repo.manifest import Summary
from wal_e.units import format_size, format_timestamp

_WIDTH: Final = 19
_SHOWN: Final = 10


def run(context: Context) -> int:
    """Prints one backup, by its name or LATEST."""
    with context.store() as store:
        (one,) = list(choose(store, context.arguments.NAME, context.emit))[:1]
        if one.legacy:
            raise refuse(one.name)
        facts = describe_backup(store, one.name)
    if context.arguments.json:
        write_out(json.dumps(_document(facts), indent=2) + "\n")
    else:
        write_out("".join(f"{f'{label}:' if label else '':<{_WIDTH}}{text}\n" for label, text in _lines(facts)))
    return 0


def _lines(facts: BackupFacts) -> Iterator[tuple[str, str]]:
    summary = facts.summary
    kind = "the server was shut down" if summary.offline else "of a standby" if summary.from_standby else "of a primary"
    yield "backup", summary.name
    yield "taken", f"{kind}, PostgreSQL {format_version(summary.pg_version)}, from {summary.data_directory}"
    yield "cluster", f"system identifier {summary.system_identifier}"
    yield "label", summary.label or "-"
    yield "started", format_timestamp(summary.start_time)
    yield "completed", f"{format_timestamp(summary.stop_time)} (after {_duration(summary)})"
    yield "size restored", _size(summary.size)
    yield "added", f"{_size(summary.stored)} in packs of its own"
    yield "shared", f"{_size(summary.shared)} in packs of older backups"
    yield "parent", summary.parent or "none"
    yield from _wal_lines(facts)
    for number, origin in enumerate(facts.origins):
        yield "" if number else "packs", f"{origin.packs} of {origin.backup} ({format_size(origin.size)})"
    for number, space in enumerate(summary.tablespaces):
        yield "" if number else "tablespaces", f"{space.oid} at {space.location}"
    yield "checksum failures", str(summary.checksum_failures)
    yield from (("", _bad_line(file)) for file in facts.bad_files)


def _wal_lines(facts: BackupFacts) -> Iterator[tuple[str, str]]:
    summary, wal, missing = facts.summary, facts.wal, facts.missing
    yield "position", f"{summary.start_lsn} to {summary.stop_lsn} on timeline {summary.timeline}"
    if not wal:
        yield "WAL", "none of the archive is needed"
        return
    yield "WAL", f"{wal[0]} to {wal[-1]} ({len(wal)} segments of {format_size(summary.segment_size)})"
    if missing:
        some = ", ".join(map(str, missing[:_SHOWN])) + (" and more" if len(missing) > _SHOWN else "")
        yield "WAL in archive", f"NO: {len(missing)} missing, this backup cannot be restored: {some}"
    else:
        yield "WAL in archive", "yes"


def _bad_line(file: BadFile) -> str:
    more = " and more" if file.count > len(file.blocks) else ""
    return f"{file.path}: {file.count} (blocks {', '.join(map(str, file.blocks))}{more})"


def _size(count: int) -> str:
    return f"{count} bytes ({format_size(count)})"


def _duration(summary: Summary) -> str:
    return str(timedelta(seconds=round((summary.stop_time - summary.start_time).total_seconds())))


def _document(facts: BackupFacts) -> dict[str, Any]:
    summary = facts.summary
    return {
        "name": summary.name,
        "system_identifier": str(summary.system_identifier),
        "pg_version": format_version(summary.pg_version),
        "from_standby": summary.from_standby,
        "offline": summary.offline,
        "data_directory": summary.data_directory,
        "label": summary.label,
        "start_time": format_timestamp(summary.start_time),
        "stop_time": format_timestamp(summary.stop_time),
        "duration_seconds": round((summary.stop_time - summary.start_time).total_seconds(), 3),
        "size_bytes": summary.size,
        "added_bytes": summary.stored,
        "shared_bytes": summary.shared,
        "parent": summary.parent,
        "timeline": summary.timeline,
        "start_lsn": str(summary.start_lsn),
        "stop_lsn": str(summary.stop_lsn),
        "wal_segment_size": summary.segment_size,
        "wal_first": str(facts.wal[0]) if facts.wal else None,
        "wal_last": str(facts.wal[-1]) if facts.wal else None,
        "wal_segments": len(facts.wal),
        "wal_missing": [str(segment) for segment in facts.missing],
        "packs": [{"backup": o.backup, "packs": o.packs, "stored_bytes": o.size} for o in facts.origins],
        "tablespaces": [{"oid": space.oid, "location": space.location} for space in summary.tablespaces],
        "checksum_failures": summary.checksum_failures,
        "bad_files": [{"path": f.path, "pages": f.count, "blocks": list(f.blocks)} for f in facts.bad_files],
    }
