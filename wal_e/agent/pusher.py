"""
Push ahead: what `archive_status` says is ready is archived before PostgreSQL asks, and the answer is then at once.

A request is answered with success for one reason only: a push of that very file, in the state it is in now, has
returned (H04). Files ahead are pushed by a few threads that come and go; the file that is asked for is pushed by
the thread that asks, so nothing that waits or fails ahead stands in its way (H06). `archive_status` is read and never
touched (H10). All of this is memory of one process: killed, it costs a comparison of what its successor is asked for.
"""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from wal_e.agent.backlog import Backlog, Scan, Verdict
from wal_e.agent.crew import Crew, Job
from wal_e.errors import ArchiveError
from wal_e.events import Event, Sink
from wal_e.repo.layout import CLUSTER_KEY
from wal_e.repo.source import FileIdentity
from wal_e.store.api import Store
from wal_e.store.remember import Remembering
from wal_e.units import MIB
from wal_e.wal.ahead import Durable, Gear, Known, memory_for, settled
from wal_e.wal.messages import Place, push_skips
from wal_e.wal.push import Pushed, PushOptions, push_file

RETRY: Final = 30.0  # what failed is not tried ahead again for so long, in seconds; PostgreSQL may ask any time
TROUBLE: Final = 8  # so many failures in a row are the store's: everything ahead then waits for `RETRY`
PATIENCE: Final = 60.0  # how long `close` waits for what is under way, in seconds
_EVENTS: Final = 100
_FAILURES: Final = 1000


@dataclass(frozen=True, slots=True)
class PusherOptions:
    """
    `threads` push ahead; `level` is a zstd level, None adapts it; `budget` is the most bytes of memory in flight.

    A file that needs more than the budget is pushed when nothing else is. `location` is the archive's address as
    the user gave it. The clocks are injected for tests: seconds that only grow, and nanoseconds since the epoch.
    """

    threads: int = 2
    level: int | None = None
    location: str = ""
    budget: int = 256 * MIB
    cores: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    now: Callable[[], float] = time.monotonic
    today: Callable[[], int] = time.time_ns


@dataclass(eq=False, slots=True)
class _Task:
    """One push under way; `identity` is the file's state before it began, None where it could not be looked at."""

    path: str
    identity: FileIdentity | None
    level: int
    begun: int
    asked: bool
    reserved: int = 0
    events: list[Event] = field(default_factory=list)
    done: Future[Pushed] = field(default_factory=Future)

    def hear(self, event: Event) -> None:
        """Keeps what a push ahead says until it is asked for."""
        if len(self.events) < _EVENTS:
            self.events.append(event)


