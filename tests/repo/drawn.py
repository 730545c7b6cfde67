"""Strategies and material for the archive format: maps, records, manifests."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from wal_e.pg.wal import Lsn
from wal_e.repo.blockmap import DIGEST_SIZE, FRAME_BLOCKS, BlockMap, Extent, FrameRef, block_count
from wal_e.repo.filelist import FileRecord, MapRef
from wal_e.repo.layout import pack_key
from wal_e.repo.manifest import Database, DirectoryRecord, Manifest, PackRef, Source, Summary, Tablespace

NAME = "base_000000010000000000000002_00000040"
PACKS = tuple(
    PackRef(pack_key(NAME, number), 5000 * (number + 1), 50 * (number + 1), 40 * (number + 1)) for number in range(3)
)
U64 = (1 << 64) - 1

digest_seeds = st.integers(0, U64)
times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis wants bounds without a zone
lsns = st.integers(0, U64).map(Lsn)
parts_of_paths = st.one_of(
    st.text("abc0123456789_. -", min_size=1, max_size=8).filter(lambda text: text not in {".", ".."}),
    st.sampled_from(["caf\udce9", "Größe", 'quo"te', "back\\slash", "new\nline"]),
)
paths = st.lists(parts_of_paths, min_size=1, max_size=4).map("/".join)
frames = st.builds(
    FrameRef, st.sampled_from([pack.key for pack in PACKS]), st.integers(0, 1 << 40), st.integers(1, 1 << 20)
)


@st.composite
def block_maps(draw: st.DrawFn, blocks: int | None = None) -> BlockMap:
    """A map whose extents lie in ascending order and do not overlap."""
    total = draw(st.integers(0, 400)) if blocks is None else blocks
    extents, position = [], 0
    while position < total and draw(st.booleans()):
        first = draw(st.integers(position, total - 1))
        count = draw(st.integers(1, min(FRAME_BLOCKS, total - first)))
        extents.append(Extent(first, count, draw(frames), draw(st.integers(0, FRAME_BLOCKS - count))))
        position = first + count
    return BlockMap(
        tuple(extents), draw(st.binary(min_size=1, max_size=9)).ljust(total * DIGEST_SIZE, b"\7")[: total * DIGEST_SIZE]
    )


map_refs = st.builds(MapRef, frames, st.integers(0, 1 << 20), st.integers(24, 1 << 20))


@st.composite
def file_records(draw: st.DrawFn) -> FileRecord:
    """A record whose map fits its size."""
    size = draw(st.one_of(st.integers(0, 300_000), st.integers(0, 20).map(lambda count: count * 8192)))
    blocks = draw(st.one_of(map_refs, block_maps(block_count(size))))
    uses = st.lists(st.tuples(st.sampled_from([pack.key for pack in PACKS]), st.integers(1, 1 << 20)), max_size=3)
    return FileRecord(
        path=draw(paths),
        size=size,
        mode=draw(st.integers(0, 0o777)),
        mtime_ns=draw(st.integers(-(10**18), 4 * 10**18)),
        ctime_ns=draw(st.integers(0, 4 * 10**18)),
        inode=draw(st.integers(0, U64)),
        crc32c=draw(st.integers(0, (1 << 32) - 1)),
        blocks=blocks,
        bad_pages=tuple(draw(st.lists(st.integers(0, 1 << 32), max_size=3))),
        uses=tuple(draw(uses)) if isinstance(blocks, MapRef) else (),
    )


summaries = st.builds(
    Summary,
    name=st.just(NAME),
    system_identifier=st.integers(0, U64),
    pg_version=st.sampled_from([100023, 150004, 180000]),
    segment_size=st.sampled_from([1 << 20, 1 << 24, 1 << 30]),
    timeline=st.integers(1, (1 << 32) - 1),
    start_lsn=lsns,
    stop_lsn=lsns,
    start_time=times,
    stop_time=times,
    stop_xmax=st.none() | st.integers(0, U64),
    from_standby=st.booleans(),
    offline=st.booleans(),
    data_directory=paths.map("/".__add__),
    size=st.integers(0, 1 << 60),
    stored=st.integers(0, 1 << 60),
    tablespaces=st.lists(st.builds(Tablespace, st.integers(1, (1 << 32) - 1), paths.map("/".__add__)), max_size=3).map(
        tuple
    ),
    label=st.text(max_size=20),
    checksum_failures=st.integers(0, 1 << 40),
    parent=st.none() | st.just(NAME),
    shared=st.integers(0, 1 << 60),
)
sources = st.builds(Source, st.text(max_size=8), st.integers(0, U64), st.integers(0, U64), st.integers(0, U64))
manifests = st.builds(
    Manifest,
    summary=summaries,
    backup_label=st.text(max_size=40),
    tablespace_map=st.text(max_size=40),
    owner=st.tuples(st.text(max_size=8), st.text(max_size=8)),
    packs=st.just(PACKS),
    directories=st.lists(st.builds(DirectoryRecord, paths, st.integers(0, 0o777)), max_size=4).map(tuple),
    files=st.lists(file_records(), max_size=6).map(tuple),
    source=st.none() | sources,
    databases=st.lists(st.builds(Database, st.integers(1, 1 << 32), st.text(max_size=8)), max_size=3).map(tuple),
)


def one_manifest() -> Manifest:
    """A manifest with one record of each kind."""
    frame = FrameRef(PACKS[0].key, 0, 900)
    inline = BlockMap((Extent(0, 2, frame, 3),), bytes(range(16)) * 3)
    facts = {"mode": 0o600, "mtime_ns": 10**18, "ctime_ns": 10**18, "inode": 7, "crc32c": 0xDEADBEEF}
    moment = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
    return Manifest(
        summary=Summary(
            name=NAME,
            system_identifier=7_300_000_000_000_000_001,
            pg_version=150004,
            segment_size=1 << 24,
            timeline=1,
            start_lsn=Lsn(0x2000028),
            stop_lsn=Lsn(0x2000100),
            start_time=moment,
            stop_time=moment,
            stop_xmax=733,
            from_standby=False,
            offline=False,
            data_directory="/srv/data",
            size=20000,
            stored=900,
            tablespaces=(Tablespace(16400, "/srv/space"),),
            label="label",
            checksum_failures=1,
        ),
        backup_label="START WAL LOCATION\n",
        tablespace_map="16400 /srv/space\n",
        owner=("postgres", "postgres"),
        packs=PACKS,
        directories=(DirectoryRecord(".", 0o700), DirectoryRecord("base", 0o700)),
        files=(
            FileRecord("base/5/1", 20000, blocks=inline, bad_pages=(1,), **facts),
            FileRecord("base/5/2", 1 << 30, blocks=MapRef(frame, 0, 5000), uses=((PACKS[1].key, 131072),), **facts),
        ),
        source=Source("machine", 64769, 2, 10**18),
    )
