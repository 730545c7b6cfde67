"""An agent that says what the test wants, and the two clients that ask it."""

import socket
import subprocess
import threading
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from wal_e import __version__

PROTOCOL = f"wal-e-agent/1 {__version__}".encode()
DIRECT = 77
"""The exit code of what stands in for the whole program."""
DEADLINE = 60
Speak = Callable[[socket.socket], object]


@dataclass(frozen=True)
class Client:
    """One of the two programs; what it leaves to the whole program is only told: code 77, and its arguments."""

    program: Path

    def start(
        self, *words: str | bytes | Path, env: Mapping[bytes, bytes], cwd: Path | None = None, ignoring: bool = False
    ) -> "subprocess.Popen[bytes]":
        """Start it with nothing else in its environment; `ignoring` SIGINT, as a shell does for the background."""
        trap = ["/bin/sh", "-c", 'trap "" INT; exec "$0" "$@"'] if ignoring else []
        return subprocess.Popen(
            [*trap, self.program, *words],
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(
        self, *words: str | bytes | Path, env: Mapping[bytes, bytes], cwd: Path | None = None
    ) -> tuple[int, bytes, bytes]:
        """Run it; returns exit code, stdout and stderr."""
        with self.start(*words, env=env, cwd=cwd) as process:
            out, err = process.communicate(timeout=DEADLINE)
        return process.returncode, out, err


def socket_name(words: Iterable[bytes], entries: Iterable[bytes]) -> str:
    """The file name that the contract gives an agent: the reference for both clients."""
    identity = b"\0".join([PROTOCOL, *sorted(entries), *words])
    return f"{zlib.crc32(identity):08x}.sock"


def say(*pieces: bytes) -> Speak:
    """What an agent does that answers in these pieces."""

    def speak(connection: socket.socket) -> None:
        for piece in pieces:
            connection.sendall(piece)

    return speak


@dataclass
class FakeAgent:
    """Listens at a path while the block lasts; keeps the requests, and answers with `speak`."""

    path: Path
    speak: Speak
    requests: list[bytes] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)
    connections: int = 0

    def __enter__(self) -> Self:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        self._thread.join(DEADLINE)
        self._listener.close()
        self.path.unlink()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.connections += 1
                self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        request = b""
        while piece := connection.recv(65536):
            request += piece
        self.requests.append(request)
        self.asked.set()
        try:
            self.speak(connection)
        except OSError:
            return  # the client left
