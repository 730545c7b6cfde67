"""
Which driver speaks to which kind of address: one line per driver.

A driver is a module or a package of `wal_e.store.drivers`; its module has `OPTIONS` (its rows of the option table) and
`open_driver(url, settings, patience) -> Store`, which asks the network nothing yet; no request of the store waits for
longer than `patience` seconds without having got or sent anything worth it. It may have two functions more, for
`wal-e check`: `endpoints(url, settings)` yields the addresses that are spoken to (logging in between them, where that
is apart from the store's own requests), and `create_container(url, settings)` makes a container that is missing and
returns whether it was. Modules are imported when they are needed.
"""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass

from wal_e.config import AnyOption, Settings
from wal_e.errors import UsageError
from wal_e.store.api import PATIENCE, Store
from wal_e.store.endpoint import Endpoint
from wal_e.store.url import ArchiveUrl


@dataclass(frozen=True, slots=True)
class Driver:
    """
    A scheme's driver.

    `slash_trap` says that the original gave its objects here names that begin with a slash.
    """

    scheme: str
    module: str
    label: str
    slash_trap: bool = False

    def options(self) -> tuple[AnyOption, ...]:
        """Return the driver's rows of the option table."""
        rows: tuple[AnyOption, ...] = importlib.import_module(self.module).OPTIONS
        return rows

    def open(self, url: ArchiveUrl, settings: Settings, patience: float = PATIENCE) -> Store:
        """Return the bare store; raises `Misconfigured` where settings are missing or contradict each other."""
        store: Store = importlib.import_module(self.module).open_driver(url, settings, patience)
        return store

    def endpoints(self, url: ArchiveUrl, settings: Settings) -> Iterator[Endpoint] | None:
        """Return the addresses that are spoken to, one after the other; None where the driver does not tell."""
        tell = getattr(importlib.import_module(self.module), "endpoints", None)
        told: Iterator[Endpoint] | None = None if tell is None else tell(url, settings)
        return told

    def create_container(self, url: ArchiveUrl, settings: Settings) -> bool:
        """Make the container where it is missing and return whether it was; raises `UsageError` without a way."""
        create = getattr(importlib.import_module(self.module), "create_container", None)
        if create is None:
            raise UsageError(
                f'"{url}" cannot be created from here',
                hint=f"Create it with the tools of the service ({self.label}), then repeat the command.",
            )
        made: bool = create(url, settings)
        return made


DRIVERS = (
    Driver("s3", "wal_e.store.drivers.s3", "S3"),
    Driver("wabs", "wal_e.store.drivers.azure", "Windows Azure Blob Storage"),
    Driver("swift", "wal_e.store.drivers.swift.driver", "OpenStack Swift", slash_trap=True),
    Driver("gs", "wal_e.store.drivers.gs.driver", "Google Cloud Storage", slash_trap=True),
    Driver("file", "wal_e.store.drivers.file", "File"),
    Driver("memory", "wal_e.store.drivers.memory", "Memory"),
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
