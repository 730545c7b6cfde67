"""
The names of everything in an archive: each key is built here and read back here, nowhere else.

    wal_005/<file>.zst                                   segments, timeline histories, backup histories
    wal_005/<segment>.partial.<12 hex>.zst               a second, different `.partial` of one segment (H06)
    basebackups_006/<name>/pack-<8 digits>               data, written while the backup runs
    basebackups_006/<name>/manifest.json.zst             what makes the backup exist
    basebackups_006/<name>/events/<utc>-<kind>.json      what is learnt or decided about it later
    basebackups_005/...                                  left by WAL-E or WAL-G: read, deleted, never written
    cluster.json                                         whose archive this is
    .wal-e-check/<16 hex digits>/<word>                  what `wal-e check` tries with, gone again when it ends
    leases/<claim>/<8 digits>.json, released.json        who takes a backup or deletes just now

Keys are relative to the archive's prefix. No I/O, no clock.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from wal_e.errors import UsageError
from wal_e.pg.wal import SegmentName

WAL_PREFIX: Final = "wal_005/"
BACKUP_PREFIX: Final = "basebackups_006/"
LEGACY_BACKUP_PREFIX: Final = "basebackups_005/"
CLUSTER_KEY: Final = "cluster.json"
SCRATCH_PREFIX: Final = ".wal-e-check/"
LEASE_PREFIX: Final = "leases/"
WAL_SUFFIX: Final = ".zst"
PACK: Final = "pack-"

_FILE = r"[0-9A-F]{8}\.history|[0-9A-F]{24}(?:\.partial|\.[0-9A-F]{8}\.backup)?"
_WAL_KEY = re.compile(rf"{WAL_PREFIX}({_FILE})(\.[0-9a-f]{{12}})?((?:\.[a-z0-9]+)*)", re.ASCII)
_BACKUP = re.compile(r"base_([0-9A-F]{24})_(\d{8,10})(?:_([0-9a-f]{8}))?", re.ASCII)
_SUFFIX = re.compile(r"[0-9a-f]{8}", re.ASCII)
_PACK = re.compile(r"pack-(\d{8})", re.ASCII)
_KIND = re.compile(r"[a-z]+", re.ASCII)
_EVENT = re.compile(r"events/(\d{8}T\d{6}\.\d{6}Z)-([a-z]+)\.json", re.ASCII)
_EVENT_TIME: Final = "%Y%m%dT%H%M%S.%fZ"
_LEASE = re.compile(r"(\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{16})/(?:(\d{8})|released)\.json", re.ASCII)


@dataclass(frozen=True, slots=True)
class StoredWal:
    """
    What a key under `wal_005/` says: the archived file's name, and in what form it is stored.

    `variant` is empty, or the first 12 hex digits of the SHA-256 of a `.partial` file's content, where that is
    kept apart from an earlier one. `suffix` is what follows: `.zst` for ours, others for WAL-E's and WAL-G's.
    """

    name: str
    variant: str
    suffix: str


@dataclass(frozen=True, slots=True)
class BackupName:
    """The parts of a base backup's name; `offset` is the start position's, in bytes from its segment's begin."""

    segment: str
    offset: int
    suffix: str | None


@dataclass(frozen=True, slots=True)
class BackupObject:
    """A key under `basebackups_006/`: whose it is, and the rest of it, such as `pack-00000000`."""

    backup: str
    rest: str

    @property
    def is_manifest(self) -> bool:
        """Whether this is the object that makes the backup exist."""
        return self.rest == "manifest.json.zst"

    @property
    def pack(self) -> int | None:
        """The pack's number, where the object is a pack."""
        match = _PACK.fullmatch(self.rest)
        return int(match[1]) if match else None

    @property
    def event(self) -> tuple[datetime, str] | None:
        """The event's time and kind, where the object is an event."""
        match = _EVENT.fullmatch(self.rest)
        if match is None:
            return None
        try:
            return datetime.strptime(match[1], _EVENT_TIME).replace(tzinfo=UTC), match[2]
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class LeaseObject:
    """A key under `leases/`: whose claim it belongs to, and its number; None is the object that releases the claim."""

    claim: str
    number: int | None


def wal_key(name: str, suffix: str = WAL_SUFFIX) -> str:
    """The key of an archived WAL file."""
    return f"{WAL_PREFIX}{name}{suffix}"


