"""
Verification of the archive's WAL: the facts are gathered, judged by `wal_report`, and every object read if asked.

Backups are listed before WAL, so that what a backup needs, which was stored before it, is in the listing. Segments
that are being stored at this moment may arrive out of order: what is missing near the end of a timeline that grows
is asked for again before it is called missing (H18).
"""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from wal_e.codec.compress import decompress_stream
from wal_e.errors import ArchiveError, Corrupt, NoSuchBackup, NotFound, ShortRead, UsageError, WalEError, WalMissing
from wal_e.events import Progress, Sink
from wal_e.legacy.catalogue import list_legacy
from wal_e.maintain.runs import Runs
from wal_e.maintain.wal_facts import WalFacts, read_wal, size_of_segments
from wal_e.maintain.wal_report import BackupVerdict, State, Status, TimelineVerdict, WalReport, judge
from wal_e.parallel import ordered_map
from wal_e.pg.wal import SegmentName, history_name, is_segment
from wal_e.pg.wal_content import checked
from wal_e.repo.catalogue import list_backups, load_summary
from wal_e.repo.cluster import read_identity
from wal_e.repo.layout import WAL_PREFIX, WAL_SUFFIX
from wal_e.repo.manifest import Summary
from wal_e.repo.wal import WalObject, list_wal, wal_exists
from wal_e.store.api import Store
from wal_e.units import GIB

_AHEAD: Final = 256
"""How many segments an agent has under way at most: the largest --pool-size of wal-push."""
_FRESH: Final = timedelta(minutes=10)
_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """
    `read`: every object is read to its end, by `threads` at once.

    `pauses` are the seconds to wait before asking again for segments that may be on their way.
    """

    read: bool = False
    threads: int = 4
    pauses: tuple[float, ...] = (0.5, 1.5)
    wait: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Damage:
    """An object, or a backup by its name, that is there and cannot be used, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read: how many objects, and their stored bytes."""

    objects: int
    size: int


@dataclass(frozen=True, slots=True)
class Verification:
    """
    The report, and what stands beside it: backups and objects that are damaged, and what was read (None: nothing).

    `legacy` counts the backups of WAL-E 1.x and WAL-G, which are not looked into.
    """

    report: WalReport
    damaged_backups: tuple[Damage, ...]
    damaged_objects: tuple[Damage, ...]
    legacy: int
    reading: Reading | None

    @property
    def damaged(self) -> tuple[Damage, ...]:
        """All that is damaged."""
        return (*self.damaged_objects, *self.damaged_backups)

    @property
    def problem(self) -> WalEError | None:
        """The error to end with, or None where everything is there."""
        return _problem(self)


def verify_wal(store: Store, options: VerifyOptions, emit: Sink) -> Verification:
    """
    Verifies the WAL from the oldest base backup on; what is missing is in the result, not raised.

    Errors of the store end it: a part of the archive is never reported as the whole.
    """
    summaries, damaged_backups = _backups(store)
    legacy = len(list_legacy(store))
    size = _newest_size(summaries) or size_of_segments(store)
    fitting = tuple(summary for summary in summaries if summary.segment_size == size)
    odd = [_odd(summary, size) for summary in summaries if summary.segment_size != size]
    wal = _settled(store, read_wal(store, size), fitting, options)
    found: list[tuple[WalObject, str]] = []
    reading = _read_all(store, wal, options, emit, found) if options.read else None
    report = judge(wal, fitting, _damaged_segments(found, size))
    objects = {file.key.removeprefix(WAL_PREFIX): reason for file, reason in found}
    for facts in wal.timelines:
        if facts.history_damage is not None:
            objects.setdefault(f"{history_name(facts.timeline)}{WAL_SUFFIX}", facts.history_damage)
    return Verification(report, (*damaged_backups, *odd), _damages(objects), legacy, reading)


def _damages(reasons: Mapping[str, str]) -> tuple[Damage, ...]:
    return tuple(Damage(name, reason) for name, reason in sorted(reasons.items()))


def _backups(store: Store) -> tuple[list[Summary], list[Damage]]:
    summaries: list[Summary] = []
    damaged: list[Damage] = []
    for entry in list_backups(store):
        try:
            summaries.append(load_summary(store, entry.name, entry.size))
        except Corrupt as error:
            damaged.append(Damage(entry.name, error.message))
        except NoSuchBackup:
            continue  # deleted since it was listed
    return summaries, damaged


