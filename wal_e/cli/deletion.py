"""`delete`: nothing goes without --confirm, and --dry-run wins over it."""

from datetime import UTC, datetime

from wal_e.cli.context import Context
from wal_e.maintain.delete import execute, plan_delete
from wal_e.maintain.retention import Before, Everything, OldVersions, OneBackup, Request, Retain
from wal_e.repo.lease import Lease


def before(context: Context) -> int:
    """Deletes what is older than a backup or segment."""
    return _delete(context, Before(context.arguments.NAME))


def retain(context: Context) -> int:
    """Deletes all but the newest backups."""
    return _delete(context, Retain(context.arguments.NUM))


def backup(context: Context) -> int:
    """Deletes one backup."""
    return _delete(context, OneBackup(context.arguments.NAME))


def old_versions(context: Context) -> int:
    """Deletes what very early WAL-E left."""
    return _delete(context, OldVersions())


def everything(context: Context) -> int:
    """Deletes the archive."""
    return _delete(context, Everything())


def _delete(context: Context, request: Request) -> int:
    dry_run = context.arguments.dry_run or not context.arguments.confirm
    with context.store() as store:
        if dry_run:
            execute(store, plan_delete(store, request, datetime.now(UTC)), context.emit, dry_run=True)
            return 0
        with Lease(store, "delete", context.emit) as lease:
            lease.acquire()
            execute(store, plan_delete(store, request, lease.now()), context.emit, check=lease.check)
    return 0
