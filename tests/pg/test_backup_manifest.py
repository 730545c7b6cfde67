"""backup_manifest as text; pg_verifybackup reads one in test_real_clusters.py."""

import hashlib
import json
import os
from datetime import UTC, datetime

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wal_e.pg.backup_manifest import ManifestFile, WalRange, manifest_version, render
from wal_e.pg.wal import Lsn

WHEN = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
RANGE = WalRange(1, Lsn(0x2000028), Lsn(0x2000100))


def test_a_manifest_line_by_line() -> None:
    text = render([ManifestFile("base/5/1259", 9, WHEN, google_crc32c.value(b"123456789"))], [RANGE], None).decode()
    head, last = text.rsplit("\n", 2)[0] + "\n", text.splitlines()[-1]
    assert head == (
        '{ "PostgreSQL-Backup-Manifest-Version": 1,\n'
        '"Files": [\n'
        '{ "Path": "base/5/1259", "Size": 9, "Last-Modified": "2026-03-04 05:06:07 GMT",'
        ' "Checksum-Algorithm": "CRC32C", "Checksum": "839206e3" }\n'
        '],\n"WAL-Ranges": [\n'
        '{ "Timeline": 1, "Start-LSN": "0/2000028", "End-LSN": "0/2000100" }\n'
        "],\n"
    )
    assert last == f'"Manifest-Checksum": "{hashlib.sha256(head.encode()).hexdigest()}"}}'


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=5))
def test_every_name_of_a_file_is_read_back(names: list[bytes]) -> None:
    files = [ManifestFile(os.fsdecode(name), 1, WHEN, 0) for name in names]
    read = json.loads(render(files, [RANGE], 7, 2))
    assert read["System-Identifier"] == 7
    found = [
        bytes.fromhex(file["Encoded-Path"]) if "Encoded-Path" in file else file["Path"].encode()
        for file in read["Files"]
    ]
    assert found == names


def test_version_2_needs_the_system_identifier() -> None:
    with pytest.raises(ValueError, match="system identifier"):
        render([], [], None, 2)


def test_the_version_follows_the_major() -> None:
    assert [manifest_version(major) for major in (13, 16, 17, 18)] == [1, 1, 2, 2]
