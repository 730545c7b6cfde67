"""
A stopped PostgreSQL 15 cluster cut down to a few files, so that a test can back it up and restore it hundreds of times.

initdb makes it, so pg_control and PG_VERSION are real; the files added to it are one of each shape that the format
tells apart. Nobody starts it.
"""

import hashlib
import os
import random
import shutil
import stat
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from lab.postgres import Postgres, scratch_directory
from wal_e.backup import contents, plan
from wal_e.backup.budget import Packing
from wal_e.backup.contents import BackupRequest, BackupResult
from wal_e.backup.offline import push_offline
from wal_e.backup.parent import NEWEST, ParentChoice
from wal_e.events import Event, Sink, silent
from wal_e.pg.control import read_control
from wal_e.pg.datadir import scan
from wal_e.pg.wal import SegmentName
from wal_e.repo.blockmap import BLOCK_SIZE
from wal_e.restore.run import RestoreRequest, RestoreResult, fetch_backup
from wal_e.restore.select import LATEST, BackupQuery
from wal_e.store.api import Store

PG_VERSION = 150000
SMALL_PACKS = 200_000
TABLESPACE = 16400
MADE_BY_RESTORE = frozenset({"backup_manifest", "standby.signal", "recovery.signal", "backup_label", "tablespace_map"})
Tree = dict[str, tuple[int, int, int, str]]


class Listener:
    """A sink that keeps what it hears."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    @property
    def text(self) -> str:
        words = [(getattr(event, "message", ""), getattr(event, "detail", "")) for event in self.events]
        return "\n".join(f"{message} {detail or ''}" for message, detail in words)


def shapes() -> dict[str, bytes]:
    """Files of every shape, by path; none has a name of a relation, for their pages would need checksums."""
    noise = random.Random(15).randbytes
    return {
        "base/5/empty": b"",
        "base/5/small": b"small",
        "base/5/exact": noise(3 * BLOCK_SIZE),
        "base/5/zeros": bytes(5 * BLOCK_SIZE),
        "base/5/tail": noise(2 * BLOCK_SIZE + 17),
        "base/5/sparse": noise(BLOCK_SIZE) + bytes(140 * BLOCK_SIZE) + noise(100),
        "base/5/big": noise(150 * BLOCK_SIZE + 1),
        "base/5/" + os.fsdecode(b"caf\xe9"): b"a name that is not UTF-8",
    }


def make_tiny(root: Path, tablespace: Path | None = None) -> Path:
    """Makes the cluster at `root`, with a tablespace at `tablespace` where one is given; returns `root`."""
    Postgres.create(15, root, segment_size_mb=1).close()
    for path in (*root.glob("base/*/*"), *root.glob("global/*")):
        if path.name not in {"PG_VERSION", "pg_filenode.map", "pg_control", "112", "1259", "1262"}:
            path.unlink()
    files = dict(shapes())
    if tablespace is not None:
        version = tablespace / f"PG_15_{read_control(root)[1].catalog_version}"
        (version / "5").mkdir(parents=True)
        (root / "pg_tblspc" / str(TABLESPACE)).symlink_to(tablespace)
        files[f"pg_tblspc/{TABLESPACE}/{version.name}/5/inside"] = random.Random(16).randbytes(20 * BLOCK_SIZE)
    for name, content in files.items():
        (root / name).write_bytes(content)
        (root / name).chmod(0o600)
    owner = root.stat()
    for path in (
        *root.rglob("*"),
        *(tablespace.rglob("*") if tablespace else ()),
        *([tablespace] if tablespace else ()),
    ):
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
    return root


@pytest.fixture(scope="session")
def tiny() -> Path:
    """The cluster, for tests that leave it as it is."""
    base = scratch_directory("tiny-")
    return make_tiny(base / "data")


@pytest.fixture(scope="session")
def tiny_with_tablespace() -> Path:
    """The cluster with a tablespace behind a link, for tests that leave it as it is."""
    base = scratch_directory("tiny-tablespace-")
    return make_tiny(base / "data", base / "space")


@pytest.fixture
def own_tiny(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the cluster that the test may change."""
    copy = tmp_path / "own"
    shutil.copytree(tiny, copy, symlinks=True)
    return copy


def drop_spare_wal(root: Path) -> None:
    """Deletes the WAL segments that no backup of a stopped cluster has: most of its bytes."""
    needed = expected_tree(root)
    for path in (root / "pg_wal").iterdir():
        if path.is_file() and f"pg_wal/{path.name}" not in needed:
            path.unlink()


@pytest.fixture
def quiet(own_tiny: Path) -> Path:
    """A cluster of which every file was written some time ago."""
    then = time.time_ns() - 10 * plan.QUIET_NS
    for path in own_tiny.rglob("*"):
        if path.is_file() and not path.is_symlink():
            os.utime(path, ns=(then, then))
    return own_tiny


@pytest.fixture
def settled(quiet: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, believed: nobody can set a file's ctime, so the margin is taken from the clock instead."""
    monkeypatch.setattr(plan, "QUIET_NS", -3600 * 10**9)
    return quiet


@pytest.fixture
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes every backup consist of several packs."""
    monkeypatch.setattr(contents, "share_out", lambda *_: Packing(SMALL_PACKS, 2))


def push(
    store: Store, source: Path, *, emit: Sink = silent, threads: int = 2, parent: ParentChoice = NEWEST
) -> BackupResult:
    """A backup of a stopped cluster."""
    request = BackupRequest(source, threads=threads, wal_timeout=timedelta(0), parent=parent)
    return push_offline(store, request, emit)


def fetch(store: Store, target: Path, name: str = LATEST, request: RestoreRequest | None = None) -> RestoreResult:
    """A restore of a backup to `target`."""
    wanted = replace(request or RestoreRequest(target, threads=2), data_directory=target)
    return fetch_backup(store, BackupQuery(name), wanted, silent)


def expected_tree(source: Path) -> Tree:
    """What a restore of the stopped cluster must bring back."""
    found = scan(source, pg_version=PG_VERSION)
    control = read_control(source)[1]
    segment = SegmentName.containing(control.timeline, control.redo, control.wal_segment_size)
    paths = [entry.path for entry in (found.root, *found.directories, *found.files)]
    return {path: _facts(source / path) for path in (*paths, "global/pg_control", f"pg_wal/{segment}")}


def restored_tree(target: Path) -> Tree:
    """Everything in a restored directory, links in pg_tblspc followed, but for the files that the restore made."""
    tree = {".": _facts(target)}
    for folder, folders, files in os.walk(target, followlinks=True):
        for name in (*folders, *files):
            path = Path(folder) / name
            relative = os.fspath(path.relative_to(target))
            mark = ".wal-e.unfinished." in name  # what a crash after the last rename may leave
            if not path.is_symlink() and relative not in MADE_BY_RESTORE and not mark:
                tree[relative] = _facts(path)
    return tree


def check_restorable(store: Store, source: Path, target: Path, name: str = LATEST) -> None:
    """Restores a backup and compares every byte, mode and owner with the source."""
    fetch(store, target, name)
    assert restored_tree(target) == expected_tree(source)


def _facts(path: Path) -> tuple[int, int, int, str]:
    status = path.stat()
    content = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(status.st_mode) else "directory"
    return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, content
