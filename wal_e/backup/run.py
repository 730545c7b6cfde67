"""
Taking a base backup of a running cluster: start, copy, stop, wait for the WAL, commit.

Nothing that a reader can see happens before the manifest is written; a run that dies leaves packs that no
manifest names. The server ends its backup mode by itself when our session ends.
"""

import os
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from wal_e.backup.archived import wait_for_wal
from wal_e.backup.checks import archiver_trouble, check_same_directory, check_server
from wal_e.backup.contents import BackupRequest, BackupResult, Copy, NewBackup, build_manifest, copy_files, report
from wal_e.backup.watch import watching
from wal_e.events import Message, Sink
from wal_e.pg.server import BackupStart, BackupStop, Server, ServerFacts
from wal_e.pg.wal import SegmentName
from wal_e.repo.catalogue import commit, name_is_taken
from wal_e.repo.cluster import ensure_identity
from wal_e.repo.layout import backup_name
from wal_e.repo.lease import Lease
from wal_e.repo.manifest import Database, Summary, Tablespace
from wal_e.store.api import Store


@dataclass(frozen=True, slots=True)
class _Session:
    """What the server said from beginning to end."""

    facts: ServerFacts
    label: str
    start: BackupStart
    stop: BackupStop


def push_backup(store: Store, request: BackupRequest, emit: Sink) -> BackupResult:
    """
    Takes a base backup of a running cluster and commits it; what the archive has already is not stored again.

    Raises `ServerError` or `DataDirectoryError` before anything is stored where server and directory do not belong
    together or WAL archiving is off, `WrongCluster` where the archive is another cluster's, and `WalMissing` where
    the needed WAL does not arrive in time, `LeaseHeld` where another backup or a deletion has the archive.
    """
    with Lease(store, "backup-push", emit) as lease:
        return _push(store, request, emit, lease)


def _push(store: Store, request: BackupRequest, emit: Sink, lease: Lease) -> BackupResult:
    with Server.connect() as server:
        facts = server.identify()
        check_server(facts, request.data_directory)
        identity = ensure_identity(store, facts.system_identifier)
        lease.acquire()
        label = f"freeze_start_{datetime.now(UTC).isoformat()}"
        start = server.start_backup(label)
        check_same_directory(request.data_directory, start)
        name = free_name(store, start.timeline, start.lsn, facts.segment_size, standby=start.in_recovery)
        emit(Message(__name__, "start base backup", detail=f'The backup is "{name}".', fields={"name": name}))
        new = NewBackup(name, identity.digest_seed, facts.server_version_num)
        copy = copy_files(store, request, new, watching(server, lease.watched(emit)))
        databases = tuple(Database(oid, datname) for oid, datname in server.databases())
        stop = server.stop_backup()
        summary = _summary(name, request, _Session(facts, label, start, stop), copy)
        wait_for_wal(
            store,
            summary.segments(),
            request.wal_timeout,
            emit,
            standby=start.in_recovery,
            explain=lambda: archiver_trouble(server),
        )
    manifest = build_manifest(summary, copy, _text(stop.backup_label), _text(stop.tablespace_map))
    lease.check()
    commit(store, replace(manifest, databases=databases))
    report(summary, copy, emit)
    return BackupResult(summary)


def free_name(store: Store, timeline: int, start: int, segment_size: int, *, standby: bool) -> str:
    """
    A name that no other backup has.

    Start positions on a primary are unique, for each backup makes a checkpoint; standby backups may share one
    (H24), and get a random suffix from the beginning, because two that run at once cannot see each other.
    """
    segment = SegmentName.containing(timeline, start, segment_size)
    name = backup_name(segment, start)
    if standby or name_is_taken(store, name):
        return backup_name(segment, start, secrets.token_hex(4))
    return name


def _summary(name: str, request: BackupRequest, session: _Session, copy: Copy) -> Summary:
    facts, start, stop = session.facts, session.start, session.stop
    return Summary(
        name=name,
        system_identifier=facts.system_identifier,
        pg_version=facts.server_version_num,
        segment_size=facts.segment_size,
        timeline=start.timeline,
        start_lsn=start.lsn,
        stop_lsn=stop.lsn,
        start_time=start.time,
        stop_time=stop.time,
        stop_xmax=stop.xmax,
        from_standby=start.in_recovery,
        offline=False,
        data_directory=os.fspath(request.data_directory),
        size=copy.size,
        stored=copy.stored,
        tablespaces=tuple(Tablespace(t.oid, t.location) for t in copy.scan.tablespaces),
        label=session.label,
        checksum_failures=copy.bad_pages,
        parent=copy.parent,
        shared=copy.shared,
    )


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
