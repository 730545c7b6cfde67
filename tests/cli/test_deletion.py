"""`delete` from outside: the lease that it needs, and what it says."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from tests.repo.drawn import NAME, one_manifest
from wal_e.repo.holder import Holder
from wal_e.repo.layout import claim_key, claim_name, manifest_key, pack_key
from wal_e.repo.manifest import encode_manifest
from wal_e.store.api import Body
from wal_e.store.drivers.file import FolderStore

OTHER = "base_000000010000000000000003_00000040"


@pytest.fixture
def store(archive: Path) -> FolderStore:
    """Two backups, one of them with a pack that is its own."""
    store = FolderStore(archive)
    for name in (NAME, OTHER):
        manifest = one_manifest()
        stored = encode_manifest(replace(manifest, packs=(), files=(), summary=replace(manifest.summary, name=name)))
        store.put(manifest_key(name), Body.of(stored))
    store.put(pack_key(OTHER, 0), Body.of(b"pack"))
    return store


def test_one_backup_is_shown_and_then_deleted(wal_e: Shell, store: FolderStore) -> None:
    code, out, err = wal_e("delete", "backup", OTHER)
    assert (code, out) == (0, "")
    assert "MSG: performing dry run of data deletion" in err
    assert f"DETAIL: {OTHER}: It is the one named." in err
    assert f"DETAIL: {NAME}: It is not the one named." in err
    assert err.count("HINT: This is only a dry run -- no actual data is being deleted") == 2
    assert store.head(pack_key(OTHER, 0))
    code, out, err = wal_e("delete", "--confirm", "backup", OTHER)
    assert (code, out) == (0, "")
    assert "MSG: deleting data in the store" in err
    assert {info.key for info in store.list()} == {manifest_key(NAME)}


def test_h25_no_deletion_while_another_run_has_the_archive(wal_e: Shell, store: FolderStore) -> None:
    holder = Holder("elsewhere", 4711, "backup-push", datetime.now(UTC), timedelta(minutes=10), "machine", 1)
    store.put(claim_key(claim_name(holder.since, "0" * 16), 0), Body.of(holder.encode()))
    before = {info.key for info in store.list()}
    for words in (["backup", OTHER], ["retain", "1"], ["everything"], ["old-versions"]):
        code, _out, err = wal_e("delete", "--confirm", *words)
        assert code == 1
        assert "MSG: another run has the archive: one backup or one deletion at a time" in err
        assert 'DETAIL: It is "backup-push", process 4711 on elsewhere, since ' in err
        assert "HINT: Wait until it is done." in err
        assert {info.key for info in store.list()} == before
        assert wal_e("delete", *words)[0] == 0


def test_everything_leaves_not_even_a_lease(wal_e: Shell, store: FolderStore) -> None:
    assert wal_e("delete", "--confirm", "everything")[0] == 0
    assert list(store.list()) == []
