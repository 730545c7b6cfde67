"""
What an agent answers: each request of `wal-push` and `wal-fetch` as the command itself would have, sooner.

What the agent was not made for it refuses: then the client does the work itself, and is right in any case.
"""

import argparse
import contextlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from wal_e.agent.fetcher import Fetcher, FetcherOptions
from wal_e.agent.protocol import Refused, Reply, Request
from wal_e.agent.pusher import Pusher, PusherOptions
from wal_e.cli.context import Context
from wal_e.cli.log import make_log, message_of
from wal_e.cli.parser import CommandLineError, all_options, build_parser, parse_with, settle
from wal_e.config.rows import (
    AGENT_MEMORY,
    COMPRESSION_LEVEL,
    FETCH_TIMEOUT,
    PUSH_TIMEOUT,
    STANDBY_FETCH_TIMEOUT,
    refuse_plain_text,
)
from wal_e.errors import UsageError, WalEError
from wal_e.events import Event, Message
from wal_e.store.api import Store
from wal_e.wal.asker import RecoveryMode, data_directory_of, exit_code_for, recovery_mode
from wal_e.wal.fetch import FetchOptions

_LOCAL: Final = "file:"
_DISTANT_THREADS: Final = 8


@dataclass(frozen=True, slots=True)
class Configuration:
    """What makes an agent the right one for a request: the relevant variables, and the words before the command."""

    entries: tuple[str, ...]
    words: tuple[str, ...]

    def check(self, request: Request) -> tuple[str, ...]:
        """The request's command and its words; `Refused` where it is of another configuration."""
        count = len(self.words)
        if request.entries != self.entries or request.argv[:count] != self.words:
            raise Refused("another configuration")
        return request.argv[count:]


@dataclass(eq=False)
class Serving:
    """
    Answers the WAL commands for the life of an agent; may be called by several threads.

    What a command needs is made when it is first called: an agent of a follower never pushes.
    """

    context: Context
    flags: dict[str, str]
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        self._parser = build_parser(all_options())
        self._lock = threading.Lock()
        self._open = contextlib.ExitStack()
        self._pusher: Pusher | None = None
        self._fetcher: Fetcher | None = None
        self._answered = 0

    def answer(self, request: Request) -> Reply:
        """The reply that the command itself would give; `Refused` for what is not this agent's."""
        arguments = self._parse(request)
        log, _ = make_log(self.context.settings)
        lines: list[str] = []
        log.show = lines.append

        def emit(event: Event) -> None:
            if isinstance(event, Message):
                log.write(event)

        commands = {"wal-push": self._push, "wal-fetch": self._fetch}
        try:
            code = commands[arguments.command.name](arguments, Path(request.cwd), emit)
        except _Failed as failed:
            log.write(message_of(failed.error))
            code = failed.code
        with self._lock:
            self._answered += 1
        return Reply(code, err=tuple(lines))

    def facts(self) -> dict[str, object]:
        """What `agent status` shows."""
        pusher, fetcher = self._pusher, self._fetcher
        return {
            "pid": os.getpid(),
            "archive": self.context.address,
            "running since": self.began.isoformat(sep=" ", timespec="seconds"),
            "answered": self._answered,
            "bytes of memory": resident_bytes(),
            "push": None if pusher is None else pusher.facts(),
            "fetch": None if fetcher is None else fetcher.facts(),
        }

    def busy(self) -> bool:
        """Whether anything is under way that no request waits for."""
        return not all(each is None or each.idle() for each in (self._pusher, self._fetcher))

    def rest(self) -> None:
        """Gives memory back that nobody asked for lately."""
        if self._fetcher is not None:
            self._fetcher.release()

    def close(self) -> None:
        """Ends what is under way, then the stores; answers nothing any more."""
        for each in (self._pusher, self._fetcher):
            if each is not None:
                each.close()
        self._open.close()

    def _parse(self, request: Request) -> argparse.Namespace:
        try:
            parsed = parse_with(self._parser, request.argv)
        except (CommandLineError, SystemExit):
            raise Refused("the command line") from None
        if parsed.flags != self.flags or parsed.command is None or parsed.command.name not in {"wal-push", "wal-fetch"}:
            raise Refused("other options")
        try:
            settle(parsed.arguments, parsed.command, self.context.settings)
        except UsageError:
            raise Refused("a setting that cannot be used") from None
        return parsed.arguments

    def _push(self, arguments: argparse.Namespace, cwd: Path, emit: Callable[[Event], None]) -> int:
        try:
            self._the_pusher(arguments.pool_size).push(cwd / arguments.WAL_SEGMENT, emit)
        except WalEError as error:
            raise _Failed(error, error.exit_code) from error
        return 0

    def _fetch(self, arguments: argparse.Namespace, cwd: Path, emit: Callable[[Event], None]) -> int:
        destination = cwd / arguments.WAL_DESTINATION
        mode = recovery_mode(data_directory_of(destination))
        options = FetchOptions(
            mode=mode,
            location=self.context.address,
            end_at_gap=arguments.end_at_gap,
            ahead=arguments.prefetch,
        )
        try:
            outcome = self._the_fetcher(arguments.prefetch).fetch(arguments.WAL_SEGMENT, destination, options, emit)
        except WalEError as error:
            raise _Failed(error, exit_code_for(error, mode)) from error
        return exit_code_for(outcome, mode)

    def _the_pusher(self, pool: int) -> Pusher:
        settings = self.context.settings
        with self._lock:
            if self._pusher is None:
                refuse_plain_text(settings)
                threads = _threads(self.context.address, pool)
                options = PusherOptions(
                    threads=threads,
                    level=settings[COMPRESSION_LEVEL] if settings.is_set(COMPRESSION_LEVEL) else None,
                    location=self.context.address,
                    budget=settings[AGENT_MEMORY] // 2,
                )
                self._pusher = Pusher(self._store(settings[PUSH_TIMEOUT], threads), options)
            return self._pusher

    def _the_fetcher(self, ahead: int) -> Fetcher:
        settings = self.context.settings
        with self._lock:
            if self._fetcher is None:
                threads = _threads(self.context.address, max(1, ahead))

                def store(mode: RecoveryMode) -> Store:
                    patience = STANDBY_FETCH_TIMEOUT if mode is RecoveryMode.STANDBY else FETCH_TIMEOUT
                    return self._store(settings[patience], threads)

                options = FetcherOptions(threads=threads, budget=settings[AGENT_MEMORY] // 2)
                self._fetcher = Fetcher(store, options)
            return self._fetcher

    def _store(self, patience: timedelta, threads: int) -> Store:
        return self._open.enter_context(self.context.store(patience, requests=threads + _DISTANT_THREADS))


class _Failed(Exception):
    """A command ended with an error, and this exit code."""

    def __init__(self, error: WalEError, code: int) -> None:
        super().__init__(error)
        self.error = error
        self.code = code


def _threads(address: str, most: int) -> int:
    """
    How many segments are under way at once.

    On a local disk each of them keeps a core busy; with a distant store they mostly wait, and the rate of a fetch
    still grew from 4 to 8 of them at 0.2 s of latency.
    """
    cores = len(os.sched_getaffinity(0))
    return min(most, cores if address.startswith(_LOCAL) else max(_DISTANT_THREADS, 2 * cores))


def resident_bytes() -> int:
    """The memory that this process has, from proc(5): the second number of statm, in pages."""
    pages = int(Path("/proc/self/statm").read_bytes().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
