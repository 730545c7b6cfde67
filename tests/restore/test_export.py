"""An export: every byte of the backup, in a form that tar and PostgreSQL read."""

import io
import os
import stat
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests.backup.tiny import TABLESPACE, expected_tree, push, restored_tree
from tests.wal.material import segment
from wal_e.codec.compress import compress
from wal_e.errors import Corrupt, DataDirectoryError, NoSuchBackup, WalEError, WalMissing
from wal_e.events import Event, Message, Progress, silent
from wal_e.pg.control import CONTROL_PATH
from wal_e.pg.wal import Lsn, SegmentName
from wal_e.repo.catalogue import list_backups, load_manifest
from wal_e.repo.cluster import read_identity
from wal_e.repo.layout import manifest_key, wal_key
from wal_e.repo.manifest import Manifest, encode_manifest
from wal_e.restore import content
from wal_e.restore.export import ExportRequest, export_plain, export_tar
from wal_e.restore.tablespaces import Placing
from wal_e.restore.tar import Member, Owner, header, padding
from wal_e.store.api import Body
from wal_e.store.drivers.memory import MemoryStore
from wal_e.units import MIB

HISTORY_2 = b"1\t0/100000\tno recovery target specified\n"
HISTORY_3 = HISTORY_2 + b"2\t0/180000\tno recovery target specified\n"
MADE = {"backup_manifest", "backup_label", "tablespace_map"}


def tar_of(store: MemoryStore, *, wal: bool = False, threads: int = 2) -> bytes:
    return b"".join(export_tar(store, ExportRequest("LATEST", wal, threads), silent))


def members(data: bytes) -> dict[str, bytes | None]:
    """Every member of a tar, None for directories, as the standard library reads it."""
    found: dict[str, bytes | None] = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:", errors="surrogateescape") as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert member.name not in found
            found[member.name] = file.read() if file else None
    return found


def unpack(data: bytes, target: Path) -> Path:
    """With the system's tar, which must not have a word to say."""
    target.mkdir(mode=0o700)
    env = os.environ | {"LC_ALL": "C"}
    done = subprocess.run(["tar", "-x", "-p", "-C", target], input=data, capture_output=True, check=False, env=env)
    said = [line for line in done.stderr.splitlines() if b"hdrcharset" not in line]
    assert (done.returncode, said) == (0, []), done.stderr
    return target


@pytest.fixture(params=["plain", "tablespace"])
def source(request: pytest.FixtureRequest, tiny: Path, tiny_with_tablespace: Path) -> Path:
    return tiny if request.param == "plain" else tiny_with_tablespace


@pytest.fixture
def store(source: Path, small_packs: None) -> MemoryStore:  # noqa: ARG001 - for its effect
    store = MemoryStore()
    push(store, source)
    return store


def on_timeline_3(store: MemoryStore, **changes: object) -> Manifest:
    """Makes the only backup one of a running server: from 0/200028 to 0/400000 on timeline 3, its WAL stored."""
    identity = read_identity(store)
    assert identity is not None
    (entry,) = list_backups(store)
    manifest = load_manifest(store, entry.name)
    summary = replace(
        manifest.summary,
        offline=False,
        timeline=3,
        start_lsn=Lsn(0x200028),
        stop_lsn=Lsn(0x400000),
        segment_size=MIB,
        **changes,  # type: ignore[arg-type] # by name
    )
    changed = replace(manifest, summary=summary, backup_label="START WAL LOCATION: 0/200028\n")
    store.put(manifest_key(entry.name), Body.of(encode_manifest(changed)))
    for name in summary.segments():
        store.put(wal_key(str(name)), Body.of(compress(segment(name, identity.system_identifier))))
    for timeline, text in ((2, HISTORY_2), (3, HISTORY_3)):
        store.put(wal_key(f"{timeline:08X}.history"), Body.of(compress(text)))
    return changed


@pytest.mark.parametrize("threads", [1, 4])
def test_an_unpacked_tar_is_the_cluster(store: MemoryStore, source: Path, tmp_path: Path, threads: int) -> None:
    target = unpack(tar_of(store, threads=threads), tmp_path / "data")
    found, expected = restored_tree(target), expected_tree(source)
    changed = {f"pg_tblspc/{TABLESPACE}", "postgresql.auto.conf"} if "tablespace" in str(source) else set()
    assert {path: facts for path, facts in found.items() if path not in changed | {"."}} == {
        path: facts for path, facts in expected.items() if path not in changed | {"."}
    }
    assert all(path in found for path in changed)
    assert not any(path.is_symlink() for path in target.rglob("*"))
    assert (target / "backup_manifest").exists()


