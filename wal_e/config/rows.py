"""The rows of the option table that do not belong to one store's driver, and the choice among the prefixes."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from wal_e.config.option import AnyOption, Option, parse_bool, parse_choice, parse_count, parse_text
from wal_e.config.settings import Origin, Settings
from wal_e.errors import UsageError
from wal_e.units import MIB, parse_duration, parse_size

ARCHIVE: Final = "archive"
COMMANDS: Final = "commands"
LOGGING: Final = "logging"
PATIENCE: Final = "patience"
RATES: Final = "rates"
AGENT_GROUP: Final = "agent"

NO: Final = False

DESTINATIONS: Final = ("stderr", "syslog")
FACILITIES: Final = ("user", *(f"local{number}" for number in range(8)))


def parse_destinations(text: str) -> frozenset[str]:
    """Reads a comma-separated list of stderr and syslog."""
    parse = parse_choice(*DESTINATIONS)
    return frozenset(parse(word) for word in text.split(",") if word.strip())


def parse_retries(text: str) -> int | None:
    """Reads how many tries there may be; below 1 there is no such limit, as in the original."""
    try:
        tries = int(text)
    except ValueError:
        raise UsageError(f'"{text}" is not a whole number', hint="Write how many tries there may be.") from None
    return tries if tries >= 1 else None


def parse_rate(text: str) -> int:
    """Reads bytes per second as a size; at 0 nothing would ever pass."""
    rate = parse_size(text)
    if rate == 0:
        raise UsageError("at 0 bytes per second nothing passes", hint="Leave the limit out to have none.")
    return rate


def parse_agent(text: str) -> bool:
    """Reads auto and off, and the words of a switch."""
    return text.strip().lower() == "auto" or parse_bool(text)


def parse_folder(text: str) -> str:
    """Reads a folder's address, which WAL-G's users write as a plain path."""
    return f"file://localhost{text}" if text.startswith("/") else text


def parse_azure(text: str) -> str:
    """Reads an address on Azure, whose scheme WAL-G's users write as azure."""
    scheme, mark, rest = text.partition("://")
    return f"wabs://{rest}" if mark and scheme.lower() == "azure" else text


def _prefix(
    scheme: str, foreign: str, store: str, example: str, parse: Callable[[str], str] = parse_text
) -> Option[str | None]:
    return Option(
        f"{scheme}-prefix",
        (f"WALE_{scheme.upper()}_PREFIX", f"WALG_{foreign}_PREFIX"),
        f"the archive's address on {store}, such as {example}",
        None,
        parse,
        metavar="URL",
        group=ARCHIVE,
    )


def _patience(name: str, default: timedelta, shown: str, help_text: str) -> Option[timedelta]:
    variable = f"WALE_{name.upper().replace('-', '_')}"
    return Option(
        name, (variable,), help_text, default, parse_duration, metavar="DURATION", group=PATIENCE, shown=shown
    )


def _rate(name: str, aliases: tuple[str, ...], help_text: str) -> Option[int | None]:
    variables = (f"WALE_{name.upper().replace('-', '_')}", *aliases)
    return Option(name, variables, help_text, None, parse_rate, metavar="BYTES_PER_SECOND", group=RATES)


SWIFT_PREFIX: Final = _prefix("swift", "SWIFT", "OpenStack Swift", "swift://container/path")
FILE_PREFIX: Final = _prefix("file", "FILE", "a local folder", "file://localhost/var/backups/main", parse_folder)
S3_PREFIX: Final = _prefix("s3", "S3", "S3", "s3://bucket/path")
GS_PREFIX: Final = _prefix("gs", "GS", "Google Cloud Storage", "gs://bucket/path")
WABS_PREFIX: Final = _prefix("wabs", "AZ", "Azure Blob Storage", "wabs://container/path", parse_azure)

COMPRESSION_LEVEL: Final[Option[int]] = Option(
    "compression-level",
    ("WALE_COMPRESSION_LEVEL", "WALG_ZSTD_LEVEL"),
    "zstd level of what is stored, from 1 (fast) to 19 (small)",
    3,
    parse_count(1, 19),
    metavar="LEVEL",
    group=ARCHIVE,
)
GPG_KEY_ID: Final[Option[str | None]] = Option(
    "gpg-key-id",
    ("WALE_GPG_KEY_ID", "WALG_GPG_KEY_ID"),
    "the key that the original encrypted to; this build cannot encrypt and refuses to store anything while it is set",
    None,
    parse_text,
    metavar="ID",
    group=ARCHIVE,
)
FOREIGN_KEY: Final[Option[str | None]] = Option(
    "wal-g-encryption",
    (
        "WALG_PGP_KEY",
        "WALG_PGP_KEY_PATH",
        "WALG_LIBSODIUM_KEY",
        "WALG_LIBSODIUM_KEY_PATH",
        "WALG_CSE_KMS_ID",
        "WALG_YC_CSE_KMS_KEY_ID",
    ),
    "the keys that WAL-G encrypted to; as gpg-key-id",
    None,
    parse_text,
    secret=True,
    group=ARCHIVE,
)
ENCRYPTION: Final = (GPG_KEY_ID, FOREIGN_KEY)

