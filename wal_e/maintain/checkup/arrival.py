"""A segment's way: the server ends one, archive_command takes it, and it is in the archive before a deadline."""

from datetime import timedelta

from wal_e.backup.archived import wait_for_wal
from wal_e.backup.checks import archiver_trouble
from wal_e.errors import WalEError, WalMissing
from wal_e.events import Sink
from wal_e.finding import Finding, failed, failure, ok, skipped
from wal_e.maintain.checkup.server import archives
from wal_e.pg.server import Server, ServerFacts
from wal_e.pg.wal import SegmentName
from wal_e.repo.wal import read_header
from wal_e.store.api import Store


def try_arrival(server: Server, store: Store, facts: ServerFacts, timeout: timedelta, emit: Sink) -> Finding:
    """
    Makes the server switch to a new segment and waits for the old one in the archive.

    Writes one message to the WAL, for a segment without a record would not be switched. On a standby, and where the
    server archives nothing, it is skipped with the reason.
    """
    if facts.in_recovery:
        return skipped("arrival", "a standby ends no segment; run this on the primary")
    if not archives(facts):
        return skipped("arrival", "the server runs no archive_command")
    try:
        server.emit_message("wal-e check")
        last = server.switch_wal() - 1
        segment = SegmentName.containing(facts.timeline, last, facts.segment_size)
        return _awaited(server, store, segment, timeout, emit, facts.system_identifier)
    except WalEError as error:
        return failure("arrival", error)


def _awaited(
    server: Server, store: Store, segment: SegmentName, timeout: timedelta, emit: Sink, system_identifier: int
) -> Finding:
    try:
        wait_for_wal(store, [segment], timeout, emit, explain=lambda: None)
    except WalMissing:
        said = archiver_trouble(server) or "The archiver reports no failure."
        return failed(
            "arrival",
            f"{segment} did not come into the archive within {timeout.total_seconds():g} s",
            f"{said} Look for archive_command's error in the server's log.",
        )
    if read_header(store, str(segment)).system_identifier != system_identifier:
        return failed(
            "arrival",
            f"what the archive has as {segment} is of another cluster",
            "Give each cluster a prefix of its own.",
        )
    return ok("arrival", f"{segment} is in the archive")
