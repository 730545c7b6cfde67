"""
Who holds the archive's lease: a process on a host, as it describes itself, and whether it is certainly gone.

Age tells nothing certain about a process. What does: it ran under this very kernel, in this process namespace, and
is no more. So the next run on the host of one that was killed need not wait until the lease expires.
"""

import contextlib
import json
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from wal_e.errors import UsageError
from wal_e.units import format_timestamp, parse_timestamp

FORMAT: Final = 1
_LONGEST: Final = timedelta(days=1)
_START_TIME: Final = 22 - 4
"""Where /proc/PID/stat has the start time, field 22 of proc(5), in what follows the state, which is field 3."""


@dataclass(frozen=True, slots=True)
class Holder:
    """
    A holder of the lease; `since` is by its own clock, for people, and `lasts` how long each renewal counts.

    `machine` names a running kernel and a process namespace of it, `started` when in the kernel's life the process
    began, in clock ticks: with `pid`, they are one process and no other. Empty and 0 where they are not known.
    """

    host: str
    pid: int
    command: str
    since: datetime
    lasts: timedelta
    machine: str = ""
    started: int = 0

    @classmethod
    def here(cls, command: str, lasts: timedelta) -> "Holder":
        """This process, for a `command` such as `backup-push`."""
        pid = os.getpid()
        return cls(socket.gethostname(), pid, command, datetime.now(UTC), lasts, _machine(), _start_time(pid) or 0)

    @property
    def gone(self) -> bool:
        """Whether the process is certainly no more: false wherever this host cannot know."""
        if not (self.started and self.machine and self.machine == _machine()):
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):
            # Another user's, whose facts may be hidden from us (hidepid in proc(5)).
            pass
        return _start_time(self.pid) not in {self.started, None}

    def __str__(self) -> str:
        return f'"{self.command}", process {self.pid} on {self.host}'

    def encode(self) -> bytes:
        """The text of a claim (docs/format.md, section 9)."""
        document = {
            "format": FORMAT,
            "host": self.host,
            "pid": self.pid,
            "command": self.command,
            "since": format_timestamp(self.since),
            "lasts": self.lasts.total_seconds(),
            "machine": self.machine,
            "started": self.started,
        }
        return json.dumps(document, indent=1).encode() + b"\n"


def decode_holder(data: bytes, since: datetime, lasts: timedelta) -> Holder:
    """
    Reads a claim; what does not parse (it may be empty, H46) is somebody unknown, `since` and `lasts` given.

    Nobody may claim an archive for more than a day without a renewal.
    """
    with contextlib.suppress(ValueError, KeyError, TypeError, OverflowError, RecursionError, UsageError):
        document: Any = json.loads(data)
        stated = timedelta(seconds=float(document["lasts"]))
        if document["format"] == FORMAT and timedelta(0) < stated <= _LONGEST:
            return Holder(
                host=str(document["host"]),
                pid=int(document["pid"]),
                command=str(document["command"]),
                since=parse_timestamp(document["since"]),
                lasts=stated,
                machine=str(document.get("machine", "")),
                started=int(document.get("started", 0)),
            )
    return Holder("an unknown host", 0, "an unknown command", since, lasts)


def _machine() -> str:
    """The kernel's boot and our process namespace; empty where the system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _start_time(pid: int) -> int | None:
    """When a process began, in ticks since the kernel did; 0 for a dead one that is not buried, None if hidden."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *fields = text.rpartition(")")[2].split()
    return 0 if state in {"Z", "X"} else int(fields[_START_TIME])
