"""
Compression: zstd frames that `zstd -dc` opens, each with a checksum of its content.

What is read back is untrusted: truncation, garbage, trailing bytes and frames that would unfold to more than was
asked for are `Corrupt`, and nothing larger than needed is held in memory meanwhile.
"""

import io
import threading
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final

import zstandard

from wal_e.errors import Corrupt
from wal_e.units import KIB, MIB

DEFAULT_LEVEL: Final = 3
_PAGES: Final = {"min_match": 6, "hash_log": 16, "chain_log": 16}
"""For levels 3 and 4 on pages: as small, for five sixths of the time (docs/adr/0008-levels-for-pages.md)."""
_PAGES_LEVELS: Final = range(3, 5)
_SLICE: Final = 2 * KIB
_READ: Final = MIB
_PIECE: Final = 64 * KIB

_local = threading.local()


def compress(data: bytes | bytearray | memoryview, level: int = DEFAULT_LEVEL) -> bytes:
    """One zstd frame of all the data, with its size in the header and a content checksum at its end."""
    return _compressor(level).compress(data)


def compress_pages(data: bytes | bytearray | memoryview, level: int = DEFAULT_LEVEL) -> bytes:
    """The same for up to 1 MiB of a cluster's pages, with parameters that suit them."""
    return _compressor(level, pages=level in _PAGES_LEVELS).compress(data)


def compress_stream(reader: BinaryIO, level: int = DEFAULT_LEVEL, *, size: int = -1) -> Iterator[bytes]:
    """
    Yields one zstd frame of all that `reader` has, in bounded memory.

    `size` is the number of bytes the reader has, where it is known: it then stands in the frame's header, and a
    reader that has fewer or more raises `Corrupt`.
    """
    compressor = zstandard.ZstdCompressor(level=level, write_checksum=True)
    try:
        yield from compressor.read_to_iter(reader, size=size, read_size=_READ, write_size=_READ)
    except zstandard.ZstdError as error:
        raise Corrupt("a file changed its size while it was compressed", detail=f"zstd says: {error}.") from error


def decompress(frame: bytes | bytearray | memoryview, *, limit: int) -> bytes:
    """
    The content of one frame or of several, one after the other; more than `limit` bytes raise `Corrupt`.

    Callers know how much they expect: the limit keeps a damaged or hostile object from filling the memory.
    """
    try:
        # Of a frame that says it is empty, zstandard does not look at what follows.
        if 0 < zstandard.get_frame_parameters(frame).content_size <= limit:
            return _decompressor().decompress(frame, max_output_size=limit, allow_extra_data=False)
    except zstandard.ZstdError:
        pass  # several frames, or a bad one: the streaming way tells
    content = io.BytesIO()  # unlike join() it never has the content twice
    content.writelines(decompress_stream([frame], limit=limit))
    return content.getvalue()


def decompress_stream(chunks: Iterable[bytes | bytearray | memoryview], *, limit: int | None = None) -> Iterator[bytes]:
    """
    Yields the content of the frames that the chunks make up; their boundaries need not agree.

    Garbage, trailing bytes and an end inside a frame raise `Corrupt`, possibly after content was yielded, and
    so does content beyond `limit` bytes. No chunk at all is truncation, not emptiness: an empty file has a frame.
    """
    frames = _Frames()
    done = 0
    for chunk in chunks:
        for content in frames.feed(memoryview(chunk)):
            done += len(content)
            if limit is not None and done > limit:
                raise Corrupt("compressed data unfolds to more than it can", detail=f"The limit is {limit} bytes.")
            yield content
    frames.finish()


def first_frame(head: bytes) -> bytes | None:
    """The content of the first frame of an object, from the first bytes of it; None where they do not reach."""
    frame = zstandard.ZstdDecompressor().decompressobj()
    try:
        content = frame.decompress(head)
    except zstandard.ZstdError as error:
        raise Corrupt("compressed data is damaged", detail=f"zstd says: {error}.") from error
    return content if frame.eof else None


