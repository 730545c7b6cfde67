"""
A base backup of a cluster that was shut down: no server, no WAL archiving, a copy that starts by itself.

The segment with the shutdown checkpoint goes along in `pg_wal`: nobody archives it, and without it the copy
could not start.
"""

import os
from datetime import UTC, datetime

from wal_e.backup.contents import BackupRequest, BackupResult, Copy, NewBackup, build_manifest, copy_files, report
from wal_e.backup.run import free_name
from wal_e.errors import DataDirectoryError
from wal_e.events import Message, Sink
from wal_e.pg.control import ControlData, State, read_control
from wal_e.pg.datadir import is_there, read_major
from wal_e.pg.wal import Lsn, SegmentName
from wal_e.repo.catalogue import commit
from wal_e.repo.cluster import ensure_identity
from wal_e.repo.lease import Lease
from wal_e.repo.manifest import Summary, Tablespace
from wal_e.store.api import Store


def push_offline(store: Store, request: BackupRequest, emit: Sink) -> BackupResult:
    """
    Takes and commits a base backup of a stopped cluster.

    Raises `DataDirectoryError` where the cluster runs, was not shut down cleanly, or was started meanwhile, and
    `LeaseHeld` where another backup or a deletion has the archive.
    """
    with Lease(store, "backup-push", emit) as lease:
        return _push(store, request, emit, lease)


def _push(store: Store, request: BackupRequest, emit: Sink, lease: Lease) -> BackupResult:
    control = _stopped(request)
    identity = ensure_identity(store, control.system_identifier)
    lease.acquire()
    segment = SegmentName.containing(control.timeline, control.redo, control.wal_segment_size)
    name = free_name(store, control.timeline, control.redo, control.wal_segment_size, standby=False)
    started = datetime.now(UTC)
    emit(Message("wal_e.backup.run", "start base backup", detail=f'The backup is "{name}".', fields={"name": name}))
    major = read_major(request.data_directory)
    new = NewBackup(name, identity.digest_seed, major * 10000)
    copy = copy_files(store, request, new, lease.watched(emit), extra=[f"pg_wal/{segment}"])
    if _stopped(request) != control:
        raise DataDirectoryError(
            "the cluster was started during the backup",
            hint="Leave out --while-offline to back up a running cluster.",
        )
    summary = _summary(name, request, control, started, copy, major)
    lease.check()
    commit(store, build_manifest(summary, copy, "", ""))
    report(summary, copy, emit)
    return BackupResult(summary)


def _stopped(request: BackupRequest) -> ControlData:
    directory = request.data_directory
    control = read_control(directory)[1]
    clean = control.state in {State.SHUT_DOWN, State.SHUT_DOWN_IN_RECOVERY}
    locked = is_there(directory / "postmaster.pid")
    if locked or not clean:
        raise DataDirectoryError(
            f'the cluster in "{directory}" was not shut down cleanly',
            detail=f"postmaster.pid {'is' if locked else 'is not'} there, "
            f"and pg_control says {control.state.name.lower().replace('_', ' ')}.",
            hint="Stop it with pg_ctl stop, or leave out --while-offline.",
        )
    return control


def _summary(
    name: str, request: BackupRequest, control: ControlData, started: datetime, copy: Copy, major: int
) -> Summary:
    return Summary(
        name=name,
        system_identifier=control.system_identifier,
        pg_version=major * 10000,
        segment_size=control.wal_segment_size,
        timeline=control.timeline,
        start_lsn=control.redo,
        stop_lsn=Lsn(control.checkpoint + 1),
        start_time=started,
        stop_time=datetime.now(UTC),
        stop_xmax=control.next_xid,
        from_standby=control.state is State.SHUT_DOWN_IN_RECOVERY,
        offline=True,
        data_directory=os.fspath(request.data_directory),
        size=copy.size,
        stored=copy.stored,
        tablespaces=tuple(Tablespace(t.oid, t.location) for t in copy.scan.tablespaces),
        label="",
        checksum_failures=copy.bad_pages,
        parent=copy.parent,
        shared=copy.shared,
    )
