"""`backup-push`."""

from wal_e.backup.budget import DEFAULT_MEMORY
from wal_e.backup.contents import BackupRequest
from wal_e.backup.offline import push_offline
from wal_e.backup.parent import ParentChoice
from wal_e.backup.run import push_backup
from wal_e.cli.context import Context
from wal_e.cli.priority import step_back
from wal_e.config.rows import BACKUP_WAL_TIMEOUT, COMPRESSION_LEVEL, refuse_plain_text
from wal_e.errors import DataDirectoryError
from wal_e.events import Result
from wal_e.units import format_timestamp


def run(context: Context) -> int:
    """Takes a base backup of a running cluster, or of a stopped one."""
    arguments, settings = context.arguments, context.settings
    refuse_plain_text(settings)
    step_back(arguments)
    request = BackupRequest(
        arguments.PG_CLUSTER_DIRECTORY,
        threads=arguments.pool_size,
        read_rate=context.rate(arguments.cluster_read_rate_limit),
        offline=arguments.while_offline,
        level=settings[COMPRESSION_LEVEL],
        wal_timeout=settings[BACKUP_WAL_TIMEOUT],
        parent=ParentChoice(arguments.full, arguments.parent, arguments.read_all),
        memory=arguments.memory or DEFAULT_MEMORY,
    )
    push = push_offline if request.offline else push_backup
    with context.store(requests=request.threads, limited=True) as store:
        summary = push(store, request, context.emit).summary
    context.emit(
        Result(
            "backup-push",
            {
                "name": summary.name,
                "timeline": summary.timeline,
                "start_lsn": str(summary.start_lsn),
                "stop_lsn": str(summary.stop_lsn),
                "start_time": format_timestamp(summary.start_time),
                "stop_time": format_timestamp(summary.stop_time),
                "size": summary.size,
                "stored": summary.stored,
                "shared": summary.shared,
                "parent": summary.parent,
                "checksum_failures": summary.checksum_failures,
            },
        )
    )
    if summary.checksum_failures and arguments.checksum_failure == "fail":
        raise DataDirectoryError(
            f"{summary.checksum_failures} pages do not have the checksum that they should",
            detail=f'The backup "{summary.name}" is complete, and holds these pages as they are.',
            hint="The warnings above name files and blocks; find out what damaged them, and look at older backups.",
        )
    return 0
