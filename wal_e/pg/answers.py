"""What a session with PostgreSQL answers, as values: who the server is, what we may, where a backup begins and ends."""

from dataclasses import dataclass
from datetime import datetime

from wal_e.errors import ServerError
from wal_e.pg.wal import Lsn


@dataclass(frozen=True, slots=True)
class Location:
    """A tablespace as the server knows it; `location` is empty for one inside the data directory."""

    oid: int
    name: str
    location: str


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """
    What the server is and how it is set up. `server_version_num` is 150004 for 15.4, `segment_size` is in bytes.

    A setting that this role may not read is None (`data_directory` needs membership in pg_read_all_settings), and
    so is one that this release does not have.
    """

    server_version_num: int
    system_identifier: int
    segment_size: int
    timeline: int
    in_recovery: bool
    data_checksums: bool
    data_directory: str | None
    wal_level: str | None
    archive_mode: str | None
    archive_command: str | None
    archive_library: str | None
    tablespaces: tuple[Location, ...]

    @property
    def major(self) -> int:
        """The PostgreSQL major: 15."""
        return self.server_version_num // 10000


@dataclass(frozen=True, slots=True)
class ArchiverStatistics:
    """What `pg_stat_archiver` says about archive_command; names and times are None before the first of their kind."""

    archived_count: int
    last_archived_wal: str | None
    last_archived_time: datetime | None
    failed_count: int
    last_failed_wal: str | None
    last_failed_time: datetime | None


@dataclass(frozen=True, slots=True)
class Privileges:
    """The functions (with their arguments) that the role may not call, and the statements that would let it."""

    missing: tuple[str, ...]
    grants: str


@dataclass(frozen=True, slots=True)
class BackupStart:
    """Where a backup begins: copy nothing that was read before `time`."""

    lsn: Lsn
    time: datetime
    timeline: int
    in_recovery: bool


@dataclass(frozen=True, slots=True)
class BackupStop:
    """
    Where a backup ends, and the two files that go into it byte for byte (`tablespace_map` only if not empty).

    Every transaction from the 64-bit id `xmax` on, and every one that commits after `time`, ended after `lsn`.
    On a standby `xmax` counts what was replayed so far; it is None where the server cannot tell.
    """

    lsn: Lsn
    backup_label: bytes
    tablespace_map: bytes
    time: datetime
    xmax: int | None


def unsigned(value: object) -> int:
    """A 64-bit identifier, which pg_control_system() gives as a signed bigint."""
    return integer(value) % (1 << 64)


def integer(value: object) -> int:
    """A number of a row; `ServerError` for anything else."""
    if not isinstance(value, int):
        raise ServerError(f"PostgreSQL answered {value!r} where a number was due")
    return value


def time(value: object) -> datetime:
    """A time of a row; `ServerError` for anything else."""
    if not isinstance(value, datetime):
        raise ServerError(f"PostgreSQL answered {value!r} where a time was due")
    return value


def time_or_none(value: object) -> datetime | None:
    """A time of a row, or its NULL."""
    return None if value is None else time(value)


def text_or_none(value: object) -> str | None:
    """A text of a row, or its NULL."""
    return None if value is None else str(value)
