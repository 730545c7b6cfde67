"""
What the next backup takes over from its parent, file by file. Pure: values in, values out.

A file whose size, inode and times are those that the parent recorded is not read at all: every write that PostgreSQL
or anybody makes through the system changes its times. That holds only in the very directory that the parent read
(H30), and for a file that had been quiet for a margin when the parent began, because a clock's ticks are coarse.
"""

import enum
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from wal_e.pg.control import CONTROL_PATH
from wal_e.pg.filetable import FileEntry
from wal_e.repo.blockmap import BlockMap
from wal_e.repo.filelist import FileRecord, MapRef
from wal_e.repo.manifest import PackRef

QUIET_NS: Final = 2_000_000_000
"""
How long before the parent's walk a file must have changed last to be believed unchanged by its times, in nanoseconds.

Kernels stamp files with the time of the last tick, up to 10 ms old; file systems exist that keep whole seconds or two.
"""


@dataclass(frozen=True, slots=True)
class Reuse:
    """
    What may be taken over: files last changed before `settled_ns` without reading them (None: no file), and blocks by
    their digests unless they lie in a `stale` pack, which the new backup shall not refer to.
    """

    settled_ns: int | None = None
    stale: frozenset[str] = frozenset()


class Verdict(enum.Enum):
    """What becomes of a file: read it, repeat the parent's record, or do that with its block map stored anew."""

    READ = enum.auto()
    CARRY = enum.auto()
    MOVE_MAP = enum.auto()


def settled_before(scanned_ns: int) -> int:
    """The time before which a file must have changed last to count as quiet for a walk that began then."""
    return scanned_ns - QUIET_NS


def judge(entry: FileEntry, record: FileRecord | None, reuse: Reuse) -> Verdict:
    """
    Says what becomes of one file, given the parent's record of it.

    Files with damaged pages are always read, so that the report is of today.
    """
    if record is None or record.bad_pages or not _untouched(entry, record, reuse.settled_ns):
        return Verdict.READ
    packs = record.pack_blocks().keys() if isinstance(record.blocks, BlockMap) else {pack for pack, _ in record.uses}
    if packs & reuse.stale:
        return Verdict.READ
    if isinstance(record.blocks, MapRef) and record.blocks.frame.pack in reuse.stale:
        return Verdict.MOVE_MAP
    return Verdict.CARRY


def matched(files: Iterable[FileEntry], records: Iterable[FileRecord]) -> Iterator[tuple[FileEntry, FileRecord | None]]:
    """
    Pairs each file with the parent's record of the same path, both lists in ascending order of the path.

    pg_control, which stands last in a manifest, is passed over. In a list in any other order some pairs are missed,
    and those files are read. The records are gone through to their end: the checksum of a stored list is behind it.
    """
    remaining = (record for record in records if record.path != CONTROL_PATH)
    record = next(remaining, None)
    for entry in files:
        while record is not None and record.path < entry.path:
            record = next(remaining, None)
        yield entry, record if record is not None and record.path == entry.path else None
    deque(remaining, maxlen=0)


def live_at_most(pairs: Iterable[tuple[FileEntry, FileRecord | None]]) -> Counter[str]:
    """How many blocks of each pack the new backup would need if every file that is still there were unchanged."""
    counts: Counter[str] = Counter()
    for _, record in pairs:
        if record is not None:
            counts.update(record.pack_blocks())
    return counts


def stale_packs(packs: Iterable[PackRef], live: Mapping[str, int], stored: Mapping[str, int]) -> frozenset[str]:
    """
    The parent's packs that the new backup shall not refer to: less than half live, or not in the store as they were.

    Their live blocks are written again, so the newest backup never drags along more than about twice its own size.
    `live` counts blocks, `stored` has the sizes of the packs in the store, in bytes.
    """
    return frozenset(
        pack.key for pack in packs if stored.get(pack.key) != pack.size or 2 * live.get(pack.key, 0) < pack.blocks
    )


def lost_packs(packs: Collection[PackRef], stored: Mapping[str, int]) -> tuple[str, ...]:
    """The packs that the store does not have, or not in their size."""
    return tuple(pack.key for pack in packs if stored.get(pack.key) != pack.size)


def _untouched(entry: FileEntry, record: FileRecord, settled_ns: int | None) -> bool:
    seen = (entry.size, entry.inode, entry.mtime_ns, entry.ctime_ns, entry.mode & 0o777)
    before = (record.size, record.inode, record.mtime_ns, record.ctime_ns, record.mode)
    return settled_ns is not None and seen == before and max(entry.mtime_ns, entry.ctime_ns) < settled_ns
