"""
Which files and directories of a data directory belong to a base backup.

The rules are those of `wal_e.pg.exclusion`; here is the walk that applies them. Paths are relative to the data
directory, with `/`; what lies in a tablespace is found under `pg_tblspc/<oid>/PG_<major>_<catalog version>/`.
Names that are not UTF-8 are kept as `os.fsdecode` gives them (surrogate escapes): turn them back with
`os.fsencode`.

A file that vanishes while we look is routine, for tables are dropped; every other failure to read ends the scan
(H32). A link that PostgreSQL does not make is never followed: it is reported, or refused where data must be (H38).
"""

import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from wal_e.errors import DataDirectoryError
from wal_e.events import Level, Message, Sink, silent
from wal_e.pg.control import CONTROL_PATH, read_control
from wal_e.pg.exclusion import is_database, is_dropped, is_emptied, kept_relations
from wal_e.pg.filetable import FileEntry, FileTable

UNLOGGED_EXCLUDED_SINCE: Final = 11
SUMMARIES_SINCE: Final = 17
_VERSION_UNIT: Final = 10000
_ESSENTIAL: Final = ("PG_VERSION", CONTROL_PATH, "global/pg_filenode.map", "base", "pg_tblspc", "pg_wal")
_LINKS_REFUSED: Final = re.compile(
    r"(base|global|pg_xact|pg_multixact|pg_commit_ts|pg_logical|pg_twophase|pg_tblspc)(/.*)?", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class DirectoryEntry:
    """A directory; `mode` is its permission bits."""

    path: str
    mode: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class TablespaceEntry:
    """A tablespace outside the data directory: where its link points, and the link's path, `pg_tblspc/<oid>`."""

    oid: int
    location: str
    path: str


@dataclass(frozen=True, slots=True)
class Scan:
    """
    What a backup copies, each list sorted by path: a directory stands before what is in it.

    `root` is the data directory itself (its path is `.`) and is not among `directories`; `pg_control` is not
    among `files`, because it is copied last, after every other file was read.
    """

    root: DirectoryEntry
    files: FileTable
    directories: tuple[DirectoryEntry, ...]
    tablespaces: tuple[TablespaceEntry, ...]

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return self.files.size


def read_major(data_directory: Path) -> int:
    """The PostgreSQL major of a data directory, as its `PG_VERSION` says."""
    try:
        text = (data_directory / "PG_VERSION").read_text("ascii").strip()
        return int(text)
    except (OSError, ValueError) as error:
        raise DataDirectoryError(
            f'"{data_directory}" is not the data directory of a cluster that can be backed up',
            detail=f"PG_VERSION could not be read as the number of a PostgreSQL release from 10 on: {error}.",
            hint="Name the directory that SHOW data_directory prints, and run as the user who owns it.",
        ) from error


def scan(data_directory: Path, *, pg_version: int, emit: Sink = silent, extra: Iterable[str] = ()) -> Scan:
    """
    Walks a data directory and its tablespaces.

    `pg_version` is the server's `server_version_num` (150004); `extra` names files that belong to the backup beyond
    the rules. `emit` hears of what was left out and is neither dropped by rule nor vanished. Raises
    `DataDirectoryError` where an essential part or one of `extra` is missing, where another major's data lies there,
    where a directory cannot be read, or where a link stands in the place of data.
    """
    major = pg_version // _VERSION_UNIT
    _check_essentials(data_directory, major)
    walk = _Walk(os.fspath(data_directory), major, emit)
    walk.visit("")
    walk.add_skeleton()
    walk.visit_tablespaces(read_control(data_directory)[1].catalog_version)
    for path in extra:
        walk.files.add(look_at(data_directory, path))
    walk.files.sort()
    root = walk.stat("", follow=True)
    if root is None:
        raise DataDirectoryError(f'"{data_directory}" vanished')
    return Scan(
        root=_directory(".", root),
        files=walk.files,
        directories=tuple(sorted(walk.directories, key=lambda entry: entry.path)),
        tablespaces=tuple(sorted(walk.tablespaces, key=lambda entry: entry.oid)),
    )


@dataclass(slots=True)
class _Walk:
    root: str
    major: int
    emit: Sink
    files: FileTable = field(default_factory=FileTable)
    directories: list[DirectoryEntry] = field(default_factory=list)
    tablespaces: list[TablespaceEntry] = field(default_factory=list)
    within: dict[str, str] = field(default_factory=dict)

    def visit(self, directory: str) -> None:
        for name in self.names(directory):
            path = f"{directory}/{name}" if directory else name
            if is_dropped(path):
                continue
            status = self.stat(path, follow=is_emptied(path))
            if status is not None:
                self.take(path, status)

    def take(self, path: str, status: os.stat_result) -> None:
        if stat.S_ISREG(status.st_mode):
            self.files.add(_file(path, status))
        elif stat.S_ISDIR(status.st_mode):
            self.directories.append(_directory(path, status))
            if not is_emptied(path):
                self.visit(path)
        elif stat.S_ISLNK(status.st_mode) and path.startswith("pg_tblspc/") and path.count("/") == 1:
            self.take_tablespace(path)
        else:
            self.refuse(path, status)

    def take_tablespace(self, path: str) -> None:
        oid = path.removeprefix("pg_tblspc/")
        if not (oid.isascii() and oid.isdigit()):
            self.skip(path, "Links in pg_tblspc are named by the tablespace's number.")
            return
        try:
            location = os.fspath(Path(self.absolute(path)).readlink())
        except FileNotFoundError:
            return
        self.tablespaces.append(TablespaceEntry(int(oid), location, path))

    def visit_tablespaces(self, catalog_version: int) -> None:
        inside = {self.inside(tablespace) for tablespace in self.tablespaces} - {None}
        if inside:
            self.leave_out({path for path in inside if path is not None})
        for tablespace in tuple(self.tablespaces):
            path = f"{tablespace.path}/PG_{self.major}_{catalog_version}"
            status = self.stat(path, follow=True)
            if status is not None:
                self.take(path, status)
            else:
                self.missing(tablespace, path)

    def inside(self, tablespace: TablespaceEntry) -> str | None:
        root = os.path.realpath(self.root)
        location = os.path.realpath(self.absolute(tablespace.path))
        return os.path.relpath(location, root) if location.startswith(root + os.sep) else None

    def leave_out(self, prefixes: set[str]) -> None:
        """Forgets what the walk met in tablespaces that lie inside the data directory: it is taken as theirs."""
        dropped = tuple(prefix + "/" for prefix in prefixes)
        self.files = FileTable(entry for entry in self.files if not entry.path.startswith(dropped))
        self.directories = [
            entry for entry in self.directories if entry.path not in prefixes and not entry.path.startswith(dropped)
        ]

    def missing(self, tablespace: TablespaceEntry, path: str) -> None:
        if not os.path.lexists(self.absolute(tablespace.path)):
            self.tablespaces.remove(tablespace)
        elif not Path(self.absolute(tablespace.path)).is_dir():
            raise DataDirectoryError(
                f'the location of tablespace {tablespace.oid}, "{tablespace.location}", is not there',
                hint="Mount it, or DROP TABLESPACE; a backup without it could not be restored.",
            )
        else:
            self.skip(path, "The tablespace has no directory of this cluster.")

    def add_skeleton(self) -> None:
        """Adds the directories inside `pg_wal` that the server wants to find (H56), with the mode of `pg_wal`."""
        names = ["archive_status"] + (["summaries"] if self.major >= SUMMARIES_SINCE else [])
        wal = next((entry for entry in self.directories if entry.path == "pg_wal"), None)
        if wal is not None:
            self.directories += [DirectoryEntry(f"pg_wal/{name}", wal.mode, wal.uid, wal.gid) for name in names]

    def names(self, directory: str) -> list[str]:
        try:
            names = os.listdir(self.absolute(directory))  # noqa: PTH208 - names only: a Path each costs tenfold
        except FileNotFoundError:
            return []
        except OSError as error:
            raise unreadable(self.absolute(directory), error) from error
        names.sort()
        if self.major >= UNLOGGED_EXCLUDED_SINCE and is_database(directory):
            return kept_relations(names)
        return names

    def stat(self, path: str, *, follow: bool = False) -> os.stat_result | None:
        try:
            return os.stat(self.absolute(path), follow_symlinks=follow)  # noqa: PTH116 - the same
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unreadable(self.absolute(path), error) from error

    def absolute(self, path: str) -> str:
        return f"{self.root}/{path}" if path else self.root

    def refuse(self, path: str, status: os.stat_result) -> None:
        if stat.S_ISLNK(status.st_mode) and _LINKS_REFUSED.fullmatch(path):
            raise DataDirectoryError(
                f'"{self.absolute(path)}" is a symbolic link where PostgreSQL makes none',
                detail="Neither the server nor we would copy what it points to, and the backup would lack it.",
                hint="Move the data back, and use CREATE TABLESPACE to keep some of it elsewhere.",
            )
        self.skip(path, "Only regular files, directories and the links in pg_tblspc are copied.")

    def skip(self, path: str, detail: str) -> None:
        self.emit(
            Message(
                __name__,
                f'skipping "{self.absolute(path)}"',
                detail=detail,
                hint="Save it by other means if it is needed after a restore.",
                level=Level.WARNING,
            )
        )


def _check_essentials(data_directory: Path, major: int) -> None:
    found = read_major(data_directory)
    if found != major:
        raise DataDirectoryError(
            f'"{data_directory}" holds data of PostgreSQL {found}, but the server is PostgreSQL {major}',
            hint="Name the data directory of the server that PGHOST and PGPORT lead to.",
        )
    missing = [name for name in _ESSENTIAL if not is_there(data_directory / name)]
    if missing:
        raise DataDirectoryError(
            f'"{data_directory}" lacks {", ".join(missing)}',
            hint="Name the directory that SHOW data_directory prints.",
        )


def is_there(path: Path) -> bool:
    """Whether something has this path; raises `DataDirectoryError` where that cannot be told."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise unreadable(os.fspath(path), error) from error
    return True


def unreadable(path: str, error: OSError) -> DataDirectoryError:
    """The error that says that a path could not be looked at or read."""
    return DataDirectoryError(
        f'could not read "{path}": {error.strerror}',
        hint="Run as the user who owns the data directory; if that is so already, look at the disk and the kernel log.",
    )


def look_at(data_directory: Path, path: str) -> FileEntry:
    """The entry of one file that must be there; raises `DataDirectoryError` where it cannot be looked at."""
    try:
        return _file(path, (data_directory / path).stat(follow_symlinks=False))
    except OSError as error:
        raise unreadable(os.fspath(data_directory / path), error) from error


def _file(path: str, status: os.stat_result) -> FileEntry:
    return FileEntry(
        path=path,
        size=status.st_size,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        inode=status.st_ino,
    )


def _directory(path: str, status: os.stat_result) -> DirectoryEntry:
    return DirectoryEntry(path, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
