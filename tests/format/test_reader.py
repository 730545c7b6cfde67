"""docs/format.md is enough: a reader written from it restores what `backup-fetch` restores, and its examples hold."""

import importlib.util
import json
import os
import re
import stat
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest

from lab.account import as_postgres, give_to_server
from lab.postgres import Postgres
from tests.backup.copied import copy_all
from tests.plugins.cli import WalECli
from tests.plugins.postgres import PostgresFactory
from wal_e.backup.contents import BackupRequest
from wal_e.backup.copy import Copier
from wal_e.backup.offline import push_offline
from wal_e.events import silent
from wal_e.pg.filetable import FileEntry
from wal_e.pg.wal import Lsn
from wal_e.repo.blockmap import BLOCK_SIZE, BlockMap, Extent, FrameRef, decode_map, encode_map
from wal_e.repo.catalogue import commit, load_manifest
from wal_e.repo.cluster import ensure_identity
from wal_e.repo.filelist import INLINE_BLOCKS, MapRef
from wal_e.repo.layout import pack_key
from wal_e.repo.manifest import DirectoryRecord, Manifest, Summary
from wal_e.repo.pack import IndexedFrame, Part, decode_index
from wal_e.repo.packer import Packer
from wal_e.restore.run import RestoreRequest, fetch_backup
from wal_e.restore.select import BackupQuery
from wal_e.store.drivers.file import FolderStore

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "format.md").read_text()
NAME = "base_000000010000000000000002_00000040"
SEED = 0x0123456789ABCDEF
CONTROL = "global/pg_control"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("format_reader", HERE / "reader.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["format_reader"] = module
    spec.loader.exec_module(module)
    return module


reader = _load()


def example(word: str) -> list[bytes]:
    """The hexadecimal examples of the page: the lines that begin with `word`."""
    return [bytes.fromhex(text) for text in re.findall(rf"^{word} ([0-9a-f ]+)$", PAGE, re.MULTILINE)]


def blocks_of(content: bytes) -> list[bytes]:
    return [content[at : at + BLOCK_SIZE].ljust(BLOCK_SIZE, b"\0") for at in range(0, len(content), BLOCK_SIZE)]


def test_the_reader_owes_nothing_to_the_package() -> None:
    text = (HERE / "reader.py").read_text()
    assert "wal_e" not in text
    assert len(text.splitlines()) < 250


def test_examples_digests() -> None:
    content = b"\x01" * BLOCK_SIZE + bytes(BLOCK_SIZE) + b"hello"
    assert [reader.digest(block, SEED) for block in blocks_of(content)] == example("digest")


def test_examples_frame_and_map() -> None:
    frame = b"".join(example("frame"))
    assert reader.unpack_frames(frame) == b"\x01" * BLOCK_SIZE + b"hello".ljust(BLOCK_SIZE, b"\0")
    key = pack_key(NAME, 0)
    encoded = b"".join(example("map"))
    assert reader.parse_map(encoded) == reader.Map(
        (reader.Run(0, 1, key, 0, len(frame), 0), reader.Run(2, 1, key, 0, len(frame), 1)), tuple(example("digest"))
    )
    ref = FrameRef(key, 0, len(frame))
    ours = BlockMap((Extent(0, 1, ref, 0), Extent(2, 1, ref, 1)), b"".join(example("digest")))
    assert encode_map(ours) == encoded
    assert decode_map(encoded) == ours


def test_examples_index() -> None:
    encoded = b"".join(example("index"))
    pack = b"".join(example("frame")) + encoded
    parts = [["base/5/16384", 0, 1, 0], ["base/5/16384", 2, 1, 1]]
    assert reader.parse_index(pack) == {
        "format": 1,
        "backup": NAME,
        "pack": 0,
        "frames": [{"offset": 0, "length": 33, "parts": parts}],
    }
    assert decode_index(encoded) == (IndexedFrame(0, 33, (Part(*parts[0]), Part(*parts[1]))),)
    assert reader.unpack_frames(pack) == reader.unpack_frames(pack[:33])


def make_directory(root: Path) -> dict[str, bytes]:
    """Files of every kind that the format tells apart, by path; names that are no UTF-8 among them."""
    noise = os.urandom(3 * BLOCK_SIZE + 77)
    files = {
        "PG_VERSION": b"15\n",
        "empty": b"",
        "base/5/1": noise,
        "base/5/2": bytes(5 * BLOCK_SIZE),
        "base/5/3": os.urandom(300 * BLOCK_SIZE + 1),
        "base/5/4": bytes(200 * BLOCK_SIZE),
        "base/5/5": noise[:BLOCK_SIZE] + bytes(140 * BLOCK_SIZE) + noise[:100],
        "base/5/" + os.fsdecode(b"caf\xe9"): b"not utf-8",
        "base/5/inline": os.urandom(INLINE_BLOCKS * BLOCK_SIZE),
        "base/5/mapped": os.urandom(INLINE_BLOCKS * BLOCK_SIZE + 1),
        "pg_tblspc/16400/PG_15_202209061/5/1": b"in a tablespace",
        CONTROL: os.urandom(BLOCK_SIZE),
    }
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
        (root / path).chmod(0o640)
    (root / "pg_wal").mkdir(mode=0o750)
    return files


def entry(root: Path, path: str) -> FileEntry:
    status = (root / path).stat()
    return FileEntry(path, status.st_size, 0o640, 0, 0, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def write_backup(archive: Path, root: Path, files: Mapping[str, bytes], *, target: int = 1 << 20) -> Manifest:
    """A backup of `root` by the package, in small packs, without a server."""
    archive.mkdir()
    store = FolderStore(archive)
    identity = ensure_identity(store, 42)
    entries = [entry(root, path) for path in sorted(files)]
    with Packer(store, NAME, level=3, target=target) as packer:
        written = copy_all(Copier(root, packer, seed=identity.digest_seed, segment_blocks=None), packer, entries)
    records = written.finish()
    now = datetime(2026, 11, 23, tzinfo=UTC)
    summary = Summary(
        NAME, 42, 150020, 1 << 24, 1, Lsn(0x2000028), Lsn(0x2000100), now, now, None, from_standby=False, offline=False,
        data_directory=str(root), size=sum(map(len, files.values())), stored=packer.stored, tablespaces=(),
        label="l", checksum_failures=0,
    )  # fmt: skip
    directories = (".", *sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_dir()))
    manifest = Manifest(
        summary,
        "START WAL LOCATION: 0/2000028\n",
        "",
        ("postgres", "postgres"),
        tuple(replace(packer.packs[key], live=written.live[key]) for key in records.packs),
        tuple(DirectoryRecord(path, stat.S_IMODE((root / path).stat().st_mode)) for path in directories),
        records,
    )
    commit(store, manifest)
    return manifest


def test_reader_restores_a_synthetic_directory(tmp_path: Path) -> None:
    root, target = tmp_path / "data", tmp_path / "restored"
    files = make_directory(root)
    manifest = write_backup(tmp_path / "archive", root, files)
    assert len(manifest.packs) > 1
    reader.Reader(tmp_path / "archive").restore(NAME, target)
    found = {str(p.relative_to(target)) for p in target.rglob("*") if p.is_file()}
    assert found == {*files, "backup_label"}
    for path, content in files.items():
        assert (target / path).read_bytes() == content, path
        assert stat.S_IMODE((target / path).stat().st_mode) == 0o640
    assert (target / "backup_label").read_text() == manifest.backup_label
    assert stat.S_IMODE((target / "pg_wal").stat().st_mode) == 0o750


def test_summary_is_readable_from_the_first_frame(tmp_path: Path) -> None:
    root = tmp_path / "data"
    manifest = write_backup(tmp_path / "archive", root, make_directory(root))
    stored = (tmp_path / "archive" / "basebackups_006" / NAME / "manifest.json.zst").read_bytes()
    first = reader.zstandard.ZstdDecompressor().decompressobj()
    head = first.decompress(stored)
    assert first.eof
    assert first.unused_data
    assert json.loads(head + b"}")["summary"]["name"] == manifest.summary.name


def test_every_pack_explains_itself(tmp_path: Path) -> None:
    root = tmp_path / "data"
    manifest = write_backup(tmp_path / "archive", root, make_directory(root))
    for number, pack in enumerate(sorted(manifest.packs, key=lambda pack: pack.key)):
        data = (tmp_path / "archive" / pack.key).read_bytes()
        index = reader.parse_index(data)
        assert (index["backup"], index["pack"]) == (NAME, number)
        parts = [part for frame in index["frames"] for part in frame.get("parts", ())]
        maps = [path for frame in index["frames"] for path in frame.get("maps", ())]
        assert sum(count for _, _, count, _ in parts) + len(maps) == pack.blocks == pack.live
        for frame in index["frames"]:
            content = reader.unpack_frames(data[frame["offset"] : frame["offset"] + frame["length"]])
            for path, first, count, slot in frame.get("parts", ()):
                block = content[slot * BLOCK_SIZE : (slot + count) * BLOCK_SIZE]
                whole = b"".join(blocks_of((root / path).read_bytes()))
                assert block == whole[first * BLOCK_SIZE : (first + count) * BLOCK_SIZE]


@pytest.mark.parametrize("at", [5, 1000, 200_000])
def test_reader_notices_a_flipped_byte(tmp_path: Path, at: int) -> None:
    root = tmp_path / "data"
    manifest = write_backup(tmp_path / "archive", root, make_directory(root))
    pack = tmp_path / "archive" / manifest.packs[0].key
    data = bytearray(pack.read_bytes())
    data[at] ^= 0x40
    pack.write_bytes(data)
    with pytest.raises((reader.DamagedError, reader.zstandard.ZstdError)):
        reader.Reader(tmp_path / "archive").restore(NAME, tmp_path / "restored")
    assert not (tmp_path / "restored" / CONTROL).exists()


def test_reader_notices_a_lost_extent(tmp_path: Path) -> None:
    """A block without an extent is a hole only where its digest says so."""
    root = tmp_path / "data"
    files = make_directory(root)
    manifest = write_backup(tmp_path / "one", root, files)
    records = [
        replace(record, blocks=BlockMap((), record.blocks.digests))
        if isinstance(record.blocks, BlockMap) and record.path == "base/5/1"
        else record
        for record in manifest.files
    ]
    (tmp_path / "one" / "basebackups_006" / NAME / "manifest.json.zst").unlink()
    commit(FolderStore(tmp_path / "one"), replace(manifest, files=tuple(records)))
    with pytest.raises(reader.DamagedError, match="missing"):
        reader.Reader(tmp_path / "one").restore(NAME, tmp_path / "restored")


def fill(cluster: Postgres) -> None:
    """Tables long enough for maps of their own, and one with gaps."""
    cluster.sql("create table t (id int primary key, x text)")
    cluster.sql("insert into t select i, repeat(md5(i::text), 10) from generate_series(1, 20000) i")
    cluster.sql("create table gaps (x int)")
    cluster.sql("insert into gaps select generate_series(1, 100000)")


def connection(cluster: Postgres) -> dict[str, str]:
    return {"PGHOST": str(cluster.socket_directory), "PGPORT": str(cluster.port), "PGUSER": "postgres"}


def listing(directory: Path) -> dict[str, tuple[str, bytes]]:
    """Kind and mode, and content, of everything below a directory."""
    result: dict[str, tuple[str, bytes]] = {}
    for path in directory.rglob("*"):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        result[str(path.relative_to(directory))] = (stat.filemode(status.st_mode), content)
    return result


def same(fetched: Path, by_the_page: Path) -> None:
    """Byte by byte and mode by mode, but for how the copy shall recover, which is the restore's choice."""
    chosen = {"recovery.signal", "backup_manifest", "postgresql.auto.conf"}
    ours, theirs = listing(fetched), listing(by_the_page)
    assert set(ours) - chosen == set(theirs) - chosen
    for path in set(ours) - chosen:
        assert ours[path] == theirs[path], path


@pytest.mark.slow
def test_reader_agrees_with_the_package_about_a_cluster_at_rest(
    postgres_factory: PostgresFactory, tmp_path: Path
) -> None:
    cluster = postgres_factory(15)
    fill(cluster)
    cluster.stop()
    (tmp_path / "archive").mkdir()
    store = FolderStore(tmp_path / "archive")
    request = BackupRequest(cluster.data_directory, offline=True)
    name = push_offline(store, request, silent).summary.name
    manifest = load_manifest(store, name)
    assert any(isinstance(file.blocks, MapRef) for file in manifest.files)
    fetch_backup(store, BackupQuery(), RestoreRequest(tmp_path / "fetched"), silent)
    reader.Reader(tmp_path / "archive").restore(name, tmp_path / "by-the-page")
    same(tmp_path / "fetched", tmp_path / "by-the-page")
    unchanged = (path for path in listing(tmp_path / "by-the-page") if path.startswith(("base/", "pg_xact/")))
    for path in unchanged:
        original = cluster.data_directory / path
        assert original.is_dir() or original.read_bytes() == (tmp_path / "by-the-page" / path).read_bytes()


@pytest.mark.slow
def test_reader_agrees_with_backup_fetch(
    postgres_factory: PostgresFactory,
    archive_env: dict[str, str],
    wal_e_program: Path,
    wal_e_cli: WalECli,
    pg_tmp: Path,
) -> None:
    """The promise of docs/format.md on a real cluster: byte by byte what `backup-fetch` restores."""
    prefix = archive_env["WALE_FILE_PREFIX"]
    archive = Path(prefix.removeprefix("file://localhost"))
    command = f"WALE_AGENT=off WALE_FILE_PREFIX={prefix} {wal_e_program} wal-push %p"
    cluster = postgres_factory(15, conf={"archive_mode": "on", "archive_command": command})
    cluster.sql(f"create tablespace elsewhere location '{give_to_server(pg_tmp / 'elsewhere')}'")
    cluster.sql("create table far tablespace elsewhere as select generate_series(1, 50000) x")
    fill(cluster)
    env = archive_env | connection(cluster)
    pushed = wal_e_cli("backup-push", cluster.data_directory, env=env)
    assert pushed.returncode == 0, pushed.stderr
    fetched, target = pg_tmp / "fetched", pg_tmp / "by-the-page"
    fetch = wal_e_cli("backup-fetch", "--blind-restore", fetched, "LATEST", env=archive_env)
    assert fetch.returncode == 0, fetch.stderr
    (name,) = (path.name for path in (archive / "basebackups_006").iterdir())
    script = pg_tmp / "reader.py"  # the project may lie where the server account cannot read it
    script.write_bytes((HERE / "reader.py").read_bytes())
    script.chmod(0o644)
    as_postgres([wal_e_program.with_name("python"), script, archive, name, target], check=True)
    same(fetched, target)
    assert list((target / "pg_tblspc").glob("*/PG_15_*/*/*"))


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "base/../../x", "base/\0"])
def test_reader_refuses_paths_that_leave_the_directory(path: str) -> None:
    """H51."""
    with pytest.raises(reader.DamagedError, match="unsafe"):
        reader.safe(path)
