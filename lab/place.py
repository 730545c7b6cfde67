"""
Where the lab keeps its state, and what may go wrong with that.

The `postgres` account must be able to enter the directory, so a project under a home of mode 0700 gets another place.
"""

import functools
import os
import shutil
import stat
from pathlib import Path

from lab.account import server_account

PROJECT = Path(__file__).resolve().parent.parent
FALLBACK = Path("/var/tmp/wal-e-lab")  # noqa: S108 - a shared place is the point; the owner is checked below


class LabError(Exception):
    """A server of the lab cannot be installed, started or reached; the text says what to do."""


@functools.cache
def lab_directory() -> Path:
    """
    Return the directory of all lab state, made if missing: LAB_DIR, else `.lab` in the project where the server
    account can enter it, else a directory under /var/tmp. Raises LabError where somebody else owns that one.
    """
    named = os.environ.get("LAB_DIR")
    if named:
        place = Path(named).absolute()
    elif enterable(PROJECT):
        place = PROJECT / ".lab"
    else:
        place = FALLBACK
    place.mkdir(mode=0o755, parents=True, exist_ok=True)
    if place == FALLBACK and place.stat().st_uid != os.geteuid():
        raise LabError(f"{place} belongs to somebody else: set LAB_DIR to a directory that postgres can enter")
    if not enterable(place):
        raise LabError(f"the account {server_account().name} cannot enter {place}: set LAB_DIR to another directory")
    return place


def enterable(directory: Path) -> bool:
    """Say whether the account that runs PostgreSQL may enter the directory, judged by mode bits on the whole path."""
    return all(_may_search(step.stat()) for step in (directory, *directory.parents))


def executable(program: Path) -> bool:
    """Say whether the account that runs PostgreSQL may run the program, links followed at every step."""
    if not program.is_file():
        return False
    steps = {program.parent, program.resolve().parent}
    return all(enterable(step) for step in steps) and _may_search(program.resolve().stat())


def remove_tree(directory: Path) -> None:
    """Delete a directory and all in it; a missing one is fine, and so is one that a dying server still writes to."""
    shutil.rmtree(directory, ignore_errors=True)


def _may_search(status: os.stat_result) -> bool:
    account = server_account()
    if account.uid == 0:
        return True
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid in account.groups:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)
