"""
Options: each is defined once, and set by a flag, an envdir, the environment or a TOML file.

An option's flag, variables, help, default and documentation all come from its one `Option` row. This package alone
reads and writes `os.environ`.
"""

from wal_e.config.envdir import apply_envdir, read_envdir
from wal_e.config.option import AnyOption, Option, parse_bool, parse_choice, parse_count, parse_text
from wal_e.config.settings import HIDDEN, Origin, Settings, Source, environment, load, without_secrets

__all__ = [
    "HIDDEN",
    "AnyOption",
    "Option",
    "Origin",
    "Settings",
    "Source",
    "apply_envdir",
    "environment",
    "load",
    "parse_bool",
    "parse_choice",
    "parse_count",
    "parse_text",
    "read_envdir",
    "without_secrets",
]
