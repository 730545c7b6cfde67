"""
Work on several threads at once, in order, with a bound on what is in flight.

Compressors, digests and sockets release the GIL, so threads are all the concurrency there is.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from wal_e.errors import Interrupted

T = TypeVar("T")
R = TypeVar("R")


def ordered_map(function: Callable[[T], R], items: Iterable[T], *, threads: int, ahead: int) -> Iterator[R]:
    """
    Yields `function(item)` for each item, in the order of the items, computed on `threads` threads.

    At most `ahead` results are being made or waiting to be taken, so memory is bounded by the caller's choice.
    The first error is raised where its result would have stood; work that has not begun is then dropped, and
    work that has begun is waited for. Leaving the iterator early does the same. `Interrupted` waits for nothing: the
    process is about to end.
    """
    waiting: deque[Future[R]] = deque()
    executor = ThreadPoolExecutor(max_workers=threads)
    wait = True
    try:
        for item in items:
            waiting.append(executor.submit(function, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except Interrupted:
        wait = False
        raise
    finally:
        executor.shutdown(wait=wait, cancel_futures=True)
