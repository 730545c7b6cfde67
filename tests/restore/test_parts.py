"""Which part of a cluster comes back: databases by name or OID, files by pattern."""

import pytest

from wal_e.errors import UsageError
from wal_e.pg.control import CONTROL_PATH
from wal_e.repo.manifest import Database
from wal_e.restore.parts import EVERYTHING, Parts, some_databases

DATABASES = (
    Database(1, "template1"),
    Database(4, "template0"),
    Database(16390, "postgres"),
    Database(16384, "shop"),
    Database(16385, "16386"),
    Database(16386, "other"),
)
DIRECTORIES = ("base", *(f"base/{database.oid}" for database in DATABASES), "pg_tblspc/16400/PG_15_1/16384")


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["shop"], {16384}),
        (["shop", "other"], {16384, 16386}),
        (["16384"], {16384}),
        (["16386"], {16385}),  # a name comes before a number
    ],
)
def test_databases_are_chosen_by_name_or_number(names: list[str], chosen: set[int]) -> None:
    parts = some_databases(names, DATABASES, DIRECTORIES)
    assert parts.only_databases == chosen | {1, 4, 16390}
    assert not parts.is_whole


@pytest.mark.parametrize("name", ["shops", "", "99999", "²", "-1"])
def test_a_database_that_is_not_there_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(UsageError, match="has no database") as error:
        some_databases([name], DATABASES, DIRECTORIES)
    assert "shop" in (error.value.detail or "")
    with pytest.raises(UsageError, match="does not say which") as error:
        some_databases([name], (), DIRECTORIES)
    assert "16384" in (error.value.detail or "")


def test_an_oid_serves_where_the_backup_has_no_names() -> None:
    assert some_databases(["16384"], (), DIRECTORIES).only_databases == {16384}


@pytest.mark.parametrize(
    ("path", "shell"),
    [
        ("base/16386/2619", True),
        ("base/16386/2619.1", True),
        ("base/16386/PG_VERSION", True),
        ("base/16386/pg_filenode.map", True),
        ("pg_tblspc/16400/PG_15_1/16386/16999_vm", True),
        ("base/16384/2619", False),
        ("pg_tblspc/16400/PG_15_1/16384/16999", False),
        ("base/16390/2619", False),
        ("base/5/2619", False),
        ("base/1/PG_VERSION", False),
        ("global/1262", False),
        ("pg_xact/0000", False),
        ("PG_VERSION", False),
        (CONTROL_PATH, False),
    ],
)
def test_what_becomes_a_shell(path: str, *, shell: bool) -> None:
    """A shell has no PG_VERSION, or a session in it would PANIC on a catalog of zeros."""
    parts = some_databases(["shop"], DATABASES, DIRECTORIES)
    assert parts.is_shell(path) == shell
    assert parts.has_file(path)
    assert not EVERYTHING.is_shell(path)


def test_patterns_take_slashes_and_never_pg_control() -> None:
    parts = Parts(only_files=("base/16384/*", "*map", "global/pg_control*"))
    fitting = ("base/16384/2619", "base/16384/x/y", "global/pg_filenode.map", "global/pg_control.old")
    assert all(parts.has_file(path) for path in fitting)
    assert not any(parts.has_file(path) for path in ("base/16385/1", "PG_VERSION", CONTROL_PATH))
    assert not parts.is_whole
