"""The commands, as a table: the parser and the reference are made from it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wal_e.cli.priority import parse_ionice
from wal_e.config import AnyOption, Option, parse_choice, parse_count
from wal_e.config.rows import DOWNLOAD_CONCURRENCY, READ_RATE_LIMIT, UPLOAD_CONCURRENCY, parse_rate
from wal_e.units import parse_duration, parse_size


@dataclass(frozen=True, slots=True)
class Argument:
    """
    One argument of a command, positional where its name has no dash.

    Arguments of one `group` exclude each other. `parse` raises `UsageError`; a `switch` takes no value, and
    what is `many` may be given several times. An `option`
    stands in where the command line does not say, and `default` where that says nothing either.
    """

    names: tuple[str, ...]
    help: str
    parse: Callable[[str], Any] = str
    default: Any = None
    metavar: str | None = None
    switch: bool = False
    optional: bool = False
    many: bool = False
    group: str | None = None
    option: AnyOption | None = None

    @property
    def positional(self) -> bool:
        """Whether it is known by its place."""
        return not self.names[0].startswith("-")

    @property
    def attribute(self) -> str:
        """Where argparse puts its value."""
        return self.names[-1].lstrip("-").replace("-", "_")


@dataclass(frozen=True, slots=True)
class Command:
    """
    One command; `run` names the module and function that do it, imported when it is called.

    `loud` commands announce themselves in the log; those that PostgreSQL calls for every segment do not. Those with
    `events` write them as JSON where `--json` is given.
    """

    name: str
    help: str
    run: str
    arguments: tuple[Argument, ...] = ()
    children: tuple["Command", ...] = ()
    loud: bool = True
    events: bool = False


def _pool_size(default: int, help_text: str, option: Option[int | None] | None = None) -> Argument:
    return Argument(("-p", "--pool-size"), help_text, parse_count(1, 256), default, "NUMBER", option=option)


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
_DELETE: Final = "wal_e.cli.deletion"

COMMANDS: Final = (
    Command("version", "print the version", "wal_e.cli.version:run", loud=False),
    Command(
        "backup-push",
        "take a base backup",
        "wal_e.cli.backup:run",
        (
            _pool_size(4, "how many threads read and compress", UPLOAD_CONCURRENCY),
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
            _pool_size(4, "how many threads fetch and write", DOWNLOAD_CONCURRENCY),
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
            _pool_size(4, "how many threads fetch", DOWNLOAD_CONCURRENCY),
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
    Command(
        "wal-push",
        "archive a WAL file: archive_command",
        "wal_e.cli.wal:push",
        (
            _pool_size(32, "how many files the agent has under way at once, as its memory allows", UPLOAD_CONCURRENCY),
            Argument(("WAL_SEGMENT",), "the file, %p in archive_command", Path),
        ),
        loud=False,
    ),
    Command(
        "wal-fetch",
        "bring a WAL file back: restore_command",
        "wal_e.cli.wal:fetch",
        (
            Argument(
                ("-p", "--prefetch"),
                "how many segments the agent is ahead at most, as its memory allows; 0: none",
                parse_count(0),
                8,
                "NUMBER",
                option=DOWNLOAD_CONCURRENCY,
            ),
            Argument(
                ("--end-at-gap",),
                "let a recovery end before a segment that is missing although later ones are stored; all that comes "
                "after the gap is lost",
                switch=True,
            ),
            Argument(("WAL_SEGMENT",), "the file's name, %f in restore_command"),
            Argument(("WAL_DESTINATION",), "where it goes, %p in restore_command", Path),
        ),
        loud=False,
    ),
    Command(
        "wal-show",
        "show by timeline which WAL the archive holds: ranges, gaps, sizes, times",
        "wal_e.cli.wal_report:show",
        (
            Argument(
                ("--timeline",), "only this timeline, a decimal number", parse_count(1, 0xFFFFFFFF), metavar="NUMBER"
            ),
            Argument(("--json",), "as JSON", switch=True),
        ),
    ),
    Command(
        "wal-verify",
        "verify that the WAL is there that recoveries need, from the oldest base backup to the newest segment (exit "
        "code 1: something is missing or damaged, or there is no backup)",
        "wal_e.cli.wal_report:verify",
        (
            _pool_size(4, "how many files are read at once, with --read"),
            Argument(("--read",), "read every file to its end too: decompress and check it", switch=True),
            Argument(("--json",), "as JSON", switch=True),
        ),
    ),
    Command(
        "delete",
        "delete backups, and WAL that no backup needs",
        "",
        (
            Argument(("-n", "--dry-run"), "only tell what would be deleted, even with --confirm", switch=True),
            Argument(("--confirm",), "really delete; without it nothing is", switch=True),
        ),
        children=(
            Command(
                "before",
                "delete what is older than a backup, or a WAL segment",
                f"{_DELETE}:before",
                (Argument(("NAME",), "a backup's name, or a segment's"),),
            ),
            Command(
                "retain",
                "delete all but the newest backups",
                f"{_DELETE}:retain",
                (Argument(("NUM",), "how many backups stay", parse_count(1)),),
            ),
            Command(
                "backup",
                "delete one backup; what other backups need of it stays",
                f"{_DELETE}:backup",
                (Argument(("NAME",), "the backup's name"),),
            ),
            Command("old-versions", "delete what the layouts of very early WAL-E left", f"{_DELETE}:old_versions"),
            Command("everything", "delete the whole archive", f"{_DELETE}:everything"),
        ),
    ),
    Command(
        "config",
        "show the settings that are in effect, and who set each (exit code 1: something is wrong with them)",
        "wal_e.cli.settings:run",
        (
            Argument(("--all",), "those of stores that are not in use, too", switch=True),
            Argument(
                ("--from-environment",),
                "instead, look over the variables: unknown ones, ones that contradict each other or have no effect",
                switch=True,
            ),
            Argument(("--json",), "as JSON", switch=True),
        ),
        loud=False,
    ),
    Command(
        "check",
        "try what archiving needs: the store, each permission, PostgreSQL, and a segment's way into the archive (exit "
        "code 1: something failed)",
        "wal_e.cli.check:run",
        (
            Argument(
                ("--no-store",), "leave the store alone, and with it the segment's way into the archive", switch=True
            ),
            Argument(("--no-postgres",), "leave PostgreSQL alone, and with it the segment's way", switch=True),
            Argument(
                ("--no-switch",), "do not switch to a new segment and wait for the old one in the archive", switch=True
            ),
            Argument(
                ("--timeout",),
                "how long a segment may take into the archive",
                parse_duration,
                parse_duration("1min"),
                "DURATION",
            ),
            Argument(("--create",), "create the container or folder first where it is missing", switch=True),
            Argument(("--strict",), "take warnings for failures", switch=True),
            Argument(
                ("--policy",),
                "instead, print the least rights that the archive's user needs; asks nobody",
                switch=True,
                group="output",
            ),
            Argument(
                ("--nagios",),
                "one line and the exit codes that Nagios understands: 0, 1 for warnings, 2 for failures",
                switch=True,
                group="output",
            ),
            Argument(("--json",), "as JSON", switch=True, group="output"),
        ),
        loud=False,
    ),
    Command(
        "agent",
        "the process in the background that answers wal-push and wal-fetch",
        "",
        children=(
            Command(
                "run",
                "be the agent of this configuration, until it is idle or told to stop",
                "wal_e.cli.agent:run",
                (
                    Argument(
                        ("--ready-fd",),
                        "a file descriptor to which a byte is written when it can be asked",
                        parse_count(3),
                        metavar="NUMBER",
                    ),
                ),
            ),
            Command(
                "status",
                "tell whether an agent runs for this configuration (exit code 1: none), and what it does",
                "wal_e.cli.agent:status",
                (Argument(("--json",), "as JSON", switch=True),),
                loud=False,
            ),
            Command(
                "stop",
                "have the agent of this configuration end, once it has finished what is under way",
                "wal_e.cli.agent:stop",
                loud=False,
            ),
        ),
    ),
)
