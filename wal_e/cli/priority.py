"""
Stepping back behind the database: `--nice` and `--ionice`, for this process and the threads that it will start.

The class of I/O is set by `ionice` of util-linux, which every Linux distribution has: the C library has no function
for the system call, and its number is another one on each architecture.
"""

import os
import re
from argparse import Namespace
from typing import Final

from wal_e.errors import UsageError, WalEError

_CLASSES: Final = {"best-effort": "2", "idle": "3"}
_IONICE: Final = re.compile(r"(idle)|(best-effort)(?::([0-7]))?")


def parse_ionice(text: str) -> tuple[str, str | None]:
    """Reads `idle` and `best-effort`, the latter with a level from 0 to 7 (the last to be served) if wanted."""
    match = _IONICE.fullmatch(text.strip().lower())
    if match is None:
        raise UsageError(f'"{text}" is not a class of I/O', hint="Write idle, best-effort, or best-effort:7.")
    return match[1] or match[2], match[3]


def step_back(arguments: Namespace) -> None:
    """
    Takes the priorities that the command line names; has to come before the first thread.

    Raises `WalEError` where the system refuses: a backup that disturbs the database is not what was asked for.
    """
    os.nice(arguments.nice or 0)
    if arguments.ionice is not None:
        _ionice(*arguments.ionice)


def _ionice(name: str, level: str | None) -> None:
    words = ["ionice", "-c", _CLASSES[name], *(["-n", level] if level else []), "-p", str(os.getpid())]
    import subprocess  # noqa: PLC0415  only who asks for it pays for the import

    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise WalEError("the program ionice is missing", hint="Install util-linux, or leave --ionice out.") from None
    if done.returncode:
        raise WalEError("the class of I/O was refused", detail=f"ionice says: {done.stderr.strip()}.")
