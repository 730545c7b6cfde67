"""
The files that tell a restored cluster how to recover: pure text, for every PostgreSQL from 10 to 18.

Up to 11 that is `recovery.conf`. From 12 on settings go into `postgresql.auto.conf`, and an empty signal file says what
they are for. A restore always makes a signal file: without one the server would consume only the WAL that
lies in `pg_wal` and go on with the same timeline (H53). Settings that an earlier recovery left in
`postgresql.auto.conf` are commented out, for the server accepts a single target only.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from wal_e.errors import UsageError
from wal_e.pg.wal import Lsn

AUTO_CONF: Final = "postgresql.auto.conf"
RECOVERY_CONF: Final = "recovery.conf"
RECOVERY_SIGNAL: Final = "recovery.signal"
STANDBY_SIGNAL: Final = "standby.signal"
SIGNALS_SINCE: Final = 12
_UNLIMITED_COMMAND_SINCE: Final = 16
_COMMAND_LIMIT: Final = 1024
_NAME_LIMIT: Final = 64
_XIDS: Final = 1 << 32
_MARK: Final = "# before the restore by WAL-E: "
_BEGIN: Final = "# Written by WAL-E for the recovery of this restore:"
_ASSIGNMENT: Final = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_.$]*)")
_TARGETS: Final = (
    "recovery_target",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_xid",
)
_HOW: Final = frozenset(
    {
        "archive_cleanup_command",
        "primary_conninfo",
        "primary_slot_name",
        "promote_trigger_file",
        "recovery_end_command",
        "recovery_min_apply_delay",
        "restore_command",
        "standby_mode",
        "trigger_file",
    }
)
# The longest text that the server puts in place of each escape (xlogarchive.c).
_EXPANSIONS: Final = {
    "%f": "0" * 24,
    "%p": "pg_wal/RECOVERYHISTORY",
    "%r": "0" * 24,
    "%%": "%",
}


@dataclass(frozen=True, slots=True)
class Target:
    """Where recovery stops. Make one with `at_time`, `at_lsn`, `at_xid`, `at_name` or `immediate`."""

    kind: Literal["time", "lsn", "xid", "name", "immediate"]
    value: str = ""
    inclusive: bool = True

    @classmethod
    def at_time(cls, when: datetime, *, inclusive: bool = True) -> "Target":
        """The last commit at or before an aware time; it is written in UTC, whatever the server's zone is (H54)."""
        if when.tzinfo is None:
            raise UsageError("a recovery target needs a time with a time zone", hint='Append the offset, as in "+00".')
        return cls("time", when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00"), inclusive)

    @classmethod
    def at_lsn(cls, lsn: Lsn, *, inclusive: bool = True) -> "Target":
        """A position in the WAL."""
        return cls("lsn", str(lsn), inclusive)

    @classmethod
    def at_xid(cls, xid: int, *, inclusive: bool = True) -> "Target":
        """The end of a transaction; of a 64-bit id the server compares the lower half."""
        return cls("xid", str(xid % _XIDS), inclusive)

    @classmethod
    def at_name(cls, name: str) -> "Target":
        """A point that pg_create_restore_point() named."""
        if not name or len(name.encode("utf-8", "surrogateescape")) >= _NAME_LIMIT:
            raise UsageError(f'"{name}" cannot be the name of a restore point', hint="Names have 1 to 63 bytes.")
        return cls("name", name)

    @classmethod
    def immediate(cls) -> "Target":
        """As soon as the restored copy is consistent: the end of the backup."""
        return cls("immediate")


@dataclass(frozen=True, slots=True)
class RecoverySettings:
    """
    What a restored cluster shall do.

    Without `restore_command` only the signal file is made and stale targets go: the command is then the one that
    the configuration files hold already. `target_timeline` None stands for the latest, or, with the immediate
    target, for the backup's own. `archive_mode_off` keeps a clone from archiving where its original does (H03).
    """

    restore_command: str | None = None
    standby: bool = False
    target: Target | None = None
    target_timeline: int | Literal["latest", "current"] | None = None
    target_action: Literal["pause", "promote", "shutdown"] | None = None
    archive_mode_off: bool = False
    primary_conninfo: str | None = None


def recovery_files(settings: RecoverySettings, major: int, existing_auto_conf: str) -> dict[str, str]:
    """
    The files to write into the data directory, path to content; a file that exists is to be replaced.

    `existing_auto_conf` is the restored `postgresql.auto.conf`, decoded in a way that survives the round trip
    (surrogateescape). Raises `UsageError` for what cannot be written down, or what this major cannot do.
    """
    if settings.restore_command is not None:
        _check_command(settings.restore_command, major)
    lines = _recovery_lines(settings, major)
    archive = [("archive_mode", "off")] if settings.archive_mode_off else []
    if major < SIGNALS_SINCE:
        if settings.restore_command is None and not settings.standby:
            raise UsageError(
                f"PostgreSQL {major} cannot recover without a restore command",
                hint="Name the restore command: up to 11 it can only stand in recovery.conf.",
            )
        files = {RECOVERY_CONF: _section(lines)}
        if archive:
            files[AUTO_CONF] = _neutralised(existing_auto_conf, {"archive_mode"}) + _section(archive)
        return files
    stale = _stale(settings)
    written = lines + archive
    return {
        AUTO_CONF: _neutralised(existing_auto_conf, stale) + (_section(written) if written else ""),
        STANDBY_SIGNAL if settings.standby else RECOVERY_SIGNAL: "",
    }


def quote(value: str) -> str:
    """A value as it stands in a configuration file, which knows both doubled quotes and backslash escapes."""
    if "\n" in value or "\r" in value or "\0" in value:
        raise UsageError(
            "a value in a PostgreSQL configuration file must be one line", detail=f"This one is {value!r}."
        )
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _recovery_lines(settings: RecoverySettings, major: int) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    if major < SIGNALS_SINCE and settings.standby:
        lines.append(("standby_mode", "on"))
    if settings.restore_command is not None:
        lines.append(("restore_command", settings.restore_command))
    if settings.primary_conninfo is not None and settings.standby:
        lines.append(("primary_conninfo", settings.primary_conninfo))
    lines += _timeline(settings, major)
    lines += _target(settings, major)
    return lines


def _timeline(settings: RecoverySettings, major: int) -> list[tuple[str, str]]:
    wanted = settings.target_timeline
    if wanted is None:
        if settings.restore_command is None and settings.target is None:
            return []
        # "latest" may have left the backup's timeline before the end of the backup, which an immediate target is.
        wanted = "current" if settings.target is not None and settings.target.kind == "immediate" else "latest"
    if wanted == "current" and major < SIGNALS_SINCE:
        return []  # the default there, and not a value that is understood
    return [("recovery_target_timeline", str(wanted))]


def _target(settings: RecoverySettings, major: int) -> list[tuple[str, str]]:
    target = settings.target
    if target is None and settings.restore_command is None:
        return []
    name = None if target is None else "recovery_target" + ("" if target.kind == "immediate" else f"_{target.kind}")
    lines: list[tuple[str, str]] = []
    if major >= SIGNALS_SINCE:
        # A target in postgresql.conf would be a second one: emptied here, and before ours, for an empty value of
        # one kind makes the server forget a target of another kind that it has read before.
        lines += [(other, "") for other in _TARGETS if other != name]
    if target is None or name is None:
        return lines
    lines.append((name, "immediate" if target.kind == "immediate" else target.value))
    if target.kind in {"time", "lsn", "xid"}:
        lines.append(("recovery_target_inclusive", "on" if target.inclusive else "off"))
    if settings.target_action is not None:
        lines.append(("recovery_target_action", settings.target_action))
    return lines


def _stale(settings: RecoverySettings) -> set[str]:
    stale = {"recovery_target_timeline", "recovery_target_action", "recovery_target_inclusive", *_TARGETS}
    if settings.restore_command is not None:
        stale |= _HOW
    if settings.standby and settings.primary_conninfo is None:
        stale.discard("primary_conninfo")
    if settings.archive_mode_off:
        stale.add("archive_mode")
    return stale


def _neutralised(conf: str, names: set[str]) -> str:
    lines = [_MARK + line if _assigned(line) in names else line for line in conf.split("\n") if line != _BEGIN]
    text = "\n".join(lines)
    return text + "\n" if text and not text.endswith("\n") else text


def _assigned(line: str) -> str:
    match = _ASSIGNMENT.match(line)
    return match[1].lower() if match else ""


def _section(lines: list[tuple[str, str]]) -> str:
    return "".join(f"{text}\n" for text in [_BEGIN, *(f"{name} = {quote(value)}" for name, value in lines)])


def _check_command(command: str, major: int) -> None:
    expanded = re.sub("%[fpr%]", lambda escape: _EXPANSIONS[escape[0]], command)
    if major < _UNLIMITED_COMMAND_SINCE and len(expanded.encode("utf-8", "surrogateescape")) >= _COMMAND_LIMIT:
        raise UsageError(
            "the restore command is too long",
            detail=f"PostgreSQL {major} cuts it off at {_COMMAND_LIMIT - 1} bytes once file names are put in.",
            hint="Put it into a script, and name the script with %f and %p.",
        )
