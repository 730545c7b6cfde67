"""`backup-fetch`."""

import argparse
from pathlib import Path
from typing import Literal

from wal_e.cli.context import Context
from wal_e.cli.priority import step_back
from wal_e.cli.recall import recall, write_settings
from wal_e.cli.render import write_out
from wal_e.errors import UsageError
from wal_e.events import Result
from wal_e.pg.recovery import RecoverySettings, Target
from wal_e.pg.wal import Lsn
from wal_e.restore.plan import PlanReport, Tally
from wal_e.restore.run import RestoreRequest, fetch_backup, plan_backup
from wal_e.restore.salvage import SalvageRequest, fetch_files, plan_files
from wal_e.restore.select import BackupQuery
from wal_e.restore.tablespaces import Placing, RestoreSpec, parse_restore_spec
from wal_e.restore.target import Timeline
from wal_e.units import format_size, parse_timestamp


def run(context: Context) -> int:
    """
    Restores a backup; with any option about recovery it also writes the settings that PostgreSQL needs for it.

    Without one it is the original's: the user writes them.
    """
    arguments = context.arguments
    step_back(arguments)
    if arguments.only_file:
        return _salvage(context)
    target, timeline = _target(arguments), _timeline(arguments.target_timeline)
    query = BackupQuery(arguments.BACKUP_NAME, target, timeline)
    placing, content, recovery = placing_of(arguments), None, None
    if _recovers(arguments):
        recalled = recall(context)
        content = recalled.settings
        recovery = RecoverySettings(
            restore_command=recalled.restore_command,
            standby=arguments.standby,
            target=target,
            target_timeline=timeline,
            target_action=arguments.target_action,
            archive_mode_off=_archive_mode_off(arguments),
        )
    request = RestoreRequest(
        data_directory=arguments.PG_CLUSTER_DIRECTORY,
        threads=arguments.pool_size,
        placing=placing,
        recovery=recovery,
        delta=arguments.delta,
        only_databases=tuple(arguments.only_database or ()),
    )
    with context.store(requests=request.threads, limited=True) as store:
        if arguments.dry_run:
            write_out(render_plan(plan_backup(store, query, request, context.emit)))
            return 0
        result = fetch_backup(store, query, request, context.emit)
    if content is not None:
        write_settings(content, request.data_directory)
    context.emit(Result("backup-fetch", {"name": result.summary.name, "size": result.written}))
    return 0


def _salvage(context: Context) -> int:
    arguments = context.arguments
    others = arguments.delta or arguments.only_database or arguments.blind_restore or arguments.restore_spec
    if others or arguments.target_exclusive or _recovers(arguments):
        raise UsageError(
            "--only-file makes no cluster, and goes with no option about one",
            hint="Give it --pool-size and --dry-run at most, and name the backup.",
        )
    query = BackupQuery(arguments.BACKUP_NAME)
    request = SalvageRequest(arguments.PG_CLUSTER_DIRECTORY, tuple(arguments.only_file), arguments.pool_size)
    with context.store(requests=request.threads, limited=True) as store:
        if arguments.dry_run:
            write_out(render_plan(plan_files(store, query, request, context.emit)))
        else:
            fetch_files(store, query, request, context.emit)
    return 0


def render_plan(report: PlanReport) -> str:
    """The text of --dry-run: a line for what happens to files, with counts and bytes, and the first names below."""
    rows = (
        ("kept", "as they are", report.kept),
        ("changed", "to be rewritten in part", report.changed),
        ("made", "to be made anew", report.made),
        ("shells", "of other databases, made without content", report.shells),
        ("removed", "in the directory now, not in the backup", report.removed),
    )
    lines = [line for word, what, tally in rows if tally.count for line in _lines(word, what, tally)]
    return "\n".join([*lines, f"to be written: {format_size(report.fetched)}. Nothing was changed.", ""])


def _lines(word: str, what: str, tally: Tally) -> list[str]:
    more = tally.count - len(tally.names)
    names = [*tally.names, f"and {more} more"] if more else tally.names
    return [f"{word}: {tally.count} files, {format_size(tally.size)}, {what}", *(f"    {name}" for name in names)]


def _recovers(arguments: argparse.Namespace) -> bool:
    return bool(
        arguments.standby
        or _target(arguments) is not None
        or arguments.target_timeline is not None
        or arguments.target_action is not None
        or arguments.archive_mode is not None
    )


def _archive_mode_off(arguments: argparse.Namespace) -> bool:
    """A copy at a point in time would write a second truth into the archive it came from (H03)."""
    if arguments.archive_mode is not None:
        return bool(arguments.archive_mode == "off")
    return not arguments.standby


def _target(arguments: argparse.Namespace) -> Target | None:
    inclusive = not arguments.target_exclusive
    if arguments.target_immediate or arguments.target is not None:
        found: Target | None = Target.immediate()
    elif arguments.target_time is not None:
        found = Target.at_time(parse_timestamp(arguments.target_time), inclusive=inclusive)
    elif arguments.target_lsn is not None:
        found = Target.at_lsn(Lsn.parse(arguments.target_lsn), inclusive=inclusive)
    elif arguments.target_xid is not None:
        found = Target.at_xid(_xid(arguments.target_xid), inclusive=inclusive)
    else:
        found = None if arguments.target_name is None else Target.at_name(arguments.target_name)
    _check_combination(arguments, found)
    return found


def _check_combination(arguments: argparse.Namespace, target: Target | None) -> None:
    if target is not None and arguments.standby:
        raise UsageError(
            "a follower has no target: it goes on until it is promoted",
            hint="Leave out --standby to recover to a target, or the target to make a follower.",
        )
    if target is None and arguments.target_action is not None:
        raise UsageError("--target-action needs a target", hint="Name one with --target-time or one of its kind.")
    if arguments.target_exclusive and (target is None or target.kind not in {"time", "lsn", "xid"}):
        raise UsageError(
            "--target-exclusive is about a time, a position or a transaction",
            hint="Name one with --target-time, --target-lsn or --target-xid.",
        )


def _xid(text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise UsageError(f'"{text}" is not a transaction', hint="Give the number that pg_current_xact_id() showed.")
    return int(text)


def _timeline(text: str | None) -> Timeline:
    if text is None:
        return None
    word: Literal["latest", "current"]
    for word in ("latest", "current"):
        if text == word:
            return word
    if text.isascii() and text.isdecimal() and int(text) > 0:
        return int(text)
    raise UsageError(f'"{text}" is not a timeline', hint="Give a number from 1 on, latest, or current.")


def placing_of(arguments: argparse.Namespace) -> Placing | RestoreSpec:
    """Where --blind-restore and --restore-spec put tablespaces."""
    if arguments.blind_restore:
        return Placing.BLIND
    if arguments.restore_spec is None:
        return Placing.DEFAULT
    if arguments.restore_spec == "SOURCE":
        return Placing.SOURCE
    try:
        text = Path(arguments.restore_spec).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "It is not UTF-8"
        raise UsageError(
            f'the restore specification "{arguments.restore_spec}" cannot be read',
            detail=f"{why}.",
            hint="Give the path of a JSON file, or SOURCE.",
        ) from error
    return parse_restore_spec(text)
