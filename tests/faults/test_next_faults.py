"""
The next backup with a fault at each call of the store and of the file system, and over a damaged parent.

What earlier backups consist of is left as it was, whatever was committed is right, and the next try works.
"""

import errno
import itertools
import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.backup.tiny import Listener, Tree, check_restorable, expected_tree, fetch, push, restored_tree
from tests.faults.faulty_store import FaultyStore, Mode
from tests.faults.forked import was_killed
from wal_e.backup.parent import NEWEST, Parent, ParentChoice, Present, find_parent, this_source
from wal_e.backup.plan import matched
from wal_e.errors import Corrupt, WalEError
from wal_e.events import Sink, silent
from wal_e.pg.control import read_control
from wal_e.pg.datadir import scan
from wal_e.repo.blockmap import BLOCK_SIZE
from wal_e.repo.catalogue import list_backups, load_manifest
from wal_e.repo.filelist import MapRef
from wal_e.repo.layout import manifest_key
from wal_e.store.api import Body, Store
from wal_e.store.drivers.file import FolderStore
from wal_e.store.drivers.memory import MemoryStore

pytestmark = pytest.mark.usefixtures("small_packs")
BIG = "base/5/big"
FEWEST_CALLS = 10


class History:
    """A cluster with two backups behind it, changed since: the next one carries, compares, stores and leaves behind."""

    def __init__(self, root: Path, store: Store) -> None:
        self.root = root
        self.trees: dict[str, Tree] = {}
        dice = random.Random(5)
        self._back_up(store)
        self._change(dice, 30)
        self._back_up(store)
        self._change(dice, 60)
        (root / "base/5/exact").unlink()
        (root / "base/5/new").write_bytes(dice.randbytes(40 * BLOCK_SIZE))
        self.now = expected_tree(root)

    def _back_up(self, store: Store) -> None:
        tree = expected_tree(self.root)
        self.trees[push(store, self.root).summary.name] = tree

    def _change(self, dice: random.Random, pages: int) -> None:
        with (self.root / BIG).open("r+b") as file:
            for _ in range(pages):
                file.seek(dice.randrange(150) * BLOCK_SIZE)
                file.write(dice.randbytes(BLOCK_SIZE))


@pytest.fixture
def archive() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def history(settled: Path, archive: MemoryStore) -> History:
    return History(settled, archive)


def objects(store: Store) -> dict[str, bytes]:
    return {info.key: b"".join(store.get(info.key)) for info in store.list()}


def copy_of(store: Store) -> MemoryStore:
    copy = MemoryStore()
    for key, content in objects(store).items():
        copy.put(key, Body.of(content))
    return copy


def check_afterwards(store: Store, before: dict[str, bytes], history: History, scratch: Path) -> int:
    """Old objects are as they were, what was committed is right, and so is the next backup; how many were committed."""
    assert objects(store).items() >= before.items()
    new = {entry.name for entry in list_backups(store)} - history.trees.keys()
    new_and_next = [*new, push(store, history.root).summary.name]
    for name in new_and_next:
        fetch(store, scratch / name, name)
        assert restored_tree(scratch / name) == history.now
    return len(new)


@pytest.mark.parametrize("mode", ["fail", "cut", "flip", "lost"])
def test_h22_a_fault_at_any_call_spares_what_is_there_and_the_next_try_works(
    history: History, archive: MemoryStore, tmp_path: Path, mode: Mode
) -> None:
    before = objects(archive)
    raised = 0
    for call in itertools.count(1):
        inner = copy_of(archive)
        store = FaultyStore(inner, call=call, mode=mode)
        failed = False
        try:
            push(store, history.root)
        except WalEError:
            failed = True
            raised += 1
        committed = check_afterwards(inner, before, history, tmp_path / str(call))
        assert committed <= 1 if mode == "lost" else committed == (not failed)
        if not store.reached:
            break
    assert call > FEWEST_CALLS
    assert raised >= (3 if mode == "flip" else FEWEST_CALLS - 2)
    for name, tree in history.trees.items():
        fetch(archive, tmp_path / name, name)
        assert restored_tree(tmp_path / name) == tree


