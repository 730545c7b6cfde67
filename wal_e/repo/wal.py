"""
The archived WAL files as stored objects: put once, never replaced, and read back whole.

Every file that PostgreSQL hands to archive_command is one object under `wal_005/`, one zstd frame. Which bytes
may go there is decided by `wal.push`; here they are only never lost: a second file of the same name must have the
same content, or it is refused.
"""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from wal_e.codec.compress import DEFAULT_LEVEL, decompress_stream
from wal_e.errors import ArchiveConflict, ArchiveError, Corrupt, Exists, NotFound, Unavailable
from wal_e.pg.history import History, parse_history
from wal_e.pg.segment import HEADER_SIZE, SegmentHeader, parse_header
from wal_e.pg.wal import history_name, is_partial, is_segment
from wal_e.repo.layout import WAL_PREFIX, WAL_SUFFIX, parse_wal_key, wal_key, wal_variant_key
from wal_e.repo.source import Source
from wal_e.store.api import Body, ObjectInfo, Store
from wal_e.units import GIB

_LARGEST: Final = GIB


@dataclass(frozen=True, slots=True)
class WalObject:
    """
    One stored WAL file: its name, its stored size in bytes, and when the store got it.

    `suffix` is the form it is stored in (`.zst` is ours, WAL-E and WAL-G have others), `variant` is not empty for
    a `.partial` file that is kept apart.
    """

    name: str
    size: int
    last_modified: datetime
    key: str
    suffix: str = WAL_SUFFIX
    variant: str = ""

    @property
    def readable(self) -> bool:
        """Whether `get_wal` returns this very object."""
        return self.suffix == WAL_SUFFIX and not self.variant


@dataclass(frozen=True, slots=True)
class PutResult:
    """
    Where a file lies, whether it was put there just now, its size, and what that added to the archive, in bytes.

    `compressing` and `sending` are the seconds that the two halves of the work took.
    """

    key: str
    fresh: bool
    size: int
    stored: int
    compressing: float = field(default=0.0, compare=False)
    sending: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Neighbours:
    """
    What a listing shows at and after the place of one file.

    `stored`: the file itself. `foreign`: the key of the file itself in WAL-E's or WAL-G's form. `later`: a segment
    of the same timeline after it. `next_timeline`: the first higher timeline of which there is anything. `seen`:
    the listing showed something at all, so this is an archive.
    """

    stored: bool = False
    foreign: str | None = None
    later: str | None = None
    next_timeline: int | None = None
    seen: bool = False


def put_wal(store: Store, name: str, source: Source, level: int = DEFAULT_LEVEL) -> PutResult:
    """
    Stores the file under an archivable name; when it returns, the content is durable in the archive.

    The same content again is success (H01): PostgreSQL repeats archive_command after a crash. Other content under
    the name raises `ArchiveConflict` and changes nothing, except that a `.partial` file, of which two different ones
    are legitimate, is then stored aside (H06). A file that changed since it was opened is `DataDirectoryError` and
    is not stored; `OSError` where it cannot be read.
    """
    try:
        return _put_or_compare(store, wal_key(name), source, level)
    except ArchiveConflict:
        if not is_partial(name):
            raise
    with source.open() as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return _put_or_compare(store, wal_variant_key(name, digest), source, level)


def get_wal(store: Store, name: str) -> Iterator[bytes]:
    """Yields the content of a stored file; `NotFound` at the first chunk, `Corrupt` where it does not decompress."""
    return decompress_stream(store.get(wal_key(name)), limit=_LARGEST)


def wal_exists(store: Store, name: str) -> bool:
    """Whether the file is stored in our form."""
    try:
        store.head(wal_key(name))
    except NotFound:
        return False
    return True


def list_wal(store: Store, after: str = "") -> Iterator[WalObject]:
    """
    Yields the stored WAL files by name, from the one after the file `after` on.

    Files in WAL-E's and WAL-G's forms are among them; what is no WAL file at all (delta maps) is left out.
    """
    return _list_after(store, wal_key(after) if after else "")


def list_segments(store: Store, first: str, last: str) -> Iterator[str]:
    """Yields the names of the segments in our form from `first` to `last`, both of one timeline, both included."""
    for entry in _list_after(store, wal_key(first, "")):
        if entry.name[:24] > last:
            return
        if entry.readable and is_segment(entry.name):
            yield entry.name


def read_header(store: Store, name: str) -> SegmentHeader:
    """The header of a stored segment; only its beginning is fetched."""
    first = b""
    for chunk in get_wal(store, name):
        first += chunk
        if len(first) >= HEADER_SIZE:
            break
    return parse_header(first)


def read_history(store: Store, timeline: int) -> History | None:
    """
    The history of a timeline, or None where the archive has none.

    None needs two answers that agree, from a get and from a listing (H19): a history that is overlooked lets a
    server take a timeline that is taken. A doubt is `Unavailable`.
    """
    name = history_name(timeline)
    try:
        return parse_history(timeline, b"".join(get_wal(store, name)))
    except NotFound:
        near = neighbours(store, name)
    check_forms(name, near)
    if near.stored:
        raise listed_but_absent(name)
    return None


