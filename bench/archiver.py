"""
PostgreSQL's side of archive_command and restore_command: one call at a time, each by a shell, and what they cost.

Standard library only, and run as text (`python -c`) by the account that runs PostgreSQL, which may not be able to
read this folder. The plan comes as JSON on stdin, the result goes as JSON to stdout. Processes that outlive their call
(an agent, pgBackRest's asynchronous process) are adopted, so that their CPU time counts, and ended at the end.
"""

import ctypes
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)
TICK = os.sysconf("SC_CLK_TCK")
QUIET = 0.3  # seconds without any CPU time that count as being done
PATIENCE = 60.0  # seconds that something may go on after the last call
RESTED = 15.0  # seconds after the last call until what stays has no more to tidy: an agent gives memory back after 10
ABSENT = 1  # what restore_command says of a file that the archive does not have


class CallFailed(Exception):
    """A call ended as it must not; the text has what it printed."""


def family() -> list[int]:
    """The pids of all descendants, those included that ended and were not waited for."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208  a Path for each process would cost more than the rest
        if entry.isdigit() and (fields := stat_fields(int(entry))):
            parents.setdefault(int(fields[1]), []).append(int(entry))
    found: list[int] = []
    pending = [os.getpid()]
    while pending:
        children = parents.get(pending.pop(), [])
        found += children
        pending += children
    return found


def stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; empty where the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def reap() -> None:
    """Waits for every child that has ended, so that its CPU time counts as ours."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def cpu() -> float:
    """Seconds of CPU time of all that was started here so far: what has ended, and what still runs."""
    reap()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    fields = [stat_fields(pid) for pid in family()]
    # utime, stime, and the same of the children it waited for: fields 14 to 17 of proc(5)
    return used.ru_utime + used.ru_stime + sum(sum(map(int, one[11:15])) for one in fields if one) / TICK


def peak_mib() -> float:
    """The peak memory in MiB of the largest process so far; never below our own, which each child starts with."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return max([ended, *(status(pid).get("VmHWM", 0) / 1024 for pid in family())])


def status(pid: int) -> dict[str, int]:
    """The numbers of /proc/PID/status, memory in KiB."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    words = [line.replace(":", " ").split() for line in lines]
    return {word[0]: int(word[1]) for word in words if len(word) > 1 and word[1].isdigit()}


def settle() -> None:
    """Waits until nothing that was started here uses CPU time any more."""
    deadline = time.monotonic() + PATIENCE
    before, since = cpu(), time.monotonic()
    while family() and time.monotonic() < deadline and time.monotonic() - since < QUIET:
        time.sleep(0.02)
        now = cpu()
        if now != before:
            before, since = now, time.monotonic()


def daemons() -> list[dict[str, Any]]:
    """What still runs: its command line, memory and how often it was woken up, over all its threads."""
    found = []
    for pid in family():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        tasks = [status(int(task.name)) for task in Path(f"/proc/{pid}/task").iterdir()]
        numbers = status(pid)
        woken = sum(task.get("voluntary_ctxt_switches", 0) for task in tasks)
        rss, peak = numbers.get("VmRSS", 0) / 1024, numbers.get("VmHWM", 0) / 1024
        found.append({"command": words, "rss_mib": rss, "peak_mib": peak, "threads": len(tasks), "woken": woken})
    return found


def end_all() -> None:
    """Ends what is left, politely at first."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in family():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + 10
        while family() and time.monotonic() < deadline:
            reap()
            time.sleep(0.01)


class Server:
    """The calls of one plan."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.log = os.open(plan["log"], os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        self.files = [(os.POSIX_SPAWN_DUP2, null, 0)]
        self.files += [(os.POSIX_SPAWN_DUP2, self.log, number) for number in (1, 2)]

    def call(self, name: str, allowed: tuple[int, ...] = (0,)) -> float:
        """Runs the command for one file through a shell, as system(3) does; milliseconds."""
        path = self.plan["path"].replace("%f", name)
        command = self.plan["command"].replace("%p", path).replace("%f", name)
        begun = time.perf_counter()
        pid = os.posix_spawn("/bin/sh", ["sh", "-c", command], self.plan["environment"], file_actions=self.files)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        spent = (time.perf_counter() - begun) * 1000
        if code not in allowed:
            os.lseek(self.log, max(0, os.fstat(self.log).st_size - 2000), os.SEEK_SET)
            said = os.read(self.log, 2000).decode(errors="replace")
            raise CallFailed(f"{command}\nended with {code} after {spent:.0f} ms:\n{said}")
        return spent

    def mark(self, names: list[str]) -> None:
        """Says in archive_status that these files are ready, where this is about archiving."""
        if self.plan["kind"] == "push":
            for name in names:
                Path(f"pg_wal/archive_status/{name}.ready").touch()

    def after(self, name: str) -> None:
        """What PostgreSQL does when a call has succeeded: it marks the file as done, or takes it away and uses it."""
        if self.plan["kind"] == "push":
            os.rename(f"pg_wal/archive_status/{name}.ready", f"pg_wal/archive_status/{name}.done")  # noqa: PTH104
        elif self.plan["kind"] == "fetch":
            got = os.stat(self.plan["path"]).st_size  # noqa: PTH116
            if got != self.plan["size"]:
                raise CallFailed(f"{name} came with {got} bytes instead of {self.plan['size']}")
            os.unlink(self.plan["path"])  # noqa: PTH108

    def prelude(self) -> float:
        """The first call of all, with everything still cold; milliseconds."""
        name = self.plan["first"]
        if not name:
            return 0.0
        self.mark([*self.plan["names"], name] if self.plan["known"] else [name])
        spent = self.call(name, (0, ABSENT) if self.plan["kind"] == "fetch" else (0,))
        if self.plan["kind"] == "push":
            self.after(name)
        settle()
        return spent

    def loop(self) -> dict[str, Any]:
        """All calls, and what they cost."""
        first = self.prelude()
        self.mark(self.plan["names"])
        os.sync()
        cpu_before, begun = cpu(), time.perf_counter()
        spent = []
        for name in self.plan["names"]:
            spent.append(self.call(name))
            self.after(name)
        wall = time.perf_counter() - begun
        settle()
        costs = {"first_ms": first, "wall": wall, "cpu": cpu() - cpu_before, "peak_mib": peak_mib(), "calls_ms": spent}
        return costs | {"daemons": daemons(), "idle": self.idle()}

    def idle(self) -> dict[str, Any]:
        """What the processes that stayed do while nobody calls, from when they have come to rest."""
        seconds = self.plan["idle"]
        if not seconds:
            return {}
        time.sleep(RESTED)
        before, woken = cpu(), sum(one["woken"] for one in daemons())
        time.sleep(seconds)
        after = daemons()
        return {
            "seconds": seconds,
            "cpu": cpu() - before,
            "woken": sum(one["woken"] for one in after) - woken,
            "daemons": after,
        }


def main() -> None:
    """Carries out the plan from stdin."""
    plan = json.load(sys.stdin)
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    os.chdir(plan["cwd"])
    try:
        result = Server(plan).loop()
    except CallFailed as error:
        result = {"error": str(error)}
    finally:
        end_all()
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
