"""The commands for base backups, as a table."""

from pathlib import Path
from typing import Final

from wal_e.cli.command import Argument, Command, pool_size
from wal_e.cli.priority import parse_ionice
from wal_e.config import parse_choice, parse_count
from wal_e.config.rows import DOWNLOAD_CONCURRENCY, READ_RATE_LIMIT, UPLOAD_CONCURRENCY, parse_rate
from wal_e.units import parse_size


def _target(name: str, metavar: str, help_text: str) -> Argument:
    return Argument((f"--target-{name}",), help_text, metavar=metavar, group="target")


PRIORITY: Final = (
    Argument(
        ("--nice",),
        "step back behind other processes by so much, from 0 to 19, as nice(1) does",
        parse_count(0, 19),
        metavar="NUMBER",
    ),
    Argument(
        ("--ionice",),
        "step back behind the disk accesses of others: idle, best-effort, or best-effort:0 to best-effort:7, the last "
        "to be served",
        parse_ionice,
        metavar="CLASS[:LEVEL]",
    ),
)
DIRECTORY: Final = Argument(("PG_CLUSTER_DIRECTORY",), "the data directory", Path)
_PLACES: Final = (
    Argument(
        ("--blind-restore",),
        "put every tablespace into the data directory, as a plain directory",
        switch=True,
        group="places",
    ),
    Argument(
        ("--restore-spec",),
        "a JSON file that says where tablespaces go, or SOURCE: where they were",
        metavar="FILE|SOURCE",
        group="places",
    ),
)
STDOUT: Final = "-"
_EVENTS: Final = Argument(
    ("--json",),
    "write what happens as JSON, one object for each line, on stdout (on stderr where the tar of an export goes there)",
    switch=True,
)

BACKUP_COMMANDS: Final = (
    Command(
        "backup-push",
        "take a base backup",
        "wal_e.cli.backup:run",
        (
            pool_size(4, "how many threads read and compress", UPLOAD_CONCURRENCY),
            Argument(
                ("--cluster-read-rate-limit",),
                "read at most so many bytes per second, all threads together; 64MB is understood too",
                parse_rate,
                metavar="BYTES_PER_SECOND",
                option=READ_RATE_LIMIT,
            ),
            Argument(("--while-offline",), "the cluster is shut down, and stays so during the backup", switch=True),
            Argument(
                ("--full",), "store everything again, and refer to no earlier backup", switch=True, group="parent"
            ),
            Argument(
                ("--parent",),
                "the backup to compare with, in place of the newest; it changes the cost, not the result",
                metavar="BACKUP_NAME",
                group="parent",
            ),
            Argument(
                ("--read-all",),
                "read every file, also those whose size and times say that they did not change",
                switch=True,
            ),
            Argument(
                ("--checksum-failure",),
                "what a page whose checksum does not match does to the exit code: warn leaves it 0, fail makes it 1; "
                "the backup is complete either way",
                parse_choice("warn", "fail"),
                "warn",
                "warn|fail",
            ),
            Argument(
                ("--memory",),
                "about how much memory the backup may take, 256MB if this is left out",
                parse_size,
                metavar="BYTES",
            ),
            *PRIORITY,
            _EVENTS,
            DIRECTORY,
        ),
        events=True,
    ),
    Command(
        "backup-fetch",
        "restore a base backup",
        "wal_e.cli.restore:run",
        (
            pool_size(4, "how many threads fetch and write", DOWNLOAD_CONCURRENCY),
            *_PLACES,
            Argument(
                ("--delta",),
                "the directory may hold an older or damaged copy of the cluster: keep what is right of it, fetch what "
                "differs, remove what does not belong",
                switch=True,
            ),
            Argument(("-n", "--dry-run"), "only tell what would be kept, fetched and removed", switch=True),
            Argument(
                ("--only-database",),
                "of the users' databases restore only this one, by name or OID; the others can only be dropped; may "
                "be repeated",
                metavar="NAME",
                many=True,
            ),
            Argument(
                ("--only-file",),
                "restore only the files whose path in the data directory fits, as 'base/16384/*', and no cluster; may "
                "be repeated",
                metavar="PATTERN",
                many=True,
            ),
            Argument(("--standby",), "make a follower, which fetches WAL until it is promoted", switch=True),
            _target("time", "TIME", "recover to this time; it needs an offset from UTC, as 2026-11-23 14:30:00+00"),
            _target("lsn", "LSN", "recover to this position in the WAL"),
            _target("xid", "XID", "recover to this transaction"),
            _target("name", "NAME", "recover to this restore point"),
            Argument(
                ("--target-immediate",),
                "recover until the copy is consistent, not further",
                switch=True,
                group="target",
            ),
            Argument(
                ("--target",),
                "the same as --target-immediate",
                parse_choice("immediate"),
                metavar="immediate",
                group="target",
            ),
            Argument(("--target-timeline",), "follow this timeline: a number, latest, or current", metavar="TIMELINE"),
            Argument(
                ("--target-action",),
                "what the server does at the target: pause (which it does by default), promote or shutdown",
                parse_choice("pause", "promote", "shutdown"),
                metavar="ACTION",
            ),
            Argument(("--target-exclusive",), "stop before the target, not after it", switch=True),
            Argument(
                ("--archive-mode",),
                "off: the copy archives nothing, preserve: it does what its configuration says; without it off "
                "for every copy that this command sets up for recovery, but for a follower",
                parse_choice("off", "preserve"),
                metavar="off|preserve",
            ),
            *PRIORITY,
            _EVENTS,
            DIRECTORY,
            Argument(("BACKUP_NAME",), "the backup's name, or LATEST"),
        ),
        events=True,
    ),
    Command(
        "export",
        "write a base backup as pg_basebackup does: as a directory, or as a tar",
        "wal_e.cli.export:run",
        (
            pool_size(4, "how many threads fetch", DOWNLOAD_CONCURRENCY),
            Argument(
                ("-F", "--format"),
                "plain (p): a directory, or tar (t); without it tar for stdout and for a file whose name ends in .tar, "
                "else plain",
                parse_choice("plain", "tar", "p", "t"),
                metavar="FORMAT",
            ),
            Argument(
                ("-o", "--output"),
                "an empty or missing directory, or a new file, or - for stdout",
                default=STDOUT,
                metavar="DIR|FILE|-",
            ),
            Argument(
                ("--wal",),
                "with the WAL that the backup needs in pg_wal, so that the copy starts without an archive",
                switch=True,
            ),
            *_PLACES,
            *PRIORITY,
            _EVENTS,
            Argument(("BACKUP_NAME",), "the backup's name, or LATEST"),
        ),
        events=True,
    ),
    Command(
        "backup-list",
        "list the base backups",
        "wal_e.cli.listing:run",
        (
            Argument(
                ("--detail",),
                "look into each backup: size, where it stops, bytes added and shared, duration, checksum failures",
                switch=True,
            ),
            Argument(("--json",), "as JSON, with all details", switch=True),
            Argument(("QUERY",), "a backup's name, or LATEST: only this one", optional=True),
        ),
    ),
    Command(
        "backup-show",
        "show everything about one base backup: WAL, times, sizes, packs, tablespaces, checksum failures",
        "wal_e.cli.backup_show:run",
        (
            Argument(("--json",), "as JSON", switch=True),
            Argument(("NAME",), "the backup's name, or LATEST"),
        ),
    ),
)
