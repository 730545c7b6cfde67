"""
A folder as a store: every key is a file below the base, put in place whole and durable.

The base may be missing only one level deep: where its parent is missing too, a mount is more likely absent than
the archive new, and nothing is created.
"""

import errno
import os
import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from wal_e import fsio
from wal_e.config import AnyOption, Settings
from wal_e.errors import ContainerMissing, Denied, Exists, Misconfigured, NotFound, ShortRead, StoreError, Unavailable
from wal_e.store.api import PATIENCE, Body, Capabilities, ObjectInfo, check_key
from wal_e.store.url import ArchiveUrl

OPTIONS: tuple[AnyOption, ...] = ()
CHUNK = 1 << 20
MADE_AGAIN = 10  # a delete may remove the empty directory that a put has just made
_TEMPORARY = re.compile(r"\..*\.[0-9a-f]{12}\.tmp")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_SHAPE = frozenset({errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EFBIG})


class FolderStore:
    """Files below one directory; `.….tmp` names are puts that have not finished, and are never shown."""

    capabilities = Capabilities(atomic_create=True, max_object=1 << 44, list_page=1 << 30)

    def __init__(self, base: Path) -> None:
        self._base = base

    def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
        """See `Store.put`; create-only is link(2), which never overwrites."""
        target = self._path(key)
        try:
            return self._store(key, target, body, create_only=create_only)
        except _SourceFailedError as failure:
            raise failure.error from None

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """See `Store.get`."""
        path = self._path(key)
        with self._translated(f'could not read "{key}"', key), path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            left = size - start if length is None else length
            if left < 0 or start + left > size:
                raise ShortRead(f'"{key}" has {size} bytes, and not those from {start} to {start + left}')
            file.seek(start)
            while left:
                chunk = file.read(min(left, CHUNK))
                if not chunk:
                    raise ShortRead(f'"{key}" became shorter while it was read')
                left -= len(chunk)
                yield chunk

    def head(self, key: str) -> ObjectInfo:
        """See `Store.head`; a folder knows no etag."""
        path = self._path(key)
        with self._translated(f'could not look at "{key}"', key):
            status = path.stat()
            if path.is_dir():
                raise NotFound(f'"{key}" is not in the store')
            return _info(key, status)

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """See `Store.list`; of one directory at a time, per level, the names that are asked for are held."""
        self._need_base()
        yield from self._walk("", prefix, after)

    def delete(self, keys: Iterable[str]) -> None:
        """See `Store.delete`; durable when it returns, and directories that become empty go too."""
        touched: set[Path] = set()
        self._need_base()
        for key in keys:
            path = self._path(key)
            with self._translated(f'could not delete "{key}"'):
                try:
                    path.unlink()
                except (FileNotFoundError, NotADirectoryError):
                    continue
                touched.add(path.parent)
        with self._translated("could not delete objects for good"):
            for directory in touched:
                self._settle(directory)

    def close(self) -> None:
        """Nothing is held open."""

    def _store(self, key: str, target: Path, body: Body, *, create_only: bool) -> ObjectInfo:
        with self._translated(f'could not store "{key}"'):
            if create_only and os.path.lexists(target):
                raise Exists(f'"{key}" exists already')
            try:
                self._write(target, body, replace=not create_only)
            except FileExistsError:
                raise Exists(f'"{key}" exists already') from None
            return _info(key, target.stat())

    def _write(self, target: Path, body: Body, *, replace: bool) -> None:
        for attempt in range(1, MADE_AGAIN + 1):
            self._make_base()
            try:
                fsio.make_directories(target.parent, mode=0o700)
                fsio.write_atomically(target, _chunks(body), replace=replace)
            except FileNotFoundError:
                if attempt == MADE_AGAIN:
                    raise
            else:
                return

    def _walk(self, folder: str, prefix: str, after: str) -> Iterator[ObjectInfo]:
        with self._translated(f'could not list "{self._base / folder}"'):
            try:
                with os.scandir(self._base / folder) as entries:
                    # A directory sorts as its keys do: "a-b" comes before "a/b". Names alone are kept, and of those
                    # only what is asked for: a folder of WAL has a million.
                    keys = (folder + entry.name + ("/" if entry.is_dir() else "") for entry in entries)
                    found = sorted(key for key in keys if _is_wanted(key, prefix, after))
            except FileNotFoundError:
                self._need_base()
                return
        for key in found:
            if key.endswith("/"):
                yield from self._walk(key, prefix, after)
                continue
            with self._translated(f'could not look at "{key}"'):
                try:
                    info = _info(key, (self._base / key).stat())
                except FileNotFoundError:
                    continue
            yield info

    def _path(self, key: str) -> Path:
        path = self._base / check_key(key)
        if _TEMPORARY.fullmatch(path.name):
            raise Misconfigured(f'"{key}" cannot be the name of an object')
        return path

    def _need_base(self) -> None:
        if not self._base.is_dir():
            raise ContainerMissing(
                f'the folder "{self._base}" does not exist',
                hint=f"Mount the file system that it is on, or create it: mkdir {self._base} (or wal-e check --create)",
            )

    def _make_base(self) -> None:
        if self._base.parent.is_dir():
            fsio.make_directories(self._base, mode=0o700)
        else:
            self._need_base()

    def _settle(self, directory: Path) -> None:
        """Remove the directory and those above it as far as they are empty, and make what was deleted durable."""
        while True:
            try:
                if directory == self._base:
                    return fsio.fsync_directory(directory)
                directory.rmdir()
            except FileNotFoundError:
                pass  # another delete was faster
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise
                with suppress(FileNotFoundError):
                    return fsio.fsync_directory(directory)
            directory = directory.parent

    @contextmanager
    def _translated(self, message: str, key: str | None = None) -> Generator[None]:
        """Turn the file system's errors into the seam's; with `key`, a missing file is `NotFound`."""
        try:
            yield
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            self._need_base()
            if key is None:
                raise Misconfigured(message, detail=_sentence(error)) from error
            raise NotFound(f'"{key}" is not in the store') from None
        except OSError as error:
            raise self._error(error, message) from error

    def _error(self, error: OSError, message: str) -> StoreError:
        detail = _sentence(error)
        if error.errno in _FULL:
            hint = f'Free space on the file system of "{self._base}", or raise the quota.'
            return Unavailable(message, detail=detail, hint=hint)
        if error.errno in _FORBIDDEN:
            hint = f'Check the owner, the permissions and the mount options of "{self._base}".'
            return Denied(message, detail=detail, hint=hint)
        if error.errno in _SHAPE:
            return Misconfigured(message, detail=detail)
        return Unavailable(message, detail=detail, hint="Look at the kernel's log (dmesg) for faults of the disk.")


