"""
Variables of WAL-G and of other tools that are no option here, with what becomes of them.

Those that mean the same as an option of ours are further names of its row instead (`rows`, and each driver's own).
"""

import enum
from dataclasses import dataclass
from typing import Final


class Fate(enum.Enum):
    """Why a variable has no effect."""

    NEEDLESS = enum.auto()
    """It is always so here, or there is nothing here that it could change."""
    MISSING = enum.auto()
    """It asks for something that this build does not do."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """Variables with one explanation, which reads on after a variable's name and a colon."""

    names: tuple[str, ...]
    fate: Fate
    why: str


OWN: Final = ("WALE_CONFIG", "WALE_AGENT_DIR")
"""Variables of ours that are read before there are options."""

FOREIGN: Final = (
    Foreign(
        ("WALG_COMPRESSION_METHOD",),
        Fate.NEEDLESS,
        "what is stored is always zstd, whose level WALE_COMPRESSION_LEVEL sets",
    ),
    Foreign(
        ("WALG_PREVENT_WAL_OVERWRITE",),
        Fate.NEEDLESS,
        "WAL that is stored is never overwritten with other content, whatever this says",
    ),
    Foreign(
        ("WALG_UPLOAD_DISK_CONCURRENCY", "WALG_UPLOAD_QUEUE"),
        Fate.NEEDLESS,
        "the threads of WALE_UPLOAD_CONCURRENCY read, compress and send",
    ),
    Foreign(
        ("WALG_DOWNLOAD_FILE_RETRIES", "WALG_S3_MAX_RETRIES"),
        Fate.NEEDLESS,
        "requests are repeated until WALE_STORE_TIMEOUT and its kin have passed, or as often as WALE_RETRIES says",
    ),
    Foreign(
        ("WALG_DELTA_MAX_STEPS", "WALG_DELTA_ORIGIN", "WALG_USE_WAL_DELTA"),
        Fate.NEEDLESS,
        "every backup is a full one to restore, and there are no chains to plan",
    ),
    Foreign(
        ("WALG_TAR_SIZE_THRESHOLD", "WALG_TAR_DISABLE_FSYNC"),
        Fate.NEEDLESS,
        "backups are not made of tar files, and a restore is always durable",
    ),
    Foreign(("WALG_PREFETCH_DIR",), Fate.NEEDLESS, "what is fetched ahead stays in the agent's memory"),
    Foreign(("WALG_PG_WAL_SIZE",), Fate.NEEDLESS, "the size of a segment is known from the server and the segment"),
    Foreign(("WALG_SLOTNAME",), Fate.NEEDLESS, "no command here receives WAL by streaming"),
    Foreign(
        ("WALG_INTEGRITY_MAX_DELAYED_WALS",),
        Fate.NEEDLESS,
        "wal-verify takes nothing for missing that the server may not have archived yet",
    ),
    Foreign(
        ("WALG_ALIVE_CHECK_INTERVAL",),
        Fate.NEEDLESS,
        "a backup whose session with PostgreSQL is lost is never committed",
    ),
    Foreign(("WALG_STOP_BACKUP_TIMEOUT",), Fate.NEEDLESS, "WALE_BACKUP_WAL_TIMEOUT says how long to wait"),
    Foreign(("WALG_VERIFY_PAGE_CHECKSUMS",), Fate.NEEDLESS, "page checksums are always verified where there are any"),
    Foreign(
        ("WALG_PGP_KEY_PASSPHRASE", "WALG_LIBSODIUM_KEY_TRANSFORM"),
        Fate.NEEDLESS,
        "it goes with a key of WAL-G's, and means nothing alone",
    ),
    Foreign(
        ("GCS_NORMALIZE_PREFIX",), Fate.NEEDLESS, "names that begin with a slash are read, and so are those without"
    ),
    Foreign(
        ("SWIFT_DOMAIN_ID", "SWIFT_DOMAIN_NAME"),
        Fate.NEEDLESS,
        "it had no effect in the original either; SWIFT_USER_DOMAIN_NAME and SWIFT_PROJECT_DOMAIN_NAME have",
    ),
    Foreign(
        ("ST_AUTH", "ST_AUTH_VERSION", "ST_USER", "ST_KEY"),
        Fate.NEEDLESS,
        "the program swift reads it; SWIFT_AUTHURL, SWIFT_AUTH_VERSION, SWIFT_USER and SWIFT_PASSWORD are ours",
    ),
    Foreign(
        ("AWS_S3_FORCE_PATH_STYLE",),
        Fate.NEEDLESS,
        "with an endpoint the bucket's name goes into the path, unless WALE_S3_ADDRESSING says otherwise",
    ),
    Foreign(
        ("WALG_S3_USE_LIST_OBJECTS_V1",), Fate.MISSING, "buckets are listed with the second version of that request"
    ),
    Foreign(
        ("S3_RETENTION_PERIOD", "S3_RETENTION_MODE"),
        Fate.MISSING,
        "objects are locked by the bucket's default retention, if at all",
    ),
    Foreign(("WALG_SSH_PREFIX", "WALG_OSS_PREFIX"), Fate.MISSING, "there is no such store here"),
    Foreign(("WALG_SENTINEL_USER_DATA",), Fate.MISSING, "a backup carries no data of the user's in this build"),
    Foreign(("WALG_STATSD_ADDRESS", "WALG_STATSD_EXTRA_TAGS"), Fate.MISSING, "this build sends metrics to nobody"),
)
