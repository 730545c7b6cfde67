"""WAL files as stored objects: never replaced, read back whole, listed with what other tools left."""

import random
from pathlib import Path

import pytest

from tests.wal.material import FIRST, HISTORY_2, SIZE, segment, write_segment
from wal_e.codec.compress import compress
from wal_e.errors import ArchiveConflict, ArchiveError, Corrupt, NotFound, Unavailable, WalEError
from wal_e.pg.wal import SegmentName
from wal_e.repo import source, wal
from wal_e.repo.source import Source
from wal_e.repo.wal import get_wal, list_wal, neighbours, next_timeline, put_wal, read_header, read_history, wal_exists
from wal_e.store.api import Body, Capabilities, ObjectInfo
from wal_e.store.drivers.memory import MemoryStore
from wal_e.units import MIB

NAME = str(FIRST)
PARTIAL = f"{NAME}.partial"


def content(store: MemoryStore, key: str) -> bytes:
    return b"".join(store.get(key))


def test_a_file_comes_back(tmp_path: Path) -> None:
    store, path = MemoryStore(), write_segment(tmp_path)
    result = put_wal(store, NAME, Source.of(path))
    assert result == wal.PutResult(f"wal_005/{NAME}.zst", fresh=True, size=SIZE, stored=store.head(result.key).size)
    assert b"".join(get_wal(store, NAME)) == segment()
    assert wal_exists(store, NAME)
    assert not wal_exists(store, str(FIRST.next()))
    assert read_header(store, NAME).segment_size == SIZE


def test_h01_equal_content_is_success_whatever_the_level(tmp_path: Path) -> None:
    store, path = MemoryStore(), write_segment(tmp_path)
    put_wal(store, NAME, Source.of(path), 1)
    before = content(store, f"wal_005/{NAME}.zst")
    assert not put_wal(store, NAME, Source.of(path), 9).fresh
    assert content(store, f"wal_005/{NAME}.zst") == before


@pytest.mark.parametrize("other", [segment(seed=1), segment()[:-1], segment() + b"\0", b""])
def test_h01_other_content_is_refused_and_changes_nothing(tmp_path: Path, other: bytes) -> None:
    store, path = MemoryStore(), write_segment(tmp_path)
    put_wal(store, NAME, Source.of(path))
    path.write_bytes(other)
    with pytest.raises(ArchiveConflict) as caught:
        put_wal(store, NAME, Source.of(path))
    assert caught.value.hint
    assert b"".join(get_wal(store, NAME)) == segment()


def test_h06_a_second_partial_is_kept_apart_and_wedges_nothing(tmp_path: Path) -> None:
    store, path = MemoryStore(), tmp_path / PARTIAL
    keys = []
    for seed in (0, 1, 2, 1, 0):
        path.write_bytes(segment(seed=seed))
        keys.append(put_wal(store, PARTIAL, Source.of(path)).key)
    assert keys[0] == keys[4] == f"wal_005/{PARTIAL}.zst"
    assert keys[1] == keys[3] != keys[2]
    assert b"".join(get_wal(store, PARTIAL)) == segment()
    assert [(entry.name, entry.readable) for entry in list_wal(store)].count((PARTIAL, True)) == 1
    assert len(list(list_wal(store))) == 3


def test_a_damaged_object_is_reported_not_replaced(tmp_path: Path) -> None:
    store, path = MemoryStore(), write_segment(tmp_path)
    store.put(f"wal_005/{NAME}.zst", Body.of(b"<html>"))
    with pytest.raises(Corrupt, match="is damaged") as caught:
        put_wal(store, NAME, Source.of(path))
    assert "delete" in str(caught.value.hint)
    assert content(store, f"wal_005/{NAME}.zst") == b"<html>"


class Rival(MemoryStore):
    """A store that tells two creators of one key that they made it; the second one's bytes stay (Swift)."""

    capabilities = Capabilities(atomic_create=False, max_object=1 << 40, list_page=1 << 30)

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._theirs = compress(data[:1000]) + compress(data[1000:])

    def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
        info = super().put(key, body, create_only=create_only)
        super().put(key, Body.of(self._theirs))
        return info


def test_h01_on_a_store_without_exclusive_create_the_loser_notices(tmp_path: Path) -> None:
    path = write_segment(tmp_path)
    with pytest.raises(ArchiveConflict):
        put_wal(Rival(segment(seed=1)), NAME, Source.of(path))
    assert not put_wal(Rival(segment()), NAME, Source.of(path)).fresh


