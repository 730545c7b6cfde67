"""`wal-show` and `wal-verify`: text, JSON and exit codes, byte for byte."""

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Shell
from tests.cli.test_listing import take
from tests.wal.material import segment
from wal_e.codec.compress import compress
from wal_e.pg.wal import SegmentName
from wal_e.repo.layout import WAL_PREFIX, wal_key
from wal_e.store.api import Body
from wal_e.store.drivers.file import FolderStore
from wal_e.units import MIB

SIZE = 16 * MIB
FIRST = "base_000000010000000000000002_00000040"
SECOND = "base_000000010000000000000005_00000040"
BEGAN = datetime(2026, 1, 1, 12, tzinfo=UTC)


def put(archive: Path, name: str, data: bytes = b"0123456789", minutes: int = 0) -> None:
    """Stores a WAL file, some minutes after noon of a day long ago."""
    FolderStore(archive).put(wal_key(name), Body.of(data))
    when = BEGAN.timestamp() + 60 * minutes
    os.utime(archive / wal_key(name), (when, when))


def put_segments(archive: Path, timeline: int, numbers: Sequence[int]) -> None:
    for number in numbers:
        put(archive, str(SegmentName(timeline, number, SIZE)), minutes=number)


@pytest.fixture
def filled(archive: Path) -> Path:
    """Two timelines, of which the first has a hole of one segment and one of two; a backup before the holes."""
    take(FolderStore(archive), FIRST, 0x2000028, 0x4000000, 9)
    put_segments(archive, 1, [2, 3, 5, 8, 9])
    put(archive, "000000010000000000000002.00000028.backup")
    put(archive, "00000001000000000000000A.partial", minutes=10)
    put(archive, "00000002.history", compress(b"1\t0/A000100\tno recovery target specified\n"), minutes=10)
    put_segments(archive, 2, [10, 11])
    return archive


def document(shell: Shell, *arguments: str) -> tuple[int, Any]:
    code, out, _ = shell("--terse", *arguments, "--json")
    return code, json.loads(out)


SHOWN = """\
timeline  parent  switch     first                     last                      segments  gaps  stored  \
first_stored          last_stored           backups
1                            000000010000000000000002  000000010000000000000009  5         2     70 B    \
2026-01-01T12:00:00Z  2026-01-01T12:10:00Z  1
2         1       0/A000100  00000002000000000000000A  00000002000000000000000B  2         0     72 B    \
2026-01-01T12:10:00Z  2026-01-01T12:11:00Z  0

gap on timeline 1: 000000010000000000000004 (1 segment)
gap on timeline 1: 000000010000000000000006 to 000000010000000000000007 (2 segments)
segments of 16 MiB; timeline histories: 1, backup histories: 1, partial segments: 1
"""


@pytest.mark.usefixtures("filled")
def test_show_for_people(wal_e: Shell) -> None:
    code, out, err = wal_e("--terse", "wal-show")
    history = len(compress(b"1\t0/A000100\tno recovery target specified\n"))
    assert (code, err) == (0, "")
    assert out == SHOWN.replace("72 B", f"{history + 20} B")


@pytest.mark.usefixtures("filled")
def test_show_for_programs(wal_e: Shell) -> None:
    code, shown = document(wal_e, "wal-show")
    assert code == 0
    assert shown["segment_size"] == SIZE
    assert [one["timeline"] for one in shown["timelines"]] == [1, 2]
    assert shown["timelines"][0] == {
        "timeline": 1,
        "parent": None,
        "switch_lsn": None,
        "parent_known_from": None,
        "first": "000000010000000000000002",
        "last": "000000010000000000000009",
        "segments": 5,
        "foreign_segments": 0,
        "gaps": [
            {"first": "000000010000000000000004", "last": "000000010000000000000004", "segments": 1},
            {"first": "000000010000000000000006", "last": "000000010000000000000007", "segments": 2},
        ],
        "stored_bytes": 70,
        "first_stored": "2026-01-01T12:00:00.000000Z",
        "last_stored": "2026-01-01T12:10:00.000000Z",
        "backups": [FIRST],
        "history_files": 0,
        "history_damage": None,
        "backup_history_files": 1,
        "partial_files": 1,
        "misfit_names": 0,
    }
    assert shown["timelines"][1]["switch_lsn"] == "0/A000100"


@pytest.mark.usefixtures("filled")
def test_show_one_timeline(wal_e: Shell) -> None:
    assert [one["timeline"] for one in document(wal_e, "wal-show", "--timeline", "2")[1]["timelines"]] == [2]
    assert "gap" not in wal_e("wal-show", "--timeline", "2")[1].splitlines()[2:]
    code, out, err = wal_e("wal-show", "--timeline", "3")
    assert (code, out) == (1, "")
    assert "MSG: timeline 3 is not in the archive" in err
    assert wal_e("wal-show", "--timeline", "0")[0] == 2


