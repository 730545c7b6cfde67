"""
The watcher that ends the servers of a run when the process that owns them is gone: `python -m lab.reaper`.

Arguments: the owner's pid, its start time, and the run's directory, whose `register` holds one file per server.
"""

import os
import select
import sys
from pathlib import Path

from lab.place import lab_directory, remove_tree
from lab.processes import Process, end, locked


def main(arguments: list[str]) -> None:
    """Wait for the owner's end, end what it left, and delete the run's directory."""
    owner, directory = Process(int(arguments[0]), arguments[1]), Path(arguments[2])
    _wait_for_end(owner)
    with locked(lab_directory() / "run.lock"):
        for entry in (directory / "register").iterdir():
            started, polite = entry.read_text().split()
            end([Process(int(entry.name), started)], polite=int(polite), grace=3)
        for litter in (directory / "litter").iterdir():
            remove_tree(litter.resolve())
        remove_tree(directory)


def _wait_for_end(owner: Process) -> None:
    try:
        handle = os.pidfd_open(owner.pid)
    except ProcessLookupError:
        return
    if owner.alive():  # checked after the open: from here on the handle cannot mean another process
        select.select([handle], [], [])
    os.close(handle)


if __name__ == "__main__":
    main(sys.argv[1:])
