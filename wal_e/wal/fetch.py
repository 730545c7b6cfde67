"""
What restore_command does: one WAL file out of the archive to where PostgreSQL wants it, or "it has none".

The file appears whole and checked or not at all (H15, H16). "It has none" ends recoveries, so it is an answer
only where the archive itself gave it: every doubt is an error (H14), and `asker` says what becomes of errors.
"""

import contextlib
import glob
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from wal_e import fsio
from wal_e.codec.compress import decompress
from wal_e.errors import ArchiveError, Corrupt, DataDirectoryError, Misconfigured, NotFound, WalEError
from wal_e.events import Sink
from wal_e.pg.control import read_control
from wal_e.pg.wal import is_segment
from wal_e.pg.wal_content import check_header, check_name, checked
from wal_e.repo.cluster import check_identity, read_identity
from wal_e.repo.layout import BACKUP_PREFIX, LEGACY_BACKUP_PREFIX, WAL_PREFIX, wal_key
from wal_e.repo.wal import Neighbours, check_forms, get_wal, listed_but_absent, neighbours
from wal_e.store.api import Store
from wal_e.wal import messages
from wal_e.wal.asker import RecoveryMode, data_directory_of
from wal_e.wal.gap import find_gap
from wal_e.wal.messages import Place

_STALE: Final = 3600


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """
    Who asks, and the archive's address as the user gave it, for messages.

    `pauses` are the seconds to wait before asking again for a file that must exist (H18); a standby asks again by
    itself. `end_at_gap` calls a segment absent even where later ones exist, and so lets a recovery end before a
    hole, with all that comes after it lost. `ahead` is how many segments an agent may fetch before they are asked
    for.
    """

    mode: RecoveryMode = RecoveryMode.UNKNOWN
    location: str = ""
    pauses: tuple[float, ...] = (0.5, 1.5)
    wait: Callable[[float], None] = time.sleep
    end_at_gap: bool = False
    ahead: int = 8


@dataclass(frozen=True, slots=True)
class Fetched:
    """The file is in its place; `size` in bytes."""

    name: str
    size: int
    found: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Absent:
    """The archive was reached and does not have the file."""

    name: str
    found: ClassVar[bool] = False


def fetch_file(
    store: Store, name: str, destination: Path, options: FetchOptions, emit: Sink, held: bytes | None = None
) -> Fetched | Absent:
    """
    Writes the archived file `name` to `destination`, replacing what is there, or returns that there is none.

    `held` is the content as `read_ahead` gave it, where there is any. It passes the same checks as what comes from
    the store, and where it does not, the store is asked as if there were none.

    Nothing is left at the destination on any error: errors of the store, `Corrupt` and `WrongCluster` where the
    content is not what the name says, `WalMissing` where the archive must have had the file, `Misconfigured` where
    there is no archive, `DataDirectoryError` where the file cannot be written. The file is not fsynced: PostgreSQL
    does that when it takes it over.
    """
    place = Place(options.location, wal_key(check_name(name)), name)
    if not destination.parent.is_dir():
        raise DataDirectoryError(
            f'the directory "{destination.parent}" does not exist',
            hint="PostgreSQL runs restore_command in its data directory and replaces %p by the path relative to it.",
        )
    emit(messages.fetch_begins(place))
    _sweep(destination)
    pauses = iter(() if options.mode is RecoveryMode.STANDBY else options.pauses)
    while True:
        with contextlib.suppress(NotFound):
            size = _write(store, name, destination, held)
            emit(messages.fetch_completes(place))
            return Fetched(name, size)
        doubt = _doubt(store, name, destination, options)
        if doubt is None:
            emit(messages.fetch_finds_nothing(place))
            return Absent(name)
        pause = next(pauses, None)
        if pause is None:
            raise doubt
        options.wait(pause)


def _sweep(destination: Path) -> None:
    """Removes what fetches left beside the destination that were killed long ago (H17)."""
    with contextlib.suppress(OSError):
        for leftover in destination.parent.glob(f".{glob.escape(destination.name)}.*.tmp"):
            if time.time() - leftover.stat().st_mtime > _STALE:
                leftover.unlink()


