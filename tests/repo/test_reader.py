"""Reading frames back: the plan of requests, and what damage in a pack gives."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.repo.drawn import NAME, PACKS, block_maps, one_manifest
from wal_e.errors import Corrupt, WalEError
from wal_e.repo import reader
from wal_e.repo.blockmap import BlockMap, FrameRef, encode_map
from wal_e.repo.filelist import FileRecord, MapRef
from wal_e.repo.pack import Part
from wal_e.repo.packer import Packer
from wal_e.repo.reader import load_maps, plan_reads, read_frames
from wal_e.store.api import Body, read_object
from wal_e.store.drivers.memory import MemoryStore
from wal_e.units import KIB, MIB

RECORD = one_manifest().files[1]


@st.composite
def packed_frames(draw: st.DrawFn) -> list[FrameRef]:
    """Frames that do not overlap, with gaps, in a few packs, in any order."""
    found = []
    for pack in PACKS:
        at = 0
        for length in draw(st.lists(st.integers(1, MIB), max_size=12)):
            at += draw(st.sampled_from([0, 0, 1, 128 * KIB, 128 * KIB + 1, 8 * MIB]))
            found.append(FrameRef(pack.key, at, length))
            at += length
    return draw(st.permutations(found))


@given(packed_frames(), st.booleans())
def test_a_plan_reads_each_frame_once_in_order(frames: list[FrameRef], twice: bool) -> None:
    plan = plan_reads([*frames, *frames] if twice else frames)
    assert [frame for request in plan for frame in request.frames] == sorted(
        frames, key=lambda frame: (frame.pack, frame.offset)
    )
    for request in plan:
        assert all(request.start <= f.offset and f.offset + f.length <= request.end for f in request.frames)
        assert {f.pack for f in request.frames} == {request.pack}
        assert request.end - request.start <= 4 * MIB
        used = sum(f.length for f in request.frames)
        assert request.end - request.start - used <= 128 * KIB * (len(request.frames) - 1)


def stored(contents: list[bytes]) -> tuple[MemoryStore, list[FrameRef]]:
    store = MemoryStore()
    with Packer(store, NAME, level=1) as packer:
        frames = [packer.add(content, [Part("f", 0, 1, 0)]) for content in contents]
    return store, frames


@settings(max_examples=50)
@given(st.lists(st.binary(min_size=1, max_size=500), min_size=1, max_size=8))
def test_frames_come_back(contents: list[bytes]) -> None:
    store, frames = stored(contents)
    read = {frame: content for request in plan_reads(frames) for frame, content in read_frames(store, request)}
    assert [read[frame] for frame in frames] == contents


CONTENTS = [b"first" * 50, b"second" * 100]
STORED = stored(CONTENTS)


@settings(max_examples=300)
@given(st.data())
def test_any_flipped_bit_or_cut_of_a_pack_is_an_error_or_harmless(data: st.DataObject) -> None:
    contents, (source, frames) = CONTENTS, STORED
    pack = bytearray(read_object(source, frames[0].pack))
    store = MemoryStore()
    if data.draw(st.booleans()):
        bit = data.draw(st.integers(0, len(pack) * 8 - 1))
        pack[bit // 8] ^= 1 << bit % 8
    else:
        del pack[data.draw(st.integers(0, len(pack) - 1)) :]
    store.put(frames[0].pack, Body.of(pack))
    try:
        read = [content for request in plan_reads(frames) for _, content in read_frames(store, request)]
    except WalEError:
        return
    assert read == contents


def test_a_missing_pack_is_corrupt_and_says_which() -> None:
    with pytest.raises(Corrupt, match="pack-00000000") as error:
        list(read_frames(MemoryStore(), plan_reads([FrameRef(PACKS[0].key, 0, 10)])[0]))
    assert "backup-list" in error.value.hint


def test_a_frame_that_unfolds_to_more_than_it_may_is_corrupt() -> None:
    store, frames = stored([bytes(2 * MIB)])
    with pytest.raises(Corrupt, match="damaged"):
        list(read_frames(store, plan_reads(frames)[0]))


def record(path: str, blocks: BlockMap | MapRef) -> FileRecord:
    return replace(RECORD, path=path, blocks=blocks)


@settings(max_examples=30)
@given(st.lists(block_maps(), min_size=1, max_size=5))
def test_maps_are_loaded_from_packs_and_from_the_manifest(maps: list[BlockMap]) -> None:
    store = MemoryStore()
    encoded = [encode_map(block_map) for block_map in maps]
    with Packer(store, NAME, level=1) as packer:
        frame = packer.add_maps([("x", data) for data in encoded])
    records, start = [], 0
    for number, data in enumerate(encoded):
        records.append(record(f"behind{number}", MapRef(frame, start, len(data))))
        records.append(record(f"inline{number}", maps[number]))
        start += len(data)
    loaded = load_maps(store, records)
    assert loaded == {f"{kind}{n}": m for n, m in enumerate(maps) for kind in ("behind", "inline")}


def test_the_map_of_a_very_large_file_is_loaded_though_it_is_beyond_the_usual_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reader, "MAP_LIMIT", 1000)
    block_map = BlockMap((), bytes(16) * 500)
    encoded = encode_map(block_map)
    store = MemoryStore()
    with Packer(store, NAME, level=1) as packer:
        frame = packer.add_maps([("big", encoded)])
    assert load_maps(store, [record("big", MapRef(frame, 0, len(encoded)))]) == {"big": block_map}


@pytest.mark.parametrize("place", [(0, 10), (5, 80), (-3, 30), (10_000, 24), (0, 0), (0, -1)])
def test_a_pointer_to_the_wrong_place_is_corrupt(place: tuple[int, int]) -> None:
    store = MemoryStore()
    with Packer(store, NAME, level=1) as packer:
        frame = packer.add_maps([("f", encode_map(BlockMap((), bytes(16 * 3))))])
    with pytest.raises(Corrupt):
        load_maps(store, [record("f", MapRef(frame, *place))])


@pytest.mark.parametrize("frame", [(0, 0), (0, -1), (-5, 10), (1 << 50, 10), (3, 4)])
def test_a_reference_to_no_frame_is_an_error_of_ours(frame: tuple[int, int]) -> None:
    store, frames = stored([b"content"])
    with pytest.raises(WalEError):
        load_maps(store, [record("f", MapRef(FrameRef(frames[0].pack, *frame), 0, 24))])