def neighbours(store: Store, name: str) -> Neighbours:
    """
    Looks at the place of a file in a listing, from a little before it to the first segment after it.

    One request, in general: it is what stands between a 404 and the claim that there is no such file.
    """
    found = Neighbours()
    # The listing begins at the siblings that differ in the last digit: no shorter way to say "from this key on".
    for entry in _list_after(store, wal_key(name[:-1], "")):
        timeline = int(entry.name[:8], 16)
        if entry.name == name:
            found = _noted(found, entry)
        elif entry.name > name and timeline > int(name[:8], 16):
            return Neighbours(found.stored, found.foreign, None, timeline, seen=True)
        elif is_segment(entry.name[:24]) and entry.name[:24] > name[:24]:
            return Neighbours(found.stored, found.foreign, entry.name[:24], None, seen=True)
        found = found if found.seen else Neighbours(seen=True)
    return found


def next_timeline(store: Store, timeline: int) -> int | None:
    """The lowest timeline above `timeline` of which the archive has any file."""
    for entry in list_wal(store, after=f"{timeline:08X}~"):
        return int(entry.name[:8], 16)
    return None


def check_forms(name: str, near: Neighbours) -> None:
    """Raises `ArchiveError` where a file is there, but only in a form that is not ours (H14: not absent, then)."""
    if near.foreign is not None and not near.stored:
        raise ArchiveError(
            f'"{name}" was stored by WAL-E or WAL-G in a form that this version does not read yet',
            detail=f'The object is "{near.foreign}".',
            hint="Fetch it with the tool that stored it.",
        )


def listed_but_absent(name: str) -> Unavailable:
    """The error for a store that lists an object and says that there is none (H18)."""
    return Unavailable(
        f'the store lists "{name}" and does not return it',
        hint="The store may need time to show a new object; repeat the command.",
    )


def _noted(found: Neighbours, entry: WalObject) -> Neighbours:
    foreign = entry.key if entry.suffix != WAL_SUFFIX else found.foreign
    return Neighbours(found.stored or entry.readable, foreign, seen=True)


def _list_after(store: Store, key: str) -> Iterator[WalObject]:
    for info in store.list(WAL_PREFIX, after=key):
        stored = parse_wal_key(info.key)
        if stored is not None:
            yield WalObject(stored.name, info.size, info.last_modified, info.key, stored.suffix, stored.variant)


def _put_or_compare(store: Store, key: str, source: Source, level: int) -> PutResult:
    begun = time.monotonic()
    with source.compressed(level) as body:
        source.check()
        compressed = time.monotonic()
        stored = _create(store, key, body)
    fresh = stored is not None
    if not fresh:
        _compare(store, key, source)
    sending = time.monotonic() - compressed
    return PutResult(key, fresh, source.size, stored or 0, compressed - begun, sending)


def _create(store: Store, key: str, body: Body) -> int | None:
    """The stored size, or None where the key is taken: then the content there decides."""
    try:
        info = store.put(key, body, create_only=True)
    except Exists:
        return None
    return info.size if store.capabilities.atomic_create or _is_stored(store, info) else None


def _is_stored(store: Store, info: ObjectInfo) -> bool:
    """Whether what was put is what is there: another writer may have been told the same (H01, on Swift)."""
    try:
        now = store.head(info.key)
    except NotFound:
        raise listed_but_absent(info.key) from None
    return (now.size, now.etag) == (info.size, info.etag)


def _compare(store: Store, key: str, source: Source) -> None:
    """Raises `ArchiveConflict` unless the stored object has the content of the file."""
    try:
        same = _has_content(store, key, source)
    except NotFound:
        raise listed_but_absent(key) from None
    except Corrupt as error:
        raise Corrupt(
            f'"{key}" is already in the archive, and is damaged',
            detail=f"Reading it failed: {error}.",
            hint=f'Look at the object; once it is certain that it is of no use, delete "{key}" and repeat.',
        ) from error
    if not same:
        raise ArchiveConflict(
            f'"{key}" is already in the archive, with other content',
            detail=f'Its content is not that of "{source.path}". Nothing was changed.',
            hint=(
                "Find out which other server archives to this prefix: a restored copy or a former primary, perhaps. "
                "Give it a prefix of its own."
            ),
        )


def _has_content(store: Store, key: str, source: Source) -> bool:
    """Bytes that do not even decompress are read once more: they may have been damaged on their way."""
    try:
        return _has_content_once(store, key, source)
    except Corrupt:
        return _has_content_once(store, key, source)


def _has_content_once(store: Store, key: str, source: Source) -> bool:
    # A difference is no reason to stop: only at the end is it certain that the stored bytes arrived as they are.
    same = True
    with source.open() as file:
        for chunk in decompress_stream(store.get(key), limit=_LARGEST):
            same = same and file.read(len(chunk)) == chunk
        return same and not file.read(1)
