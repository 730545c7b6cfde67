"""`wal-show` and `wal-verify`: what the archive holds of the WAL, and whether recoveries find what they need."""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from wal_e.cli.context import Context
from wal_e.cli.render import columns, write_out
from wal_e.errors import ArchiveError
from wal_e.maintain.runs import Run
from wal_e.maintain.wal_facts import ShownTimeline, ShownWal, TimelineFacts, show_wal
from wal_e.maintain.wal_report import BackupVerdict, Span, TimelineVerdict
from wal_e.maintain.wal_verify import Verification, VerifyOptions, verify_wal
from wal_e.pg.wal import SegmentName
from wal_e.units import MIB, format_size, format_timestamp

_SHOW_COLUMNS: Final = (
    "timeline",
    "parent",
    "switch",
    "first",
    "last",
    "segments",
    "gaps",
    "stored",
    "first_stored",
    "last_stored",
    "backups",
)


def show(context: Context) -> int:
    """Shows the facts about the archive's WAL."""
    arguments = context.arguments
    with context.store() as store:
        shown = show_wal(store)
    if arguments.timeline is not None and shown.timelines:
        shown = _only(shown, arguments.timeline)
    write_out(_json(_show_document(shown)) if arguments.json else _lines(_show_lines(shown)))
    return 0


def verify(context: Context) -> int:
    """Prints the report in any case; what is missing or damaged is then the error that the command ends with."""
    arguments = context.arguments
    options = VerifyOptions(read=arguments.read, threads=arguments.pool_size)
    with context.store(requests=options.threads) as store:
        verification = verify_wal(store, options, context.emit)
    if arguments.json:
        write_out(_json(_verify_document(verification)))
    else:
        write_out(_lines(_verify_lines(verification)))
    problem = verification.problem
    if problem is not None:
        raise problem
    return 0


def _only(shown: ShownWal, timeline: int) -> ShownWal:
    chosen = tuple(one for one in shown.timelines if one.facts.timeline == timeline)
    if not chosen:
        known = ", ".join(str(one.facts.timeline) for one in shown.timelines)
        raise ArchiveError(
            f"timeline {timeline} is not in the archive",
            detail=f"The archive has WAL files of these: {known}.",
            hint="Timelines are decimal numbers here, as in pg_control; in the names of files they are hexadecimal.",
        )
    return ShownWal(shown.segment_size, chosen)


def _show_lines(shown: ShownWal) -> Iterator[str]:
    if not shown.timelines:
        yield "The archive holds no WAL."
        return
    yield from columns(_SHOW_COLUMNS, (_show_row(shown, one) for one in shown.timelines))
    yield ""
    for one in shown.timelines:
        for gap in one.facts.stored.holes():
            yield f"gap on timeline {one.facts.timeline}: {_range(shown, one.facts, gap)}"
    every = [one.facts for one in shown.timelines]
    yield (
        f"segments of {shown.segment_size // MIB} MiB; timeline histories: {sum(f.histories for f in every)}, "
        f"backup histories: {sum(f.labels for f in every)}, partial segments: {sum(f.partials for f in every)}"
    )
    yield from _oddities(every)


def _oddities(every: Iterable[TimelineFacts]) -> Iterator[str]:
    for facts in every:
        if facts.foreign:
            yield f"in the form of WAL-E 1.x or WAL-G on timeline {facts.timeline}: {facts.foreign.count} segments"
        if facts.unplaced:
            yield f"names that do not fit the segment size on timeline {facts.timeline}: {facts.unplaced}"
        if facts.history_damage is not None:
            yield f"the history of timeline {facts.timeline} cannot be used: {facts.history_damage}"


def _show_row(shown: ShownWal, one: ShownTimeline) -> tuple[str, ...]:
    facts = one.facts
    parent = "" if one.origin is None else str(one.origin.parent)
    switch = "" if one.origin is None or one.origin.lsn is None else str(one.origin.lsn)
    return (
        str(facts.timeline),
        parent,
        switch,
        _name(shown, facts, facts.stored.first) or "",
        _name(shown, facts, facts.stored.last) or "",
        str(facts.stored.count),
        str(len(facts.stored.holes().runs)),
        format_size(facts.size),
        _short(facts.first_stored),
        _short(facts.last_stored),
        str(len(one.backups)),
    )


def _name(shown: ShownWal, facts: TimelineFacts, number: int | None) -> str | None:
    return None if number is None else str(SegmentName(facts.timeline, number, shown.segment_size))


def _short(when: datetime) -> str:
    return f"{format_timestamp(when)[:19]}Z"


def _range(shown: ShownWal, facts: TimelineFacts, run: Run) -> str:
    first, last = _name(shown, facts, run.first), _name(shown, facts, run.last)
    return f"{first} (1 segment)" if run.length == 1 else f"{first} to {last} ({run.length} segments)"


