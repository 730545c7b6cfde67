"""
The command `wal-e`: parses, sets up logging and signals, calls the command, and turns outcomes into exit codes.

| code | meaning |
|---|---|
| 0 | done |
| 1 | an error that is explained in the log; of wal-fetch: the archive does not have the file |
| 2 | the command line is wrong, or an unexpected error |
| 127 | no command |
| 200 | an error of wal-fetch in a recovery without standby mode: PostgreSQL stops instead of ending recovery (H14) |

Codes of wal-push are never above 125, which would end the archiver (H07). SIGTERM and SIGINT have it end with 1; every
other command ends by the signal, which shells show as 143 and 130.
"""

import importlib
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from wal_e.cli.backup_commands import STDOUT
from wal_e.cli.context import Context
from wal_e.cli.event_stream import EventStream
from wal_e.cli.handover import hand_over
from wal_e.cli.log import CRITICAL, MAIN, Log, make_log, message_of, to_stderr
from wal_e.cli.parser import CommandLineError, Parsed, all_options, parse, settle
from wal_e.cli.progress import Listener
from wal_e.cli.render import ReaderGone, write_error, write_out
from wal_e.cli.signals import Signals, end_by, settle_threads
from wal_e.client import ASKED
from wal_e.config import Settings, apply_envdir, load
from wal_e.config.rows import DESTINATIONS
from wal_e.errors import UsageError, WalEError
from wal_e.events import Level, Message, silent

ERROR: Final = 1
UNEXPECTED: Final = 2
NO_COMMAND: Final = 127
_FETCH: Final = "wal-fetch"
_PUSH: Final = "wal-push"
_SHELL_ADDS: Final = 128


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and exits."""
    outcome = run(sys.argv[1:] if argv is None else argv)
    if outcome.signal is not None:
        # Who asked us to stop must see it: PostgreSQL tells a stopped restore_command from one that found nothing.
        settle_threads()
        end_by(outcome.signal)
    sys.exit(outcome.code)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The exit code; where `signal` is set, the process ends by that signal instead."""

    code: int
    signal: int | None = None


def run(argv: Sequence[str]) -> Outcome:
    """Runs the command line to its outcome; nothing of Python's own errors gets out."""
    with Signals() as signals:
        session = _Session(signals)
        try:
            outcome, failure = Outcome(session.run(argv)), None
        except SystemExit as done:
            # argparse, after --help and --version.
            return Outcome(done.code if isinstance(done.code, int) else 0)
        except Exception as error:  # noqa: BLE001  the last line: PostgreSQL gets a code that fits, whatever it is
            signals.closing = True
            outcome, failure = _failed(session, argv, error), error
        signals.closing = True
        if session.stream is not None:
            session.stream.end(outcome.code, outcome.signal, failure)
        return outcome


def _failed(session: "_Session", argv: Sequence[str], error: Exception) -> Outcome:
    code, received = _report(session, error), session.signals.received
    command = session.command or (_FETCH if _FETCH in argv else None)
    if received is not None and command != _PUSH:
        return Outcome(_SHELL_ADDS + received, received)
    return Outcome(_fetch_code(session, error, code) if command == _FETCH else code)


def _report(session: "_Session", error: Exception) -> int:
    """Tells the user about an error, and returns the exit code that it has by itself."""
    match error:
        case CommandLineError():
            to_stderr(str(error))
            return UNEXPECTED
        case ReaderGone():
            return ERROR
        case WalEError():
            session.log.write(message_of(error))
            return error.exit_code
        case _:
            session.log.write(_unexpected(error, debug=session.debug), CRITICAL)
            return UNEXPECTED


def _fetch_code(session: "_Session", error: Exception, code: int) -> int:
    """The exit code of wal-fetch tells PostgreSQL what to do; its own would say that the archive has no such file."""
    fitting = session.fetch_code(error)
    by_hand = isinstance(error, CommandLineError) and not Path("PG_VERSION").exists()
    return code if by_hand else fitting


class _Session:
    """What is known so far, for the report of an error that may come at any time."""

    def __init__(self, signals: Signals) -> None:
        self.signals = signals
        self.log = Log(DESTINATIONS)
        self.debug = False
        self.command: str | None = None
        self.destination: Path | None = None
        self.stream: EventStream | None = None

    def run(self, argv: Sequence[str]) -> int:
        parsed = parse(argv, all_options())
        self.destination = getattr(parsed.arguments, "WAL_DESTINATION", None)
        command = parsed.command
        if command is None:
            raise _NoCommand("no subcommand was given", hint='Run "wal-e --help" to see the subcommands.')
        self.command = command.name
        # What PostgreSQL waits for is short, and its cleanup is worth more than the moment it takes.
        self.signals.impatient = command.name not in ASKED
        if command.name == "version":
            return _function(command.run)(Context(parsed.arguments, load([], environ={}), silent))
        settings = self._settings(parsed)
        settle(parsed.arguments, command, settings)
        if command.name in ASKED and (code := hand_over(argv, settings)) is not None:
            return code
        if command.events and parsed.arguments.json:
            self.stream = self._stream(command.name, getattr(parsed.arguments, "output", None))
        listener = Listener(self.log, stream=self.stream)
        if command.loud:
            detail = f'The subcommand is "{getattr(parsed.arguments, "subcommand", command.name)}".'
            listener(Message(MAIN, "starting WAL-E", detail=detail))
        try:
            return _function(command.run)(
                Context(parsed.arguments, settings, listener, parsed.envdir, tuple(argv), self.signals.stop)
            )
        finally:
            listener.close()

    def _stream(self, command: str, output: str | None) -> EventStream:
        """Begins the stream of events, on stderr where stdout is taken."""
        taken = output == STDOUT
        if taken:
            self.log.leave_stderr()
        stream = EventStream(command, write_error if taken else write_out)
        stream.start()
        return stream

    def fetch_code(self, error: BaseException) -> int:
        """What wal-fetch answers where an error kept it from an answer: as whoever asks has to understand it."""
        from wal_e.wal.asker import data_directory_of, exit_code_for, recovery_mode  # noqa: PLC0415  wal-fetch only

        destination = self.destination or Path("pg_wal", "RECOVERYXLOG")
        return exit_code_for(error, recovery_mode(data_directory_of(destination)))

    def _settings(self, parsed: Parsed) -> Settings:
        settings = load(all_options(), parsed.flags, envdir=parsed.envdir, file=parsed.config)
        if parsed.envdir is not None:
            apply_envdir(parsed.envdir)
        self.log, complaints = make_log(settings)
        self.debug = self.log.level <= Level.DEBUG
        for complaint in complaints:
            self.log.write(complaint)
        return settings


class _NoCommand(UsageError):
    """The command line names no subcommand."""

    exit_code = NO_COMMAND


def _function(run: str) -> Callable[[Context], int]:
    """Imports what the command needs, and nothing else."""
    module, _, name = run.partition(":")
    function: Callable[[Context], int] = getattr(importlib.import_module(module), name)
    return function


def _unexpected(error: Exception, *, debug: bool) -> Message:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{type(error).__name__}: {error} (in {frame.name}, {Path(frame.filename).name} line {frame.lineno})"
    return Message(
        MAIN,
        "An unprocessed exception has avoided all error handling",
        detail="".join(traceback.format_exception(error)).rstrip() if debug else place,
        hint="Please report this; WALE_DEBUG=1 shows where it comes from.",
    )
