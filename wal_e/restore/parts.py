"""
Which part of a cluster a restore brings back: all, some databases with what every database needs, or some files.

Databases that were not asked for become shells: their files have their full size and no content, so that WAL can be
replayed over them and DROP DATABASE removes them. Replay skips a page of zeros until a full image of it comes, which
full_page_writes, forced on during a base backup, puts before every other change.

PG_VERSION and pg_filenode.map have no content either, and must not: with them, a session that connects to a shell
(an autovacuum worker will) finds a catalog of zeros and PANICs, and takes the whole server with it (tried on
PostgreSQL 10 and 18: "could not open critical system index 2662"). Without PG_VERSION it is refused, and that is all.

Pure.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from wal_e.errors import UsageError
from wal_e.pg.control import CONTROL_PATH
from wal_e.repo.manifest import Database

_DATABASE: Final = re.compile(r"(?:base|pg_tblspc/\d+/PG_[^/]+)/(\d+)/", re.ASCII)
_FIRST_USER_OID: Final = 16384
"""FirstNormalObjectId: databases below are initdb's own."""
_ALWAYS: Final = frozenset({"postgres", "template0", "template1"})
_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class Parts:
    """
    What is restored: the databases `only_databases` by OID (None: all), or the files that fit `only_files`.

    Databases that initdb made and `always` come too.
    """

    only_databases: frozenset[int] | None = None
    only_files: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether the restore is of everything."""
        return self.only_databases is None and not self.only_files

    def is_shell(self, path: str) -> bool:
        """Whether a file gets its size, but no content."""
        if self.only_databases is None:
            return False
        oid = _database_of(path)
        return oid is not None and oid >= _FIRST_USER_OID and oid not in self.only_databases

    def has_file(self, path: str) -> bool:
        """Whether a file is made at all; pg_control never is where only some files are: that is no cluster."""
        if not self.only_files:
            return True
        return path != CONTROL_PATH and any(fnmatchcase(path, pattern) for pattern in self.only_files)


EVERYTHING: Final = Parts()


def some_databases(names: Sequence[str], databases: Sequence[Database], directories: Sequence[str]) -> Parts:
    """
    The part of a cluster that has the named databases, and those that every cluster needs.

    A name is looked up in what the backup recorded; an OID is understood too, where the backup has a directory of
    that number. Anything else raises `UsageError`, with the names there are.
    """
    by_name = {database.name: database.oid for database in databases}
    present = {oid for path in directories if (oid := _database_of(f"{path}/")) is not None}
    chosen = {oid for name, oid in by_name.items() if name in _ALWAYS}
    for name in names:
        if name in by_name:
            chosen.add(by_name[name])
        elif name.isascii() and name.isdecimal() and int(name) in present:
            chosen.add(int(name))
        else:
            raise _no_such_database(name, sorted(by_name), present)
    return Parts(only_databases=frozenset(chosen))


def _database_of(path: str) -> int | None:
    match = _DATABASE.match(path)
    return int(match[1]) if match else None


def _no_such_database(name: str, names: Sequence[str], present: set[int]) -> UsageError:
    if names:
        known = ", ".join(names[:_SHOWN]) + (" and more" if len(names) > _SHOWN else "")
        return UsageError(f'the backup has no database "{name}"', detail=f"It has {known}.")
    return UsageError(
        f'the backup does not say which database is "{name}"',
        detail=f"It records no names, as if taken while the server was down; it has databases with the OIDs "
        f"{', '.join(map(str, sorted(present)))}.",
        hint="Give --only-database the OID, as in SELECT oid FROM pg_database.",
    )
