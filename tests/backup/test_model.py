"""
Backups of a cluster that changes at random, against a model: each one restores to what was there when it was taken.

The changes are those that a file system and PostgreSQL can make, and some that only an administrator can; backups fail
and crash on their way, older ones are deleted, and the times of files are believed or not.
"""

import contextlib
import os
import random
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.backup.tiny import Tree, drop_spare_wal, expected_tree, fetch, push, restored_tree
from tests.faults.faulty_store import ALWAYS, FaultyStore, Mode
from wal_e.backup import contents, plan
from wal_e.backup.budget import Packing
from wal_e.backup.parent import NEWEST, ParentChoice
from wal_e.errors import WalEError
from wal_e.events import silent
from wal_e.maintain.delete import execute, plan_delete
from wal_e.maintain.retention import OneBackup
from wal_e.repo.blockmap import BLOCK_SIZE
from wal_e.repo.catalogue import list_backups
from wal_e.repo.layout import LEASE_PREFIX
from wal_e.restore.run import RestoreRequest
from wal_e.store.api import Store
from wal_e.store.drivers.memory import MemoryStore

NAMES = ("base/5/a", "base/5/a.x", "base/5/b", "base/5/b0", "base/5/big", "base/1/tail", "global/c", "pg_xact/0001")
"""None is that of a relation: noise has no page checksums, and files with damaged pages are read every time."""
MODES = (0o600, 0o640, 0o400)
SIZES = (0, 1, BLOCK_SIZE, 3 * BLOCK_SIZE + 7, 16 * BLOCK_SIZE, 17 * BLOCK_SIZE, 130 * BLOCK_SIZE, 131 * BLOCK_SIZE + 1)
BELIEVED_NS = -3600 * 10**9
PACK = 150_000

names = st.sampled_from(NAMES)
modes = st.sampled_from(("fail", "cut", "flip", "lost"))
seeds = st.integers(0, 40)
"""Few, so that content comes back, in the same place and elsewhere."""


def page(seed: int, size: int = BLOCK_SIZE) -> bytes:
    """Bytes that do not compress; seed 0 gives zeros, as an extended relation has."""
    return random.Random(seed).randbytes(size) if seed else bytes(size)


def next_tick(scratch: Path) -> None:
    """Waits until the kernel stamps files with another time than before."""
    probe = scratch / "tick"
    probe.touch()
    before = probe.stat().st_ctime_ns
    while probe.stat().st_ctime_ns == before:
        probe.touch()


def delete(store: Store, name: str) -> None:
    """Deletes a backup, and what crashed runs left; raises `WalEError` where it is the last one."""
    now = datetime.now(UTC) + timedelta(days=2)  # later than any grace
    execute(store, plan_delete(store, OneBackup(name), now), silent)


