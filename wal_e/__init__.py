"""WAL-E: continuous archiving for PostgreSQL."""

__version__ = "2.0.0.dev0"
