"""Copies of the small cluster that went wrong in every way that a delta restore must mend."""

import os
import shutil
from pathlib import Path

from tests.backup.tiny import TABLESPACE
from wal_e.pg.control import read_control
from wal_e.pg.wal import SegmentName
from wal_e.repo.blockmap import BLOCK_SIZE

CHANGED = "base/5/big"
_NEEDED = frozenset(
    {"PG_VERSION", "base", "global", "pg_notify", "pg_serial", "pg_tblspc", "pg_wal", "pg_xact", "5", "archive_status"}
)
STRANGE = ("standby.signal", "backup_label", "pg_wal/000000010000000000000007", "base/77/1", "base/5/none", "log/x")


def copy_of(source: Path, place: Path) -> Path:
    """A copy as cp -a makes one, at `place`/data, with a tablespace of its own at `place`/space where there is one."""
    target = place / "data"
    shutil.copytree(source, target, symlinks=True)
    for link in (target / "pg_tblspc").glob(str(TABLESPACE)):
        shutil.copytree(link.resolve(), place / "space", symlinks=True)
        link.unlink()
        link.symlink_to(place / "space")
    for path in (target, *target.rglob("*"), *(place / "space").rglob("*")):
        os.chown(path, source.stat().st_uid, source.stat().st_gid, follow_symlinks=False)
    return target


def bare(source: Path, place: Path) -> Path:
    """A copy with little more than what `damage` changes and what a backup cannot do without."""
    target = copy_of(source, place)
    control = read_control(target)[1]
    segment = str(SegmentName.containing(control.timeline, control.redo, control.wal_segment_size))
    for path in (*target.iterdir(), *(target / "base").iterdir(), *(target / "pg_wal").iterdir()):
        if path.name in _NEEDED or path.name == segment:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return target


def damage(target: Path) -> Path:
    """Changes, shortens, lengthens, removes, adds, links and chmods files and directories; returns the target."""
    base = target / "base/5"
    for block in (0, 7, 8, 130, 150):
        _write(base / "big", block * BLOCK_SIZE, b"changed")
    _write(base / "zeros", BLOCK_SIZE, b"no longer zeros")
    _write(base / "sparse", 100 * BLOCK_SIZE, b"in a hole")
    _write(base / "exact", 3 * BLOCK_SIZE, b"longer than it was")
    os.truncate(base / "tail", BLOCK_SIZE + 1)
    (base / "small").unlink()
    (base / "empty").chmod(0o644)
    (base / "112").unlink(missing_ok=True)
    (base / "112").symlink_to(base / "big")
    (base / "1259").unlink()
    (base / "1259").mkdir()
    for name in STRANGE:
        (target / name).parent.mkdir(exist_ok=True)
        (target / name).write_bytes(b"strange")
    shutil.rmtree(target / "pg_notify")
    shutil.rmtree(target / "pg_serial")
    (target / "pg_serial").symlink_to(target / "base")
    (target / "pg_xact").chmod(0o755)
    (target / "pg_tblspc/999").symlink_to(target / "base")
    for inside in (target / "pg_tblspc" / str(TABLESPACE)).glob("PG_15_*/5"):
        _write(inside / "inside", 3 * BLOCK_SIZE, b"changed")
        (inside / "strange").write_bytes(b"strange")
    return target


def _write(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)
