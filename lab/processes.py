"""
Starting servers so that they always end: with the test that asked, or with the run that owned it.

A process is known by its pid and start time together, so a recycled pid is never signalled. Every server is written
into the register of its owner (this process, or the controller of a pytest-xdist run), and a small watcher, the
reaper, ends what is left there when the owner is gone, however it went.
"""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lab.account import clean_environment, identity
from lab.place import PROJECT, LabError, lab_directory

Value = TypeVar("Value")
POLL = 0.02  # seconds between two looks at a condition
GRACE = 5.0  # seconds a server has after the polite signal


@dataclass(frozen=True, slots=True)
class Process:
    """One process of this machine, safe against reuse of its pid."""

    pid: int
    started: str  # clock ticks since boot, as the kernel counts them

    @classmethod
    def of(cls, pid: int) -> "Process | None":
        """Return the living process with this pid, or None; a zombie counts as dead."""
        fields = _stat_fields(pid)
        return cls(pid, fields[19]) if fields and fields[0] not in "ZX" else None

    def alive(self) -> bool:
        """Say whether this very process still runs."""
        return Process.of(self.pid) == self

    def signal(self, number: int) -> None:
        """Send a signal, unless the process has ended meanwhile."""
        if self.alive():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


def descendants(process: Process) -> list[Process]:
    """Return all living children of the process, theirs too, in no order."""
    children: dict[int, list[Process]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat_fields(int(entry.name))) and fields[0] not in "ZX":
            children.setdefault(int(fields[1]), []).append(Process(int(entry.name), fields[19]))
    found: list[Process] = []
    pending = [process]
    while pending:
        pending += (below := children.get(pending.pop().pid, []))
        found += below
    return found


def end(processes: Sequence[Process], *, polite: int = signal.SIGTERM, grace: float = GRACE) -> None:
    """End the processes: the polite signal, and SIGKILL for those that live after `grace` seconds."""
    for number, patience in ((polite, grace), (signal.SIGKILL, GRACE)):
        for process in processes:
            process.signal(number)
        deadline = time.monotonic() + patience
        while any(process.alive() for process in processes) and time.monotonic() < deadline:
            time.sleep(POLL)


def wait_until(condition: Callable[[], Value | None], what: str, timeout: float = 120) -> Value:
    """Return the first true value of the condition; LabError naming `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise LabError(f"waited {timeout:g} s in vain for {what}")
        time.sleep(POLL)


def free_ports(count: int) -> list[int]:
    """
    Return ports of 127.0.0.1 that nobody uses now, all different, and below the range that the kernel hands to
    outgoing connections: a port may lie unused for a while, and there nothing takes it meanwhile. Parallel runs are
    kept apart by a counter under a file lock.
    """
    found: list[int] = []
    with locked(lab_directory() / "ports.lock"):
        counter = lab_directory() / "ports.next"
        port = int(counter.read_text()) if counter.exists() else 20000
        while len(found) < count:
            port = port + 1 if port < 32000 else 20000
            if _bindable(port):
                found.append(port)
        counter.write_text(str(port))
    return found


def listening(port: int) -> bool:
    """Say whether somebody accepts connections on this port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
    except OSError:
        return False
    return True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file, between processes; it ends with the process at the latest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run_owner() -> Process:
    """Return the process that owns shared servers: the controller of a pytest-xdist run, else this process."""
    pid = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    owner = Process.of(pid)
    if owner is None:
        raise LabError(f"process {pid}, which owns this run, has ended")
    return owner


def run_directory() -> Path:
    """Return the directory of everything that belongs to this run; the reaper deletes it with the last server."""
    owner = run_owner()
    directory = lab_directory() / "run" / f"{owner.pid}-{owner.started}"
    with locked(lab_directory() / "run.lock"):
        if not directory.exists():
            (directory / "register").mkdir(parents=True)
            (directory / "litter").mkdir()
            _start_reaper(owner, directory)
    return directory


def short_directory(prefix: str) -> Path:
    """Return a new directory with a path short enough for Unix sockets; what is left of it ends with the run."""
    directory = Path(tempfile.mkdtemp(prefix=prefix))
    (run_directory() / "litter" / directory.name).symlink_to(directory)
    return directory


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    server_account: bool = False,
    polite: int = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """
    Start a server in a session of its own with a clean environment and register it to end with the run.

    `polite` is the signal that asks it to end. With `server_account` it runs as the account of PostgreSQL.
    """
    register = run_directory() / "register"
    with log.open("ab") as output:
        child = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=cwd,
            env=clean_environment(env),
            start_new_session=True,
            **(identity() if server_account else {}),
        )
    process = Process.of(child.pid)
    if process is not None:
        (register / str(child.pid)).write_text(f"{process.started} {polite}")
    return child


def disown(child: subprocess.Popen[bytes]) -> None:
    """Promise that nobody will wait for this child, which may outlive us: the interpreter warns about it otherwise."""
    child.returncode = 0


def _start_reaper(owner: Process, directory: Path) -> None:
    # Its parent may be a worker that ends before the owner: a session of its own and no inherited files.
    reaper = subprocess.Popen(
        [sys.executable, "-m", "lab.reaper", str(owner.pid), owner.started, str(directory)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=PROJECT,
        start_new_session=True,
    )
    disown(reaper)


def _bindable(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _stat_fields(pid: int) -> list[str]:
    # From the state on (field 3 of proc(5)): the name before it may hold spaces and parentheses.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
