"""
Where `wal-e` starts: the agent answers, or the whole program is imported.

SIGINT ends the process at once while the agent is asked and the program is imported: there is nothing to clean up yet,
and whoever waits must see the signal, not a traceback. The native program has held it back while Python started.
"""

import _signal  # type: ignore[import-not-found]  # typeshed knows `signal` alone, which imports enum
import posix
import sys

from wal_e import client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> "NoReturn":
    """Runs the command line and exits."""
    # Ignored it stays, as for a job in the background; cli.main sets handlers of its own.
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, (_signal.SIGINT,))
    answer = None if client.asked_already() else client.ask(sys.argv[1:])
    if answer is None:
        from wal_e.cli.main import main as run  # noqa: PLC0415  what the agent saves

        run()
    _write(1, answer.out)
    _write(2, answer.err)
    # Nothing was opened or registered that the interpreter would have to tidy.
    posix._exit(answer.code)  # noqa: SLF001


def _write(descriptor: int, text: bytes) -> None:
    """Writes all of it; whoever does not listen misses it."""
    try:
        while text:
            text = text[posix.write(descriptor, text) :]
    except OSError:
        pass
