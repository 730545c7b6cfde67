"""`backup-show`: everything about one backup, in words and as JSON."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from tests.repo.drawn import NAME, one_manifest
from wal_e.pg.wal import Lsn
from wal_e.repo.layout import manifest_key, pack_key, wal_key
from wal_e.repo.manifest import Manifest, PackRef, encode_manifest
from wal_e.store.api import Body
from wal_e.store.drivers.file import FolderStore

OLDER = "base_000000010000000000000001_00000040"
SEGMENT = "000000010000000000000002"


def put(archive: Path, manifest: Manifest) -> None:
    FolderStore(archive).put(manifest_key(NAME), Body.of(encode_manifest(manifest)))


@pytest.fixture
def taken(archive: Path) -> Manifest:
    """A backup with a bad page, a parent, and packs of it; its WAL is one segment, which is there."""
    manifest = one_manifest()
    packs = (*manifest.packs, PackRef(pack_key(OLDER, 4), 3 << 20, 9, 1), PackRef(pack_key(OLDER, 7), 1 << 20, 9, 1))
    summary = replace(manifest.summary, parent=OLDER, shared=1_500_000)
    manifest = replace(manifest, packs=packs, summary=summary)
    put(archive, manifest)
    FolderStore(archive).put(wal_key(SEGMENT), Body.of(b"w"))
    return manifest


@pytest.mark.usefixtures("taken")
@pytest.mark.parametrize("name", [NAME, "LATEST"])
def test_everything_about_a_backup(wal_e: Shell, name: str) -> None:
    assert wal_e("--terse", "backup-show", name) == (
        0,
        f"""backup:            {NAME}
taken:             of a primary, PostgreSQL 15.4, from /srv/data
cluster:           system identifier 7300000000000000001
label:             label
started:           2026-11-23T10:00:00.000000Z
completed:         2026-11-23T10:00:00.000000Z (after 0:00:00)
size restored:     20000 bytes (19.5 KiB)
added:             900 bytes (900 B) in packs of its own
shared:            1500000 bytes (1.4 MiB) in packs of older backups
parent:            {OLDER}
position:          0/2000028 to 0/2000100 on timeline 1
WAL:               {SEGMENT} to {SEGMENT} (1 segments of 16.0 MiB)
WAL in archive:    yes
packs:             3 of {NAME} (29.3 KiB)
                   2 of {OLDER} (4.0 MiB)
tablespaces:       16400 at /srv/space
checksum failures: 1
                   base/5/1: 1 (blocks 1)
""",
        "",
    )


@pytest.mark.usefixtures("taken")
def test_the_same_as_json(wal_e: Shell) -> None:
    shown = json.loads(wal_e("backup-show", "--json", NAME)[1])
    assert (shown["parent"], shown["shared_bytes"], shown["added_bytes"]) == (OLDER, 1_500_000, 900)
    assert shown["packs"][1] == {"backup": OLDER, "packs": 2, "stored_bytes": 4 << 20}
    assert shown["bad_files"] == [{"path": "base/5/1", "pages": 1, "blocks": [1]}]
    assert (shown["wal_first"], shown["wal_last"], shown["wal_segments"], shown["wal_missing"]) == (
        SEGMENT,
        SEGMENT,
        1,
        [],
    )


def test_wal_that_is_missing_is_told(wal_e: Shell, archive: Path, taken: Manifest) -> None:
    """The segments of another form and of other timelines are not the ones that it needs."""
    longer = replace(taken, summary=replace(taken.summary, stop_lsn=Lsn(0x5000000)))
    put(archive, longer)
    store = FolderStore(archive)
    for name in ("000000010000000000000003.lzo", "000000020000000000000003.zst", "000000010000000000000005.zst"):
        store.put(f"wal_005/{name}", Body.of(b"w"))
    assert json.loads(wal_e("backup-show", "--json", NAME)[1])["wal_missing"] == [
        "000000010000000000000003",
        "000000010000000000000004",
    ]
    assert "NO: 2 missing, this backup cannot be restored: 000000010000000000000003, " in wal_e("backup-show", NAME)[1]


def test_an_offline_backup_needs_no_wal(wal_e: Shell, archive: Path, taken: Manifest) -> None:
    put(archive, replace(taken, summary=replace(taken.summary, offline=True, pg_version=150000)))
    out = wal_e("backup-show", NAME)[1]
    assert "WAL:               none of the archive is needed\n" in out
    assert "the server was shut down, PostgreSQL 15, from" in out


def test_many_bad_pages_are_counted_and_the_first_are_named(wal_e: Shell, archive: Path, taken: Manifest) -> None:
    first, second = taken.files
    files = (replace(first, bad_pages=()), replace(second, bad_pages=tuple(range(500))))
    put(archive, replace(taken, files=files, summary=replace(taken.summary, checksum_failures=500)))
    (file,) = json.loads(wal_e("backup-show", "--json", NAME)[1])["bad_files"]
    assert (file["path"], file["pages"], file["blocks"]) == ("base/5/2", 500, list(range(20)))
    assert "base/5/2: 500 (blocks 0, 1, 2, " in wal_e("backup-show", NAME)[1]


@pytest.mark.usefixtures("taken")
def test_what_cannot_be_shown_is_an_error_with_a_hint(wal_e: Shell, archive: Path) -> None:
    (archive / f"basebackups_005/{OLDER}_backup_stop_sentinel.json").parent.mkdir()
    (archive / f"basebackups_005/{OLDER}_backup_stop_sentinel.json").write_text("{}")
    for name, said in ((OLDER, "was written by another program"), ("base_x", "there is no backup")):
        code, out, err = wal_e("backup-show", name)
        assert (code, out) == (1, "")
        assert said in err
        assert "HINT: " in err
    (archive / manifest_key(NAME)).write_bytes(b"damaged")
    assert wal_e("backup-show", NAME)[0] == 1
