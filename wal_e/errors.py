"""
The one error tree: what went wrong, the detail, what to do next, and the exit code.

    WalEError
    ├── UsageError            the command line or an option is wrong
    ├── StoreError            the closed set that crosses the store seam
    │   ├── NotFound          the store answered: there is no such object
    │   ├── Exists            create-only, and the object is there
    │   ├── Denied            who we are may not do this
    │   ├── Throttled         later (retry_after seconds, if the service said so)
    │   ├── Unavailable       no answer, or an answer that says "try again"
    │   ├── ShortRead         fewer or other bytes than the object has
    │   └── Misconfigured     wrong address, missing container, missing setting: repeating does not help
    │       └── ContainerMissing  there is no such container, bucket or folder
    ├── ArchiveError          what is in the archive forbids the operation
    │   ├── ArchiveConflict   other content is already stored under this name
    │   ├── WrongCluster      the archive belongs to another cluster
    │   ├── Corrupt           stored bytes are not what was stored
    │   ├── WalMissing        a segment that is needed is not in the archive
    │   ├── LeaseHeld         another run takes a backup or deletes just now
    │   ├── LeaseLost         this run has not the archive to itself any more
    │   └── NoSuchBackup      no backup has this name, or none fits the target
    ├── ServerError           PostgreSQL refused, or is not set up for archiving
    ├── DataDirectoryError    the data directory is not what was expected
    ├── AgentError            the agent does not answer, or does not end
    └── Interrupted           a signal asked us to stop

Text follows PostgreSQL's error style guide: the message starts in lower case and has no full stop, detail and
hint are sentences. Only `cli.main` turns an error into an exit code.
"""


class WalEError(Exception):
    """The root: every error that a user can meet is one of these."""

    exit_code = 1

    def __init__(self, message: str, *, detail: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class UsageError(WalEError):
    """The command line, an environment variable or the configuration file is wrong."""


class StoreError(WalEError):
    """What a store may raise; see the subclasses, which are a closed set."""


class NotFound(StoreError):
    """The store answered, and there is no object under this key. Never raised for an outage."""


class Exists(StoreError):
    """A create-only put met an object under its key."""


class Denied(StoreError):
    """The credentials are wrong, or do not allow this operation."""


class Throttled(StoreError):
    """The service asks to slow down; `retry_after` is in seconds where it said how long."""

    def __init__(
        self,
        message: str,
        *,
        detail: str | None = None,
        hint: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, detail=detail, hint=hint)
        self.retry_after = retry_after


class Unavailable(StoreError):
    """No answer, or an answer that invites a repeat: an outage is always this, never `NotFound`."""


class ShortRead(StoreError):
    """The bytes that arrived are not the bytes that are stored (cut off, or a checksum differs)."""


class Misconfigured(StoreError):
    """Repeating cannot help: wrong address, missing container, missing or contradicting settings."""


class ContainerMissing(Misconfigured):
    """The service answered, and there is no container, bucket or folder of this name: it could be made."""


class ArchiveError(WalEError):
    """What the archive holds forbids the operation."""


class ArchiveConflict(ArchiveError):
    """Other content is already stored under this name."""


class WrongCluster(ArchiveError):
    """The archive belongs to a cluster with another system identifier."""


class Corrupt(ArchiveError):
    """Bytes do not parse, or do not have the digest that they were stored with."""


class WalMissing(ArchiveError):
    """A segment that an operation needs is not in the archive."""


class LeaseHeld(ArchiveError):
    """Another run has the archive's lease: one backup or one deletion at a time."""


class LeaseLost(ArchiveError):
    """This run's lease was taken over or removed, so it must not change anything any more."""


class NoSuchBackup(ArchiveError):
    """No backup has this name, or none can be brought to the target."""


class ServerError(WalEError):
    """PostgreSQL refused, cannot be reached, or is not set up for archiving."""


class DataDirectoryError(WalEError):
    """The data directory is missing, in use, not empty, or not what was expected."""


class AgentError(WalEError):
    """The agent runs, and does not answer or does not end."""


class Interrupted(WalEError):
    """SIGTERM or SIGINT asked for a clean stop."""
