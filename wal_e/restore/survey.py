"""
What a target directory already holds, for a delta restore: names first, then the digests of the files' blocks.

Links are not followed, but for those in pg_tblspc to the places where the restore puts the tablespaces; of these
directories only the version directory of the backup's server is looked at.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wal_e.errors import Corrupt, DataDirectoryError
from wal_e.parallel import ordered_map
from wal_e.pg.control import CONTROL_PATH
from wal_e.repo.blockmap import BLOCK_SIZE, DIGEST_SIZE, BlockMap, block_count, digest_blocks
from wal_e.repo.filelist import FileRecord
from wal_e.repo.reader import load_maps
from wal_e.restore.blocks import batches
from wal_e.restore.directory import UNFINISHED_PATH
from wal_e.restore.plan import Entry, differing, pack_flags
from wal_e.store.api import Store
from wal_e.units import MIB

_PIECE_BLOCKS: Final = 4 * MIB // BLOCK_SIZE
_OURS: Final = frozenset({CONTROL_PATH, UNFINISHED_PATH})
_LOST_AND_FOUND: Final = "lost+found"


@dataclass(frozen=True, slots=True)
class _Piece:
    """A range of blocks of a file that is there."""

    record: FileRecord
    digests: bytes
    first: int


def list_target(target: Path, versions: Iterable[str]) -> Iterator[Entry]:
    """
    Everything in the target but pg_control, our own mark, and a file system's `lost+found`.

    `versions` are the version directories of tablespaces that lie behind links, as `pg_tblspc/<oid>/PG_...`; the
    links themselves are not listed, and neither is anything else behind them.
    """
    behind = set(versions)
    yield from _list(os.fspath(target), "", skip={version.rpartition("/")[0] for version in behind})
    for version in sorted(behind):
        if stat_of(target / version, lambda status: stat.S_ISDIR(status.st_mode)):
            yield Entry(version, is_directory=True)
            yield from _list(os.fspath(target), version, skip=set())


def _list(root: str, directory: str, skip: set[str]) -> Iterator[Entry]:
    try:
        with os.scandir(f"{root}/{directory}") as entries:
            for item in entries:
                path = f"{directory}/{item.name}" if directory else item.name
                if path in skip or path in _OURS or path == _LOST_AND_FOUND:
                    continue
                entry = _entry(path, item.stat(follow_symlinks=False))
                yield entry
                if entry.is_directory:
                    yield from _list(root, path, skip)
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataDirectoryError(
            f'could not read "{root}/{directory}": {error.strerror}',
            hint="Run as the user who owns the data directory.",
        ) from error


def _entry(path: str, status: os.stat_result) -> Entry:
    is_file = stat.S_ISREG(status.st_mode)
    return Entry(
        path,
        size=status.st_size if is_file else 0,
        is_directory=stat.S_ISDIR(status.st_mode),
        is_reusable=is_file and status.st_nlink == 1,
    )


def stat_of(path: Path, check: Callable[[os.stat_result], bool]) -> bool:
    """Whether there is something at a path, not following a link, that passes the check."""
    try:
        return check(path.lstat())
    except FileNotFoundError:
        return False


class Surveyor:
    """Compares files below a directory with their block maps; `seed` is the archive's digest seed."""

    def __init__(self, store: Store, root: Path, *, seed: int, threads: int) -> None:
        self._store = store
        self._root = os.fspath(root)
        self._seed = seed
        self._threads = threads

    def compare(self, files: Iterable[FileRecord], progress: Callable[[int], None]) -> dict[str, bytes]:
        """
        For each file, all of which must be there, its blocks that differ, as a plan keeps them.

        `progress` hears of bytes read. A block that the disk cannot read any more counts as different.
        """
        found: dict[str, bytes] = {}
        for batch in batches(files):
            maps = load_maps(self._store, batch)
            flags: dict[str, list[bytes]] = {record.path: [] for record in batch}
            pieces = (piece for record in batch for piece in _pieces(record, maps[record.path]))
            results = ordered_map(self._differing, pieces, threads=self._threads, ahead=4 * self._threads)
            for record, piece_flags in results:
                flags[record.path].append(piece_flags)
                progress(min(len(piece_flags) * BLOCK_SIZE, record.size))
            found |= {path: pack_flags(b"".join(parts)) for path, parts in flags.items()}
        return found

    def _differing(self, piece: _Piece) -> tuple[FileRecord, bytes]:
        record = piece.record
        start = piece.first * BLOCK_SIZE
        count = len(piece.digests) // DIGEST_SIZE
        try:
            data = self._read(record.path, start, min(count * BLOCK_SIZE, record.size - start))
        except OSError as error:
            if error.errno == errno.EIO:
                return record, b"\1" * count
            raise DataDirectoryError(
                f'could not read "{self._root}/{record.path}": {error.strerror}',
                hint="Run as the user who owns the data directory.",
            ) from error
        padded = data if len(data) == count * BLOCK_SIZE else data.ljust(count * BLOCK_SIZE, b"\0")
        return record, differing(digest_blocks(memoryview(padded), self._seed), piece.digests)

    def _read(self, path: str, start: int, length: int) -> bytes:
        """Up to `length` bytes; what the file does not have, it will have as zeros once it got its size."""
        descriptor = os.open(f"{self._root}/{path}", os.O_RDONLY | os.O_NOFOLLOW)
        try:
            data = os.pread(descriptor, length, start)
            while len(data) < length and (more := os.pread(descriptor, length - len(data), start + len(data))):
                data += more
            return data
        finally:
            os.close(descriptor)


def _pieces(record: FileRecord, block_map: BlockMap) -> Iterator[_Piece]:
    if block_map.blocks != block_count(record.size):
        raise Corrupt(f'the block map of "{record.path}" does not fit its size')
    for first in range(0, block_map.blocks, _PIECE_BLOCKS):
        digests = block_map.digests[first * DIGEST_SIZE : (first + _PIECE_BLOCKS) * DIGEST_SIZE]
        yield _Piece(record, digests, first)
