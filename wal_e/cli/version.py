"""`wal-e version`."""

from wal_e import __version__
from wal_e.cli.context import Context
from wal_e.cli.render import write_out


def run(_context: Context) -> int:
    """Prints the version."""
    write_out(f"{__version__}\n")
    return 0
