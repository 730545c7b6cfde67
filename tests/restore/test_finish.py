"""What a restore writes itself: label, map, manifest for pg_verifybackup, recovery settings."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.repo.drawn import one_manifest
from wal_e.codec.crc32c import crc32c
from wal_e.repo.manifest import Manifest
from wal_e.restore.finish import final_files, in_place_files

PLACES = {16400: Path("/srv/space")}


def manifest(version: int = 150004, *, offline: bool = False) -> Manifest:
    base = one_manifest()
    return replace(
        base,
        summary=replace(base.summary, pg_version=version, offline=offline),
        backup_label="" if offline else base.backup_label,
        tablespace_map="" if offline else base.tablespace_map,
    )


@pytest.mark.parametrize(("version", "signal"), [(110022, False), (120018, True), (150004, True), (180000, True)])
def test_a_signal_file_stands_for_recovery_from_12_on(version: int, *, signal: bool) -> None:
    files = final_files(manifest(version), PLACES, {}, None)
    assert any(path.endswith(".signal") for path in files) == signal
    assert files["backup_label"] == b"START WAL LOCATION\n"
    assert files["tablespace_map"] == b"16400 /srv/space\n"


def test_an_offline_backup_starts_by_itself() -> None:
    files = final_files(manifest(offline=True), PLACES, {}, None)
    assert set(files) == {"backup_manifest"}


def test_moved_tablespaces_get_a_map_of_their_own_and_plain_ones_none() -> None:
    moved = final_files(manifest(), {16400: Path("/moved")}, {}, None)
    assert moved["tablespace_map"] == b"16400 /moved\n"
    blind = final_files(manifest(), {16400: None}, {"postgresql.auto.conf": "a = 'b'\n"}, None)
    assert "tablespace_map" not in blind
    assert blind["postgresql.auto.conf"].endswith(b"allow_in_place_tablespaces = 'on'\n")
    assert b"a = 'b'\n" in blind["postgresql.auto.conf"]
    assert b"allow_in_place" not in final_files(manifest(140000), {16400: None}, {}, None).get(
        "postgresql.auto.conf", b""
    )


def test_the_backup_manifest_lists_files_and_what_was_written_but_no_wal() -> None:
    base = manifest()
    wal = replace(base.files[0], path="pg_wal/000000010000000000000002")
    files = final_files(replace(base, files=(*base.files, wal)), PLACES, {}, None)
    document = json.loads(files["backup_manifest"])
    listed = {entry["Path"]: entry for entry in document["Files"]}
    assert set(listed) == {"base/5/1", "base/5/2", "backup_label", "tablespace_map"}
    assert listed["backup_label"]["Size"] == len(files["backup_label"])
    assert listed["backup_label"]["Checksum"] == crc32c(files["backup_label"]).to_bytes(4, "little").hex()
    assert "backup_manifest" not in final_files(manifest(120018), PLACES, {}, None)


def test_settings_are_read_from_where_they_were_restored(tmp_path: Path) -> None:
    record = replace(one_manifest().files[0], path="postgresql.auto.conf")
    assert in_place_files(tmp_path, one_manifest()) == {}
    (tmp_path / "postgresql.auto.conf").write_bytes(b"name = '\xe9'\n")
    found = in_place_files(tmp_path, replace(one_manifest(), files=(record,)))
    assert found["postgresql.auto.conf"].encode("utf-8", "surrogateescape") == b"name = '\xe9'\n"