def test_members_come_in_an_order_that_is_safe_to_cut(store: MemoryStore) -> None:
    names = list(members(tar_of(store)))
    assert names[-2:] == ["backup_manifest", CONTROL_PATH]
    for number, name in enumerate(names):
        parent = name.rpartition("/")[0]
        assert not parent or parent in names[:number]


def test_a_tar_is_made_of_pieces_and_says_how_far_it_is(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: Path
) -> None:
    whole = tar_of(store)
    for blocks in (1, 3, 128, 150):
        monkeypatch.setattr(content, "PIECE_BLOCKS", blocks)
        monkeypatch.setattr(content, "_KEPT_FRAMES", blocks % 3)
        assert tar_of(store) == whole
    heard: list[Event] = []
    pieces = list(export_tar(store, ExportRequest("LATEST", wal=False), heard.append))
    assert max(map(len, pieces)) <= 150 * 8192
    progress = [event for event in heard if isinstance(event, Progress)]
    assert [event.done for event in progress] == sorted(event.done for event in progress)
    assert progress[-1].transferred > 0
    assert {event.what for event in progress} == {"export"}
    assert unpack(b"".join(pieces), tmp_path / "again").exists()
    assert source.exists()


def test_the_wal_goes_along_with_its_histories_and_marks(store: MemoryStore, tmp_path: Path) -> None:
    manifest = on_timeline_3(store)
    identifier = manifest.summary.system_identifier
    expected: dict[str, bytes | None] = {"pg_wal": None, "pg_wal/archive_status": None}
    for number in (2, 3):
        name = SegmentName(3, number, MIB)
        expected[f"pg_wal/{name}"] = segment(name, identifier)
        expected[f"pg_wal/archive_status/{name}.done"] = b""
    for timeline, text in ((2, HISTORY_2), (3, HISTORY_3)):
        expected[f"pg_wal/{timeline:08X}.history"] = text
        expected[f"pg_wal/archive_status/{timeline:08X}.history.done"] = b""
    inside = {path: data for path, data in members(tar_of(store, wal=True)).items() if path.startswith("pg_wal")}
    own = {f.path for f in manifest.files if f.path.startswith("pg_wal/")}
    assert {path: data for path, data in inside.items() if path not in own} == expected
    target = tmp_path / "plain"
    export_plain(store, ExportRequest("LATEST", wal=True), target, Placing.BLIND, silent)
    assert {
        str(path.relative_to(target)): None if path.is_dir() else path.read_bytes()
        for path in (target / "pg_wal", *(target / "pg_wal").rglob("*"))
        if str(path.relative_to(target)) not in own
    } == expected
    assert {stat.S_IMODE(path.stat().st_mode) for path in (target / "pg_wal").iterdir() if path.is_file()} == {0o600}


@pytest.mark.parametrize("form", ["plain", "tar"])
def test_no_signal_file_and_no_settings(store: MemoryStore, tmp_path: Path, form: str) -> None:
    manifest = on_timeline_3(store)
    target = tmp_path / "data"
    if form == "tar":
        unpack(tar_of(store), target)
    else:
        export_plain(store, ExportRequest("LATEST", wal=False), target, Placing.BLIND, silent)
    assert (target / "backup_label").read_text() == manifest.backup_label
    assert not list(target.glob("*.signal"))
    assert "restore_command" not in (target / "postgresql.auto.conf").read_text()


def test_a_history_that_the_archive_never_had_is_warned_of(store: MemoryStore) -> None:
    on_timeline_3(store)
    store.delete([wal_key("00000002.history")])
    heard: list[Event] = []
    found = b"".join(export_tar(store, ExportRequest("LATEST", wal=True), heard.append))
    assert any(isinstance(event, Message) and "00000002.history" in event.message for event in heard)
    assert "pg_wal/00000003.history" in members(found)


def other_cluster(store: MemoryStore) -> None:
    name = SegmentName(3, 3, MIB)
    store.put(wal_key(str(name)), Body.of(compress(segment(name, 1))))


