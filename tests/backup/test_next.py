"""The next backup: costs about what changed, and restores as a full one (H30, H31)."""

import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.backup.copied import copy_all, records_of
from tests.backup.tiny import Listener, check_restorable, push
from wal_e.backup import copy, parent
from wal_e.backup.copy import Copier
from wal_e.backup.parent import ParentChoice
from wal_e.errors import Corrupt, NoSuchBackup, UsageError
from wal_e.pg.datadir import look_at
from wal_e.repo.blockmap import BLOCK_SIZE, BlockMap, Extent, FrameRef, clipped, digest_blocks
from wal_e.repo.catalogue import load_manifest
from wal_e.repo.filelist import MapRef
from wal_e.repo.layout import backup_prefix, manifest_key, pack_key
from wal_e.repo.manifest import Manifest, Summary
from wal_e.repo.packer import Packer
from wal_e.store.api import Body
from wal_e.store.drivers.memory import MemoryStore

BIG = "base/5/big"
NEW = "base_000000010000000000000009_00000040"
OLD = FrameRef(pack_key("base_000000010000000000000002_00000040", 0), 0, 900)
SEED = 99


class Reads:
    """Which files a backup opens for reading blocks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths: set[str] = set()
        real = copy.Copier._read

        def read(copier: copy.Copier, piece: copy.Piece) -> object:
            self.paths.add(piece.file.path)
            return real(copier, piece)

        monkeypatch.setattr(copy.Copier, "_read", read)

    def during(self, work: Callable[[], object]) -> set[str]:
        self.paths = set()
        work()
        return self.paths


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


def rewrite(path: Path, block: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(block * BLOCK_SIZE)
        file.write(data)


def added(store: MemoryStore, summary: Summary) -> int:
    """Bytes in the packs that a backup brought."""
    return sum(info.size for info in store.list(backup_prefix(summary.name) + "pack-"))


def test_an_idle_cluster_is_not_read_at_all(settled: Path, tmp_path: Path, reads: Reads) -> None:
    store = MemoryStore()
    first = push(store, settled).summary
    assert reads.during(lambda: push(store, settled)) == set()
    entries = [info.key for info in store.list() if info.key.endswith("manifest.json.zst")]
    second = load_manifest(store, max(key.split("/")[1] for key in entries)).summary
    assert second.parent == first.name
    assert second.size == first.size
    assert second.stored < 10_000 < first.stored
    assert 0 < second.shared <= first.stored
    check_restorable(store, settled, tmp_path / "out", second.name)


def test_h30_a_file_that_was_changed_just_before_the_parent_began_is_read(quiet: Path, reads: Reads) -> None:
    """Its ctime is of this very moment: a later write may carry the same tick."""
    store = MemoryStore()
    push(store, quiet)
    assert BIG in reads.during(lambda: push(store, quiet))


@pytest.mark.parametrize("field", ["machine", "device", "inode"])
def test_h30_in_another_directory_everything_is_read(
    settled: Path, reads: Reads, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    store = MemoryStore()
    push(store, settled)
    real = parent.this_source
    other = {"machine": "another", "device": 1, "inode": 1}[field]
    monkeypatch.setattr("wal_e.backup.contents.this_source", lambda *args: replace(real(*args), **{field: other}))
    assert BIG in reads.during(lambda: push(store, settled))


def test_h30_read_all_trusts_no_times_and_still_stores_no_block_twice(settled: Path, reads: Reads) -> None:
    store = MemoryStore()
    first = push(store, settled).summary
    second = push(store, settled, parent=ParentChoice(read_all=True)).summary
    assert BIG in reads.paths
    assert second.stored < first.stored / 20


def test_only_changed_blocks_are_stored(settled: Path, tmp_path: Path) -> None:
    store = MemoryStore()
    first = push(store, settled).summary
    rewrite(settled / BIG, 7, random.Random(1).randbytes(BLOCK_SIZE))
    rewrite(settled / BIG, 77, random.Random(2).randbytes(BLOCK_SIZE))
    second = push(store, settled).summary
    assert 2 * BLOCK_SIZE < added(store, second) < 4 * BLOCK_SIZE
    check_restorable(store, settled, tmp_path / "out", second.name)
    assert {pack.key.split("/")[1] for pack in load_manifest(store, second.name).packs} == {first.name, second.name}


def test_h30_new_bytes_behind_old_times_are_found_by_their_digest(settled: Path, tmp_path: Path) -> None:
    """Somebody put the times back: with --read-all the content decides."""
    store = MemoryStore()
    push(store, settled)
    before = (settled / BIG).stat()
    rewrite(settled / BIG, 3, b"x" * BLOCK_SIZE)
    os.utime(settled / BIG, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = push(store, settled, parent=ParentChoice(read_all=True)).summary
    check_restorable(store, settled, tmp_path / "out", second.name)
    third = push(store, settled).summary  # and a ctime cannot be put back at all
    check_restorable(store, settled, tmp_path / "third", third.name)


def test_a_full_backup_shares_nothing(settled: Path) -> None:
    store = MemoryStore()
    push(store, settled)
    second = push(store, settled, parent=ParentChoice(full=True)).summary
    assert (second.parent, second.shared) == (None, 0)
    assert {pack.key.split("/")[1] for pack in load_manifest(store, second.name).packs} == {second.name}


def test_a_named_parent_is_used_and_a_missing_one_is_an_error(settled: Path) -> None:
    store = MemoryStore()
    first, _second = push(store, settled).summary, push(store, settled).summary
    assert push(store, settled, parent=ParentChoice(name=first.name)).summary.parent == first.name
    with pytest.raises(NoSuchBackup):
        push(store, settled, parent=ParentChoice(name=first.name.replace("1", "2", 1)))
    with pytest.raises(UsageError):
        ParentChoice(full=True, name=first.name)


def test_a_damaged_parent_is_passed_over_with_a_warning(settled: Path, tmp_path: Path) -> None:
    store, heard = MemoryStore(), Listener()
    first, second = push(store, settled).summary, push(store, settled).summary
    store.put(manifest_key(second.name), Body.of(b"garbage"))
    third = push(store, settled, emit=heard).summary
    assert third.parent == first.name
    assert f'backup "{second.name}" cannot be built upon' in heard.text
    check_restorable(store, settled, tmp_path / "out", third.name)
    with pytest.raises(Corrupt):
        push(store, settled, parent=ParentChoice(name=second.name))


@pytest.mark.usefixtures("small_packs")
@pytest.mark.parametrize("damage", ["lost", "shorter"])
def test_h28_a_pack_that_is_gone_is_stored_again(settled: Path, tmp_path: Path, damage: str) -> None:
    store, heard = MemoryStore(), Listener()
    first = push(store, settled).summary
    for pack in load_manifest(store, first.name).packs:
        content = b"".join(store.get(pack.key))
        store.delete([pack.key])
        if damage == "shorter":
            store.put(pack.key, Body.of(content[:-1]))
        second = push(store, settled, emit=heard).summary
        assert f'backup "{first.name}" lacks 1 of its packs' in heard.text
        assert pack.key not in {needed.key for needed in load_manifest(store, second.name).packs}
        check_restorable(store, settled, tmp_path / second.name, second.name)
        store.delete([manifest_key(second.name)])
        store.put(pack.key, Body.of(content))


@pytest.mark.usefixtures("small_packs")
def test_a_block_map_that_does_not_parse_costs_a_read_and_nothing_else(settled: Path, tmp_path: Path) -> None:
    store, heard = MemoryStore(), Listener()
    first = push(store, settled).summary
    (big,) = (record for record in load_manifest(store, first.name).files if record.path == BIG)
    assert isinstance(big.blocks, MapRef)
    frame = big.blocks.frame
    content = bytearray(b"".join(store.get(frame.pack)))
    content[frame.offset : frame.offset + frame.length] = bytes(frame.length)
    store.put(frame.pack, Body.of(bytes(content)))
    second = push(store, settled, emit=heard, parent=ParentChoice(read_all=True)).summary
    check_restorable(store, settled, tmp_path / "out", second.name)
    assert 'the block map of "base/5/big" in the archive cannot be read' in heard.text


def live_share(manifest: Manifest) -> float:
    """How much of the packs that a backup refers to it needs, by blocks."""
    return sum(pack.live for pack in manifest.packs) / sum(pack.blocks for pack in manifest.packs)


@pytest.mark.usefixtures("small_packs")
def test_packs_below_half_live_are_left_behind(settled: Path, tmp_path: Path) -> None:
    store, dice = MemoryStore(), random.Random(7)
    push(store, settled)
    for number in range(25):
        for _ in range(12):
            rewrite(settled / BIG, dice.randrange(150), dice.randbytes(BLOCK_SIZE))
        summary = push(store, settled).summary
        manifest = load_manifest(store, summary.name)
        assert live_share(manifest) > 0.4, number
        assert summary.stored + summary.shared <= sum(pack.size for pack in manifest.packs)
    check_restorable(store, settled, tmp_path / "out", summary.name)


@pytest.mark.usefixtures("small_packs")
def test_live_counts_are_those_of_the_maps(settled: Path) -> None:
    store = MemoryStore()
    push(store, settled)
    rewrite(settled / BIG, 100, b"y" * 5 * BLOCK_SIZE)
    manifest = load_manifest(store, push(store, settled).summary.name)
    counted: dict[str, int] = {}
    for record in manifest.files:
        for pack, count in record.pack_blocks().items():
            counted[pack] = counted.get(pack, 0) + count
    assert {pack.key: pack.live for pack in manifest.packs} == counted
    assert all(0 < pack.live <= pack.blocks for pack in manifest.packs)


@pytest.mark.parametrize("lost", [range(3), range(60, 70), range(140, 150), range(150)])
def test_h31_blocks_that_the_parents_map_lost_are_stored_again_and_are_no_holes(tmp_path: Path, lost: range) -> None:
    """A map with a block's digest and without its extent does not say where the block is."""
    content = random.Random(3).randbytes(150 * BLOCK_SIZE)
    (tmp_path / "f").write_bytes(content)
    entry = look_at(tmp_path, "f")
    whole = BlockMap(
        (Extent(0, 128, OLD, 0), Extent(128, 22, OLD, 0)), b"".join(digest_blocks(memoryview(content), SEED))
    )
    kept = [*clipped(whole, 0, lost.start), *clipped(whole, lost.stop, 150)]
    known = {"f": BlockMap(tuple(kept), whole.digests)}
    with Packer(MemoryStore(), NEW, level=1) as packer:
        (record,) = records_of(
            copy_all(Copier(tmp_path, packer, seed=SEED, segment_blocks=None), packer, [entry], known)
        )
    assert dict(record.uses) == {
        pack: count for pack, count in ((OLD.pack, 150 - len(lost)), (pack_key(NEW, 0), len(lost))) if count
    }
