"""
Large archives and large clusters: what listing, planning and manifests cost in seconds, requests and memory.

The archive is a folder of BENCH_OBJECTS objects; the clusters are manifests and maps alone: 10 TB in files of 1 GiB,
and BENCH_FILES small files. Each row is a process of its own, so that its memory is its own.
"""

import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from bench.results import Options, Report
from lab.postgres import scratch_directory
from wal_e.events import silent
from wal_e.legacy.catalogue import list_legacy
from wal_e.maintain.delete import execute, plan_delete
from wal_e.maintain.retention import Retain
from wal_e.maintain.wal_facts import show_wal
from wal_e.maintain.wal_verify import VerifyOptions, verify_wal
from wal_e.pg.wal import DEFAULT_SEGMENT_SIZE, Lsn, SegmentName
from wal_e.repo import layout
from wal_e.repo.blockmap import (
    BLOCK_SIZE,
    FRAME_BLOCKS,
    BlockMap,
    Extent,
    FrameRef,
    block_count,
    decode_map,
    encode_map,
)
from wal_e.repo.catalogue import list_backups, load_manifest, load_summary
from wal_e.repo.cluster import ensure_identity
from wal_e.repo.filelist import FileRecord, MapRef
from wal_e.repo.manifest import Manifest, PackRef, Summary, encode_manifest
from wal_e.store.api import Body, Store
from wal_e.store.drivers.file import FolderStore
from wal_e.store.meter import Metered
from wal_e.units import GIB, KIB, MIB

BACKUPS: Final = 10
CLUSTER: Final = 7_300_000_000_000_000_001
PACK: Final = 32 * MIB
STORED_OF: Final = 3  # a block takes a third of its size, in these archives
LATER: Final = timedelta(days=365)
LINKS: Final = 50_000  # of one file; ext4 has up to 65,000


