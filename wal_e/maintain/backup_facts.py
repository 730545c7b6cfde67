"""
Everything about one base backup: its summary, whose packs it needs, which pages were bad, and whether its WAL is there.

The list of files is read only where there were bad pages.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import Final

from wal_e.pg.wal import SegmentName
from wal_e.repo.catalogue import load_manifest, load_packs, load_summary
from wal_e.repo.layout import parse_backup_key
from wal_e.repo.manifest import Summary
from wal_e.repo.wal import list_segments
from wal_e.store.api import Store

SHOWN_FILES: Final = 100
SHOWN_BLOCKS: Final = 20


@dataclass(frozen=True, slots=True)
class PackOrigin:
    """How many packs of one backup are needed, and their size in the archive in bytes."""

    backup: str
    packs: int
    size: int


@dataclass(frozen=True, slots=True)
class BadFile:
    """A file with pages whose checksum did not fit: how many, and the numbers of the first of these blocks."""

    path: str
    count: int
    blocks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BackupFacts:
    """
    What `backup-show` shows.

    `origins` begins with the backup itself. `bad_files` has the first `SHOWN_FILES` of them. `wal` are the segments
    without which the backup cannot be made consistent, none for an offline backup, and `missing` those of them that
    the archive does not have.
    """

    summary: Summary
    origins: tuple[PackOrigin, ...]
    bad_files: tuple[BadFile, ...]
    wal: tuple[SegmentName, ...]
    missing: tuple[SegmentName, ...]


def describe_backup(store: Store, name: str) -> BackupFacts:
    """The facts about one backup; `NoSuchBackup` where there is none, `Corrupt` where its manifest is damaged."""
    summary = load_summary(store, name)
    wal = () if summary.offline else tuple(summary.segments())
    stored = set(list_segments(store, str(wal[0]), str(wal[-1]))) if wal else set()
    return BackupFacts(
        summary,
        _origins(store, name),
        _bad_files(store, name) if summary.checksum_failures else (),
        wal,
        tuple(segment for segment in wal if str(segment) not in stored),
    )


def _origins(store: Store, name: str) -> tuple[PackOrigin, ...]:
    packs: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for pack in load_packs(store, name):
        parsed = parse_backup_key(pack.key)
        origin = pack.key if parsed is None else parsed.backup
        packs[origin] += 1
        sizes[origin] += pack.size
    others = sorted(packs.keys() - {name}, reverse=True)
    return tuple(PackOrigin(origin, packs[origin], sizes[origin]) for origin in (name, *others))


def _bad_files(store: Store, name: str) -> tuple[BadFile, ...]:
    found = (
        BadFile(file.path, len(file.bad_pages), file.bad_pages[:SHOWN_BLOCKS])
        for file in load_manifest(store, name).files
        if file.bad_pages
    )
    return tuple(islice(found, SHOWN_FILES))