def read_ahead(store: Store, name: str, size: int, alive: Callable[[], None]) -> bytes:
    """
    The content of the segment `name`, which must have `size` bytes: whole, and what its name says.

    `alive` is called whenever bytes arrive. `NotFound` and every other error say nothing about the archive: whoever
    asks for the segment asks `fetch_file`.
    Whose cluster it is of is checked there too. Up to twice `size` bytes of memory are used meanwhile.
    """
    frames = bytearray()
    for chunk in store.get(wal_key(name)):
        alive()
        frames += chunk
        if len(frames) > size + (size >> 8):  # ZSTD_COMPRESSBOUND: what does not compress becomes a little larger
            raise Corrupt(f'"{wal_key(name)}" is larger than the segment that it should hold')
    data = decompress(frames, limit=size)
    check_header(name, data, size, None)
    if len(data) != size:
        raise Corrupt(f"WAL segment {name} has {len(data)} bytes, expected were {size}")
    return data


def _write(store: Store, name: str, destination: Path, held: bytes | None) -> int:
    """Content that does not pass is fetched once more: it may have been damaged on its way."""
    if held is not None:
        with contextlib.suppress(ArchiveError):
            return _write_once(destination, _content(store, name, destination, iter([held])))
    try:
        return _write_once(destination, _content(store, name, destination, get_wal(store, name)))
    except Corrupt:
        return _write_once(destination, _content(store, name, destination, get_wal(store, name)))


def _write_once(destination: Path, content: Iterator[bytes]) -> int:
    try:
        return fsio.write_atomically(destination, content, durable=False)
    except OSError as error:
        raise DataDirectoryError(
            f'could not write "{destination}"',
            detail=f"The system says: {error.strerror}.",
            hint="Check the free space and the permissions of the directory.",
        ) from error


def _content(store: Store, name: str, destination: Path, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The checked content. A file that is absent costs one request: the owner is asked for when bytes arrive."""
    first = next(chunks, b"")
    expected = _expected_cluster(store, destination)

    def all_chunks() -> Iterator[bytes]:
        yield first
        yield from chunks

    yield from checked(name, all_chunks(), expected)


def _expected_cluster(store: Store, destination: Path) -> int | None:
    """The system identifier that the WAL must have: the archive's owner, and the asking server, if it is known."""
    identity = read_identity(store)
    directory = data_directory_of(destination)
    own = None
    if directory is not None:
        # A server that could not read its own pg_control would not be asking; this one is just not a known version.
        with contextlib.suppress(DataDirectoryError, Corrupt):
            own = read_control(directory)[1].system_identifier
    if identity is None:
        return own
    if own is not None:
        check_identity(identity, own)
    return identity.system_identifier


def _doubt(store: Store, name: str, destination: Path, options: FetchOptions) -> WalEError | None:
    """Why a file that was not found may exist all the same; None where it does not."""
    near = neighbours(store, name)
    check_forms(name, near)
    if near.stored:
        return listed_but_absent(name)
    if not near.seen and not _is_archive(store):
        raise Misconfigured(
            "there is no archive at this address",
            detail="Neither WAL nor a base backup nor an owner is found there.",
            hint='Check the prefix, and that the file system is mounted. "wal-e backup-list" shows what is there.',
        )
    if not is_segment(name) or options.end_at_gap or (destination.parent / name).exists():
        return None
    return _gap(store, name, near, options.mode)


def _gap(store: Store, name: str, near: Neighbours, mode: RecoveryMode) -> WalEError | None:
    # A standby goes on asking, so it is spared the requests that look through other timelines.
    return None if mode is RecoveryMode.STANDBY and near.later is None else find_gap(store, name, near)


def _is_archive(store: Store) -> bool:
    if read_identity(store) is not None:
        return True
    return any(next(store.list(prefix), None) for prefix in (WAL_PREFIX, BACKUP_PREFIX, LEGACY_BACKUP_PREFIX))
