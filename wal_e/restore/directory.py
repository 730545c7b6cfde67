"""
The directory that a restore fills: what must be true before, and how a restore that died is recognised.

`global/pg_control.wal-e` exists from the first moment to the last: it becomes pg_control by a rename, which is the
one step that makes the directory a cluster. A directory that has it, and no pg_control, is an unfinished restore of
ours: it was empty when we began, so it is emptied and filled anew.

A delta restore begins where a cluster is: it renames pg_control to the mark, which ends the cluster in one step and
keeps its identity for the run that goes on where this one died.
"""

import fcntl
import os
import pwd
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wal_e.errors import DataDirectoryError
from wal_e.fsio import fsync_directory, write_atomically
from wal_e.pg.control import CONTROL_PATH
from wal_e.pg.running import served_directories

UNFINISHED_PATH: Final = CONTROL_PATH + ".wal-e"
UNFINISHED: Final = b"unfinished\n"
"""What the mark of a fresh restore says."""
_MARK: Final = ".wal-e.unfinished."
"""
Beside a tablespace's version directory, followed by its name: a restore is filling it, it was absent or empty before.

The mark holds the path of the data directory, so that no restore empties what another one filled. It goes after
pg_control came: a crash in between leaves a file that nobody minds.
"""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who shall own what is restored."""

    uid: int
    gid: int


def prepare(target: Path, mode: int) -> None:
    """
    Makes `target` an empty directory, marked as an unfinished restore.

    Links in its pg_tblspc may stay, for they say where tablespaces go. Raises `DataDirectoryError` where a server
    runs in it, or where it holds anything that an earlier restore of ours did not leave (H49).
    """
    try:
        refuse_used(target)
        if target.exists():
            _empty(target)
        target.mkdir(mode=mode, parents=True, exist_ok=True)
        target.chmod(mode)
        (target / "global").mkdir(mode=mode, exist_ok=True)
        write_atomically(target / UNFINISHED_PATH, [UNFINISHED])
    except OSError as error:
        raise unusable(target, error) from error


def begin_over(target: Path) -> None:
    """
    Makes the cluster in `target` an unfinished restore, durably: from here on it cannot be started (H49).

    Where an earlier run did so and died, nothing happens.
    """
    try:
        if (target / CONTROL_PATH).exists():
            (target / CONTROL_PATH).replace(target / UNFINISHED_PATH)
        fsync_directory((target / UNFINISHED_PATH).parent)
    except OSError as error:
        raise unusable(target, error) from error


@contextmanager
def claimed(target: Path) -> Iterator[None]:
    """Keeps a second restore out of a directory that exists, as long as the block lasts."""
    try:
        descriptor = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise unusable(target, error) from error
    try:
        _lock(descriptor, target)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, target: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DataDirectoryError(
            f'another restore is working in "{target}"', hint="Wait for it, or end it, before you begin another one."
        ) from None
    except OSError as error:
        raise unusable(target, error) from error


def is_unfinished(target: Path) -> bool:
    """Whether the directory is a restore of ours that did not come to its end."""
    return (target / UNFINISHED_PATH).exists() and not (target / CONTROL_PATH).exists()


def publish_control(target: Path, content: bytes, mode: int, owner: Owner | None) -> None:
    """The last step of a restore: pg_control appears under its name, whole and durable."""
    unfinished = target / UNFINISHED_PATH
    write_atomically(unfinished, [content])
    unfinished.chmod(mode)
    give(unfinished, owner)
    unfinished.replace(target / CONTROL_PATH)
    fsync_directory((target / CONTROL_PATH).parent)


def mark_version(version: Path, target: Path) -> None:
    """Says durably that a tablespace's version directory is being filled for the data directory `target`."""
    write_atomically(_mark_of(version), [os.fsencode(target)])


def unmark_version(version: Path) -> None:
    """Takes the mark away, once the restore is complete."""
    _mark_of(version).unlink(missing_ok=True)


def give(path: Path, owner: Owner | None) -> None:
    """Gives a file, directory or link to its owner."""
    if owner is not None:
        os.chown(path, owner.uid, owner.gid, follow_symlinks=False)


