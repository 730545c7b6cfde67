"""The list of backups, byte for byte."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from wal_e.pg.wal import Lsn
from wal_e.repo.catalogue import commit
from wal_e.repo.layout import manifest_key
from wal_e.repo.manifest import Manifest, Summary
from wal_e.store.drivers.file import FolderStore

HEADER = (
    "name\tlast_modified\texpanded_size_bytes\twal_segment_backup_start\twal_segment_offset_backup_start\t"
    "wal_segment_backup_stop\twal_segment_offset_backup_stop\r\n"
)
FIRST = "base_000000010000000000000002_00000040"
SECOND = "base_000000010000000000000004_00000040_0123abcd"


def take(store: FolderStore, name: str, start: int, stop: int, hour: int) -> str:
    """Commits a backup without files, and returns when the store says that it did."""
    summary = Summary(
        name=name,
        system_identifier=7,
        pg_version=150020,
        segment_size=16 << 20,
        timeline=1,
        start_lsn=Lsn(start),
        stop_lsn=Lsn(stop),
        start_time=datetime(2026, 1, 1, hour, tzinfo=UTC),
        stop_time=datetime(2026, 1, 1, hour, 30, tzinfo=UTC),
        stop_xmax=None,
        from_standby=False,
        offline=False,
        data_directory="/data",
        size=hour * 1000,
        stored=1,
        tablespaces=(),
        label="",
        checksum_failures=0,
    )
    commit(store, Manifest(summary, "", "", ("postgres", "postgres"), (), (), ()))
    return store.head(manifest_key(name)).last_modified.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@pytest.fixture
def times(archive: Path) -> tuple[str, str]:
    """Two backups of which the one that sorts first was completed last; the second stops on a boundary."""
    store = FolderStore(archive)
    return (take(store, FIRST, 0x2000028, 0x2000150, 9), take(store, SECOND, 0x4000028, 0x6000000, 5))


def test_the_plain_list(wal_e: Shell, times: tuple[str, str]) -> None:
    assert wal_e("--terse", "backup-list") == (
        0,
        HEADER
        + f"{FIRST}\t{times[0]}\t\t000000010000000000000002\t00000040\t\t\r\n"
        + f"{SECOND}\t{times[1]}\t\t000000010000000000000004\t00000040\t\t\r\n",
        "",
    )


def test_the_detailed_list(wal_e: Shell, times: tuple[str, str]) -> None:
    """The original's columns stand first, in its order, and ours behind them."""
    own = "added_bytes\tshared_bytes\tduration_seconds\tchecksum_failures\tpg_version"
    assert wal_e("--terse", "backup-list", "--detail")[1] == (
        HEADER.replace("\r\n", f"\t{own}\r\n")
        + f"{FIRST}\t{times[0]}\t9000\t000000010000000000000002\t00000040\t000000010000000000000002\t00000336"
        + "\t1\t0\t1800.0\t0\t15.20\r\n"
        + f"{SECOND}\t{times[1]}\t5000\t000000010000000000000004\t00000040\t000000010000000000000005\t16777216"
        + "\t1\t0\t1800.0\t0\t15.20\r\n"
    )


def test_the_list_as_json(wal_e: Shell, times: tuple[str, str], archive: Path) -> None:
    (archive / manifest_key(SECOND)).write_bytes(b"damaged")
    old = "base_000000010000000000000001_00000040"
    sentinel = archive / f"basebackups_005/{old}_backup_stop_sentinel.json"
    sentinel.parent.mkdir()
    sentinel.write_text(json.dumps({"wal_segment_backup_stop": "000000010000000000000001", "expanded_size_bytes": 7}))
    code, out, _err = wal_e("backup-list", "--json")
    legacy, first, second = json.loads(out)
    assert code == 0
    assert first == {
        "name": FIRST,
        "last_modified": times[0],
        "legacy": False,
        "readable": True,
        "expanded_size_bytes": 9000,
        "wal_segment_backup_start": "000000010000000000000002",
        "wal_segment_offset_backup_start": "00000040",
        "wal_segment_backup_stop": "000000010000000000000002",
        "wal_segment_offset_backup_stop": "00000336",
        "start_time": "2026-01-01T09:00:00.000000Z",
        "stop_time": "2026-01-01T09:30:00.000000Z",
        "parent": None,
        "added_bytes": 1,
        "shared_bytes": 0,
        "duration_seconds": 1800.0,
        "checksum_failures": 0,
        "pg_version": "15.20",
    }
    assert (legacy["legacy"], legacy["expanded_size_bytes"], legacy["added_bytes"]) == (True, 7, None)
    assert (second["readable"], second["expanded_size_bytes"], second["pg_version"]) == (False, None, None)
    assert second.keys() == first.keys() == legacy.keys()
    assert json.loads(wal_e("backup-list", "--json", FIRST)[1]) == [first]


@pytest.mark.usefixtures("times")
@pytest.mark.parametrize(("query", "name"), [(FIRST, FIRST), (SECOND, SECOND), ("LATEST", FIRST)])
def test_a_query_gives_one_line(wal_e: Shell, query: str, name: str) -> None:
    """H21: the latest is the one that completed last, not the one that sorts or was written last."""
    header, line = wal_e("backup-list", query)[1].splitlines()
    assert line.split("\t")[0] == name
    assert header + "\r\n" == HEADER


@pytest.mark.usefixtures("times")
def test_a_damaged_manifest_hides_no_other_backup(wal_e: Shell, archive: Path) -> None:
    (archive / manifest_key(FIRST)).write_bytes(b"damaged")
    code, out, err = wal_e("backup-list", "--detail")
    assert code == 0
    assert [line.split("\t")[2] for line in out.splitlines()[1:]] == ["timeout", "5000"]
    assert f'MSG: the details of "{FIRST}" cannot be read' in err
    assert wal_e("backup-list", "LATEST")[1].splitlines()[1].startswith(SECOND)
