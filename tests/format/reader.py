"""
A second implementation: restores a base backup from an archive in a folder, as docs/format.md describes it.

Written from that page alone, and deliberately without any import of the package, so that the page is proved to be
enough. It is small rather than fast: one thread, one frame at a time. `python reader.py ARCHIVE NAME DIRECTORY`.
"""

import json
import os
import struct
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import xxhash
import zstandard

BLOCK = 8192
HEADER = struct.Struct("<8sQII")
EXTENT = struct.Struct("<QHHIQI")
SKIPPABLE = struct.Struct("<II")
TRAILER = struct.Struct("<Q8s")
FRAME_LIMIT = 1 << 20
MAP_LIMIT = 64 << 20
CONTROL = "global/pg_control"


class DamagedError(Exception):
    """The archive is not what the page says it is."""


def need(condition: object, message: str) -> None:
    """Raise `DamagedError` unless the condition holds."""
    if not condition:
        raise DamagedError(message)


@dataclass(frozen=True)
class Run:
    """`count` blocks of a file from `first` on, in the frame at `offset` of a pack, from `slot` on."""

    first: int
    count: int
    pack: str
    offset: int
    length: int
    slot: int


@dataclass(frozen=True)
class Map:
    """Section 5: the extents and the digests of one file."""

    runs: tuple[Run, ...]
    digests: tuple[bytes, ...]


def unpack_frames(data: bytes) -> bytes:
    """Decompress zstd frames that stand back to back; skippable frames have no content."""
    content = b""
    while data:
        magic, length = SKIPPABLE.unpack_from(data)
        if magic & 0xFFFFFFF0 == 0x184D2A50:
            data = data[SKIPPABLE.size + length :]
            continue
        frame = zstandard.ZstdDecompressor().decompressobj()
        content += frame.decompress(data)
        need(frame.eof, "a zstd frame is cut off")
        data = frame.unused_data
    return content


def digest(block: bytes, seed: int) -> bytes:
    """Section 6."""
    return xxhash.xxh3_128_digest(block.ljust(BLOCK, b"\0"), seed)


def parse_index(pack: bytes) -> Any:
    """Section 4: the index at the end of a pack, as JSON."""
    length, magic = TRAILER.unpack(pack[-TRAILER.size :])
    need(magic == b"WEPACK01", "this is not a pack")
    start = len(pack) - TRAILER.size - length
    frame, rest = SKIPPABLE.unpack(pack[start - SKIPPABLE.size : start])
    need(frame == 0x184D2A5E and rest == length + TRAILER.size, "the index is not a skippable frame")
    return json.loads(unpack_frames(pack[start : start + length]))


def parse_map(data: bytes) -> Map:
    """Section 5: a block map."""
    magic, blocks, extents, names_length = HEADER.unpack_from(data)
    need(magic == b"WEMAP001", "this is not a block map")
    names = data[HEADER.size : HEADER.size + names_length].decode("ascii").split("\n")
    at = HEADER.size + names_length
    end = at + extents * EXTENT.size
    need(len(data) == end + 16 * blocks, "a block map has the wrong length")
    runs = tuple(
        Run(first, count, names[pack], offset, length, slot)
        for first, count, slot, pack, offset, length in EXTENT.iter_unpack(data[at:end])
    )
    return Map(runs, tuple(data[i : i + 16] for i in range(end, len(data), 16)))


def safe(text: str) -> str:
    """Refuse a path of the manifest that leaves the data directory."""
    path = PurePosixPath(text)
    need(text and "\0" not in text and not path.is_absolute() and ".." not in path.parts, f"unsafe path {text!r}")
    return text