def _gaps(shown: ShownWal, facts: TimelineFacts) -> list[dict[str, Any]]:
    return [
        {
            "first": _name(shown, facts, run.first),
            "last": _name(shown, facts, run.last),
            "segments": run.length,
        }
        for run in facts.stored.holes()
    ]


def _show_document(shown: ShownWal) -> dict[str, Any]:
    return {
        "segment_size": shown.segment_size if shown.timelines else None,
        "timelines": [_show_timeline(shown, one) for one in shown.timelines],
    }


def _show_timeline(shown: ShownWal, one: ShownTimeline) -> dict[str, Any]:
    facts, origin = one.facts, one.origin
    return {
        "timeline": facts.timeline,
        "parent": origin.parent if origin else None,
        "switch_lsn": str(origin.lsn) if origin and origin.lsn is not None else None,
        "parent_known_from": origin.source if origin else None,
        "first": _name(shown, facts, facts.stored.first),
        "last": _name(shown, facts, facts.stored.last),
        "segments": facts.stored.count,
        "foreign_segments": facts.foreign.count,
        "gaps": _gaps(shown, facts),
        "stored_bytes": facts.size,
        "first_stored": format_timestamp(facts.first_stored),
        "last_stored": format_timestamp(facts.last_stored),
        "backups": list(one.backups),
        "history_files": facts.histories,
        "history_damage": facts.history_damage,
        "backup_history_files": facts.labels,
        "partial_files": facts.partials,
        "misfit_names": facts.unplaced,
    }


def _verify_lines(verification: Verification) -> Iterator[str]:
    report = verification.report
    if not report.timelines:
        yield "The archive holds no WAL."
        return
    yield from columns(
        ("timeline", "status", "first", "last", "segments", "state"),
        (row for verdict in report.timelines for row in _verdict_rows(verdict)),
    )
    yield ""
    if report.backups:
        head = ("backup", "timeline", "restorable", "recovers_to", "following", "stopped_by")
        yield from columns(head, (_backup_row(backup) for backup in report.backups))
    for damage in verification.damaged:
        yield f"damaged: {damage.name}: {damage.reason}"
    if verification.reading is not None:
        yield f"read: {verification.reading.objects} objects, {format_size(verification.reading.size)}"
    if verification.legacy:
        yield f"not looked into: {verification.legacy} backups of WAL-E 1.x or WAL-G"


def _verdict_rows(verdict: TimelineVerdict) -> Iterator[tuple[str, ...]]:
    head = (str(verdict.timeline), verdict.status.value)
    for span in verdict.spans:
        yield (*head, str(span.first), str(span.last), str(span.count), span.state.value)
        head = ("", "")
    if not verdict.spans:
        yield (*head, "", "", "", "")


def _backup_row(backup: BackupVerdict) -> tuple[str, ...]:
    stopped_by = "" if backup.stopped_by is None else str(backup.stopped_by)
    reached = (str(backup.lsn), str(backup.timeline)) if backup.restorable else ("", "")
    return (
        backup.summary.name,
        str(backup.summary.timeline),
        "yes" if backup.restorable else "NO",
        *reached,
        stopped_by,
    )


def _verify_document(verification: Verification) -> dict[str, Any]:
    report, reading = verification.report, verification.reading
    return {
        "status": "ok" if verification.problem is None else "failed",
        "segment_size": report.segment_size,
        "timelines": [_verdict_document(verdict) for verdict in report.timelines],
        "backups": [_backup_document(backup) for backup in report.backups],
        "damaged": [{"name": damage.name, "reason": damage.reason} for damage in verification.damaged],
        "legacy_backups": verification.legacy,
        "read": None if reading is None else {"objects": reading.objects, "bytes": reading.size},
    }


def _verdict_document(verdict: TimelineVerdict) -> dict[str, Any]:
    last = verdict.history.entries[-1] if verdict.history else None
    return {
        "timeline": verdict.timeline,
        "status": verdict.status.value,
        "parent": last.timeline if last else None,
        "switch_lsn": str(last.lsn) if last else None,
        "ranges": [_span_document(span) for span in verdict.spans],
    }


def _span_document(span: Span) -> dict[str, Any]:
    return {"first": str(span.first), "last": str(span.last), "segments": span.count, "status": span.state.value}


def _backup_document(backup: BackupVerdict) -> dict[str, Any]:
    summary = backup.summary
    return {
        "name": summary.name,
        "timeline": summary.timeline,
        "start_lsn": str(summary.start_lsn),
        "stop_lsn": str(summary.stop_lsn),
        "stop_time": format_timestamp(summary.stop_time),
        "restorable": backup.restorable,
        "recovers_to_lsn": str(backup.lsn) if backup.restorable else None,
        "follows_timeline": backup.timeline if backup.restorable else None,
        "stopped_by": None if backup.stopped_by is None else str(backup.stopped_by),
    }


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"