def other_place(store: MemoryStore) -> None:
    identity = read_identity(store)
    assert identity is not None
    moved = segment(SegmentName(3, 7, MIB), identity.system_identifier)
    store.put(wal_key(str(SegmentName(3, 3, MIB))), Body.of(compress(moved)))


def short(store: MemoryStore) -> None:
    identity = read_identity(store)
    assert identity is not None
    name = SegmentName(3, 3, MIB)
    store.put(wal_key(str(name)), Body.of(compress(segment(name, identity.system_identifier)[:-1])))


def other_size(store: MemoryStore) -> None:
    identity = read_identity(store)
    assert identity is not None
    name = SegmentName(3, 3, 2 * MIB)
    store.put(wal_key(str(SegmentName(3, 3, MIB))), Body.of(compress(segment(name, identity.system_identifier))))


@pytest.mark.parametrize("damage", [other_cluster, other_place, short, other_size])
@pytest.mark.parametrize("form", ["plain", "tar"])
def test_wal_that_is_not_what_its_name_says_ends_the_export(
    store: MemoryStore, tmp_path: Path, damage: object, form: str
) -> None:
    """H15, H16: the copy would stop in recovery, or worse."""
    on_timeline_3(store)
    damage(store)  # type: ignore[operator] # one of the functions above
    request, target = ExportRequest("LATEST", wal=True), tmp_path / "data"
    exports = {
        "tar": lambda: tar_of(store, wal=True),
        "plain": lambda: export_plain(store, request, target, Placing.BLIND, silent),
    }
    with pytest.raises(WalEError, match="000000030000000000000003"):
        exports[form]()
    assert not (tmp_path / "data" / CONTROL_PATH).exists()


def test_missing_wal_is_said_before_the_first_byte(store: MemoryStore, tmp_path: Path) -> None:
    on_timeline_3(store)
    store.delete([wal_key(str(SegmentName(3, 3, MIB)))])
    with pytest.raises(WalMissing, match=r"missing|not in the archive"):
        next(export_tar(store, ExportRequest("LATEST", wal=True), silent))
    with pytest.raises(WalMissing):
        export_plain(store, ExportRequest("LATEST", wal=True), tmp_path / "data", Placing.BLIND, silent)
    assert not (tmp_path / "data").exists()


def test_a_directory_in_use_is_refused_and_a_backup_that_is_not_there_too(store: MemoryStore, tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(DataDirectoryError, match="not empty"):
        export_plain(store, ExportRequest("LATEST", wal=False), tmp_path, Placing.BLIND, silent)
    with pytest.raises(NoSuchBackup):
        next(export_tar(store, ExportRequest("base_none", wal=False), silent))


def test_a_backup_without_pg_control_is_corrupt(store: MemoryStore) -> None:
    (entry,) = list_backups(store)
    manifest = load_manifest(store, entry.name)
    files = tuple(record for record in manifest.files if record.path != CONTROL_PATH)
    store.put(manifest_key(entry.name), Body.of(encode_manifest(replace(manifest, files=files))))
    with pytest.raises(Corrupt, match="no pg_control"):
        tar_of(store)


@pytest.mark.parametrize("size", [0, 1, 511, 512, 8 << 30, 1 << 40, 3 << 60])
@pytest.mark.parametrize("name", ["a", "d/" + "n" * 150, "d" * 120 + "/" + "n" * 120, "base/caf\udce9", "ü" * 90])
def test_headers_hold_any_name_and_a_file_of_a_terabyte(name: str, size: int) -> None:
    data = header(Member(name, size, 0o640, 1 << 34), Owner("postgres", "data", 5_000_000, 26))
    assert len(data) % 512 == 0
    found = tarfile.open(fileobj=io.BytesIO(data + bytes(1024)), errors="surrogateescape").next()  # noqa: SIM115 - memory
    assert found is not None
    assert (found.name, found.size, found.mode, found.mtime) == (name, size, 0o640, 1 << 34)
    assert (found.uname, found.gname, found.uid, found.gid) == ("postgres", "data", 5_000_000, 26)
    assert (size + len(padding(size))) % 512 == 0


def test_owners_that_this_host_does_not_know_keep_their_names() -> None:
    assert Owner.of("nobody-here", "no-group") == Owner("nobody-here", "no-group", 0, 0)
    assert Owner.of("4000001", "4000002") == Owner("4000001", "4000002", 4_000_001, 4_000_002)
    assert Owner.of("root", "root").uid == 0