# Those of commands whose flags are the commands' own: --pool-size, --prefetch, --cluster-read-rate-limit.
UPLOAD_CONCURRENCY: Final[Option[int | None]] = Option(
    "upload-concurrency",
    ("WALE_UPLOAD_CONCURRENCY", "WALG_UPLOAD_CONCURRENCY"),
    "--pool-size of backup-push and wal-push, where they are not given it",
    None,
    parse_count(1, 256),
    flag=False,
    metavar="NUMBER",
    group=COMMANDS,
)
DOWNLOAD_CONCURRENCY: Final[Option[int | None]] = Option(
    "download-concurrency",
    ("WALE_DOWNLOAD_CONCURRENCY", "WALG_DOWNLOAD_CONCURRENCY"),
    "--pool-size of backup-fetch and --prefetch of wal-fetch, where they are not given it",
    None,
    parse_count(1, 256),
    flag=False,
    metavar="NUMBER",
    group=COMMANDS,
)
READ_RATE_LIMIT: Final[Option[int | None]] = Option(
    "cluster-read-rate-limit",
    ("WALE_CLUSTER_READ_RATE_LIMIT", "WALG_DISK_RATE_LIMIT"),
    "--cluster-read-rate-limit of backup-push, where it is not given it",
    None,
    parse_rate,
    flag=False,
    metavar="BYTES_PER_SECOND",
    group=COMMANDS,
)

TERSE: Final[Option[bool]] = Option(
    "terse",
    (),
    "log warnings and errors only",
    NO,
    parse_bool,
    group=LOGGING,
    switch=True,
)
LOG_DESTINATION: Final[Option[frozenset[str]]] = Option(
    "log-destination",
    ("WALE_LOG_DESTINATION",),
    "where log lines go: stderr, syslog, or both, separated by a comma",
    frozenset(DESTINATIONS),
    parse_destinations,
    metavar="LIST",
    group=LOGGING,
    shown="stderr,syslog",
)
SYSLOG_FACILITY: Final[Option[str]] = Option(
    "syslog-facility",
    ("WALE_SYSLOG_FACILITY",),
    "the syslog facility: user, or local0 to local7",
    "user",
    parse_choice(*FACILITIES),
    metavar="FACILITY",
    group=LOGGING,
)

PUSH_TIMEOUT: Final = _patience(
    "push-timeout",
    timedelta(minutes=1),
    "1min",
    "how long wal-push goes on trying before PostgreSQL is told to call again",
)
FETCH_TIMEOUT: Final = _patience(
    "fetch-timeout",
    timedelta(minutes=10),
    "10min",
    "how long wal-fetch keeps trying through an outage before it stops a recovery",
)
STANDBY_FETCH_TIMEOUT: Final = _patience(
    "standby-fetch-timeout",
    timedelta(seconds=5),
    "5s",
    "the same on a standby, which asks again by itself and may stream instead",
)
BACKUP_WAL_TIMEOUT: Final = _patience(
    "backup-wal-timeout",
    timedelta(minutes=10),
    "10min",
    "how long backup-push waits for PostgreSQL to archive the WAL that the backup needs",
)
STORE_TIMEOUT: Final = _patience(
    "store-timeout",
    timedelta(minutes=5),
    "5min",
    "how long every other request to the store is repeated before a command gives up",
)
RETRIES: Final[Option[int | None]] = Option(
    "retries",
    ("WALE_RETRIES",),
    "how many times one request is tried at most; below 1, or not set: until its timeout",
    None,
    parse_retries,
    metavar="NUMBER",
    group=PATIENCE,
)
UPLOAD_RATE_LIMIT: Final = _rate(
    "upload-rate-limit",
    ("WALG_NETWORK_RATE_LIMIT",),
    "backup-push sends at most so many bytes per second, all threads together (10MB is understood too); WAL is not "
    "held up",
)
DOWNLOAD_RATE_LIMIT: Final = _rate(
    "download-rate-limit",
    (),
    "backup-fetch and export fetch at most so many bytes per second, all threads together",
)
FOREIGN_LEVELS: Final = ("NORMAL", "DEVEL", "ERROR")
FOREIGN_LEVEL: Final[Option[str]] = Option(
    "wal-g-log-level",
    ("WALG_LOG_LEVEL",),
    "how WAL-G names its log level: NORMAL; DEVEL is as --debug, ERROR as --terse",
    FOREIGN_LEVELS[0],
    parse_choice(*FOREIGN_LEVELS),
    flag=False,
    group=LOGGING,
)
DEBUG: Final[Option[bool]] = Option(
    "debug",
    ("WALE_DEBUG",),
    "log more, and Python's traceback for an unexpected error",
    NO,
    parse_bool,
    group=LOGGING,
    switch=True,
)

