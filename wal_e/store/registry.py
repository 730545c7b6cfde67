"""
Which driver speaks to which kind of address: one line per driver.

A driver is a module of `wal_e.store.drivers` with `OPTIONS` (its rows of the option table) and
`open_driver(url, settings) -> Store`, which asks the network nothing yet. Modules are imported when they are needed.
"""

import importlib
from dataclasses import dataclass

from wal_e.config import AnyOption, Settings
from wal_e.errors import UsageError
from wal_e.store.api import Store
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

    def open(self, url: ArchiveUrl, settings: Settings) -> Store:
        """Return the bare store; raises `Misconfigured` where settings are missing or contradict each other."""
        store: Store = importlib.import_module(self.module).open_driver(url, settings)
        return store


DRIVERS = (
    Driver("swift", "wal_e.store.drivers.swift", "OpenStack Swift", slash_trap=True),
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
        hint="Write the archive's address like swift://container/path or file://localhost/var/backups/main.",
    )