class Reader:
    """One archive in a folder."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        cluster = json.loads((archive / "cluster.json").read_bytes())
        need(cluster["format"] == 1, "the archive has another format")
        self.seed = int(cluster["digest_seed"], 16)
        self.zero = digest(b"", self.seed)
        self.frame = lru_cache(maxsize=8)(self._frame)

    def manifest(self, name: str) -> Any:
        """Section 7: the whole manifest of a backup."""
        stored = (self.archive / "basebackups_006" / name / "manifest.json.zst").read_bytes()
        document = json.loads(unpack_frames(stored))
        need(document["format"] == 1, "the manifest has another format")
        return document

    def _frame(self, pack: str, offset: int, length: int, limit: int) -> bytes:
        with (self.archive / pack).open("rb") as file:
            file.seek(offset)
            content = unpack_frames(file.read(length))
        need(len(content) <= limit, "a frame has too much content")
        return content

    def map_of(self, manifest: Mapping[str, Any], file: Mapping[str, Any]) -> Map:
        """The block map of a file, from the manifest or from a frame of maps."""
        keys = [pack["key"] for pack in manifest["packs"]]
        if "map" in file:
            pack, offset, length, start, map_length = file["map"]
            result = parse_map(self.frame(keys[pack], offset, length, MAP_LIMIT)[start : start + map_length])
        else:
            text = bytes.fromhex(file["digests"])
            runs = tuple(
                Run(first, count, keys[pack], at, length, slot)
                for first, count, pack, at, length, slot in file["extents"]
            )
            result = Map(runs, tuple(text[i : i + 16] for i in range(0, len(text), 16)))
        need(len(result.digests) == -(-file["size"] // BLOCK), "a map does not fit its file")
        return result

    def blocks(self, block_map: Map) -> Iterator[tuple[int, bytes]]:
        """Every stored block with its number, checked; holes are checked and left out."""
        covered: set[int] = set()
        for run in block_map.runs:
            content = self.frame(run.pack, run.offset, run.length, FRAME_LIMIT)
            for index in range(run.count):
                block = content[(run.slot + index) * BLOCK : (run.slot + index + 1) * BLOCK]
                number = run.first + index
                need(number not in covered, "a block is covered twice")
                need(len(block) == BLOCK and digest(block, self.seed) == block_map.digests[number], "a block differs")
                covered.add(number)
                yield number, block
        for number, wanted in enumerate(block_map.digests):
            need(number in covered or wanted == self.zero, "a block is missing")

    def restore(self, name: str, target: Path) -> None:
        """Section 8, without the choice of how PostgreSQL then recovers; tablespaces become plain directories."""
        manifest = self.manifest(name)
        target.mkdir(parents=True, exist_ok=True)
        need(not any(target.iterdir()), "the target is not empty")
        modes = {directory["path"]: int(directory["mode"], 8) for directory in manifest["directories"]}
        for directory in manifest["directories"]:
            (target / safe(directory["path"])).mkdir(mode=0o700, parents=True, exist_ok=True)
        for space in manifest["summary"]["tablespaces"]:
            plain = target / "pg_tblspc" / str(space["oid"])
            plain.mkdir(exist_ok=True)
            plain.chmod(modes["."])
            sync(plain)
        last = None
        for file in manifest["files"]:
            if file["path"] == CONTROL:
                last = file
            else:
                self.write(manifest, file, target / safe(file["path"]))
        if manifest["backup_label"]:
            label = manifest["backup_label"].encode("utf-8", "surrogateescape")
            (target / "backup_label").write_bytes(label)
            (target / "backup_label").chmod(0o600)
            sync(target / "backup_label")
        need(last is not None, "the backup has no pg_control")
        for path, mode in reversed(modes.items()):
            (target / safe(path)).chmod(mode)
            sync(target / safe(path))
        temporary = target / f"{CONTROL}.new"
        self.write(manifest, last or {}, temporary)
        temporary.rename(target / CONTROL)
        sync(target / "global")

    def write(self, manifest: Mapping[str, Any], file: Mapping[str, Any], path: Path) -> None:
        """One file, durable."""
        with path.open("xb") as out:
            os.fchmod(out.fileno(), int(file["mode"], 8))
            for number, block in self.blocks(self.map_of(manifest, file)):
                out.seek(number * BLOCK)
                out.write(block)
            out.truncate(file["size"])
            out.flush()
            os.fsync(out.fileno())


def sync(path: Path) -> None:
    """Make a file, or the entries of a directory, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    Reader(Path(sys.argv[1])).restore(sys.argv[2], Path(sys.argv[3]))
