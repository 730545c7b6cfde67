"""Whether a PostgreSQL server is set up for archiving, from what it says about itself. Pure."""

from collections.abc import Iterator
from typing import Final

from wal_e.errors import WrongCluster
from wal_e.finding import Finding, failed, failure, ok, warning
from wal_e.maintain.checkup.command import GOOD, judge_command
from wal_e.pg.answers import ArchiverStatistics, Privileges, ServerFacts
from wal_e.repo.cluster import ClusterIdentity, check_identity
from wal_e.units import MIB

NEWEST: Final = 18
"""The newest major that the tests run with."""


def judge_server(facts: ServerFacts) -> Iterator[Finding]:
    """Yields version, segment size, wal_level, archive_mode, and what archives."""
    number = facts.server_version_num
    version = f"PostgreSQL {facts.major}.{number % 10000}"
    if facts.major > NEWEST:
        yield warning("version", f"{version} is newer than this build knows", "Look for a newer release of WAL-E.")
    else:
        yield ok("version", f"{version}, {'a standby' if facts.in_recovery else 'a primary'}")
    yield ok("segment size", f"{facts.segment_size // MIB} MiB")
    if facts.wal_level == "minimal":
        hint = "ALTER SYSTEM SET wal_level = 'replica'; then restart the server."
        yield failed("wal_level", "minimal is not enough to recover from a base backup", hint)
    else:
        yield ok("wal_level", f"{facts.wal_level}")
    if facts.archive_mode == "off":
        yield failed("archive_mode", "it is off, so no WAL is archived", f"Set archive_mode = on and {GOOD}; restart.")
        return
    yield ok("archive_mode", f"{facts.archive_mode}")
    yield from _what_archives(facts)


def judge_privileges(facts: ServerFacts, privileges: Privileges) -> Finding:
    """Whether the role may take a base backup; the hint has the statements."""
    if privileges.missing:
        return failed("privileges", f"the role may not call {', '.join(privileges.missing)}", privileges.grants)
    if facts.data_directory is None:
        return warning("privileges", "the role may not read all settings", privileges.grants)
    return ok("privileges", "the role may take a base backup")


def judge_archiver(archiver: ArchiverStatistics) -> Finding:
    """Whether the archiver succeeds at the moment; failures before its last success are past."""
    if archiver.last_failed_time is None:
        return ok("archiver", f"no failure, {archiver.archived_count} files archived")
    if archiver.last_archived_time is None or archiver.last_failed_time > archiver.last_archived_time:
        return failed(
            "archiver",
            f"it fails with {archiver.last_failed_wal}, {archiver.failed_count} times so far",
            "Look for archive_command's error in the server's log.",
        )
    return ok("archiver", f"last success with {archiver.last_archived_wal}; {archiver.failed_count} failures before")


def judge_owner(identity: ClusterIdentity | None, facts: ServerFacts) -> Finding:
    """Whether the archive is this cluster's, or may become it (H27)."""
    if identity is None:
        return ok("cluster", "the archive is nobody's yet")
    try:
        check_identity(identity, facts.system_identifier)
    except WrongCluster as error:
        return failure("cluster", error)
    return ok("cluster", f"the archive is this cluster's, with system identifier {identity.system_identifier}")


def archives(facts: ServerFacts) -> bool:
    """Whether the server hands finished segments to archive_command; a standby does so in one mode only."""
    mode = "always" if facts.in_recovery else "on"
    return facts.archive_mode in {"always", mode} and bool(facts.archive_command) and not facts.archive_library


def _what_archives(facts: ServerFacts) -> Iterator[Finding]:
    if facts.archive_library:
        yield failed(
            "archive_library",
            f'"{facts.archive_library}" archives, and archive_command is not run',
            f"ALTER SYSTEM RESET archive_library; then set {GOOD}",
        )
    elif not facts.archive_command:
        yield failed("archive_command", "it is empty, so WAL piles up in pg_wal", f"Set {GOOD}; reload.")
    else:
        yield from judge_command(facts.archive_command)