@pytest.mark.usefixtures("archive")
def test_an_empty_archive_shows_nothing_and_has_no_backup(wal_e: Shell) -> None:
    assert wal_e("--terse", "wal-show") == (0, "The archive holds no WAL.\n", "")
    assert document(wal_e, "wal-show") == (0, {"segment_size": None, "timelines": []})
    assert wal_e("--terse", "wal-show", "--timeline", "4")[0] == 0
    code, out, err = wal_e("--terse", "wal-verify")
    assert (code, out) == (1, "The archive holds no WAL.\n")
    assert "MSG: the archive holds no base backup" in err
    code, verified = document(wal_e, "wal-verify")
    assert (code, verified["status"], verified["backups"], verified["timelines"]) == (1, "failed", [], [])


def test_what_is_odd_is_told(wal_e: Shell, filled: Path) -> None:
    store = FolderStore(filled)
    store.put(wal_key("000000010000000000000004", ".lzo"), Body.of(b"x"))
    put(filled, "000000010000000000001000")
    put(filled, "00000003.history", compress(b"nonsense"))
    out = wal_e("wal-show")[1]
    assert "in the form of WAL-E 1.x or WAL-G on timeline 1: 1 segments\n" in out
    assert "names that do not fit the segment size on timeline 1: 1\n" in out
    assert "the history of timeline 3 cannot be used: the history of timeline 3 is damaged\n" in out
    row = out.splitlines()[3].split()
    assert row[:3] == ["3", "0", "0"]


VERIFIED = f"""\
timeline  status  first                     last                      segments  state
1         gap     000000010000000000000002  000000010000000000000003  2         FOUND
                  000000010000000000000004  000000010000000000000004  1         MISSING
                  000000010000000000000005  000000010000000000000005  1         FOUND
                  000000010000000000000006  000000010000000000000007  2         MISSING
                  000000010000000000000008  000000010000000000000009  2         FOUND
2         ok      00000002000000000000000A  00000002000000000000000B  2         FOUND

backup                                  timeline  restorable  recovers_to  following  stopped_by
{FIRST}  1         yes         0/4000000    2          000000010000000000000004
{SECOND}  1         NO                                  000000010000000000000006
"""


def test_verify_for_people(wal_e: Shell, filled: Path) -> None:
    take(FolderStore(filled), SECOND, 0x5000028, 0x6000100, 10)
    code, out, err = wal_e("--terse", "wal-verify")
    assert (code, out) == (1, VERIFIED)
    assert "MSG: the archive is not whole: 3 WAL segments missing\n" in err
    assert f"HINT: These backups cannot be restored: {SECOND}. A recovery ends at 0/4000000 that begins with" in err


def test_verify_for_programs(wal_e: Shell, filled: Path) -> None:
    put_segments(filled, 1, [4, 6])
    code, verified = document(wal_e, "wal-verify")
    assert code == 1
    found = {"first": "000000010000000000000002", "last": "000000010000000000000006", "segments": 5, "status": "FOUND"}
    missing = found | {"first": "000000010000000000000007", "last": "000000010000000000000007", "segments": 1}
    assert verified["timelines"][0]["ranges"][:2] == [found, missing | {"status": "MISSING"}]
    assert verified["timelines"][1]["parent"] == 1
    assert verified["timelines"][1]["switch_lsn"] == "0/A000100"
    assert verified["backups"] == [
        {
            "name": FIRST,
            "timeline": 1,
            "start_lsn": "0/2000028",
            "stop_lsn": "0/4000000",
            "stop_time": "2026-01-01T09:30:00.000000Z",
            "restorable": True,
            "recovers_to_lsn": "0/7000000",
            "follows_timeline": 2,
            "stopped_by": "000000010000000000000007",
        }
    ]
    put_segments(filled, 1, [7])
    code, verified = document(wal_e, "wal-verify")
    assert (code, verified["status"], verified["damaged"], verified["read"]) == (0, "ok", [], None)
    assert verified["backups"][0]["recovers_to_lsn"] == "0/C000000"
    assert verified["backups"][0]["stopped_by"] is None


def test_verify_reads_everything(wal_e: Shell, archive: Path) -> None:
    take(FolderStore(archive), FIRST, 0x2000028, 0x3000000, 9)
    for number in (2, 3):
        name = SegmentName(1, number, SIZE)
        put(archive, str(name), compress(segment(name)))
    code, out, _ = wal_e("--terse", "wal-verify", "--read", "-p", "2")
    assert code == 0
    assert "\nread: 2 objects, " in out
    (archive / WAL_PREFIX / "000000010000000000000002.zst").write_bytes(b"<html>")
    assert wal_e("--terse", "wal-verify")[0] == 0
    code, out, err = wal_e("--terse", "wal-verify", "--read")
    assert code == 1
    assert "\ndamaged: 000000010000000000000002.zst: " in out
    assert "DAMAGED\n" in out
    assert "MSG: the archive is not whole: 1 WAL file damaged" in err
    code, verified = document(wal_e, "wal-verify", "--read")
    assert code == 1
    assert [damage["name"] for damage in verified["damaged"]] == ["000000010000000000000002.zst"]
    assert verified["read"]["objects"] == 2


@pytest.mark.parametrize("command", ["wal-show", "wal-verify"])
def test_a_store_that_is_not_there_is_an_error_and_no_empty_archive(wal_e: Shell, archive: Path, command: str) -> None:
    archive.rmdir()
    code, out, err = wal_e(command)
    assert (code, out) == (1, "")
    assert "ERROR" in err
