"""What the fault tests do with an archive, and what must be true of it afterwards, however it ended."""

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

from tests.backup.tiny import expected_tree, fetch, push, restored_tree
from tests.faults.service import Archive
from tests.wal.asking import RECOVERY
from tests.wal.material import CLUSTER, FIRST, segment, write_segment
from wal_e.events import silent
from wal_e.maintain.delete import execute, plan_delete
from wal_e.maintain.retention import Retain
from wal_e.pg.wal import SegmentName
from wal_e.repo.catalogue import list_backups
from wal_e.repo.cluster import ensure_identity
from wal_e.repo.layout import LEASE_PREFIX
from wal_e.repo.source import Source
from wal_e.repo.wal import get_wal, put_wal
from wal_e.store.api import Body, Store, read_object
from wal_e.store.drivers.memory import MemoryStore
from wal_e.wal.fetch import Absent, Fetched, fetch_file
from wal_e.wal.push import PushOptions, push_file

LATER = SegmentName(1, FIRST.number + 1, FIRST.segment_size)


@dataclass
class Operation:
    """
    One operation on an archive that `prepare` filled past the proxy; `scratch` is an empty directory.

    `run` does it and checks what it returned; `check_failed` looks at what it left where it raised. Where the archive
    is `shared`, `renew` brings it back to what it was before each further run. `denied` says that one answer will claim
    that an object is not there, though it is.
    """

    archive: Archive
    scratch: Path
    source: Path
    denied: bool = False
    shared: ClassVar[bool] = False

    def prepare(self) -> None:
        """Fill the archive."""

    def renew(self) -> None:
        """Bring the archive back to what it was; nothing where the operation only reads."""

    def run(self, store: Store) -> None:
        """Do it."""
        raise NotImplementedError

    def check_failed(self) -> None:
        """Nothing wrong is there, and the operation goes right once the service does."""
        raise NotImplementedError


class WalPush(Operation):
    """`wal-push`: when it returned, the content is there; a repeat knows its own object, and no other is ever there."""

    def run(self, store: Store) -> None:
        push_file(store, write_segment(self.scratch), PushOptions(), silent)
        self._check_stored()

    def check_failed(self) -> None:
        beside = self.archive.beside()
        keys = {info.key for info in beside.list()}
        assert keys <= {"cluster.json", f"wal_005/{FIRST}.zst"}
        push_file(beside, self.scratch / str(FIRST), PushOptions(), silent)
        self._check_stored()

    def _check_stored(self) -> None:
        assert b"".join(get_wal(self.archive.beside(), str(FIRST))) == segment(FIRST)


class WalPushAgain(WalPush):
    """The same where the archive has the segment: PostgreSQL repeats archive_command after a crash."""

    def prepare(self) -> None:
        push_file(self.archive.beside(), write_segment(self.scratch), PushOptions(), silent)


class WalFetch(Operation):
    """`wal-fetch` of a segment that is there: it is never called absent, and never half there."""

    shared = True

    def prepare(self) -> None:
        store = self.archive.beside()
        ensure_identity(store, CLUSTER)
        for name in (FIRST, LATER):
            put_wal(store, str(name), Source.of(write_segment(self.scratch, name)))

    def run(self, store: Store) -> None:
        destination = self.scratch / "RECOVERYXLOG"
        outcome = fetch_file(store, str(FIRST), destination, RECOVERY, silent)
        assert isinstance(outcome, Fetched)
        assert destination.read_bytes() == segment(FIRST)
        destination.unlink()

    def check_failed(self) -> None:
        assert not list(self.scratch.glob("*RECOVERYXLOG*"))


class WalFetchAbsent(WalFetch):
    """`wal-fetch` of what is not there: absent, or an error, and never a file."""

    def run(self, store: Store) -> None:
        name = SegmentName(1, LATER.number + 1, FIRST.segment_size)
        outcome = fetch_file(store, str(name), self.scratch / "RECOVERYXLOG", RECOVERY, silent)
        assert isinstance(outcome, Absent)
        self.check_failed()


class BackupPush(Operation):
    """`backup-push` of a small stopped cluster: no backup that can be seen is less than whole."""

    def run(self, store: Store) -> None:
        push(store, self.source)
        self._check(at_least=1)

    def check_failed(self) -> None:
        self._check(at_least=0)
        push(_without_lease(self.archive.beside()), self.source)
        self._check(at_least=1)

    def _check(self, *, at_least: int) -> None:
        archive = self.archive.copy()
        names = [entry.name for entry in list_backups(archive)]
        assert len(names) >= at_least
        for name in names:
            target = self.scratch / f"restored-{name}"
            fetch(archive, target, name)
            assert restored_tree(target) == expected_tree(self.source)
            shutil.rmtree(target)


class BackupFetch(Operation):
    """`backup-fetch`: the right files, or nothing that a server would start on."""

    shared = True

    def prepare(self) -> None:
        push(self.archive.beside(), self.source)
        self.copy = self.archive.copy()

    def run(self, store: Store) -> None:
        target = self.scratch / "data"
        fetch(store, target)
        assert restored_tree(target) == expected_tree(self.source)
        shutil.rmtree(target)

    def check_failed(self) -> None:
        target = self.scratch / "data"
        assert not (target / "global" / "pg_control").exists()
        fetch(self.copy, target)
        assert restored_tree(target) == expected_tree(self.source)
        shutil.rmtree(target)


class Delete(Operation):
    """`delete retain 1` of two backups and WAL: what is kept is never touched, and a repeat finishes."""

    shared = True

    def prepare(self) -> None:
        self.whole, self.kept = MemoryStore(), MemoryStore()
        for _ in range(2):
            push(self.whole, self.source)
        for number in range(3):
            self.whole.put(f"wal_005/{SegmentName(1, number, FIRST.segment_size)}.zst", Body.of(b"old"))
        self.renew()
        copy(self.whole, self.kept)
        delete(self.kept)

    def renew(self) -> None:
        copy(self.whole, self.archive.beside(), there=self._keys())

    def run(self, store: Store) -> None:
        delete(store)
        left, kept = self._keys(), {info.key for info in self.kept.list()}
        if self.denied and left > kept:
            delete(self.archive.beside())  # an object that is said to be gone is not deleted, until the next time
            left = self._keys()
        assert left == kept

    def check_failed(self) -> None:
        assert self._keys() >= {info.key for info in self.kept.list()}
        self.run(_without_lease(self.archive.beside()))

    def _keys(self) -> set[str]:
        return {info.key for info in self.archive.beside().list()}


def copy(source: Store, target: Store, there: Collection[str] = ()) -> None:
    """Copy the objects that are not there."""
    for info in source.list():
        if info.key not in there:
            target.put(info.key, Body.of(read_object(source, info.key)))


def _without_lease(store: Store) -> Store:
    """The archive, without a lease that an outage kept a run from releasing: its process would be gone, ours is not."""
    store.delete([info.key for info in store.list(LEASE_PREFIX)])
    return store


def delete(store: Store) -> None:
    """Keep the newest backup and what it needs."""
    later = datetime.now(UTC) + timedelta(days=3)
    execute(store, plan_delete(store, Retain(1), later), silent)
