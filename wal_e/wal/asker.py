"""
Who asks for a WAL file, and what an answer must look like to them.

PostgreSQL takes every exit code from 1 to 125 of restore_command for "the archive does not have this file". In a
recovery without standby mode that ends the recovery and promotes the server, with all later WAL lost (H14), so
there an error must be something above 125, which stops the server. With standby mode the server asks again for
ever, and a code above 125 would stop it for nothing.
"""

import enum
import re
from pathlib import Path
from typing import Final, Protocol

FOUND: Final = 0
NOT_IN_ARCHIVE: Final = 1
STOP_THE_SERVER: Final = 200

_STANDBY_MODE: Final = re.compile(r"^\s*standby_mode\s*=?\s*'?(\w+)'?", re.IGNORECASE | re.MULTILINE)


class RecoveryMode(enum.Enum):
    """What the server that asks is doing, as far as its data directory tells."""

    STANDBY = "standby"
    RECOVERY = "recovery"
    UNKNOWN = "unknown"


class Answer(Protocol):
    """What a fetch returns."""

    @property
    def found(self) -> bool:
        """Whether the file is in its place now; false where the archive does not have it."""
        ...


def data_directory_of(path: Path) -> Path | None:
    """
    The data directory that a WAL file's path lies in (`pg_wal/…`, relative to it or not), or None.

    The path is taken as it is written: `pg_wal` may be a symbolic link to another disk.
    """
    directory = path.absolute().parent.parent
    return directory if (directory / "PG_VERSION").is_file() else None


def recovery_mode(data_directory: Path | None) -> RecoveryMode:
    """
    What the signal files (from 12 on) or `recovery.conf` (10 and 11) say; UNKNOWN without a directory or a file.

    As in PostgreSQL `standby.signal` wins over `recovery.signal`.
    """
    if data_directory is None:
        return RecoveryMode.UNKNOWN
    if (data_directory / "standby.signal").exists():
        return RecoveryMode.STANDBY
    if (data_directory / "recovery.signal").exists():
        return RecoveryMode.RECOVERY
    try:
        text = (data_directory / "recovery.conf").read_text("utf-8", "replace")
    except OSError:
        return RecoveryMode.UNKNOWN
    return RecoveryMode.STANDBY if says_standby(text) else RecoveryMode.RECOVERY


def says_standby(recovery_conf: str) -> bool:
    """Whether the text of a `recovery.conf` switches standby mode on; the last setting counts."""
    values = _STANDBY_MODE.findall(recovery_conf)
    return bool(values) and _is_true(values[-1].lower())


def exit_code_for(outcome: Answer | BaseException, mode: RecoveryMode) -> int:
    """
    The exit code of a fetch that returned `outcome` (`Fetched`, `Absent`), or raised it.

    Whatever an exception is, a bad command line included, it is no answer about the archive.
    """
    if isinstance(outcome, BaseException):
        return NOT_IN_ARCHIVE if mode is RecoveryMode.STANDBY else STOP_THE_SERVER
    return FOUND if outcome.found else NOT_IN_ARCHIVE


def _is_true(value: str) -> bool:
    """PostgreSQL's reading of a Boolean: on, true, yes, 1, and unambiguous beginnings of them."""
    return value in {"on", "1"} or any(word.startswith(value) for word in ("true", "yes"))
