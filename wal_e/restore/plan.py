"""
What a restore will do, as a value: which blocks are there already, what is removed, which files are only shells.

The plan of a fresh restore is empty: every file is made and every block fetched. A delta restore's names the files
that are there, with the blocks in them that are not those of the backup. Nothing here looks at a disk or a store.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from wal_e.codec.compress import compress, decompress
from wal_e.pg.control import CONTROL_PATH
from wal_e.repo.blockmap import BLOCK_SIZE, DIGEST_SIZE, Extent, block_count
from wal_e.repo.filelist import FileRecord
from wal_e.restore.parts import EVERYTHING, Parts

WHOLE: Final = b""
"""What a plan holds for a file of which every block is right."""
_NAMES: Final = 10
_PRESENT: Final = b"\0"
_MISSING: Final = b"\1"


@dataclass(frozen=True, slots=True)
class Entry:
    """Something in the target directory as `lstat` saw it; `size` is 0 for what is no regular file."""

    path: str
    size: int = 0
    is_directory: bool = False
    is_reusable: bool = False
    """A regular file that nothing else shares: one with a second name may be another cluster's (pg_upgrade --link)."""


@dataclass(slots=True)
class Tally:
    """How many files, how many bytes, and the first names."""

    count: int = 0
    size: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, path: str, size: int) -> None:
        """Counts one."""
        self.count += 1
        self.size += size
        if len(self.names) < _NAMES:
            self.names.append(path)


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """
    What becomes of each file of the backup, and of what lies in the target and is not in the backup.

    `reused` has the files that are there, each with its missing blocks as `pack_flags` gives them or `WHOLE`; what
    it does not name is made anew. `removed` is in the order of removal: the content of a directory before it.
    """

    reused: Mapping[str, bytes] = field(default_factory=dict)
    removed: tuple[Entry, ...] = ()
    parts: Parts = EVERYTHING

    def fetches(self, record: FileRecord) -> bool:
        """Whether any block of the file is written."""
        return not self.parts.is_shell(record.path) and self.reused.get(record.path) != WHOLE

    def missing(self, record: FileRecord) -> bytes | None:
        """One byte for each block of a reused file, 1 where it must be written; None: all of them."""
        flags = self.reused.get(record.path)
        return None if not flags else decompress(flags, limit=block_count(record.size))


@dataclass(frozen=True, slots=True)
class PlanReport:
    """A plan counted: bytes kept and fetched are those of blocks, not of whole files."""

    kept: Tally
    changed: Tally
    made: Tally
    shells: Tally
    removed: Tally
    fetched: int


def report_plan(plan: RestorePlan, files: Iterable[FileRecord]) -> PlanReport:
    """Counts what a plan does to the files of a backup, but for pg_control, which is always made anew."""
    report = {name: Tally() for name in ("kept", "changed", "made", "shells", "removed")}
    fetched = 0
    for record in files:
        if record.path == CONTROL_PATH or not plan.parts.has_file(record.path):
            continue
        size = missing_bytes(plan, record)
        fetched += size
        if plan.parts.is_shell(record.path):
            report["shells"].add(record.path, record.size)
        elif record.path not in plan.reused:
            report["made"].add(record.path, record.size)
        else:
            report["changed" if size else "kept"].add(record.path, size or record.size)
    for entry in reversed(plan.removed):
        if not entry.is_directory:
            report["removed"].add(entry.path, entry.size)
    return PlanReport(**report, fetched=fetched)


def missing_bytes(plan: RestorePlan, record: FileRecord) -> int:
    """How many bytes of a file will be written, holes included."""
    if not plan.fetches(record):
        return 0
    flags = plan.missing(record)
    if flags is None:
        return record.size
    last_is_short = flags.endswith(_MISSING) and record.size % BLOCK_SIZE
    return flags.count(_MISSING) * BLOCK_SIZE - (BLOCK_SIZE - record.size % BLOCK_SIZE if last_is_short else 0)


def differing(present: Collection[bytes], wanted: bytes) -> bytes:
    """Flags the blocks whose digest is not the wanted one: a byte for each, 1 where it differs."""
    if b"".join(present) == wanted:
        return bytes(len(present))
    return bytes(
        digest != wanted[number * DIGEST_SIZE : (number + 1) * DIGEST_SIZE] for number, digest in enumerate(present)
    )


def pack_flags(flags: bytes) -> bytes:
    """The form in which a plan keeps flags: small, for a cluster of 10 TB has a billion blocks; `WHOLE` for none."""
    return compress(flags) if _MISSING in flags else WHOLE


def missing_runs(extent: Extent, flags: bytes | None) -> Iterator[Extent]:
    """The parts of an extent that must be written."""
    if flags is None:
        yield extent
        return
    for run in flagged_runs(flags, range(extent.first, extent.first + extent.count)):
        yield Extent(run.start, len(run), extent.frame, extent.slot + run.start - extent.first)


def flagged_runs(flags: bytes, within: range) -> Iterator[range]:
    """The runs of flagged blocks within a range of blocks."""
    start = flags.find(_MISSING, within.start, within.stop)
    while start >= 0:
        end = flags.find(_PRESENT, start, within.stop)
        end = within.stop if end < 0 else end
        yield range(start, end)
        start = flags.find(_MISSING, end, within.stop)


def superfluous(found: Iterable[Entry], files: Collection[str], directories: Collection[str]) -> tuple[Entry, ...]:
    """
    What must go from the target before it is filled, the content of a directory before the directory.

    That is what the backup does not have, what is of another kind there, and files that other names share.
    """
    doomed = [
        entry
        for entry in found
        if not (entry.path in directories if entry.is_directory else entry.is_reusable and entry.path in files)
    ]
    return tuple(sorted(doomed, key=lambda entry: entry.path, reverse=True))
