"""What must be true before a base backup begins: one cluster, one directory, WAL that reaches the archive."""

from pathlib import Path

from wal_e.errors import DataDirectoryError, ServerError
from wal_e.pg.control import read_control
from wal_e.pg.server import BackupStart, Server, ServerFacts


def check_server(facts: ServerFacts, data_directory: Path) -> None:
    """Raises `ServerError` where the server is another one, or its WAL does not reach an archive."""
    control = read_control(data_directory)[1]
    if control.system_identifier != facts.system_identifier:
        raise ServerError(
            f'the server does not run on "{data_directory}"',
            detail=f"The server's system identifier is {facts.system_identifier}, "
            f"the directory's {control.system_identifier}.",
            hint="Set PGHOST and PGPORT to the server of this directory, or name the directory of the server.",
        )
    if facts.wal_level == "minimal":
        raise ServerError(
            "wal_level is minimal, which is not enough for a base backup",
            hint="Set wal_level = replica in postgresql.conf and restart the server.",
        )
    if not facts.in_recovery and facts.archive_mode == "off":
        raise ServerError(
            "WAL archiving is off, and without WAL a base backup cannot be restored",
            detail="archive_mode is off.",
            hint="Set archive_mode = on and archive_command = 'wal-e wal-push %p' in postgresql.conf, and restart.",
        )
    if not facts.in_recovery and not facts.archive_command and not facts.archive_library:
        raise ServerError(
            "WAL archiving is paused, and without WAL a base backup cannot be restored",
            detail="archive_command is empty.",
            hint="Set archive_command = 'wal-e wal-push %p' in postgresql.conf, and reload.",
        )


def check_same_directory(data_directory: Path, start: BackupStart) -> None:
    """The checkpoint that the start made must be visible in the directory that will be read."""
    control = read_control(data_directory)[1]
    if not start.in_recovery and control.checkpoint < start.lsn:
        raise DataDirectoryError(
            f'"{data_directory}" is not the directory that the server writes to',
            detail=f"The backup started at {start.lsn}, but pg_control there knows a checkpoint at "
            f"{control.checkpoint} only.",
            hint="Name the directory that SHOW data_directory prints; a copy or a snapshot of it will not do.",
        )


def archiver_trouble(server: Server) -> str | None:
    """What the server says about its archiver's failures, as a sentence; None where there are none."""
    try:
        archiver = server.archiver()
    except ServerError as error:
        return f"The server could not be asked: {error.message}."
    if archiver.failed_count == 0:
        return None
    return f"The archiver failed {archiver.failed_count} times, last with {archiver.last_failed_wal}."