def check_space(places: Iterable[tuple[Path, int]]) -> None:
    """Raises `DataDirectoryError` where a file system has less room than the bytes that will go to it (H52)."""
    wanted: dict[int, tuple[Path, int]] = {}
    for place, size in places:
        existing = next(path for path in (place, *place.parents) if path.exists())
        device = existing.stat().st_dev
        wanted[device] = (existing, wanted.get(device, (existing, 0))[1] + size)
    for path, size in wanted.values():
        free = shutil.disk_usage(path).free
        if free < size:
            raise DataDirectoryError(
                f'there is not enough room at "{path}"',
                detail=f"The restore writes up to {size} bytes, {free} are free.",
                hint="Free some, or restore to another file system.",
            )


def choose_owner(target: Path, recorded: tuple[str, str]) -> Owner | None:
    """
    The owner to give files to, or None where whoever restores owns them.

    Only root can give files away: to the owner of an existing target, else to the user recorded in the backup.
    """
    if os.geteuid() != 0:
        return None
    if target.exists() and target.stat().st_uid != 0:
        return Owner(target.stat().st_uid, target.stat().st_gid)
    try:
        entry = pwd.getpwnam(recorded[0])
    except KeyError:
        raise DataDirectoryError(
            f'this host has no user "{recorded[0]}" to own the restored files',
            hint="PostgreSQL does not run as root: run wal-e backup-fetch as the user that runs the server.",
        ) from None
    return Owner(entry.pw_uid, entry.pw_gid)


def unusable(path: Path, error: OSError) -> DataDirectoryError:
    """The error for a directory or file that cannot be written."""
    return DataDirectoryError(
        f'could not write to "{error.filename or path}": {error.strerror}',
        hint="Check space, permissions and the file system; the same command begins again where nothing else helps.",
    )


def refuse_used(target: Path) -> None:
    """Raises `DataDirectoryError` where the target is in use, or holds what no restore of ours left (H49)."""
    if not target.exists():
        return
    if not target.is_dir():
        raise DataDirectoryError(f'"{target}" is not a directory', hint="Name an empty or missing directory.")
    refuse_running(target)
    if not is_unfinished(target) and not all(_only_links(entry) or _only_begun(entry) for entry in target.iterdir()):
        raise DataDirectoryError(
            f'"{target}" is not empty', hint="Move its content away, or name an empty or missing directory."
        )


def refuse_running(target: Path) -> None:
    """Raises `DataDirectoryError` where a server works in the directory, or may do so (H49)."""
    if os.path.lexists(target / "postmaster.pid"):
        raise DataDirectoryError(
            f'a server may be running in "{target}"',
            detail="postmaster.pid is there.",
            hint="Stop it with pg_ctl stop, and restore to an empty directory. If no server runs, not in a container "
            "or on another host either, the file is a crash's: remove it.",
        )
    if any(_same(target, served) for served in served_directories()):
        raise DataDirectoryError(
            f'a server is running in "{target}"',
            detail="A process of PostgreSQL has it as its working directory, although postmaster.pid is not there.",
            hint="Find it with ps, and stop it with kill -INT.",
        )


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _only_links(entry: Path) -> bool:
    """Whether an entry is a pg_tblspc that holds nothing but links, prepared to say where tablespaces go."""
    is_plain = entry.is_dir() and not entry.is_symlink()
    return entry.name == "pg_tblspc" and is_plain and all(path.is_symlink() for path in entry.iterdir())


def _only_begun(entry: Path) -> bool:
    """Whether an entry is a `global` without anything but a beginning of our own mark: a restore died right then."""
    is_plain = entry.name == "global" and entry.is_dir() and not entry.is_symlink()
    return is_plain and all(path.name.startswith(f".{Path(UNFINISHED_PATH).name}.") for path in entry.iterdir())


def _empty(target: Path) -> None:
    """Removes what an unfinished restore left; links in pg_tblspc stay, and the mark goes last of all."""
    kept = {target / "pg_tblspc", target / "global"}
    for entry in target.iterdir():
        if entry not in kept:
            _remove(entry)
    for entry in _children(target / "pg_tblspc"):
        _empty_tablespace(entry, target)
    for entry in _children(target / "global"):
        if entry.name != Path(UNFINISHED_PATH).name:
            _remove(entry)


def _empty_tablespace(entry: Path, target: Path) -> None:
    if not entry.is_symlink():
        _remove(entry)
        return
    for mark in entry.glob(f"{_MARK}PG_*"):
        if mark.read_bytes() == os.fsencode(target):
            version = entry / mark.name.removeprefix(_MARK)
            if version.exists():
                shutil.rmtree(version)
            mark.unlink()


def _mark_of(version: Path) -> Path:
    return version.with_name(_MARK + version.name)


def _children(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.is_dir() else []


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()
