"""Manifests: round trip, the summary alone, and that nothing hostile or damaged passes (H51)."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.repo.drawn import manifests, one_manifest
from tests.repo.stored import packed
from wal_e.codec.compress import compress, decompress, leading_frames
from wal_e.errors import Corrupt
from wal_e.repo.filelist import safe_path
from wal_e.repo.manifest import Manifest, decode_manifest, decode_packs, decode_summary, encode_manifest

STORED = encode_manifest(one_manifest())
DOCUMENT = json.loads(decompress(STORED, limit=1 << 20))
JUNK = [None, [], {}, "", "x", -1, 1.5, 1e999, float("nan"), True, "\0", [[]], [{}], {"a": 1}, "9" * 5000, 1 << 200]


def read_all(stored: bytes) -> Manifest:
    """Decodes a manifest, its files included."""
    manifest = decode_manifest(stored)
    return replace(manifest, files=tuple(manifest.files))


def nodes(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything in a document."""
    found = [path] if path else []
    below = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in below:
        found += nodes(value, (*path, key))
    return found


def with_node(path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    """A copy of the document, with the change made to the container that the path leads into."""
    copy = json.loads(json.dumps(DOCUMENT))
    place = copy
    for key in path[:-1]:
        place = place[key]
    change(place, path[-1])
    return copy


@given(manifests)
def test_round_trip(manifest: Manifest) -> None:
    stored = encode_manifest(manifest)
    assert read_all(stored) == manifest
    assert decode_summary(stored) == manifest.summary


@given(manifests, st.integers(1, 300))
def test_the_packs_are_read_without_the_list_of_files(manifest: Manifest, size: int) -> None:
    """H41: deciding about an archive of a million files reads none of them."""
    stored = encode_manifest(manifest)
    needed = len(stored) - len(leading_frames(stored, 2)[1])
    taken = 0

    def chunks() -> Iterator[bytes]:
        nonlocal taken
        for at in range(0, len(stored), size):
            taken += size
            yield stored[at : at + size]

    assert decode_packs(chunks()) == manifest.packs
    assert taken < needed + size


def test_packs_of_a_damaged_beginning_are_corrupt() -> None:
    begin = len(STORED) - len(leading_frames(STORED, 2)[1])
    for length in range(begin):
        with pytest.raises(Corrupt):
            decode_packs([STORED[:length]])
    for bit in range(begin * 8):
        damaged = bytearray(STORED)
        damaged[bit // 8] ^= 1 << bit % 8
        with suppress(Corrupt):
            assert decode_packs([bytes(damaged)]) == one_manifest().packs


@given(manifests, st.integers(0, 1 << 20))
def test_the_beginning_gives_the_summary_or_nothing(manifest: Manifest, length: int) -> None:
    stored = encode_manifest(manifest)
    assert decode_summary(stored[:length]) in {None, manifest.summary}


def test_a_person_reads_it_with_zstd() -> None:
    done = subprocess.run(["zstd", "-dc"], input=STORED, capture_output=True, check=True)
    assert json.loads(done.stdout)["summary"]["name"] == one_manifest().summary.name


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "//etc", "../x", "a/../../x", "a/..", "..", "a/b/../c", "a\0b", "\0", "/", "/."],
)
def test_h51_a_path_that_leaves_its_directory_is_corrupt(path: str) -> None:
    with pytest.raises(Corrupt):
        safe_path(path)
    for place in (("files", 0, "path"), ("files", 1, "path"), ("directories", 1, "path")):

        def put(container: Any, key: Any) -> None:
            container[key] = path

        with pytest.raises(Corrupt):
            read_all(packed(with_node(place, put)))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_corrupt(data: bytes) -> None:
    for stored in (data, compress(data), STORED + data + b"x"):
        with pytest.raises(Corrupt):
            read_all(stored)


def test_every_truncation_is_corrupt() -> None:
    for length in range(len(STORED)):
        with pytest.raises(Corrupt):
            read_all(STORED[:length])


@settings(max_examples=300)
@given(st.integers(0, len(STORED) * 8 - 1))
def test_a_flipped_bit_is_corrupt_or_changes_nothing(bit: int) -> None:
    damaged = bytearray(STORED)
    damaged[bit // 8] ^= 1 << bit % 8
    for read, right in ((read_all, one_manifest()), (decode_summary, one_manifest().summary)):
        try:
            found = read(bytes(damaged))
        except Corrupt:
            continue
        assert found in (right, None)


@pytest.mark.parametrize("path", nodes(DOCUMENT), ids=lambda path: ".".join(map(str, path)))
def test_a_document_with_junk_or_a_gap_in_it_is_corrupt_or_read_as_something(path: tuple[Any, ...]) -> None:
    def put(junk: Any) -> Callable[[Any, Any], None]:
        def change(container: Any, key: Any) -> None:
            container[key] = junk

        return change

    def remove(container: Any, key: Any) -> None:
        del container[key]

    for change in (*map(put, JUNK), remove):
        stored = packed(with_node(path, change))
        head = {"format": DOCUMENT["format"], "summary": with_node(path, change).get("summary")}
        for read, data in ((read_all, stored), (decode_summary, compress(json.dumps(head)[:-1].encode()))):
            with suppress(Corrupt):
                read(data)


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe", b"null", b'"x"', b"1e999"])
def test_text_that_is_no_manifest_is_corrupt(text: bytes) -> None:
    with pytest.raises(Corrupt):
        read_all(compress(text))
    with pytest.raises(Corrupt):
        read_all(compress(text) * 3)
    with pytest.raises(Corrupt):
        decode_summary(compress(text))


def test_another_format_says_so() -> None:
    with pytest.raises(Corrupt, match="format 2, this version reads 1") as error:
        read_all(packed(DOCUMENT | {"format": 2}))
    assert error.value.hint


def test_digests_that_do_not_fit_the_size_are_corrupt() -> None:
    def change(container: Any, key: Any) -> None:
        container[key] = 8192

    with pytest.raises(Corrupt, match="contradicts itself"):
        read_all(packed(with_node(("files", 0, "size"), change)))
