"""
Which data directories servers on this host are working in, whatever their files say.

`postmaster.pid` can be deleted by somebody who wants to be helpful; the processes cannot be argued away: each
process of a server has the data directory as its working directory. Linux only, and only as far as we may look: a
server of another user is seen by root alone.
"""

from pathlib import Path

_NAMES = frozenset({"postgres", "postmaster", "edb-postgres"})


def served_directories(proc: Path = Path("/proc")) -> list[Path]:
    """The working directories of the processes of PostgreSQL servers, each once; none where there is no /proc."""
    found: dict[tuple[int, int], Path] = {}
    for entry in proc.glob("[0-9]*"):
        try:
            if (entry / "comm").read_text("utf-8", "replace").strip() in _NAMES:
                status = (entry / "cwd").stat()
                found[status.st_dev, status.st_ino] = (entry / "cwd").readlink()
        except OSError:
            continue  # it ended meanwhile, or is another user's
    return list(found.values())
