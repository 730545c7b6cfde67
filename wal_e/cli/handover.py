"""
The slow call of `wal-push` and `wal-fetch` that found no agent: it starts one, and asks once more.

Whatever goes wrong with that is no error: the caller then does the work itself, as if there were no agents.
"""

import sys
from collections.abc import Sequence

from wal_e import client
from wal_e.config import Settings
from wal_e.config.rows import AGENT
from wal_e.errors import UsageError


def hand_over(argv: Sequence[str], settings: Settings) -> int | None:
    """The exit code of an agent that was started for this, its lines written; None where the work is still to do."""
    if not _wanted(settings):
        return None
    from wal_e.agent.place import is_locked, lock_path  # noqa: PLC0415  wal-push and wal-fetch only
    from wal_e.agent.start import start  # noqa: PLC0415  wal-push and wal-fetch only

    words, _ = client.split(argv)
    # Who holds the place refused, is busy, or begins at this moment: another process would end at once.
    taken = is_locked(lock_path(client.socket_path(words, client.relevant(client.started_with()))))
    answer = client.ask(argv) if not taken and start(words) else None
    if answer is None:
        return None
    for stream, text in ((sys.stdout, answer.out), (sys.stderr, answer.err)):
        stream.buffer.write(text)
        stream.flush()
    return answer.code


def _wanted(settings: Settings) -> bool:
    try:
        return settings[AGENT]
    except UsageError:
        return False  # the work itself complains