class Pusher:
    """Archives files for any number of callers and data directories; every method may be called by any thread."""

    def __init__(self, store: Store, options: PusherOptions) -> None:
        self._store = Remembering(store, [CLUSTER_KEY])
        self._options = options
        self._changed = threading.Condition()  # guards all that follows
        self._tasks: dict[str, _Task] = {}
        self._known = Known()
        self._backlog = Backlog(options.now)
        self._crew = Crew(options.threads, self._changed, self._next_job)
        self._failures: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._failed_in_a_row = 0
        self._failed_last = 0.0
        self._gear = Gear()
        self._memory = 0
        self._short_of_memory = 0
        self._closing = False
        self._first_ended = False
        self._counts = {"asked": 0, "answered from memory": 0, "pushed": 0, "pushed ahead": 0, "failed": 0}

    def push(self, path: Path, emit: Sink) -> Pushed:
        """
        Archives the file; what it promises and raises is what `push_file` does.

        Known to be durable: answered at once. Under way: its result is waited for. Else it is pushed now, whatever
        waits. What a push ahead had to say is emitted now.
        """
        name = os.fspath(path)
        with self._changed:
            self._counts["asked"] += 1
            if not self._closing:
                self._backlog.asked(name)
                self._crew.call()
        while True:
            identity = _look(name)
            found, mine = self._find_or_begin(name, identity)
            if isinstance(found, Durable):
                return self._repeat(found, emit)
            if mine:
                return self._carry_out(found, emit)
            _join(found, identity, emit)

    def facts(self) -> dict[str, object]:
        """What the agent shows of itself; `failures` has the files that failed lately, and why."""
        with self._changed:
            return {
                **self._counts,
                "threads": len(self._crew),
                "under way": sorted(path.rpartition("/")[2] for path in self._tasks),
                "waiting": len(self._backlog),
                "bytes in flight": self._memory,
                "level": self._level(),
                "known": len(self._known),
                "failures": {path: why for path, (_, why) in self._failures.items() if self._failed_lately(path)},
            }

    def idle(self) -> bool:
        """Whether nothing is under way and no thread is at work."""
        with self._changed:
            return not self._tasks and self._crew.idle

    def close(self) -> None:
        """
        Ends pushing ahead, and waits for what is under way, a minute at most.

        A later request is still served, without looking ahead.
        """
        with self._changed:
            self._closing = True
        self._crew.dismiss(PATIENCE)
        with self._changed:
            self._changed.wait_for(lambda: not self._tasks, PATIENCE)

    def _find_or_begin(self, path: str, identity: FileIdentity | None) -> tuple[Durable | _Task, bool]:
        """What is known of the file; else the push that is under way, or a new one that is the caller's to do."""
        with self._changed:
            known = self._known.answer(path, identity, self._options.now())
            if known is not None:
                return known, False
            other = self._tasks.get(path)
            return other or self._begin(path, identity, asked=True), other is None

    def _repeat(self, known: Durable, emit: Sink) -> Pushed:
        """The first answer is that of the push itself; a later one says what a second push would."""
        if known.answered is None:
            _tell(known.events, emit)
            return known.pushed
        emit(push_skips(Place(self._options.location, known.pushed.key, known.pushed.name)))
        return replace(known.pushed, fresh=False, stored=0)

    def _begin(self, path: str, identity: FileIdentity | None, *, asked: bool) -> _Task:
        options = self._options
        self._gear = self._gear.shifted(len(self._backlog), options.threads, options.cores)
        task = _Task(path, identity, self._level(), options.today(), asked)
        self._short_of_memory += asked
        self._tasks[path] = task
        return task

    def _carry_out(self, task: _Task, emit: Sink) -> Pushed:
        options = PushOptions(task.level, self._options.location)
        try:
            self._reserve(task)
            pushed = push_file(self._store, Path(task.path), options, emit)
        except BaseException as error:
            self._fail(task, error)
            raise
        self._succeed(task, pushed)
        return pushed

    def _succeed(self, task: _Task, pushed: Pushed) -> None:
        with self._changed:
            answered = self._options.now() if task.asked else None
            certain = pushed.identity is not None and settled(pushed.identity, task.begun)
            self._known.add(task.path, Durable(pushed, tuple(task.events), answered, certain))
            self._gear = self._gear.measured(task.level, pushed)
            self._failures.pop(task.path, None)
            self._failed_in_a_row = 0
            self._counts["pushed" if task.asked else "pushed ahead"] += 1
            self._end(task)
            task.done.set_result(pushed)

    def _fail(self, task: _Task, error: BaseException) -> None:
        if isinstance(error, ArchiveError):
            self._store.forget()  # the owner may have been misread, or the archive made anew
        with self._changed:
            self._failures[task.path] = self._options.now(), str(error)
            self._failures.move_to_end(task.path)
            if len(self._failures) > _FAILURES:
                self._failures.popitem(last=False)
            self._failed_in_a_row += 1
            self._failed_last = self._options.now()
            self._backlog.failed(task.path)
            self._counts["failed"] += 1
            self._end(task)
            task.done.set_exception(error)

    def _end(self, task: _Task) -> None:
        del self._tasks[task.path]
        self._memory -= task.reserved
        self._changed.notify_all()
        if task.asked:
            self._first_ended = True
            self._crew.call()

    def _reserve(self, task: _Task) -> None:
        """Waits until the file asked for fits into the budget; meanwhile nothing ahead begins."""
        if not task.asked:
            return
        needed = _memory_of(task.identity)
        with self._changed:
            try:
                self._changed.wait_for(lambda: self._fits(needed))
            finally:
                self._short_of_memory -= 1
            self._memory += needed
            task.reserved = needed

    def _fits(self, needed: int) -> bool:
        return not self._memory or self._memory + needed <= self._options.budget

    def _next_job(self) -> Job | None:
        """
        What a thread does next, with the lock held: look what waits, or push it.

        Nothing is pushed ahead before the first request has ended. It claims an archive that is new, and of several
        claims at once every one may be told on Swift that it was the one.
        """
        scan = self._backlog.next_scan()
        if scan is not None:
            return partial(self._scan, scan)
        if not self._first_ended or self._short_of_memory or self._in_trouble():
            return None
        path = self._backlog.pick(self._judge)
        if path is None:
            return None
        task = self._begin(path, _look(path), asked=False)
        task.reserved = _memory_of(task.identity)
        self._memory += task.reserved
        return partial(self._push_ahead, task)

    def _judge(self, path: str) -> Verdict:
        """A file that changed a moment ago is left to the request for it: its memory would not be certain."""
        if path in self._tasks or self._failed_lately(path):
            return Verdict.DROP
        identity = _look(path)
        if identity is None or self._known.has(path, identity) or not settled(identity, self._options.today()):
            return Verdict.DROP
        return Verdict.NOW if self._fits(_memory_of(identity)) else Verdict.LATER

    def _scan(self, scan: Scan) -> None:
        seen = scan.read()
        with self._changed:
            self._backlog.scanned(scan, seen)

    def _push_ahead(self, task: _Task) -> None:
        """Whatever goes wrong is kept in the task, and said when PostgreSQL asks."""
        try:
            self._carry_out(task, task.hear)
        except Exception:  # noqa: BLE001 - `_fail` keeps it, and the thread has other files
            return

    def _failed_lately(self, path: str) -> bool:
        failed, _ = self._failures.get(path, (float("-inf"), ""))
        return self._options.now() - failed < RETRY

    def _in_trouble(self) -> bool:
        return self._failed_in_a_row >= TROUBLE and self._options.now() - self._failed_last < RETRY

    def _level(self) -> int:
        return self._gear.level if self._options.level is None else self._options.level


def _join(task: _Task, identity: FileIdentity | None, emit: Sink) -> None:
    """Waits for another thread's push; raises its error where it is of the file in this state."""
    failure = task.done.exception()
    if failure is not None and task.identity == identity:
        _tell(task.events, emit)
        raise failure


def _tell(events: list[Event] | tuple[Event, ...], emit: Sink) -> None:
    for event in events:
        emit(event)


def _memory_of(identity: FileIdentity | None) -> int:
    return memory_for(identity.size if identity else 0)


def _look(path: str) -> FileIdentity | None:
    try:
        return FileIdentity.of(os.stat(path))  # noqa: PTH116 - a string all the way: this is what an answer costs
    except OSError:
        return None