def first_contents(chunks: Iterable[bytes], count: int) -> bytes:
    """The contents of the first `count` frames of an object, of which no more chunks are taken than they need."""
    frames = _Frames()
    contents: list[bytes] = []
    for chunk in chunks:
        contents += frames.feed(memoryview(chunk), count)
        if frames.complete >= count:
            return b"".join(contents)
    raise Corrupt("compressed data ends in the middle of a frame")


def leading_frames(data: bytes, count: int) -> tuple[bytes, bytes]:
    """The contents of the first `count` frames together, and the bytes behind them; `Corrupt` where they are fewer."""
    contents, at = [], 0
    for _ in range(count):
        frame = zstandard.ZstdDecompressor().decompressobj()
        while not frame.eof:
            piece = data[at : at + _PIECE]
            if not piece:
                raise Corrupt("compressed data ends in the middle of a frame")
            try:
                contents.append(frame.decompress(piece))
            except zstandard.ZstdError as error:
                raise Corrupt("compressed data is damaged", detail=f"zstd says: {error}.") from error
            at += len(piece) - len(frame.unused_data)
    return b"".join(contents), data[at:]


class StreamCompressor:
    """One zstd frame, with a content checksum, of pieces that come one after the other; only its result is kept."""

    def __init__(self, level: int = DEFAULT_LEVEL) -> None:
        self._frame = zstandard.ZstdCompressor(level=level, write_checksum=True).compressobj()
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Appends to the content."""
        if part := self._frame.compress(data):
            self._parts.append(part)

    def finish(self) -> bytes:
        """The whole frame; nothing may be written afterwards."""
        return b"".join((*self._parts, self._frame.flush()))


class _Frames:
    """
    Decodes frames one after the other, from pieces of input; with `count` only until so many are `complete`.

    The input is taken in small slices because zstd gives all the output of a slice at once, up to 32 KiB for each
    byte of it: 64 MiB here. Slices of 2 KiB still decompress at more than 1 GB/s.
    """

    def __init__(self) -> None:
        self._decompressor = zstandard.ZstdDecompressor()
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self.complete = 0

    def feed(self, chunk: memoryview, count: int | None = None) -> Iterator[bytes]:
        for start in range(0, len(chunk), _SLICE):
            yield from self._feed_slice(bytes(chunk[start : start + _SLICE]), count)

    def _feed_slice(self, data: bytes, count: int | None) -> Iterator[bytes]:
        while data and self.complete != count:
            if self._frame is None:
                self._frame = self._decompressor.decompressobj()
            try:
                content = self._frame.decompress(data)
            except zstandard.ZstdError as error:
                raise Corrupt("compressed data is damaged", detail=f"zstd says: {error}.") from error
            data = b""
            if self._frame.eof:
                data = self._frame.unused_data
                self._frame = None
                self.complete += 1
            if content:
                yield content

    def finish(self) -> None:
        if self._frame is not None or not self.complete:
            raise Corrupt("compressed data ends in the middle of a frame")


def _compressor(level: int, *, pages: bool = False) -> zstandard.ZstdCompressor:
    cache: dict[tuple[int, bool], zstandard.ZstdCompressor] = _local.__dict__.setdefault("compressors", {})
    if (level, pages) not in cache:
        written = {"write_checksum": True, "write_content_size": True}
        special = _PAGES if pages else {}
        parameters = zstandard.ZstdCompressionParameters.from_level(level, **written, **special)
        cache[level, pages] = zstandard.ZstdCompressor(compression_params=parameters)
    return cache[level, pages]


def _decompressor() -> zstandard.ZstdDecompressor:
    if not hasattr(_local, "decompressor"):
        _local.decompressor = zstandard.ZstdDecompressor()
    found: zstandard.ZstdDecompressor = _local.decompressor
    return found
