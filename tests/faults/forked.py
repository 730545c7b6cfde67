"""A piece of work in a process of its own, which may be killed in the middle."""

import os
import signal
import sys
import traceback
from collections.abc import Callable


def was_killed(work: Callable[[], object]) -> bool:
    """Runs the work in a forked child; True where SIGKILL ended it, False where it came to its end, else fails."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - whatever it is, the child must not return into pytest
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the child failed, see its traceback above"
    return False
