"""
Files of a restore on disk: made or adapted, written in any order by several threads, and made durable.

A backup that many backups before it share blocks with comes in runs of a few blocks, in the order of the packs: each
thread keeps some files open, for opening one costs more than writing a block.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from wal_e.fsio import fsync_file
from wal_e.repo.filelist import FileRecord
from wal_e.restore.directory import Owner, unusable

_OPEN: Final = 256
"""Files that all threads together keep open; a process may have 1024 as a rule."""


class TargetFiles:
    """The files below one directory; `close` when they are written. No link is ever followed (H51)."""

    def __init__(self, root: str, owner: Owner | None, threads: int) -> None:
        self._root = root
        self._owner = owner
        self._limit = max(1, _OPEN // threads)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._caches: list[OrderedDict[str, int]] = []

    def create(self, record: FileRecord) -> None:
        """Makes a file of the record's size and mode, all holes; one that is there raises `DataDirectoryError`."""
        self._settle(record, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)

    def adapt(self, record: FileRecord) -> None:
        """Gives a file that is there the record's size, mode and owner; blocks that are new are holes."""
        self._settle(record, os.O_WRONLY | os.O_NOFOLLOW)

    def write(self, path: str, data: memoryview | bytes, offset: int) -> None:
        """Writes all the data at an offset in bytes of a file that `create` or `adapt` was called for."""
        try:  # not a context manager, which would cost as much as writing a block
            descriptor = self._descriptor(path)
            written = os.pwrite(descriptor, data, offset)
            while written < len(data):
                written += os.pwrite(descriptor, data[written:], offset + written)
        except OSError as error:
            raise unusable(Path(self._root, path), error) from error

    def sync(self, path: str) -> None:
        """Makes a file's content durable."""
        with self._explained(path):
            fsync_file(Path(self._root, path))

    def close(self) -> None:
        """Closes what is still open; no other thread may be writing."""
        caches, self._caches = self._caches, []
        self._local = threading.local()
        for cache in caches:
            for path, descriptor in cache.items():
                with self._explained(path):
                    os.close(descriptor)

    def _settle(self, record: FileRecord, flags: int) -> None:
        with self._explained(record.path):
            descriptor = os.open(f"{self._root}/{record.path}", flags, record.mode)
            try:
                os.fchmod(descriptor, record.mode)
                if self._owner is not None:
                    os.fchown(descriptor, self._owner.uid, self._owner.gid)
                if os.fstat(descriptor).st_size != record.size:  # else a file that is kept keeps its times
                    os.ftruncate(descriptor, record.size)
            finally:
                os.close(descriptor)

    def _descriptor(self, path: str) -> int:
        cache = self._cache()
        descriptor = cache.get(path)
        if descriptor is not None:
            cache.move_to_end(path)
            return descriptor
        if len(cache) >= self._limit:
            os.close(cache.popitem(last=False)[1])
        cache[path] = os.open(f"{self._root}/{path}", os.O_WRONLY | os.O_NOFOLLOW)
        return cache[path]

    def _cache(self) -> OrderedDict[str, int]:
        cache: OrderedDict[str, int] | None = getattr(self._local, "cache", None)
        if cache is None:
            cache = self._local.cache = OrderedDict()
            with self._lock:
                self._caches.append(cache)
        return cache

    @contextmanager
    def _explained(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise unusable(Path(self._root, path), error) from error