class Cluster(RuleBasedStateMachine):
    """The directory is the truth; the model is a digest of it for each backup that was committed."""

    template: Path
    taken = Bundle("taken")

    def __init__(self) -> None:
        super().__init__()
        self.scratch = Path(tempfile.mkdtemp())
        self.root = self.scratch / "data"
        self.store = MemoryStore()
        self.seen: dict[str, Tree] = {}

    @initialize(believe=st.booleans())
    def begin(self, believe: bool) -> None:
        """Times are believed at once, or, as nothing here is older than the margin, not at all."""
        shutil.copytree(self.template, self.root, symlinks=True)
        plan.QUIET_NS = BELIEVED_NS if believe else 2_000_000_000  # type: ignore[misc] # a constant elsewhere

    @rule(name=names, size=st.sampled_from(SIZES), seed=seeds)
    def create(self, name: str, size: int, seed: int) -> None:
        """A new file, or an old one written anew from its beginning, with the inode that it had."""
        path = self.root / name
        if path.exists():
            path.chmod(0o600)
        path.write_bytes(page(seed, size))
        path.chmod(0o600)

    @rule(name=names, block=st.integers(0, 131), count=st.integers(1, 5), seed=seeds)
    def write_pages(self, name: str, block: int, count: int, seed: int) -> None:
        """In place or behind the end; a gap becomes a hole."""
        if self.has(name):
            with (self.root / name).open("r+b") as file:
                file.seek(block * BLOCK_SIZE)
                file.write(b"".join(page(seed and seed + n) for n in range(count)))

    @rule(name=names, share=st.floats(0, 1.5))
    def truncate(self, name: str, share: float) -> None:
        """Shorter or longer, at a byte that need not be a page's."""
        if self.has(name):
            os.truncate(self.root / name, int((self.root / name).stat().st_size * share))

    @rule(name=names, other=names, seed=seeds)
    def inode_goes_to_another_file(self, name: str, other: str, seed: int) -> None:
        """Dropped, and another of the same size created at once, with the time of the one before."""
        if self.has(name):
            was = (self.root / name).stat()
            (self.root / name).unlink()
            (self.root / other).unlink(missing_ok=True)
            (self.root / other).write_bytes(page(seed, was.st_size))
            (self.root / other).chmod(0o600)
            os.utime(self.root / other, ns=(was.st_atime_ns, was.st_mtime_ns))

    @rule(name=names)
    def drop(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)

    @rule(name=names, other=names)
    def swap(self, name: str, other: str) -> None:
        """Two files change their names: each inode lies where the other's was."""
        if name != other and self.has(name) and self.has(other):
            spare = self.root / "spare"
            (self.root / name).rename(spare)
            (self.root / other).rename(self.root / name)
            spare.rename(self.root / other)

    @rule(name=names, mode=st.sampled_from(MODES))
    def change_mode(self, name: str, mode: int) -> None:
        if self.has(name):
            (self.root / name).chmod(mode)

    @rule(name=names, seed=seeds)
    def change_behind_its_times(self, name: str, seed: int) -> None:
        """Somebody puts mtime back; nobody can do that with ctime."""
        if self.has(name):
            before = (self.root / name).stat()
            self.write_pages(name, 0, 1, seed)
            os.truncate(self.root / name, before.st_size)
            os.utime(self.root / name, ns=(before.st_atime_ns, before.st_mtime_ns))

    @rule(
        target=taken,
        choice=st.sampled_from([NEWEST, NEWEST, ParentChoice(full=True), ParentChoice(read_all=True)]),
    )
    def back_up(self, choice: ParentChoice) -> str:
        return self._take(choice)

    @rule(target=taken, name=taken)
    def back_up_from(self, name: str) -> str:
        """An older parent, whose packs may have been left behind since."""
        return self._take(ParentChoice(name=name if name in self.seen else None))

    @rule(call=st.integers(1, 25), mode=modes, dead=st.booleans())
    def back_up_in_vain(self, call: int, mode: Mode, dead: bool) -> None:
        """A fault at some call, which passes, or with which the process is gone."""
        before = self._names()
        next_tick(self.scratch)
        tree = expected_tree(self.root)
        with contextlib.suppress(WalEError):
            push(self._faulty(call, mode, dead=dead), self.root)
        self.seen |= dict.fromkeys(self._names() - before, tree)
        self._end_lease()

    @rule(name=consumes(taken))
    def delete(self, name: str) -> None:
        """The last one is kept, and one that is gone already, by a deletion whose end failed, is no backup."""
        if name in self.seen and len(self.seen) > 1:
            delete(self.store, name)
            del self.seen[name]
        else:
            with pytest.raises(WalEError):
                delete(self.store, name)

    @rule(name=taken, call=st.integers(1, 15), mode=modes, dead=st.booleans())
    def delete_in_vain(self, name: str, call: int, mode: Mode, dead: bool) -> None:
        if name in self.seen:
            with contextlib.suppress(WalEError):
                delete(self._faulty(call, mode, dead=dead), name)
            if name not in self._names():
                del self.seen[name]

    @rule(name=taken)
    def restore(self, name: str) -> None:
        if name in self.seen:
            self._check(name)

    @rule(name=taken, other=names)
    def restore_over_another(self, name: str, other: str) -> None:
        """Onto what the last restore of this kind left, in which somebody made a hole."""
        if name in self.seen:
            copy = self.scratch / "copy"
            if (copy / other).exists():
                (copy / other).chmod(0o600)
                os.truncate(copy / other, BLOCK_SIZE)
            fetch(self.store, copy, name, RestoreRequest(copy, threads=2, delta=copy.exists()))
            assert restored_tree(copy) == self.seen[name]

    @invariant()
    def no_other_backup_is_there(self) -> None:
        assert self._names() == self.seen.keys()

    def has(self, name: str) -> bool:
        return (self.root / name).exists()

    def teardown(self) -> None:
        try:
            for name in self.seen:
                self._check(name)
        finally:
            shutil.rmtree(self.scratch)

    def _take(self, choice: ParentChoice) -> str:
        next_tick(self.scratch)
        tree = expected_tree(self.root)
        name = push(self.store, self.root, parent=choice).summary.name
        self.seen[name] = tree
        return name

    def _faulty(self, call: int, mode: Mode, *, dead: bool) -> FaultyStore:
        if dead:  # what is left of the call does not depend on the mode, and all after it fails
            return FaultyStore(self.store, call=call, mode=mode if mode in {"cut", "lost"} else "fail", last=ALWAYS)
        return FaultyStore(self.store, call=call, mode=mode)

    def _end_lease(self) -> None:
        """What is said to somebody who knows that the run does not exist any more: here it is this very process."""
        self.store.delete([info.key for info in self.store.list(LEASE_PREFIX)])

    def _names(self) -> set[str]:
        return {entry.name for entry in list_backups(self.store)}

    def _check(self, name: str) -> None:
        target = self.scratch / "restored"
        fetch(self.store, target, name)
        assert restored_tree(target) == self.seen[name]
        shutil.rmtree(target)


