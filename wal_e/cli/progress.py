"""How far a long operation is: a bar where stderr is a terminal, a log line now and then elsewhere."""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from wal_e.cli.event_stream import EventStream
from wal_e.cli.log import MAIN, Log
from wal_e.events import Event, Level, Message, Progress
from wal_e.units import format_size

if TYPE_CHECKING:
    import rich.progress

_SECONDS: Final = 30.0
_APART: Final = 2.0
"""Seconds between two lines at least: what is done in less needs none, for its end has a message of its own."""
_SHARE: Final = 0.1


class Lines:
    """Logs progress at a further tenth of the whole, 2 s apart at least, and after half a minute without a line."""

    def __init__(self, log: Log, now: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._now = now
        self._last_time = now()
        self._last_tenth = 0

    def update(self, progress: Progress) -> None:
        """Takes note of progress, and logs it where that is due."""
        tenth = int(progress.done / progress.total / _SHARE) if progress.total else 0
        if self._now() - self._last_time < (_APART if tenth > self._last_tenth else _SECONDS):
            return
        self._last_time, self._last_tenth = self._now(), tenth
        percent = f" ({progress.done * 100 // progress.total} %)" if progress.total else ""
        done, total = format_size(progress.done), format_size(progress.total)
        fields = {"done": progress.done, "total": progress.total, "transferred": progress.transferred}
        if progress.reused:
            fields["reused"] = progress.reused
        self._log.write(
            Message(
                MAIN,
                f"{progress.what} goes on",
                detail=f"{done} of {total} done{percent}, {_moved(progress)}.",
                fields=fields,
            )
        )

    def close(self) -> None:
        """Nothing is left behind by lines."""


class Bar:
    """A bar on the terminal; log lines appear above it while it lives."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._plain = log.show
        self._bar: rich.progress.Progress | None = None
        self._task: rich.progress.TaskID | None = None

    def update(self, progress: Progress) -> None:
        """Moves the bar, which the first call creates."""
        if self._bar is None:
            self._bar = self._start()
        if self._task is None:
            self._task = self._bar.add_task(progress.what, total=progress.total, moved="")
        self._bar.update(
            self._task,
            description=progress.what,
            completed=progress.done,
            total=progress.total,
            moved=_moved(progress),
        )

    def close(self) -> None:
        """Takes the bar away from the log, and leaves its last state on the screen."""
        self._log.show = self._plain
        if self._bar is not None:
            self._bar.stop()

    def _start(self) -> "rich.progress.Progress":
        from rich.console import Console  # noqa: PLC0415  costs 40 ms, and only a terminal needs it
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn  # noqa: PLC0415  the same  # noqa: PLC0415  the same
        from rich.progress import Progress as RichProgress  # noqa: PLC0415  the same

        console = Console(stderr=True)
        bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[moved]}"),
            console=console,
        )
        self._log.show = lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True)
        bar.start()
        return bar


def _moved(progress: Progress) -> str:
    reused = f", {format_size(progress.reused)} reused" if progress.reused else ""
    return f"{format_size(progress.transferred)} transferred{reused}"


class Listener:
    """
    The sink that a command hands to its operation: messages go to the log, progress to the bar or to lines.

    Where there is a `stream`, it gets everything, and progress goes nowhere else.
    """

    def __init__(self, log: Log, *, terminal: bool | None = None, stream: EventStream | None = None) -> None:
        self._log = log
        self._stream = stream
        wanted = sys.stderr.isatty() if terminal is None else terminal
        self._progress: Bar | Lines = Bar(log) if wanted and log.level <= Level.INFO else Lines(log)

    def __call__(self, event: Event) -> None:
        """Renders one event."""
        if self._stream is not None:
            self._stream(event)
        match event:
            case Message():
                self._log.write(event)
            case Progress() if self._stream is None:
                self._progress.update(event)
            case _:
                pass  # a result has its message

    def close(self) -> None:
        """Ends the display of progress."""
        self._progress.close()