def test_h18_an_object_that_vanishes_after_the_put_is_no_success(tmp_path: Path) -> None:
    class Vanishing(MemoryStore):
        capabilities = Capabilities(atomic_create=False, max_object=1 << 40, list_page=1 << 30)

        def head(self, key: str) -> ObjectInfo:
            raise NotFound(key)

    with pytest.raises(Unavailable):
        put_wal(Vanishing(), NAME, Source.of(write_segment(tmp_path)))


def test_large_segments_take_the_way_over_a_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "IN_MEMORY", SIZE - 1)
    store, path = MemoryStore(), write_segment(tmp_path)
    reads: list[bytes] = []
    put = store.put

    def put_twice(key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
        for _ in range(2):  # as a repeat after a broken connection would
            with body.open() as file:
                reads.append(file.read())
        return put(key, body, create_only=create_only)

    monkeypatch.setattr(store, "put", put_twice)
    put_wal(store, NAME, Source.of(path))
    assert reads[0] == reads[1]
    assert b"".join(get_wal(store, NAME)) == segment()


def test_no_room_for_the_temporary_file_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "IN_MEMORY", 0)
    path = write_segment(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(WalEError, match="temporary file") as caught:
        put_wal(MemoryStore(), NAME, Source.of(path))
    assert "TMPDIR" in str(caught.value.hint)


def test_lists_read_what_wal_e_and_walg_left() -> None:
    store = MemoryStore()
    for rest in (
        f"{NAME}.lzo",
        f"{NAME}_delta.lz4",
        f"{NAME}.json",
        "00000002.history.lz4",
        f"{FIRST.next()}.zst",
        "junk",
    ):
        store.put(f"wal_005/{rest}", Body.of(b"x"))
    assert [(entry.name, entry.suffix, entry.readable) for entry in list_wal(store)] == [
        (NAME, ".lzo", False),
        (str(FIRST.next()), ".zst", True),
        ("00000002.history", ".lz4", False),
    ]
    assert [entry.name for entry in list_wal(store, after=str(FIRST.next()))] == ["00000002.history"]


def test_a_history_is_read_and_its_absence_needs_two_answers() -> None:
    """H19: get and list must agree."""
    store = MemoryStore()
    assert read_history(store, 2) is None
    store.put("wal_005/00000002.history.zst", Body.of(compress(HISTORY_2)))
    history = read_history(store, 2)
    assert history is not None
    assert history.ancestors == (1,)

    class Disagreeing(MemoryStore):
        def _find(self, key: str) -> tuple[bytes, ObjectInfo]:
            raise NotFound(key)

    doubtful = Disagreeing()
    doubtful.put("wal_005/00000002.history.zst", Body.of(compress(HISTORY_2)))
    with pytest.raises(Unavailable):
        read_history(doubtful, 2)
    foreign = MemoryStore()
    foreign.put("wal_005/00000002.history.lzo", Body.of(b"x"))
    with pytest.raises(ArchiveError, match="WAL-E or WAL-G"):
        read_history(foreign, 2)


def test_neighbours_say_what_is_around_a_place() -> None:
    store = MemoryStore()
    assert neighbours(store, NAME) == wal.Neighbours()
    for name in (f"{NAME}.00000028.backup", PARTIAL, "00000003.history"):
        store.put(f"wal_005/{name}.zst", Body.of(b"x"))
    assert neighbours(store, NAME) == wal.Neighbours(next_timeline=3, seen=True)
    store.put(f"wal_005/{SegmentName(1, 900, SIZE)}.lz4", Body.of(b"x"))
    assert neighbours(store, NAME).later == str(SegmentName(1, 900, SIZE))
    store.put(f"wal_005/{NAME}.lzo", Body.of(b"x"))
    assert neighbours(store, NAME).foreign == f"wal_005/{NAME}.lzo"
    store.put(f"wal_005/{NAME}.zst", Body.of(b"x"))
    assert neighbours(store, NAME).stored
    assert next_timeline(store, 1) == 3
    assert next_timeline(store, 3) is None


@pytest.mark.slow
def test_a_segment_of_one_gigabyte_takes_little_memory(tmp_path: Path) -> None:
    """H12: the largest segment, a sparse file; the peak is far below its size."""
    import resource

    name = SegmentName(1, 2, 1024 * MIB)
    path = tmp_path / str(name)
    with path.open("wb") as file:
        file.write(segment(SegmentName(1, 2, MIB))[: MIB // 8])
        file.write(random.Random(1).randbytes(MIB))
        file.truncate(name.segment_size)
    store = MemoryStore()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert put_wal(store, str(name), Source.of(path)).size == name.segment_size
    assert not put_wal(store, str(name), Source.of(path)).fresh
    assert sum(map(len, get_wal(store, str(name)))) == name.segment_size
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 256 * 1024