@pytest.fixture
def model(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Cluster]:
    template = tmp_path / "template"
    shutil.copytree(tiny, template, symlinks=True)
    drop_spare_wal(template)
    for name in ("base/5/big", "base/5/sparse"):
        (template / name).unlink()
    monkeypatch.setattr(plan, "QUIET_NS", plan.QUIET_NS)  # whatever the machines set it to, it is put back
    monkeypatch.setattr(contents, "share_out", lambda *_: Packing(PACK, 2))
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    monkeypatch.setattr(Cluster, "template", template, raising=False)
    return Cluster


@pytest.mark.slow
def test_every_backup_restores_to_what_it_saw(model: type[Cluster]) -> None:
    chosen = settings(max_examples=30, stateful_step_count=25, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(model, settings=chosen)


@pytest.mark.parametrize("believe", [True, False])
def test_what_chance_may_miss(model: type[Cluster], believe: bool) -> None:
    """One of each change between two backups, then the older ones go, and the packs that nobody needs with them."""
    cluster = model()
    cluster.begin(believe)
    for name in NAMES:
        cluster.create(name, SIZES[-1], 1)
    taken = [cluster.back_up(NEWEST)]
    for change in (
        lambda: cluster.write_pages(NAMES[0], 3, 1, 7),
        lambda: cluster.write_pages(NAMES[0], 200, 1, 8),
        lambda: cluster.truncate(NAMES[1], 0.5),
        lambda: cluster.truncate(NAMES[1], 1.5),
        lambda: cluster.change_mode(NAMES[2], 0o640),
        lambda: cluster.swap(NAMES[0], NAMES[3]),
        lambda: cluster.inode_goes_to_another_file(NAMES[4], NAMES[4], 9),
        lambda: cluster.inode_goes_to_another_file(NAMES[5], NAMES[6], 9),
        lambda: cluster.change_behind_its_times(NAMES[6], 10),
        lambda: cluster.drop(NAMES[7]),
        lambda: cluster.create(NAMES[7], SIZES[-1], 1),
    ):
        change()
        taken.append(cluster.back_up(NEWEST))
    for name in taken[:-1]:
        cluster.delete(name)
        cluster.restore(taken[-1])
    cluster.teardown()
