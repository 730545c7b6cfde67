"""What a command gets from main: its arguments, the settings, the sink, and a way to the archive."""

import argparse
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from wal_e.config import Settings
from wal_e.config.rows import DOWNLOAD_RATE_LIMIT, RETRIES, STORE_TIMEOUT, UPLOAD_RATE_LIMIT, archive_address
from wal_e.events import Sink
from wal_e.rate import RateLimit
from wal_e.stop import Stop
from wal_e.store.api import Store

_REQUESTS: Final = 16
_BESIDES: Final = 2
"""Places beside those of a command's threads: uploads that a rate holds up must not keep its lease from renewal."""


@dataclass(frozen=True, slots=True)
class Context:
    """
    One run of a command.

    `envdir` is what --envdir named, `argv` the command line without the program's name. Threads that wait look at
    `stop`.
    """

    arguments: argparse.Namespace
    settings: Settings
    emit: Sink
    envdir: Path | None = None
    argv: tuple[str, ...] = ()
    stop: Stop = field(default_factory=Stop)

    @property
    def address(self) -> str:
        """The archive's address as the user gave it; `UsageError` where there is none."""
        return archive_address(self.settings)

    def rate(self, limit: int | None) -> RateLimit | None:
        """A limit of so many bytes per second, whose waits end when the process is asked to stop."""
        return None if limit is None else RateLimit(limit, wait=self.stop.wait)

    @contextlib.contextmanager
    def store(
        self, patience: timedelta | None = None, *, requests: int = _REQUESTS, limited: bool = False
    ) -> Iterator[Store]:
        """
        The archive, open as long as the block lasts.

        `patience` is how long a request is repeated through an outage; `requests` how many may be under way;
        `limited` whether the user's limits on bytes per second hold, which are for base backups alone.
        """
        from wal_e.store.retry import RetryPolicy  # noqa: PLC0415  `wal-e version` needs no store
        from wal_e.store.stack import StackOptions, build_stack  # noqa: PLC0415  the same

        deadline = self.settings[STORE_TIMEOUT] if patience is None else patience
        policy = RetryPolicy(deadline=deadline.total_seconds(), tries=self.settings[RETRIES])
        options = StackOptions(
            concurrency=max(requests + _BESIDES, _REQUESTS),
            retry=policy,
            emit=self.emit,
            upload=self.rate(self.settings[UPLOAD_RATE_LIMIT]) if limited else None,
            download=self.rate(self.settings[DOWNLOAD_RATE_LIMIT]) if limited else None,
            stop=self.stop,
        )
        with contextlib.closing(build_stack(self.address, self.settings, options).store) as store:
            yield store