AGENT: Final[Option[bool]] = Option(
    "agent",
    ("WALE_AGENT",),
    "whether wal-push and wal-fetch use a process in the background, and start it: auto or off",
    default=True,
    parse=parse_agent,
    metavar="auto|off",
    group=AGENT_GROUP,
    shown="auto",
)
AGENT_IDLE: Final[Option[timedelta]] = Option(
    "agent-idle",
    ("WALE_AGENT_IDLE",),
    "how long an agent stays when nobody asks it anything",
    timedelta(minutes=5),
    parse_duration,
    metavar="DURATION",
    group=AGENT_GROUP,
    shown="5min",
)
AGENT_MEMORY: Final[Option[int]] = Option(
    "agent-memory",
    ("WALE_AGENT_MEMORY",),
    "memory for the segments that an agent has under way and keeps ahead, all together",
    256 * MIB,
    parse_size,
    metavar="BYTES",
    group=AGENT_GROUP,
    shown="256MB",
)

# The original's order, on the command line as in the environment, with Swift where its environment has it.
PREFIXES: Final = (FILE_PREFIX, GS_PREFIX, S3_PREFIX, SWIFT_PREFIX, WABS_PREFIX)
# By name: the rows are the S3 driver's.
EXCLUSIVE: Final = (("aws-access-key-id", "aws-instance-profile"),)

GLOBAL_OPTIONS: Final[tuple[AnyOption, ...]] = (
    SWIFT_PREFIX,
    FILE_PREFIX,
    S3_PREFIX,
    GS_PREFIX,
    WABS_PREFIX,
    COMPRESSION_LEVEL,
    GPG_KEY_ID,
    FOREIGN_KEY,
    UPLOAD_CONCURRENCY,
    DOWNLOAD_CONCURRENCY,
    READ_RATE_LIMIT,
    PUSH_TIMEOUT,
    FETCH_TIMEOUT,
    STANDBY_FETCH_TIMEOUT,
    BACKUP_WAL_TIMEOUT,
    STORE_TIMEOUT,
    RETRIES,
    UPLOAD_RATE_LIMIT,
    DOWNLOAD_RATE_LIMIT,
    TERSE,
    LOG_DESTINATION,
    SYSLOG_FACILITY,
    DEBUG,
    FOREIGN_LEVEL,
    AGENT,
    AGENT_IDLE,
    AGENT_MEMORY,
)

_RANKS = ((Origin.FLAG,), (Origin.ENVDIR, Origin.ENVIRONMENT), (Origin.FILE,))


def chosen_prefix(settings: Settings) -> Option[str | None] | None:
    """The prefix that counts: flags beat variables beat the file, and among equals file, gs, s3, swift, wabs."""
    for rank in _RANKS:
        for option in PREFIXES:
            if settings.source(option).origin in rank:
                return option
    return None


def archive_address(settings: Settings) -> str:
    """The archive's address, from the prefix that counts; raises `UsageError` where none is set."""
    chosen = chosen_prefix(settings)
    address = settings[chosen] if chosen else None
    if not address:
        raise UsageError(
            "no storage prefix defined",
            hint="Set one of WALE_SWIFT_PREFIX, WALE_S3_PREFIX, WALE_GS_PREFIX, WALE_WABS_PREFIX and WALE_FILE_PREFIX, "
            "or give it as a flag like --swift-prefix.",
        )
    return address


def refuse_plain_text(settings: Settings) -> None:
    """Raises `UsageError` where a key to encrypt to is set: what the user wants sealed is never stored in the clear."""
    for option in ENCRYPTION:
        if settings.is_set(option):
            raise UsageError(
                "this build cannot encrypt, and will not store in the clear what is meant to be encrypted",
                detail=f"Encryption is asked for by {settings.source(option)}.",
                hint="Unset it if the archive may hold plain data.",
            )
