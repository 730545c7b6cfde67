"""Settings of a store from variables alone, whatever the environment of the test run is."""

from collections.abc import Mapping

from wal_e.config import Settings, load
from wal_e.store.drivers.swift.options import OPTIONS, SwiftOptions

NOTHING = load((), environ={})


def settings_of(variables: Mapping[str, str]) -> Settings:
    """Read these variables and no others."""
    return load(OPTIONS, environ=variables)


def options_of(variables: Mapping[str, str]) -> SwiftOptions:
    """Read these variables as the Swift driver does."""
    return SwiftOptions.of(settings_of(variables))
