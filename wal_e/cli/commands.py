"""The commands, as a table: the parser and the reference are made from it."""

from pathlib import Path
from typing import Final

from wal_e.cli.backup_commands import BACKUP_COMMANDS
from wal_e.cli.command import Argument, Command, pool_size
from wal_e.config import parse_count
from wal_e.config.rows import DOWNLOAD_CONCURRENCY, UPLOAD_CONCURRENCY
from wal_e.units import parse_duration

_DELETE: Final = "wal_e.cli.deletion"

COMMANDS: Final = (
    Command("version", "print the version", "wal_e.cli.version:run", loud=False),
    *BACKUP_COMMANDS,
    Command(
        "wal-push",
        "archive a WAL file: archive_command",
        "wal_e.cli.wal:push",
        (
            pool_size(32, "how many files the agent has under way at once, as its memory allows", UPLOAD_CONCURRENCY),
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
            pool_size(4, "how many files are read at once, with --read"),
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