@dataclass(frozen=True, slots=True)
class Shape:
    """A cluster of `files` files of `size` bytes; their maps are behind pointers where they are large."""

    files: int
    size: int

    @property
    def packs(self) -> int:
        """How many packs its full backup has."""
        return max(1, self.files * self.size // STORED_OF // PACK)


@dataclass(frozen=True, slots=True)
class ScaleRow:
    """One case: seconds, calls of the store, and by how many MiB the process had grown at its peak."""

    name: str
    seconds: float
    calls: int
    grown_mib: float


def records(shape: Shape, packs: tuple[PackRef, ...]) -> Iterator[FileRecord]:
    """The files of a cluster, as a manifest of it has them: each in as many packs as it fills."""
    blocks = block_count(shape.size)
    inline = blocks <= FRAME_BLOCKS
    for number in range(shape.files):
        first, end = (place * len(packs) // shape.files for place in (number, number + 1))
        used = packs[first : max(end, first + 1)]
        frame = FrameRef(used[0].key, (number * 7919) % PACK, 300 * KIB)
        small = (
            BlockMap((Extent(0, blocks, frame, number % (FRAME_BLOCKS - blocks)),), bytes(16 * blocks))
            if inline
            else None
        )
        yield FileRecord(
            path=f"base/{16384 + number // 1000}/{20000 + number}",
            size=shape.size,
            mode=0o600,
            mtime_ns=1_790_000_000_000_000_000 + number,
            ctime_ns=1_790_000_000_000_000_000 + number,
            inode=1_000_000 + number,
            crc32c=(number * 2_654_435_761) % (1 << 32),
            blocks=small or MapRef(frame, 0, 16 * blocks),
            uses=() if small else tuple((pack.key, blocks // len(used)) for pack in used),
        )


def summary(number: int, shape: Shape) -> Summary:
    """The summary of the backup that starts in segment `number`."""
    segment = SegmentName(1, number, DEFAULT_SEGMENT_SIZE)
    when = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
    return Summary(
        name=layout.backup_name(segment, segment.start + 40),
        system_identifier=CLUSTER,
        pg_version=150000,
        segment_size=DEFAULT_SEGMENT_SIZE,
        timeline=1,
        start_lsn=Lsn(segment.start + 40),
        stop_lsn=Lsn(segment.end),
        start_time=when,
        stop_time=when,
        stop_xmax=1000,
        from_standby=False,
        offline=False,
        data_directory="/data",
        size=shape.files * shape.size,
        stored=shape.files * shape.size // STORED_OF,
        tablespaces=(),
        label="",
        checksum_failures=0,
    )


def manifest(number: int, shape: Shape, packs: int) -> Manifest:
    """A manifest with so many packs."""
    facts = summary(number, shape)
    held = STORED_OF * PACK // BLOCK_SIZE
    refs = tuple(PackRef(layout.pack_key(facts.name, n), PACK, held, held) for n in range(packs))
    return Manifest(facts, "START WAL LOCATION\n", "", ("postgres", "postgres"), refs, (), records(shape, refs))


def make_archive(directory: Path, objects: int) -> None:
    """Ten backups, their packs half of the objects, and the WAL of nearly all of the time; contents are tiny."""
    directory.mkdir()
    store = FolderStore(directory)
    ensure_identity(store, CLUSTER)
    packs, segments = objects // 2 // BACKUPS, objects // 2
    for backup in range(BACKUPS):
        document = manifest(backup * segments // BACKUPS, Shape(1000, 64 * KIB), packs)
        folder = directory / layout.backup_prefix(document.summary.name)
        folder.mkdir(parents=True)
        _touch_all([directory / pack.key for pack in document.packs])
        store.put(layout.manifest_key(document.summary.name), Body.of(encode_manifest(document)))
    (directory / layout.WAL_PREFIX).mkdir()
    names = (str(SegmentName(1, number, DEFAULT_SEGMENT_SIZE)) for number in range(segments))
    _touch_all([directory / layout.wal_key(name) for name in names])


def _touch_all(paths: list[Path]) -> None:
    """Makes empty files, as links of a few: those are made faster than files."""
    for at in range(0, len(paths), LINKS):
        source, *others = paths[at : at + LINKS]
        source.touch()
        for other in others:
            os.link(source, other)


def make_clusters(directory: Path, shape: Shape) -> None:
    """An archive of two full backups of such a cluster, of which only the manifests are there."""
    directory.mkdir()
    store = FolderStore(directory)
    ensure_identity(store, CLUSTER)
    for number in (1, 100):
        document = manifest(number, shape, shape.packs)
        store.put(layout.manifest_key(document.summary.name), Body.of(encode_manifest(document)))


def backup_list(store: Store) -> None:
    """`backup-list --detail`."""
    for entry in list_backups(store):
        load_summary(store, entry.name, entry.size)
    list_legacy(store)


def plan(store: Store) -> None:
    """`delete --dry-run retain`."""
    execute(store, plan_delete(store, Retain(1), datetime.now(UTC) + LATER), silent, dry_run=True)


def delete(store: Store) -> None:
    """`delete --confirm retain`."""
    execute(store, plan_delete(store, Retain(1), datetime.now(UTC) + LATER), silent)


def verify(store: Store) -> None:
    """`wal-verify`."""
    verify_wal(store, VerifyOptions(), silent)


def load(store: Store) -> None:
    """A manifest, every file record of it looked at."""
    newest = list_backups(store)[-1].name
    if sum(record.size for record in load_manifest(store, newest).files) == 0:
        raise RuntimeError("an empty manifest")


def decode_maps(_store: Store) -> None:
    """Twenty maps of files of 1 GiB."""
    blocks = block_count(GIB)
    extents = tuple(
        Extent(at, FRAME_BLOCKS, FrameRef(f"pack-{at // 8192}", at, 300 * KIB), 0)
        for at in range(0, blocks, FRAME_BLOCKS)
    )
    data = encode_map(BlockMap(extents, bytes(16 * blocks)))
    for _ in range(20):
        decode_map(data)


ARCHIVE_CASES: Final[dict[str, Callable[[Store], object]]] = {
    "backup-list --detail": backup_list,
    "wal-show": show_wal,
    "wal-verify": verify,
    "delete --dry-run retain 1": plan,
    "delete --confirm retain 1": delete,
}
CLUSTER_CASES: Final[dict[str, Callable[[Store], object]]] = {
    "backup-list --detail": backup_list,
    "load the manifest": load,
    "delete --dry-run retain 1": plan,
}


def measure(name: str, directory: Path, case: Callable[[Store], object]) -> ScaleRow:
    """Runs a case in a process of its own, on the archive in a folder."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(there, name, directory, case))
    process.start()
    there.close()
    try:
        row: ScaleRow = here.recv()
    finally:
        process.join()
    return row


def _run(answer: Connection, name: str, directory: Path, case: Callable[[Store], object]) -> None:
    meter = Metered(FolderStore(directory))
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what it is now: proc(5)
    before, begun = _peak(), time.monotonic()
    case(meter)
    seconds, grown = time.monotonic() - begun, _peak() - before
    calls = sum(count["calls"] for count in asdict(meter.usage).values())
    answer.send(ScaleRow(name, seconds, calls, grown))


def _peak() -> float:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024


def render(title: str, rows: list[ScaleRow]) -> str:
    """A table of the rows."""
    lines = [f"\n{title}", f"{'':32} {'seconds':>8} {'calls':>7} {'grown MiB':>9}"]
    lines += [f"{row.name:32} {row.seconds:8.2f} {row.calls:7} {row.grown_mib:9.1f}" for row in rows]
    return "\n".join(lines)


def _add(report: Report, name: str, title: str, rows: list[ScaleRow]) -> None:
    report.add(f"scale-{name}", render(title, rows), list(map(asdict, rows)))


def main(options: Options, report: Report) -> None:
    """Measures and prints all of it."""
    root = scratch_directory("bench-scale-")
    try:
        make_archive(root / "archive", options.objects)
        rows = [measure(name, root / "archive", case) for name, case in ARCHIVE_CASES.items()]
        _add(report, "archive", f"An archive of {options.objects} objects in a folder", rows)
        for name, shape in {"10tb": Shape(10_000, GIB), "small": Shape(options.files, 64 * KIB)}.items():
            place = root / name
            rows = [measure("make two manifests", root, lambda _: make_clusters(place, shape))]  # noqa: B023 - called at once
            rows += [measure(case, place, work) for case, work in CLUSTER_CASES.items()]
            size = max(entry.size for entry in list_backups(FolderStore(place))) / 1e6
            title = f"{shape.files} files of {shape.size} bytes, {shape.packs} packs, a manifest of {size:.1f} MB"
            _add(report, name, title, rows)
        _add(report, "maps", "Block maps", [measure("decode 20 maps of 1 GiB each", root, decode_maps)])
    finally:
        shutil.rmtree(root, ignore_errors=True)
