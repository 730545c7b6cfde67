"""
Where agents meet: a directory that is the user's alone, and a lock for each configuration.

Whoever could put a socket there could tell PostgreSQL that a segment is safe.
"""

import contextlib
import fcntl
import os
from pathlib import Path

from wal_e import client
from wal_e.errors import Misconfigured


class AlreadyRunning(Exception):
    """Another agent holds the lock of this configuration."""


def make_directory(path: str) -> None:
    """Makes the directory of the sockets; raises `Misconfigured` where it is not ours alone."""
    try:
        with contextlib.suppress(FileExistsError):
            Path(path).mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise Misconfigured(
            f'the directory "{path}" cannot be made', detail=f"{error.strerror}.", hint="Set WALE_AGENT_DIR to another."
        ) from error
    if not client.is_private(path):
        raise Misconfigured(
            f'the directory "{path}" is not only ours',
            detail="It must be a directory and no link, belong to the user that runs wal-e, and have mode 0700.",
            hint="Look who made it, and remove it; or set WALE_AGENT_DIR to another directory.",
        )


class Lock:
    """
    The right to be the agent of one configuration, as long as the process lives or until it is released.

    The file stays: it is locked, and never removed, so that nobody locks one that has lost its name.
    """

    def __init__(self, path: str, *, make: bool = True) -> None:
        """Takes the lock, or raises `AlreadyRunning`; `FileNotFoundError` where the file is not there nor to make."""
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if make else 0)
        self._descriptor = os.open(path, flags, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise AlreadyRunning(path) from None

    def release(self) -> None:
        """Lets another agent take over; once."""
        os.close(self._descriptor)


def is_locked(path: str) -> bool:
    """Whether an agent holds the lock now; false where there is none, or it cannot be told."""
    try:
        Lock(path, make=False).release()
    except AlreadyRunning:
        return True
    except OSError:
        return False
    return False


def lock_path(socket_path: str) -> str:
    """The lock file that belongs to a socket."""
    return f"{socket_path.removesuffix('.sock')}.lock"