def wal_variant_key(name: str, sha256: str) -> str:
    """Where a `.partial` file goes whose plain key holds other content; `sha256` is its content's, in hex."""
    return f"{WAL_PREFIX}{name}.{sha256[:12]}{WAL_SUFFIX}"


def parse_wal_key(key: str) -> StoredWal | None:
    """Reads a key under `wal_005/`; None for objects that are no archived file, such as WAL-G's delta maps."""
    match = _WAL_KEY.fullmatch(key)
    if match is None or match[3] == ".json":
        return None
    return StoredWal(match[1], (match[2] or "").removeprefix("."), match[3])


def backup_name(start: SegmentName, start_lsn: int, suffix: str | None = None) -> str:
    """
    The name of the backup that starts at `start_lsn`, which lies in the segment `start`.

    `suffix`, eight lower-case hex digits, tells apart backups that share a start position (H24).
    """
    offset = start_lsn - start.start
    if not 0 <= offset < start.segment_size:
        raise UsageError(f"the position {start_lsn:#x} is not in the segment {start}")
    if suffix is not None and _SUFFIX.fullmatch(suffix) is None:
        raise UsageError(f'"{suffix}" cannot tell backups apart', hint="Give eight hex digits in lower case.")
    return f"base_{start}_{offset:08d}" + (f"_{suffix}" if suffix else "")


def is_backup_name(text: str) -> bool:
    """Whether the text is a name that `backup_name` makes."""
    return _BACKUP.fullmatch(text) is not None


def parse_backup_name(text: str) -> BackupName:
    """Reads a base backup's name; anything else raises `UsageError`."""
    match = _BACKUP.fullmatch(text)
    if match is None:
        raise UsageError(
            f'"{text}" is not the name of a base backup',
            hint='Run "wal-e backup-list" to see the names, or give LATEST.',
        )
    return BackupName(match[1], int(match[2]), match[3])


def scratch_key(run: str, word: str) -> str:
    """The key of an object that nothing reads but the run that puts it; `run` is random."""
    return f"{SCRATCH_PREFIX}{run}/{word}"


def backup_prefix(name: str) -> str:
    """What the keys of all of a backup's objects start with."""
    return f"{BACKUP_PREFIX}{name}/"


def manifest_key(name: str) -> str:
    """The key of a backup's manifest."""
    return f"{backup_prefix(name)}manifest.json.zst"


def pack_key(name: str, number: int) -> str:
    """The key of a backup's pack; packs are counted from 0."""
    return f"{backup_prefix(name)}{PACK}{number:08d}"


def events_prefix(name: str) -> str:
    """What the keys of a backup's events start with."""
    return f"{backup_prefix(name)}events/"


def event_key(name: str, when: datetime, kind: str) -> str:
    """The key of an event of a `kind` (`pinned`, `verified`) at an aware time; keys sort by time."""
    if _KIND.fullmatch(kind) is None:
        raise UsageError(f'"{kind}" cannot be the kind of an event')
    return f"{events_prefix(name)}{when.astimezone(UTC).strftime(_EVENT_TIME)}-{kind}.json"


def parse_backup_key(key: str) -> BackupObject | None:
    """Reads a key under `basebackups_006/`; None where its first part is not the name of a backup."""
    name, slash, rest = key.removeprefix(BACKUP_PREFIX).partition("/")
    if not key.startswith(BACKUP_PREFIX) or not slash or not rest or not is_backup_name(name):
        return None
    return BackupObject(name, rest)


def claim_name(when: datetime, token: str) -> str:
    """The name of a claim to the archive's lease, made at an aware time; `token` is 16 hex digits, at random."""
    return f"{when.astimezone(UTC).strftime(_EVENT_TIME)}-{token}"


def claim_prefix(claim: str) -> str:
    """What the keys of all of a claim's objects start with."""
    return f"{LEASE_PREFIX}{claim}/"


def claim_key(claim: str, number: int) -> str:
    """The key of a claim (number 0), or of one of its renewals."""
    return f"{claim_prefix(claim)}{number:08d}.json"


def release_key(claim: str) -> str:
    """The key of the object that says that a claim counts no more."""
    return f"{claim_prefix(claim)}released.json"


def parse_lease_key(key: str) -> LeaseObject | None:
    """Reads a key under `leases/`; None for anything that the functions above do not make."""
    match = _LEASE.fullmatch(key.removeprefix(LEASE_PREFIX)) if key.startswith(LEASE_PREFIX) else None
    if match is None:
        return None
    return LeaseObject(match[1], None if match[2] is None else int(match[2]))
