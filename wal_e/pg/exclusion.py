"""
What of a data directory a base backup leaves out, and what consists of checksummed pages: pure rules on paths.

The rules are those of the server's own BASE_BACKUP (basebackup.c), and a few more for what an earlier restore may
have left lying about (H37). Paths are relative to the data directory, with `/`.
"""

import re
from collections.abc import Sequence
from typing import Final

from wal_e.pg.control import CONTROL_PATH

_EMPTIED: Final = frozenset(
    {
        "pg_dynshmem",
        "pg_notify",
        "pg_replslot",
        "pg_serial",
        "pg_snapshots",
        "pg_stat_tmp",
        "pg_subtrans",
        "pg_wal",
    }
)
_DROPPED_NAMES: Final = frozenset(
    {
        "backup_label",
        "backup_manifest",
        "current_logfiles.tmp",
        "postgresql.auto.conf.tmp",
        "postmaster.opts",
        "postmaster.pid",
        "tablespace_map",
    }
)
_DROPPED_AT_ROOT: Final = frozenset(
    {
        "backup_label.old",
        "lost+found",
        "recovery.conf",
        "recovery.signal",
        "standby.signal",
        "tablespace_map.old",
    }
)
_DATABASE: Final = re.compile(r"base/\d+|pg_tblspc/\d+/PG_[^/]+/\d+")
_RELATION: Final = re.compile(r"(\d+)(_fsm|_vm|_init)?(?:\.(\d+))?", re.ASCII)
_TEMPORARY: Final = re.compile(r"t\d+_\d+(_fsm|_vm|_init)?(\.\d+)?", re.ASCII)


def is_dropped(path: str) -> bool:
    """Whether a file or directory of this path is no part of a backup, whatever is in it."""
    name = path.rpartition("/")[2]
    return (
        name in _DROPPED_NAMES
        or path in _DROPPED_AT_ROOT
        or path == CONTROL_PATH
        or name.startswith(("pgsql_tmp", "pg_internal.init"))
    )


def is_emptied(path: str) -> bool:
    """Whether a directory of this path is kept without its content."""
    return path in _EMPTIED


def is_database(directory: str) -> bool:
    """Whether a directory of this path holds the relations of one database."""
    return _DATABASE.fullmatch(directory) is not None


def is_relation(path: str) -> bool:
    """Whether a file of this path consists of pages, which carry checksums where the cluster has them."""
    directory, _, name = path.rpartition("/")
    return _RELATION.fullmatch(name) is not None and (directory == "global" or is_database(directory))


def relation_block_offset(path: str, relation_segment_blocks: int) -> int:
    """The number, within its relation, of the first block of a relation's file: `16384.2` begins at 2 segments."""
    match = _RELATION.fullmatch(path.rpartition("/")[2])
    return int(match[3] or 0) * relation_segment_blocks if match else 0


def kept_relations(names: Sequence[str]) -> list[str]:
    """
    The names of a database's directory without temporary relations and without what unlogged ones hold.

    Recovery makes an unlogged relation anew from its `_init` fork, which is kept.
    """
    unlogged = {name.removesuffix("_init") for name in names if name.endswith("_init") and _RELATION.fullmatch(name)}
    return [name for name in names if not _is_transient(name, unlogged)]


def _is_transient(name: str, unlogged: set[str]) -> bool:
    if _TEMPORARY.fullmatch(name):
        return True
    match = _RELATION.fullmatch(name)
    return match is not None and match[1] in unlogged and match[2] != "_init"
