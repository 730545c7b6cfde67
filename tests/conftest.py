"""The fixtures live in plugins, one for each concern."""

import signal

from hypothesis import settings

settings.register_profile("steady", deadline=None)  # a slow machine is no finding
settings.load_profile("steady")

pytest_plugins = ["tests.plugins.postgres", "tests.plugins.swift", "tests.plugins.buckets", "tests.plugins.cli"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what runs in the background so, and all that the tests start would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
