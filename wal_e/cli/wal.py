"""`wal-push` and `wal-fetch`: what PostgreSQL calls for every WAL file."""

from wal_e.cli.context import Context
from wal_e.config.rows import (
    COMPRESSION_LEVEL,
    FETCH_TIMEOUT,
    PUSH_TIMEOUT,
    STANDBY_FETCH_TIMEOUT,
    refuse_plain_text,
)
from wal_e.wal.asker import RecoveryMode, data_directory_of, exit_code_for, recovery_mode
from wal_e.wal.fetch import FetchOptions, fetch_file
from wal_e.wal.push import PushOptions, push_file


def push(context: Context) -> int:
    """Archives one file; 0 is a promise that it is durable."""
    settings = context.settings
    refuse_plain_text(settings)
    options = PushOptions(settings[COMPRESSION_LEVEL], context.address)
    with context.store(settings[PUSH_TIMEOUT]) as store:
        push_file(store, context.arguments.WAL_SEGMENT, options, context.emit)
    return 0


def fetch(context: Context) -> int:
    """Fetches one file; 1 only where the archive answered that it has none, errors are main's to judge (H14)."""
    destination = context.arguments.WAL_DESTINATION
    mode = recovery_mode(data_directory_of(destination))
    patience = STANDBY_FETCH_TIMEOUT if mode is RecoveryMode.STANDBY else FETCH_TIMEOUT
    options = FetchOptions(mode=mode, location=context.address, end_at_gap=context.arguments.end_at_gap)
    with context.store(context.settings[patience]) as store:
        outcome = fetch_file(store, context.arguments.WAL_SEGMENT, destination, options, context.emit)
    return exit_code_for(outcome, mode)