def _is_wanted(key: str, prefix: str, after: str) -> bool:
    """Whether a file is in the listing, or a directory (which ends in a slash) may have such files."""
    if key.endswith("/"):
        return (key.startswith(prefix) or prefix.startswith(key)) and (key > after or after.startswith(key))
    return key.startswith(prefix) and key > after and not _TEMPORARY.fullmatch(key.rpartition("/")[2])


class _SourceFailedError(Exception):
    """Reading what should be stored failed: the caller's error, not the store's."""

    def __init__(self, error: OSError) -> None:
        self.error = error


def _chunks(body: Body) -> Iterator[bytes | memoryview]:
    try:
        yield from body.pieces(CHUNK)
    except OSError as error:
        raise _SourceFailedError(error) from error


def _info(key: str, status: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))


def _sentence(error: OSError) -> str:
    return f"The system says: {error.strerror or error}" + (f' ("{error.filename}").' if error.filename else ".")


def open_driver(url: ArchiveUrl, _settings: Settings, _patience: float = PATIENCE) -> FolderStore:
    """Return the store in the folder of the address; the folder is looked at by the first request."""
    return FolderStore(Path(url.path))


def create_container(url: ArchiveUrl, _settings: Settings) -> bool:
    """Make the folder and those above it where they are missing, and return whether it was; raises `Denied`."""
    base = Path(url.path)
    if base.is_dir():
        return False
    try:
        fsio.make_directories(base, mode=0o700)
    except OSError as error:
        raise Denied(
            f'could not create the folder "{base}"',
            detail=_sentence(error),
            hint="Create it as root, and give it to the user that runs PostgreSQL: install -d -m 700 -o postgres ...",
        ) from error
    return True
