"""Starting an agent from a call that found none: detached from everything that the caller belongs to."""

import os
import select
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from wal_e import client

PATIENCE: Final = 10.0
"""Seconds until the caller does its work itself; starting an interpreter with all imports takes about half of one."""


def start(global_words: Sequence[str]) -> bool:
    """
    Starts `wal-e <global words> agent run` with this environment and directory; true when it can be asked.

    False where it ended, as it does when another agent holds the lock, or is not ready in time.
    """
    reader, writer = os.pipe()
    try:
        command = [sys.executable, "-m", "wal_e", *global_words, "agent", "run", "--ready-fd", str(writer)]
        try:
            # Nobody waits for it: the caller ends within moments, and whoever adopts orphans reaps it.
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[writer],
                start_new_session=True,
                env=client.started_with(),  # an envdir is the agent's own to read, as its identity has to be ours
            )
        except OSError:
            return False
        finally:
            os.close(writer)
        ready, _, _ = select.select([reader], [], [], PATIENCE)
        return bool(ready) and os.read(reader, 1) != b""
    finally:
        os.close(reader)