@pytest.mark.parametrize("mode", ["kill", "killed"])
def test_h41_a_process_killed_at_any_call_spares_what_is_there(settled: Path, tmp_path: Path, mode: Mode) -> None:
    (tmp_path / "archive").mkdir()
    archive = FolderStore(tmp_path / "archive")
    history = History(settled, archive)
    before = objects(archive)
    committed = 0
    for call in itertools.count(1):
        place = tmp_path / str(call)
        shutil.copytree(tmp_path / "archive", place / "archive")
        inner = FolderStore(place / "archive")
        store = FaultyStore(inner, call=call, mode=mode)
        if not was_killed(lambda store=store: push(store, history.root)):  # type: ignore[misc] # mypy cannot infer the default
            break
        committed += check_afterwards(inner, before, history, place)
    # After the manifest there is only the release of the lease.
    assert committed == (2 if mode == "killed" else 1)
    assert call > (FEWEST_CALLS if mode == "kill" else FEWEST_CALLS // 2)


class FaultyFiles:
    """The system's calls on files of one directory, of which the N-th goes wrong."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
        self._root = os.fspath(root)
        self._calls = 0
        self._fault: Callable[[], None] = lambda: None
        self._at = 0
        for name in ("open", "stat", "listdir", "pread"):
            monkeypatch.setattr(os, name, self._watched(getattr(os, name), by_path=name != "pread"))

    def during(self, call: int, fault: Callable[[], None], work: Callable[[], object]) -> bool:
        """Does the work with a fault at this call; False where it came to an end before."""
        self._calls, self._at, self._fault = 0, call, fault
        try:
            work()
        finally:
            reached, self._at = self._calls >= call, 0
        return reached

    def _watched(self, real: Callable[..., Any], *, by_path: bool) -> Callable[..., Any]:
        def watched(where: Any, *arguments: Any, **words: Any) -> Any:
            if self._at and (not by_path or os.fspath(where).startswith(self._root)):
                self._calls += 1
                if self._calls == self._at:
                    self._fault()
            return real(where, *arguments, **words)

        return watched


def raises(number: int) -> Callable[[], None]:
    def fault() -> None:
        raise OSError(number, os.strerror(number))

    return fault


def dies() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_h32_a_file_call_that_fails_ends_the_backup_with_an_error_of_ours(
    history: History, archive: MemoryStore, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    before = {info.key: info for info in archive.list() if info.key.endswith("manifest.json.zst")}
    files = FaultyFiles(monkeypatch, history.root)
    for call in itertools.count(1):
        try:
            reached = files.during(call, raises(number), lambda: push(archive, history.root))
        except WalEError as error:
            told = error
        else:
            assert not reached, call
            break
        assert told.hint, told
        assert {info.key: info for info in archive.list() if info.key.endswith("manifest.json.zst")} == before
    assert call > 3 * FEWEST_CALLS


def test_h41_a_process_killed_at_any_file_call_spares_what_is_there(
    settled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "archive").mkdir()
    archive = FolderStore(tmp_path / "archive")
    history = History(settled, archive)
    before = objects(archive)
    files = FaultyFiles(monkeypatch, history.root)
    for call in itertools.count(1):
        if not was_killed(lambda at=call: files.during(at, dies, lambda: push(archive, history.root))):  # type: ignore[misc] # mypy cannot infer the default
            break
        assert list_backups(archive) == [entry for entry in list_backups(archive) if entry.name in history.trees]
    assert call > 3 * FEWEST_CALLS
    check_afterwards(archive, before, history, tmp_path / "afterwards")


def present(root: Path) -> Present:
    return Present(
        read_control(root)[1].system_identifier, scan(root, pg_version=150000).files, this_source(root, 1 << 62)
    )


def parent_of(store: Store, root: Path, choice: ParentChoice = NEWEST, emit: Sink = silent) -> Parent | None:
    return find_parent(store, present(root), choice, emit)


def test_a_parent_with_any_bit_wrong_is_passed_over(history: History, archive: MemoryStore) -> None:
    """Wherever the damage is: nothing of a list whose checksum does not fit may get into a new manifest."""
    older, newer = history.trees
    key = manifest_key(newer)
    stored = b"".join(archive.get(key))
    whole = load_manifest(archive, newer)
    noticed = 0
    here = present(history.root)
    places = range(0, len(stored), 5)
    for at in places:
        damaged = bytearray(stored)
        damaged[at] ^= 1 << at % 8  # 5 and 8 have no common divisor: every bit has its turn
        archive.put(key, Body.of(bytes(damaged)))
        parent = find_parent(archive, here, NEWEST, silent)
        assert parent is not None
        if parent.name == older:
            noticed += 1
        else:
            assert parent.manifest == whole, at
    assert noticed > len(places) - 5


def test_a_list_of_files_is_read_to_its_end_where_its_checksum_is(history: History, archive: MemoryStore) -> None:
    """Also where the cluster has lost the files that stand last: what a long list says before that is not proven."""
    records = iter(load_manifest(archive, list(history.trees)[-1]).files)
    assert list(matched((), records)) == []
    assert next(records, None) is None


def test_a_damaged_list_of_files_is_no_reason_not_to_back_up(
    history: History, archive: MemoryStore, tmp_path: Path
) -> None:
    heard = Listener()
    older, newer = history.trees
    stored = bytearray(b"".join(archive.get(manifest_key(newer))))
    stored[-20] ^= 1
    archive.put(manifest_key(newer), Body.of(bytes(stored)))
    summary = push(archive, history.root, emit=heard).summary
    assert summary.parent == older
    assert f'backup "{newer}" cannot be built upon' in heard.text
    check_restorable(archive, history.root, tmp_path / "out", summary.name)
    with pytest.raises(Corrupt):
        push(archive, history.root, parent=ParentChoice(name=newer))


def test_a_block_map_with_any_byte_wrong_is_noticed(history: History, archive: MemoryStore, tmp_path: Path) -> None:
    newest = list(history.trees)[-1]
    (big,) = (record for record in load_manifest(archive, newest).files if record.path == BIG)
    assert isinstance(big.blocks, MapRef)
    frame = big.blocks.frame
    content = b"".join(archive.get(frame.pack))
    for at in range(frame.offset, frame.offset + frame.length, frame.length // 25):
        heard = Listener()
        store = copy_of(archive)
        damaged = bytearray(content)
        damaged[at] ^= 0x40
        store.put(frame.pack, Body.of(bytes(damaged)))
        name = push(store, history.root, emit=heard).summary.name
        assert f'the block map of "{BIG}" in the archive cannot be read' in heard.text
        check_restorable(store, history.root, tmp_path / str(at), name)


def test_h51_a_pack_that_was_damaged_silently_is_never_restored_silently(
    history: History, archive: MemoryStore, tmp_path: Path
) -> None:
    """The next backup refers to it unread, for its size is right; the digests tell at the restore."""
    name = push(archive, history.root).summary.name
    shared = [pack for pack in load_manifest(archive, name).packs if name not in pack.key]
    assert shared
    refused = 0
    for pack in shared:
        content = b"".join(archive.get(pack.key))
        for at in range(100, len(content), len(content) // 10):
            target = tmp_path / f"{refused}-{at}-{pack.key[-4:]}"
            damaged = bytearray(content)
            damaged[at] ^= 4
            archive.put(pack.key, Body.of(bytes(damaged)))
            try:
                fetch(archive, target, name)
            except Corrupt:
                refused += 1
                assert not (target / "global" / "pg_control").exists()
            else:
                assert restored_tree(target) == history.now
        archive.put(pack.key, Body.of(content))
    assert refused > 3
