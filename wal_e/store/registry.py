"""
Which driver speaks to which kind of address: one line per driver.

A driver is a module or a package of `wal_e.store.drivers`; its module has `OPTIONS` (its rows of the option table) and
`open_driver(url, settings, patience) -> Store`, which asks the network nothing yet; no request of the store waits for
longer than `patience` seconds without having got or sent anything worth it. For `wal-e check` there may be two
functions more, in a module of their own (`setup`): `endpoints(url, settings)` yields the addresses that are spoken to,
logs in where their order allows it, and returns whether the service is known to have accepted the credentials;
`create_container(url, settings)` makes a container that is missing and returns whether it was. It may have
`complete(settings) -> Settings`, which adds what the service's own files say; the other functions get settings that are
complete. Modules are imported when they are needed.
"""

import importlib
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from wal_e.config import AnyOption, Settings
from wal_e.errors import UsageError
from wal_e.store.api import PATIENCE, Store
from wal_e.store.endpoint import Endpoint
from wal_e.store.url import ArchiveUrl


@dataclass(frozen=True, slots=True)
class Driver:
    """
    A scheme's driver; `setup` is the module with what `wal-e check` wants of it.

    `slash_trap` says that the original gave its objects here names that begin with a slash.
    """

    scheme: str
    module: str
    label: str
    setup: str = ""
    slash_trap: bool = False

    def options(self) -> tuple[AnyOption, ...]:
        """Return the driver's rows of the option table."""
        rows: tuple[AnyOption, ...] = importlib.import_module(self.module).OPTIONS
        return rows

    def complete(self, settings: Settings) -> Settings:
        """Return the settings with what the service's own files add; raises `Misconfigured` where those are no use."""
        fill = getattr(importlib.import_module(self.module), "complete", None)
        completed: Settings = settings if fill is None else fill(settings)
        return completed

    def open(self, url: ArchiveUrl, settings: Settings, patience: float = PATIENCE) -> Store:
        """Return the bare store; raises `Misconfigured` where settings are missing or contradict each other."""
        store: Store = importlib.import_module(self.module).open_driver(url, self.complete(settings), patience)
        return store

    def endpoints(self, url: ArchiveUrl, settings: Settings) -> Generator[Endpoint, None, bool] | None:
        """Return the addresses that are spoken to, one after the other; None where the driver does not tell."""
        tell = self._of_setup("endpoints")
        told: Generator[Endpoint, None, bool] | None = None if tell is None else tell(url, self.complete(settings))
        return told

    def create_container(self, url: ArchiveUrl, settings: Settings) -> bool:
        """Make the container where it is missing and return whether it was; raises `UsageError` without a way."""
        create = self._of_setup("create_container")
        if create is None:
            raise UsageError(
                f'"{url}" cannot be created from here',
                hint=f"Create it with the tools of the service ({self.label}), then repeat the command.",
            )
        made: bool = create(url, self.complete(settings))
        return made

    def _of_setup(self, name: str) -> Any:
        return getattr(importlib.import_module(self.setup), name, None) if self.setup else None


_HERE = "wal_e.store.drivers"
DRIVERS = (
    Driver("s3", f"{_HERE}.s3.driver", "S3", f"{_HERE}.s3.setup"),
    Driver("wabs", f"{_HERE}.azure", "Windows Azure Blob Storage", f"{_HERE}.azure_setup"),
    Driver("swift", f"{_HERE}.swift.driver", "OpenStack Swift", f"{_HERE}.swift.setup", slash_trap=True),
    Driver("gs", f"{_HERE}.gs.driver", "Google Cloud Storage", f"{_HERE}.gs.setup", slash_trap=True),
    Driver("file", f"{_HERE}.file", "File", f"{_HERE}.file"),
    Driver("memory", f"{_HERE}.memory", "Memory"),
)


def driver_for(scheme: str) -> Driver:
    """Return the driver of a scheme, or raise `UsageError` that names those we have."""
    for driver in DRIVERS:
        if driver.scheme == scheme:
            return driver
    *others, last = [driver.label for driver in DRIVERS if driver.scheme != "memory"]
    known = " or ".join([", ".join(others), last])
    raise UsageError(
        f"bad {known} URL scheme passed",
        detail=f'The scheme is "{scheme}".',
        hint="Write the archive's address like swift://container/path, s3://bucket/path or file://localhost/var/backups/main.",
    )