def _newest_size(summaries: Iterable[Summary]) -> int | None:
    newest = max(summaries, key=lambda summary: (summary.stop_time, summary.stop_lsn), default=None)
    return None if newest is None else newest.segment_size


def _odd(summary: Summary, size: int) -> Damage:
    return Damage(summary.name, f"its WAL segments have {summary.segment_size} bytes, those of the archive {size}")


def _settled(store: Store, wal: WalFacts, summaries: tuple[Summary, ...], options: VerifyOptions) -> WalFacts:
    """The facts with those segments added that arrived since the listing passed their place."""
    for pause in options.pauses:
        doubtful = list(_doubtful(wal, judge(wal, summaries), datetime.now(UTC)))
        if not doubtful:
            break
        options.wait(pause)
        wal = _with(wal, [name for name in doubtful if wal_exists(store, str(name))])
    return wal


def _doubtful(wal: WalFacts, report: WalReport, now: datetime) -> Iterator[SegmentName]:
    """What is missing where an agent that stores many at once may be at work."""
    facts = {one.timeline: one for one in wal.timelines}
    for verdict in report.timelines:
        one = facts.get(verdict.timeline)
        newest = one.segments.last if one else None
        if one is None or newest is None or now - one.last_stored > _FRESH:
            continue
        for span in verdict.bad:
            if span.state is State.MISSING:
                first = max(span.first.number, newest - _AHEAD)
                last = min(span.last.number, newest)
                yield from (SegmentName(span.first.timeline, n, wal.segment_size) for n in range(first, last + 1))


def _with(wal: WalFacts, arrived: Iterable[SegmentName]) -> WalFacts:
    numbers: dict[int, list[tuple[int, int]]] = {}
    for name in arrived:
        numbers.setdefault(name.timeline, []).append((name.number, name.number))
    timelines = (
        replace(facts, segments=facts.segments.union(Runs.of(numbers.get(facts.timeline, []))))
        for facts in wal.timelines
    )
    return WalFacts(wal.segment_size, tuple(timelines))


def _read_all(
    store: Store, wal: WalFacts, options: VerifyOptions, emit: Sink, damaged: list[tuple[WalObject, str]]
) -> Reading:
    """Reads every object that is in our form, and collects those that turn out not to be what their name says."""
    identity = read_identity(store)
    cluster = identity.system_identifier if identity else None
    total = sum(facts.size for facts in wal.timelines)
    objects = size = 0

    def read(file: WalObject) -> tuple[WalObject, str | None]:
        return file, _fault(store, file, cluster)

    files = (file for file in list_wal(store) if file.readable or file.variant)
    for file, reason in ordered_map(read, files, threads=options.threads, ahead=2 * options.threads):
        objects, size = objects + 1, size + file.size
        if reason is not None:
            damaged.append((file, reason))
        emit(Progress("reading WAL", size, max(total, size), size))
    return Reading(objects, size)


def _fault(store: Store, file: WalObject, cluster: int | None) -> str | None:
    """Why the object is not what it should be; it is read once more, for it may have been damaged on its way."""
    return _fault_once(store, file, cluster) and _fault_once(store, file, cluster)


def _fault_once(store: Store, file: WalObject, cluster: int | None) -> str | None:
    try:
        for _ in checked(file.name, decompress_stream(store.get(file.key), limit=GIB), cluster):
            pass
    except NotFound:
        return "the store lists it and does not return it"
    except (ArchiveError, ShortRead) as error:
        return error.message if error.detail is None else f"{error.message}: {error.detail.rstrip('.')}"
    return None


def _damaged_segments(found: Iterable[tuple[WalObject, str]], size: int) -> Mapping[int, Runs]:
    numbers: dict[int, list[tuple[int, int]]] = {}
    for file, _ in found:
        if not is_segment(file.name):
            continue
        with contextlib.suppress(UsageError):  # a name that this segment size cannot give is nobody's segment
            number = SegmentName.parse(file.name, size).number
            numbers.setdefault(int(file.name[:8], 16), []).append((number, number))
    return {timeline: Runs.of(some) for timeline, some in numbers.items()}


