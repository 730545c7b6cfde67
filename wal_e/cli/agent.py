"""`agent run`, `agent status`, `agent stop`: the process behind `wal-push` and `wal-fetch` (docs/agent.md)."""

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from wal_e import client
from wal_e.agent.notify import ALIVE, READY, STOPPING, Notifier
from wal_e.agent.place import AlreadyRunning, is_locked, lock_path, make_directory
from wal_e.agent.protocol import Refused, Reply, Request
from wal_e.agent.rest import Rest, use_one_arena
from wal_e.agent.server import Server, Timing
from wal_e.agent.watch import Watch
from wal_e.cli.context import Context
from wal_e.cli.log import MAIN
from wal_e.cli.parser import all_options, parse
from wal_e.cli.render import write_out
from wal_e.cli.serving import Configuration, Serving
from wal_e.config.rows import AGENT_IDLE
from wal_e.errors import AgentError
from wal_e.events import Message

NONE: Final = 1
"""Exit code of `status` where no agent runs."""
_BEATS: Final = 2  # signs of life for each interval of a watchdog, as sd_watchdog_enabled(3) advises
_PATIENCE: Final = client.SILENCE  # seconds for an agent that is busy with as many requests as it takes
_PAUSE: Final = 0.05
# Seconds for an agent to end: three times the minute that it waits for requests, for threads and for tasks.
_END: Final = 190.0
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def run(context: Context) -> int:
    """Serves until idle, replaced or told to stop; 0 also where another agent does so already."""
    place = _Place.of(context)
    _ = context.address  # an agent without an archive would only refuse
    make_directory(client.directory(place.configuration.entries))
    use_one_arena()
    notifier = Notifier.of(os.environ, os.getpid())
    serving = Serving(context, parse(context.argv, all_options()).flags)
    try:
        server = _open_server(context, place, serving, notifier)
    except AlreadyRunning:
        context.emit(Message(MAIN, "an agent of this configuration runs already"))
        return 0
    with contextlib.closing(serving), _stopped_by_signals(server):
        _tell_ready(context, notifier, place.socket)
        server.serve()
        notifier.tell(STOPPING)
    return 0


def status(context: Context) -> int:
    """Prints what the agent of this configuration does; 1 where there is none, `AgentError` where it is silent."""
    answer = _ask(_Place.of(context), context.argv)
    if answer is None:
        write_out("null\n" if context.arguments.json else "no agent runs for this configuration\n")
        return NONE
    write_out(answer.out.decode())
    return answer.code


def stop(context: Context) -> int:
    """
    Has the agent of this configuration end, and waits until it has ended; 0 also where there is none.

    `AgentError` where it does not answer, or does not end in time.
    """
    _end(_Place.of(context))
    return 0


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the agent of a configuration is met."""

    configuration: Configuration
    socket: str

    @classmethod
    def of(cls, context: Context) -> "_Place":
        words, _ = client.split(context.argv)
        entries = client.relevant(client.started_with())
        return cls(Configuration(tuple(entries), tuple(words)), client.socket_path(words, entries))


def _ask(place: _Place, argv: Sequence[str]) -> client.Answer | None:
    """The agent's answer to a command line; None where there is no agent, `AgentError` where it gives none."""
    entries = place.configuration.entries
    if not client.is_private(client.directory(entries)):
        return None
    message = client.request(argv, os.getcwd(), entries)  # noqa: PTH109
    until = time.monotonic() + _PATIENCE
    while (answer := client.converse(place.socket, message)) is None and is_locked(lock_path(place.socket)):
        if time.monotonic() > until:
            raise AgentError(
                "the agent does not answer",
                detail=f'It holds the lock beside "{place.socket}", and is stopped, hangs, or has too much to do.',
                hint="The WAL commands do their own work meanwhile. Find the process of this user that runs "
                '"wal-e agent run", and end it if it stays silent.',
            )
        time.sleep(_PAUSE)
    return answer


def _end(place: _Place) -> None:
    answer = _ask(place, (*place.configuration.words, "agent", "stop"))
    if answer is not None:
        _wait_for_end(int(answer.out))


def _wait_for_end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            ended, _, _ = select.select([descriptor], [], [], _END)
        finally:
            os.close(descriptor)
        if not ended:
            raise AgentError(
                f"the agent, process {pid}, does not end",
                hint="It takes no requests any more, and may be killed: nothing depends on it.",
            )


def _open_server(context: Context, place: _Place, serving: Serving, notifier: Notifier) -> Server:
    """A service takes the place of an agent that a call had started: raises `AlreadyRunning` for others only."""
    while True:
        try:
            return _make_server(context, place, serving, notifier)
        except AlreadyRunning:
            if notifier.address is None:
                raise
            _end(place)


def _make_server(context: Context, place: _Place, serving: Serving, notifier: Notifier) -> Server:
    watch = Watch(context.envdir, context.settings.file)
    rest = Rest(serving.rest)
    service = notifier.address is not None
    timing = Timing(
        idle=None if service else context.settings[AGENT_IDLE].total_seconds(),
        pulse=None if notifier.watchdog is None else notifier.watchdog / _BEATS,
    )

    def handle(request: Request) -> Reply:
        if watch.elsewhere(request.cwd):
            raise Refused("another directory")
        if watch.changed():
            server.give_way()
            raise Refused("replaced")
        command = place.configuration.check(request)
        if command[:2] == ("agent", "stop"):
            server.stop()
            return Reply(0, out=(str(os.getpid()),))
        if command[:2] == ("agent", "status"):
            return Reply(0, out=(_render(serving.facts(), as_json="--json" in command),))
        rest.stir()
        try:
            return serving.answer(request)
        finally:
            rest.stir()

    server = Server(place.socket, handle, timing, serving.busy, lambda: notifier.tell(ALIVE))
    return server


def _tell_ready(context: Context, notifier: Notifier, socket: str) -> None:
    context.emit(Message(MAIN, "the agent is ready", detail=f'Its socket is "{socket}".'))
    notifier.tell(READY)
    descriptor = context.arguments.ready_fd
    if descriptor is not None:
        with contextlib.suppress(OSError):  # whoever started us did not wait
            os.write(descriptor, b"\n")
        with contextlib.suppress(OSError):
            os.close(descriptor)


@contextlib.contextmanager
def _stopped_by_signals(server: Server) -> Iterator[None]:
    """While the block lasts the signals that end a process let it finish what is under way."""
    before = {number: signal.signal(number, lambda *_: server.stop()) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _render(facts: Mapping[str, object], *, as_json: bool) -> str:
    return json.dumps(_with_json_names(facts)) if as_json else "\n".join(_lines(facts))


def _with_json_names(facts: Mapping[str, object]) -> dict[str, object]:
    return {
        _json_name(name): _with_json_names(value) if isinstance(value, Mapping) else value
        for name, value in facts.items()
    }


def _json_name(name: str) -> str:
    return name if "/" in name else name.replace(" ", "_")  # a path stays as it is


def _lines(facts: Mapping[str, object], indent: str = "") -> Iterator[str]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield f"{indent}{name}:" + ("" if value else " none")
            yield from _lines(value, f"{indent}  ")
        else:
            yield f"{indent}{name}: {_plain(value)}"


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(str(each) for each in value) or "none"
    return "not asked yet" if value is None else str(value)
