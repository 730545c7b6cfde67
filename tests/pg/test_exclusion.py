"""The exclusion rules, path by path."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wal_e.pg.exclusion import is_dropped, is_emptied, is_relation, kept_relations, relation_block_offset


@pytest.mark.parametrize(
    "path",
    [
        "postmaster.pid",
        "postmaster.opts",
        "backup_label",
        "backup_label.old",
        "tablespace_map",
        "tablespace_map.old",
        "backup_manifest",
        "postgresql.auto.conf.tmp",
        "current_logfiles.tmp",
        "recovery.signal",
        "standby.signal",
        "recovery.conf",
        "global/pg_internal.init",
        "base/1/pg_internal.init.4711",
        "base/pgsql_tmp",
        "pg_tblspc/16384/PG_15_202209061/pgsql_tmp",
        "base/1/pgsql_tmp4711.0",
        "global/pg_control",
        "lost+found",
    ],
)
def test_h37_what_the_server_would_not_copy_is_dropped(path: str) -> None:
    assert is_dropped(path)


@pytest.mark.parametrize(
    "path",
    ["PG_VERSION", "postgresql.auto.conf", "current_logfiles", "log/postgresql.log", "base/1/1259", "recovery.done"],
)
def test_everything_else_is_kept(path: str) -> None:
    assert not is_dropped(path)
    assert not is_emptied(path)


@pytest.mark.parametrize(
    ("path", "relation"),
    [
        ("base/5/1259", True),
        ("base/5/1259_fsm", True),
        ("base/5/1259_vm.1", True),
        ("base/5/1259_init", True),
        ("base/5/1259.2", True),
        ("global/1262", True),
        ("pg_tblspc/16384/PG_15_202209061/5/16400", True),
        ("base/5/PG_VERSION", False),
        ("base/5/pg_filenode.map", False),
        ("global/pg_control", False),
        ("pg_xact/0000", False),
        ("base/1259", False),
        ("base/5/1259_fsm_vm", False),
        ("pg_tblspc/16384/16400", False),
        ("mine/5/1259", False),
    ],
)
def test_relations_are_where_postgresql_puts_them(path: str, relation: bool) -> None:
    assert is_relation(path) is relation


@pytest.mark.parametrize(
    ("path", "block"),
    [("base/5/16400", 0), ("base/5/16400.1", 131072), ("base/5/16400_fsm.3", 3 * 131072), ("base/5/PG_VERSION", 0)],
)
def test_h34_blocks_are_numbered_across_a_relations_files(path: str, block: int) -> None:
    assert relation_block_offset(path, 131072) == block


def test_unlogged_and_temporary_relations_keep_only_their_init_forks() -> None:
    names = [
        "1259",
        "1259_fsm",
        "16400",
        "16400.1",
        "16400_fsm",
        "16400_init",
        "t3_16500",
        "t3_16500_fsm",
        "PG_VERSION",
    ]
    assert kept_relations(names) == ["1259", "1259_fsm", "16400_init", "PG_VERSION"]
    assert kept_relations(["164001", "16400_init"]) == ["164001", "16400_init"]


@given(st.lists(st.text(alphabet="0123456789_.tinfsmv", max_size=12), unique=True))
def test_only_relations_are_ever_left_out(names: list[str]) -> None:
    kept = kept_relations(names)
    assert [name for name in names if name in kept] == kept
    assert all(name[0] in "t0123456789" for name in set(names) - set(kept))