def _problem(verification: Verification) -> WalEError | None:
    report = verification.report
    if not report.backups and not verification.damaged_backups:
        others = f"There are {verification.legacy} of WAL-E 1.x or WAL-G, which are not verified here. "
        return NoSuchBackup(
            "the archive holds no base backup",
            detail=f"{others if verification.legacy else ''}Without a base backup no WAL can be used.",
            hint='Take one with "wal-e backup-push".',
        )
    if report.good and not verification.damaged:
        return None
    missing = any(v.status in {Status.GAP, Status.MISSING_HISTORY} for v in report.timelines)
    return (WalMissing if missing else Corrupt)(
        "the archive is not whole: " + ", ".join(_counts(verification)),
        detail="; ".join(_details(verification)) + ".",
        hint=" ".join(_hints(report)),
    )


def _counts(verification: Verification) -> Iterator[str]:
    spans = [span for verdict in verification.report.timelines for span in verdict.bad]
    for state, words in (
        (State.MISSING, "missing"),
        (State.FOREIGN, "in a form that this version does not read yet"),
    ):
        if count := sum(span.count for span in spans if span.state is state):
            yield f"{_number(count, 'WAL segment')} {words}"
    if count := sum(v.status is Status.MISSING_HISTORY for v in verification.report.timelines):
        yield f"{_number(count, 'timeline history')} missing"
    if count := len(verification.damaged_objects):
        yield f"{_number(count, 'WAL file')} damaged"
    if count := len(verification.damaged_backups):
        yield f"{_number(count, 'base backup')} damaged"
    if _out_of_reach(verification.report):
        yield "no base backup for the newest timeline"


def _out_of_reach(report: WalReport) -> int | None:
    """The newest timeline, where no backup can be brought to it."""
    newest = report.newest
    return newest.timeline if newest is not None and newest.status is Status.UNREACHABLE else None


def _number(count: int, thing: str) -> str:
    plural = f"{thing[:-1]}ies" if thing.endswith("y") else f"{thing}s"
    return f"{count} {thing if count == 1 else plural}"


def _details(verification: Verification) -> Iterator[str]:
    every = [*itertools.chain.from_iterable(_timeline_details(v) for v in verification.report.timelines)]
    every += [f"{damage.name}: {damage.reason}" for damage in verification.damaged]
    if timeline := _out_of_reach(verification.report):
        every.append(f"Timeline {timeline} was begun where no base backup had been completed before")
    yield from every[:_SHOWN]
    if len(every) > _SHOWN:
        yield f"and {len(every) - _SHOWN} more"


def _timeline_details(verdict: TimelineVerdict) -> Iterator[str]:
    for span in verdict.bad:
        if span.state is not State.DAMAGED:
            yield f"{span} {span.state.lower()}"
    if verdict.status is Status.MISSING_HISTORY:
        yield f"{history_name(verdict.timeline)} missing"


def _hints(report: WalReport) -> Iterator[str]:
    lost = [backup for backup in report.backups if not backup.restorable]
    stopped = [backup for backup in report.backups if backup.restorable and backup.stopped_by is not None]
    if lost:
        yield f"These backups cannot be restored: {_names(lost)}."
    if stopped:
        ends = sorted({backup.lsn for backup in stopped})
        where = f"at {ends[0]}" if len(ends) == 1 else f"between {ends[0]} and {ends[-1]}"
        yield f"A recovery ends {where} that begins with {_names(stopped)}."
    yield from _remedies(report)


def _remedies(report: WalReport) -> Iterator[str]:
    missing = next((s for v in report.timelines for s in v.bad if s.state is State.MISSING), None)
    alone = next((v for v in report.timelines if v.status is Status.MISSING_HISTORY), None)
    name = str(missing.first) if missing else history_name(alone.timeline) if alone else None
    if name:
        yield f"Push what a server still has: wal-e wal-push pg_wal/{name}."
    ahead = [backup for backup in report.backups if backup.restorable and backup.stopped_by is None]
    newest = report.newest
    current = [backup for backup in ahead if newest is not None and backup.timeline == newest.timeline]
    if current:
        yield f"Recoveries that begin with {_names(current)} get to the end."
    else:
        yield "Take a new base backup now: wal-e backup-push."


def _names(backups: Iterable[BackupVerdict]) -> str:
    names = [backup.summary.name for backup in backups]
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
