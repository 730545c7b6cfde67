"""
The packer: compresses frames on the caller's threads, gathers them into packs and uploads those behind their back.

Memory is bounded: one pack is filling, and at most `uploads` full ones are being sent.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from wal_e.codec.compress import compress, compress_pages
from wal_e.errors import Interrupted
from wal_e.repo.blockmap import FrameRef, block_count
from wal_e.repo.layout import pack_key
from wal_e.repo.manifest import PackRef
from wal_e.repo.pack import PACK_TARGET, IndexedFrame, Part, encode_index
from wal_e.store.api import Body, Store
from wal_e.units import MIB

SLACK: Final = 2 * MIB
"""Room behind the target of a pack, for the frame that fills it and for its index."""


@dataclass(slots=True)
class _Filling:
    """The pack that is being filled."""

    number: int
    buffer: bytearray
    size: int = 0
    blocks: int = 0
    frames: list[IndexedFrame] = field(default_factory=list)


class Packer:
    """
    Writes frames into packs of one backup; a context manager.

    Leaving the block normally uploads the last pack and waits for all of them, so every `FrameRef` handed out is
    then stored; leaving it with an error stops uploading and leaves only unreferenced objects behind. `Interrupted`
    does not wait for uploads that are under way.
    """

    def __init__(self, store: Store, backup: str, *, level: int, uploads: int = 2, target: int = PACK_TARGET) -> None:
        self._store = store
        self._backup = backup
        self._level = level
        self._target = target
        self._lock = threading.Lock()
        self._filling = _Filling(0, self._buffer())
        self._executor = ThreadPoolExecutor(max_workers=uploads, thread_name_prefix="upload")
        self._room = threading.Semaphore(uploads)
        self._uploads: list[Future[None]] = []
        self._failed: BaseException | None = None
        self.packs: dict[str, PackRef] = {}
        """The packs that are stored, by key; all their blocks count as live."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        interrupted = isinstance(error, Interrupted)
        try:
            if kind is None:
                self._finish()
        except Interrupted:
            interrupted = True
            raise
        finally:
            # The process is about to end then, and what is under way is abandoned.
            self._executor.shutdown(wait=not interrupted, cancel_futures=True)

    @property
    def stored(self) -> int:
        """How many bytes are stored so far in finished packs."""
        with self._lock:
            return sum(pack.size for pack in self.packs.values())

    def add(self, content: bytes | memoryview, parts: Sequence[Part]) -> FrameRef:
        """Compresses up to 1 MiB of blocks and says where the frame will lie."""
        blocks = sum(part.count for part in parts)
        return self._append(compress_pages(content, self._level), blocks, tuple(parts), ())

    def add_maps(self, maps: Sequence[tuple[str, bytes]]) -> FrameRef:
        """Compresses the encoded block maps of files, each with its file's path, back to back into one frame."""
        content = b"".join(encoded for _, encoded in maps)
        blocks = sum(block_count(len(encoded)) for _, encoded in maps)
        return self._append(compress(content, self._level), blocks, (), tuple(path for path, _ in maps))

    def _buffer(self) -> bytearray:
        """
        Room for one pack and the frame that fills it.

        Frames are copied into one large block at once: kept one by one they leave the heap in pieces, and half a
        gigabyte of it resident where 160 MB are in use (measured with glibc 2.36).
        """
        return bytearray(self._target + SLACK)

    def _append(self, frame: bytes, blocks: int, parts: tuple[Part, ...], maps: tuple[str, ...]) -> FrameRef:
        full = None
        with self._lock:
            pack = self._filling
            reference = FrameRef(pack_key(self._backup, pack.number), pack.size, len(frame))
            pack.buffer[pack.size : pack.size + len(frame)] = frame
            pack.frames.append(IndexedFrame(pack.size, len(frame), parts, maps))
            pack.size += len(frame)
            pack.blocks += blocks
            if pack.size >= self._target:
                full = pack
                self._filling = _Filling(pack.number + 1, self._buffer())
        if full is not None:
            self._submit(full)
        return reference

    def _submit(self, pack: _Filling) -> None:
        self._room.acquire()
        if self._failed is not None:
            self._room.release()
            raise self._failed
        future = self._executor.submit(self._upload, pack)
        with self._lock:
            self._uploads.append(future)

    def _upload(self, pack: _Filling) -> None:
        try:
            index = encode_index(self._backup, pack.number, pack.frames)
            pack.buffer[pack.size : pack.size + len(index)] = index
            data = memoryview(pack.buffer)[: pack.size + len(index)]
            key = pack_key(self._backup, pack.number)
            self._store.put(key, Body.of(data), create_only=True)
            with self._lock:
                self.packs[key] = PackRef(key, len(data), pack.blocks, pack.blocks)
        except BaseException as error:
            self._failed = error
            raise
        finally:
            self._room.release()

    def _finish(self) -> None:
        if self._filling.size:
            self._submit(self._filling)
        for upload in self._uploads:
            upload.result()
