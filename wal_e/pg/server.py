"""
The one session with PostgreSQL that a base backup holds open; the only module that imports psycopg.

Where the server is, and who we are there, libpq learns from its own variables (PGHOST, PGPORT, PGUSER, PGSERVICE,
PGPASSFILE and so on). A non-exclusive backup lives and dies with its session (H36): when the session is lost
the server forgets the backup, `stop_backup` fails, and nothing must be committed.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Final, Self

import psycopg
from psycopg import errors, sql

from wal_e.errors import ServerError, UsageError
from wal_e.pg.answers import (
    ArchiverStatistics,
    BackupStart,
    BackupStop,
    Location,
    Privileges,
    ServerFacts,
    integer,
    text_or_none,
    time,
    time_or_none,
    unsigned,
)
from wal_e.pg.wal import Lsn

__all__ = ["ArchiverStatistics", "BackupStart", "BackupStop", "Location", "Privileges", "Server", "ServerFacts"]

OLDEST: Final = 100000
_RENAMED: Final = 150000
_IDLE_SESSION_TIMEOUT_SINCE: Final = 140000
_LABEL_LIMIT: Final = 1024
_NO_LIMITS: Final = (
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "max_parallel_workers_per_gather",
)
_SETTINGS: Final = (
    "archive_command",
    "archive_library",
    "archive_mode",
    "data_checksums",
    "data_directory",
    "wal_level",
)


class Server:
    """A session. Use it as a context manager: leaving it ends the session, and with it a backup that still runs."""

    def __init__(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._started: BackupStart | None = None
        self._version = connection.info.server_version
        self._role = connection.info.user

    @classmethod
    def connect(cls, conninfo: str = "") -> Self:
        """
        Opens a session without any timeout on the server's side.

        `conninfo` completes or overrides the PG* variables; without a database in either, `postgres` is taken.
        Raises `ServerError` where there is no server, no entry, or a release before 10.
        """
        try:
            server = cls(psycopg.connect(_complete(conninfo), autocommit=True))
        except psycopg.Error as error:
            raise ServerError(
                "could not connect to PostgreSQL",
                detail=_sentence(error),
                hint="Set PGHOST, PGPORT, PGUSER and PGDATABASE as psql needs them: psql -c 'SELECT 1' must work.",
            ) from error
        try:
            server._prepare()
        except BaseException:
            server.close()
            raise
        return server

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the session; the server aborts a backup that was not stopped. Repeating it is harmless."""
        self._connection.close()

    def abort(self) -> None:
        """Gives up a backup: the session ends, and the server forgets the backup. Raises nothing."""
        self._started = None
        self.close()

    def identify(self) -> ServerFacts:
        """Asks who the server is and how it is set up."""
        settings = {
            str(name): str(value)
            for name, value in self._rows(
                "SELECT name, setting FROM pg_catalog.pg_settings WHERE name = ANY (%s)", (list(_SETTINGS),)
            )
        }
        identifier, segment_size = self._row(
            "SELECT s.system_identifier, i.bytes_per_wal_segment"
            " FROM pg_catalog.pg_control_system() s, pg_catalog.pg_control_init() i"
        )
        in_recovery, timeline = self._place()
        return ServerFacts(
            server_version_num=self._version,
            system_identifier=unsigned(identifier),
            segment_size=integer(segment_size),
            timeline=timeline,
            in_recovery=in_recovery,
            data_checksums=settings.get("data_checksums") == "on",
            data_directory=settings.get("data_directory"),
            wal_level=settings.get("wal_level"),
            archive_mode=settings.get("archive_mode"),
            archive_command=settings.get("archive_command"),
            archive_library=settings.get("archive_library"),
            tablespaces=self._tablespaces(),
        )

    def archiver(self) -> ArchiverStatistics:
        """What the server's archiver has done since its statistics were reset."""
        row = self._row(
            "SELECT archived_count, last_archived_wal, last_archived_time,"
            " failed_count, last_failed_wal, last_failed_time FROM pg_catalog.pg_stat_archiver"
        )
        return ArchiverStatistics(
            archived_count=integer(row[0]),
            last_archived_wal=text_or_none(row[1]),
            last_archived_time=time_or_none(row[2]),
            failed_count=integer(row[3]),
            last_failed_wal=text_or_none(row[4]),
            last_failed_time=time_or_none(row[5]),
        )

    def start_backup(self, label: str, *, fast: bool = True) -> BackupStart:
        """
        Begins a non-exclusive backup; `fast` asks for an immediate checkpoint instead of a spread one.

        `label` is one line below 1024 bytes.
        """
        if "\n" in label or "\r" in label or "\0" in label or len(label.encode()) >= _LABEL_LIMIT:
            raise UsageError("a backup's label must be one line of less than 1024 bytes")
        in_recovery, timeline = self._place()
        if self._version >= _RENAMED:
            row = self._row("SELECT pg_catalog.pg_backup_start(%s, %s)::text", (label, fast))
        else:
            row = self._row("SELECT pg_catalog.pg_start_backup(%s, %s, false)::text", (label, fast))
        self._started = BackupStart(Lsn.parse(str(row[0])), self.server_time(), timeline, in_recovery)
        return self._started

    def stop_backup(self, *, wait_for_archive: bool = False) -> BackupStop:
        """
        Ends the backup that this session began.

        The server need not wait for its archiver: whoever commits the backup looks for the WAL in the archive
        itself (H23). A promotion or a change of timeline since the start raises `ServerError` (H39).
        """
        if self._started is None:
            raise ServerError("no base backup is in progress in this session")
        function = "pg_backup_stop(%s)" if self._version >= _RENAMED else "pg_stop_backup(false, %s)"
        try:
            lsn, label, tablespace_map = self._row(
                f"SELECT lsn::text, {_raw('labelfile')}, {_raw('spcmapfile')}"  # noqa: S608 - made of constants
                f" FROM pg_catalog.{function}",
                (wait_for_archive,),
            )
        except ServerError:
            # After a promotion the server refuses, in words that do not say what to do; ours do.
            self._check_same_place(self._started)
            raise
        started, self._started = self._started, None
        self._check_same_place(started)
        return BackupStop(
            lsn=Lsn.parse(str(lsn)),
            backup_label=_bytes(label),
            tablespace_map=_bytes(tablespace_map),
            time=self.server_time(),
            xmax=self._xmax(),
        )

    def privileges(self) -> Privileges:
        """Which of the functions that a base backup needs this role may not call."""
        rows = self._rows(
            "SELECT name FROM pg_catalog.unnest(%s::text[]) name"
            " WHERE NOT pg_catalog.has_function_privilege('pg_catalog.' || name, 'EXECUTE')",
            (list(_functions(self._version)),),
        )
        return Privileges(tuple(str(name) for (name,) in rows), _grants(self._role, self._version))

    def emit_message(self, text: str) -> None:
        """Writes a message into the WAL that means nothing to anybody, so that the segment has a record."""
        self._row("SELECT pg_catalog.pg_logical_emit_message(false, 'wal-e', %s)", (text,))

    def databases(self) -> tuple[tuple[int, str], ...]:
        """
        The OID and name of each database, for restores that want only some of them.

        It is empty where one of the names is not UTF-8: a database of any encoding may have made another one, and no
        backup fails over a name.
        """
        try:
            rows = self._rows("SELECT oid::bigint, datname::text FROM pg_catalog.pg_database ORDER BY oid")
        except ServerError as error:
            if isinstance(error.__cause__, UnicodeDecodeError):
                return ()
            raise
        return tuple((integer(oid), str(name)) for oid, name in rows)

    def server_time(self) -> datetime:
        """The server's clock, in UTC."""
        (when,) = self._row("SELECT pg_catalog.clock_timestamp()")
        return time(when)

    def ping(self) -> None:
        """Raises `ServerError` where the session is lost; may be called from another thread."""
        self._row("SELECT 1")

    def switch_wal(self) -> Lsn:
        """Ends the current segment, so that it is archived; returns the end of what was written to it."""
        (lsn,) = self._row("SELECT pg_catalog.pg_switch_wal()::text")
        return Lsn.parse(str(lsn))

    def _prepare(self) -> None:
        if self._version < OLDEST:
            raise ServerError(
                f"PostgreSQL {self._version // 10000}.{self._version // 100 % 100} is too old",
                detail="PostgreSQL 10 is the oldest release that is supported.",
            )
        names = list(_NO_LIMITS)
        if self._version >= _IDLE_SESSION_TIMEOUT_SINCE:
            names.append("idle_session_timeout")
        for name in names:
            self._rows("SELECT pg_catalog.set_config(%s, '0', false)", (name,))
        self._rows("SELECT pg_catalog.set_config('client_encoding', 'UTF8', false)")
        self._rows("SELECT pg_catalog.set_config('TimeZone', 'UTC', false)")

    def _place(self) -> tuple[bool, int]:
        """Whether the server is in recovery, and its timeline: on a standby the latest that it has replayed."""
        (in_recovery,) = self._row("SELECT pg_catalog.pg_is_in_recovery()")
        if in_recovery:
            (timeline,) = self._row(
                "SELECT greatest(c.timeline_id, r.min_recovery_end_timeline)"
                " FROM pg_catalog.pg_control_checkpoint() c, pg_catalog.pg_control_recovery() r"
            )
            return True, integer(timeline)
        (name,) = self._row("SELECT pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn())")
        return False, int(str(name)[:8], 16)

    def _check_same_place(self, started: BackupStart) -> None:
        in_recovery, timeline = self._place()
        if (in_recovery, timeline) == (started.in_recovery, started.timeline):
            return
        raise ServerError(
            "the server changed its timeline during the base backup",
            detail=f"It was on timeline {started.timeline}, and is on {timeline}"
            f"{' after a promotion' if started.in_recovery and not in_recovery else ''}.",
            hint="The base backup was not committed. Take it again.",
        )

    def _xmax(self) -> int | None:
        (xmax,) = self._row("SELECT pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot())")
        return None if xmax is None else integer(xmax)

    def _tablespaces(self) -> tuple[Location, ...]:
        rows = self._rows(
            "SELECT oid::bigint, spcname::text, pg_catalog.pg_tablespace_location(oid)"
            " FROM pg_catalog.pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY oid"
        )
        return tuple(Location(integer(oid), str(name), _external(str(where))) for oid, name, where in rows)

    def _row(self, query: str, parameters: tuple[object, ...] = ()) -> tuple[object, ...]:
        rows = self._rows(query, parameters)
        if len(rows) != 1:
            raise ServerError(f"PostgreSQL answered {len(rows)} rows where one was due", detail=query)
        return rows[0]

    def _rows(self, query: str, parameters: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
        with self._lock, _explained(self._role, self._version):
            return self._connection.execute(query.encode(), parameters, prepare=False).fetchall()


@contextmanager
def _explained(role: str, version: int) -> Iterator[None]:
    try:
        yield
    except errors.InsufficientPrivilege as error:
        raise ServerError(
            f'the role "{role}" lacks a privilege', detail=_sentence(error), hint=_grants(role, version)
        ) from error
    except errors.ObjectNotInPrerequisiteState as error:
        raise ServerError(
            "PostgreSQL is not ready for this", detail=_sentence(error), hint=_prerequisite(error)
        ) from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise ServerError(
            "the session with PostgreSQL was lost",
            detail=_sentence(error),
            hint="Look into the server's log; connect without a pooler. A base backup that ran must be taken again.",
        ) from error
    except psycopg.Error as error:
        raise ServerError("PostgreSQL refused", detail=_sentence(error)) from error
    except UnicodeDecodeError as error:
        raise ServerError("PostgreSQL answered with text that is not UTF-8", detail=f"{error}.") from error


def _functions(version: int) -> tuple[str, ...]:
    if version >= _RENAMED:
        return "pg_backup_start(text, boolean)", "pg_backup_stop(boolean)", "pg_switch_wal()"
    return "pg_start_backup(text, boolean, boolean)", "pg_stop_backup(boolean, boolean)", "pg_switch_wal()"


def _grants(role: str, version: int) -> str:
    functions = ", ".join(_functions(version))
    quoted = sql.Identifier(role).as_string()
    return (
        f"As a superuser, in the database that WAL-E connects to: GRANT EXECUTE ON FUNCTION {functions} TO {quoted};"
        f" GRANT pg_read_all_settings TO {quoted};"
    )


def _prerequisite(error: psycopg.Error) -> str | None:
    text = str(error)
    if "WAL level" in text:
        return "ALTER SYSTEM SET wal_level = 'replica'; then restart the server."
    if "full_page_writes" in text:
        return "ALTER SYSTEM SET full_page_writes = 'on' on the primary, and take the base backup again."
    if "recovery is in progress" in text:
        return "Run this on the primary."
    return error.diag.message_hint


def _complete(conninfo: str) -> str:
    given = psycopg.conninfo.conninfo_to_dict(conninfo)
    known = {option.keyword: option.val for option in psycopg.pq.Conninfo.get_defaults()}
    if "dbname" not in given and "service" not in given and not known.get(b"dbname") and not known.get(b"service"):
        given["dbname"] = "postgres"
    given.setdefault("fallback_application_name", "wal-e")
    return psycopg.conninfo.make_conninfo("", **given)


def _sentence(error: psycopg.Error) -> str:
    text = " ".join((error.diag.message_primary or str(error)).split()).rstrip(".")
    return f"{text[:1].upper()}{text[1:]}." if text else f"{type(error).__name__}."


def _raw(column: str) -> str:
    # Both files must be stored as the server would write them, so its own encoding is kept.
    return f"pg_catalog.convert_to({column}, pg_catalog.getdatabaseencoding())"


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""


def _external(location: str) -> str:
    return "" if location.startswith("pg_tblspc/") else location
