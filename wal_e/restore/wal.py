"""
The WAL that makes a base backup consistent, to go along in its `pg_wal`: a copy that needs no archive to start.

Each file has an empty `.done` file in `archive_status`, as pg_basebackup makes them, so that the copy does not archive
again what came from the archive.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from wal_e.errors import Corrupt, NotFound, WalMissing
from wal_e.events import Level, Message, Sink
from wal_e.pg.wal import history_name
from wal_e.pg.wal_content import checked
from wal_e.repo.manifest import Summary
from wal_e.repo.wal import get_wal, read_history, wal_exists
from wal_e.store.api import Store


@dataclass(frozen=True, slots=True)
class WalFile:
    """
    One file below the data directory; `content` yields exactly `size` bytes, or raises.

    What `content` yields is certain to be right only when it has ended.
    """

    path: str
    size: int
    content: Callable[[], Iterator[bytes]]


def needed_wal(store: Store, summary: Summary, emit: Sink) -> list[WalFile]:
    """
    The segments from start to stop, the histories of the backup's timeline and its ancestors, and their marks.

    Raises `WalMissing` where a segment is not in the archive: asked for now, not after hours of copying. A history
    that the archive never had is warned of, for the server recovers without it. A backup of a stopped cluster needs
    none of this.
    """
    if summary.offline:
        return []
    names = [str(segment) for segment in summary.segments()]
    missing = [name for name in names if not wal_exists(store, name)]
    if missing:
        raise _missing(missing)
    files = [
        _file(name, summary.segment_size, partial(_segment, store, name, summary.system_identifier)) for name in names
    ]
    files += [_file(name, len(data), partial(iter, (data,))) for name, data in _histories(store, summary, emit)]
    marks = [WalFile(f"pg_wal/archive_status/{_name(file)}.done", 0, partial(iter, ())) for file in files]
    return files + marks


def _file(name: str, size: int, content: Callable[[], Iterator[bytes]]) -> WalFile:
    return WalFile(f"pg_wal/{name}", size, lambda: _exactly(name, size, content()))


def _name(file: WalFile) -> str:
    return file.path.rpartition("/")[2]


def _segment(store: Store, name: str, system_identifier: int) -> Iterator[bytes]:
    try:
        yield from checked(name, get_wal(store, name), system_identifier)
    except NotFound:
        raise _missing([name]) from None


def _histories(store: Store, summary: Summary, emit: Sink) -> Iterator[tuple[str, bytes]]:
    own = read_history(store, summary.timeline) if summary.timeline > 1 else None
    for timeline in (*(own.ancestors if own else ()), summary.timeline):
        name = history_name(timeline)
        if timeline == 1:
            continue  # the first timeline has no history
        if read_history(store, timeline) is None:
            emit(
                Message(
                    __name__,
                    f'the archive has no "{name}"',
                    detail="The copy starts without it, but followers of the copy may ask for it.",
                    level=Level.WARNING,
                )
            )
            continue
        yield name, b"".join(get_wal(store, name))


def _exactly(name: str, size: int, chunks: Iterable[bytes]) -> Iterator[bytes]:
    left = size
    for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            break
        yield chunk
    if left:
        raise Corrupt(f'"{name}" does not have {size} bytes in the archive')


def _missing(names: list[str]) -> WalMissing:
    return WalMissing(
        "WAL that the backup needs is not in the archive",
        detail=f"Missing: {', '.join(names[:10])}.",
        hint="wal-e wal-verify shows which backups have all they need.",
    )
