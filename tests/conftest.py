"""The fixtures live in plugins, one for each concern."""

from hypothesis import settings

settings.register_profile("steady", deadline=None)  # a slow machine is no finding
settings.load_profile("steady")

pytest_plugins = ["tests.plugins.postgres", "tests.plugins.swift", "tests.plugins.buckets", "tests.plugins.cli"]
