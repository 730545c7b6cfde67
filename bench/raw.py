"""
The raw limit: two threads in one process that compress or decompress whole segments and do nothing else.

Run as text, like `bench.archiver`: `python -c TEXT push|fetch LEVEL TARGET FILE...`.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import zstandard


def push(target: Path, level: int, source: Path) -> None:
    """Reads, compresses, writes and fsyncs one segment."""
    with (target / f"{source.name}.zst").open("wb") as file:
        file.write(zstandard.ZstdCompressor(level=level).compress(source.read_bytes()))
        file.flush()
        os.fsync(file.fileno())


def fetch(target: Path, _level: int, source: Path) -> None:
    """Reads, decompresses and writes one segment, and removes it."""
    copy = target / source.name
    copy.write_bytes(zstandard.ZstdDecompressor().decompress(source.read_bytes()))
    copy.unlink()


def main() -> None:
    """Does what the arguments say."""
    kind, level, target, *sources = sys.argv[1:]
    work = partial({"push": push, "fetch": fetch}[kind], Path(target), int(level))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, map(Path, sources)))


if __name__ == "__main__":
    main()
