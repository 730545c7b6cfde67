"""The packer: every frame handed out is stored, in order or not, and a failure of the store is not swallowed (H22)."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults.faulty_store import FaultyStore
from tests.repo.drawn import NAME
from wal_e.codec.compress import decompress
from wal_e.errors import Interrupted, Unavailable
from wal_e.repo.layout import backup_prefix
from wal_e.repo.pack import Part, decode_index
from wal_e.repo.packer import Packer
from wal_e.store.api import Body, ObjectInfo, read_object
from wal_e.store.drivers.memory import MemoryStore

LIMIT = 1 << 20


def part(number: int) -> Part:
    return Part(f"file{number}", 0, 1, 0)


@settings(max_examples=40)
@given(st.lists(st.binary(max_size=3000), max_size=30), st.integers(1, 20_000), st.integers(1, 3))
def test_every_frame_is_found_where_its_reference_says(contents: list[bytes], target: int, uploads: int) -> None:
    store = MemoryStore()
    with Packer(store, NAME, level=1, uploads=uploads, target=target) as packer:
        references = [packer.add(content, [part(number)]) for number, content in enumerate(contents)]
        maps = packer.add_maps([("a", b"ma"), ("b", b"ps")])
    for reference, content in zip([*references, maps], [*contents, b"maps"], strict=True):
        frame = read_object(store, reference.pack, start=reference.offset, length=reference.length)
        assert decompress(frame, limit=LIMIT) == content
    objects = {info.key: info.size for info in store.list(backup_prefix(NAME))}
    assert {key: pack.size for key, pack in packer.packs.items()} == objects
    assert packer.stored == sum(objects.values())
    indexed = {
        (key, frame.offset, frame.length): (frame.parts, frame.maps)
        for key in objects
        for frame in decode_index(read_object(store, key))
    }
    assert indexed == {(r.pack, r.offset, r.length): ((part(n),), ()) for n, r in enumerate(references)} | {
        (maps.pack, maps.offset, maps.length): ((), ("a", "b"))
    }
    for pack in packer.packs.values():
        frames = [found for place, found in indexed.items() if place[0] == pack.key]
        assert pack.blocks == pack.live == sum(sum(p.count for p in parts) + len(maps) for parts, maps in frames)


def test_threads_may_add_at_once_while_others_ask_how_much_is_stored() -> None:
    store = MemoryStore()
    with Packer(store, NAME, level=1, target=50) as packer, ThreadPoolExecutor(8) as executor:
        added = [executor.submit(packer.add, bytes([number]) * 100, [part(number)]) for number in range(200)]
        asked = [executor.submit(lambda: packer.stored) for _ in range(200)]
        assert all(future.result() >= 0 for future in asked)
        references = [future.result() for future in added]
    assert len({(r.pack, r.offset) for r in references}) == 200
    for number, reference in enumerate(references):
        frame = read_object(store, reference.pack, start=reference.offset, length=reference.length)
        assert decompress(frame, limit=LIMIT) == bytes([number]) * 100


def test_nothing_added_stores_nothing() -> None:
    store = MemoryStore()
    with Packer(store, NAME, level=1) as packer:
        pass
    assert packer.packs == {}
    assert list(store.list()) == []


@pytest.mark.parametrize("call", range(1, 6))
def test_h22_a_failed_upload_ends_the_packer_with_its_error(call: int) -> None:
    store = FaultyStore(MemoryStore(), call=call)

    def fill() -> None:
        with Packer(store, NAME, level=1, target=1) as packer:
            for number in range(5):
                packer.add(b"content", [part(number)])

    with pytest.raises(Unavailable, match="injected"):
        fill()


def test_an_error_of_the_caller_uploads_no_unfinished_pack() -> None:
    store = MemoryStore()

    def fill() -> None:
        with Packer(store, NAME, level=1) as packer:
            packer.add(b"content", [part(0)])
            raise KeyError("the caller's")

    with pytest.raises(KeyError):
        fill()
    assert list(store.list()) == []


class _Gate(MemoryStore):
    """Lets puts through when it is opened, and counts those that wait."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.waiting = 0

    def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
        self.waiting += 1
        assert self.open.wait(30)
        return super().put(key, body, create_only=create_only)


def test_h41_full_packs_do_not_pile_up_while_the_store_is_slow() -> None:
    store = _Gate()
    added = 0
    blocked = threading.Event()

    def fill() -> None:
        nonlocal added
        with Packer(store, NAME, level=1, uploads=2, target=1) as packer:
            for number in range(10):
                if number == 2:
                    blocked.set()
                packer.add(b"content", [part(number)])
                added += 1

    with ThreadPoolExecutor(1) as executor:
        work = executor.submit(fill)
        try:
            assert blocked.wait(30)
            bound = added
        finally:
            store.open.set()
        work.result(30)
    assert bound == 2
    assert added == len(list(store.list())) == 10


@pytest.mark.parametrize("moment", ["filling", "finishing"])
def test_h47_who_is_interrupted_does_not_wait_for_a_store_that_does_not_answer(moment: str) -> None:
    asked, answer = threading.Event(), threading.Event()

    class Mute(MemoryStore):
        def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
            asked.set()
            answer.wait(60)
            return super().put(key, body, create_only=create_only)

    class Impatient(Packer):
        def _finish(self) -> None:
            raise Interrupted("stopped by SIGTERM")

    kind = Impatient if moment == "finishing" else Packer

    def work() -> None:
        with kind(Mute(), NAME, level=1, target=1) as packer:
            packer.add(b"x", [part(0)])
            assert asked.wait(60)
            if moment == "filling":
                raise Interrupted("stopped by SIGTERM")

    with pytest.raises(Interrupted):
        work()
    assert not answer.is_set()
    answer.set()
