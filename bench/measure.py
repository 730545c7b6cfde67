"""One run of a command: wall time, CPU time of it and of all its children, peak memory of its largest process."""

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Run:
    """Seconds of wall time and of CPU, and the peak memory in MiB of the largest process."""

    wall: float
    cpu: float
    peak_mib: float


@dataclass(frozen=True, slots=True)
class Row:
    """The medians of several runs of one command, and the bytes that it stored (0 where it stores nothing)."""

    name: str
    wall: float
    cpu: float
    peak_mib: float
    stored: int


def run(command: Sequence[str], environment: Mapping[str, str], account: tuple[int, int]) -> Run:
    """Runs a command to its end as the account (uid, gid); a failure raises `RuntimeError` with its output."""
    begun = time.monotonic()
    process = subprocess.Popen(
        command,
        env=dict(environment),
        cwd="/",
        user=account[0] if os.geteuid() == 0 else None,
        group=account[1] if os.geteuid() == 0 else None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    if process.stderr is None:
        raise RuntimeError("no pipe for errors")
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{said.decode(errors='replace')}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def row(name: str, runs: Sequence[Run], stored: int = 0) -> Row:
    """The medians of the runs."""
    return Row(
        name,
        statistics.median(run.wall for run in runs),
        statistics.median(run.cpu for run in runs),
        max(run.peak_mib for run in runs),
        stored,
    )


def in_turn(contenders: Mapping[str, Callable[[], Run]], rounds: int) -> dict[str, list[Run]]:
    """Runs the contenders one after the other, several rounds, so that a machine that drifts drifts for all."""
    runs: dict[str, list[Run]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, contender in contenders.items():
            result = contender()
            if number:  # the first round warms the page cache and is not counted
                runs[name].append(result)
    return runs


def render(title: str, rows: Sequence[Row]) -> str:
    """A table whose last columns are the ratios to the first row."""
    base = rows[0]
    lines = [
        f"\n{title}",
        f"{'':36} {'wall s':>7} {'CPU s':>7} {'peak MiB':>9} {'stored MB':>10} {'wall x':>7} {'CPU x':>6}",
    ]
    for entry in rows:
        stored = f"{entry.stored / 1e6:10.1f}" if entry.stored else f"{'-':>10}"
        lines.append(
            f"{entry.name:36} {entry.wall:7.2f} {entry.cpu:7.2f} {entry.peak_mib:9.0f} {stored}"
            f" {entry.wall / base.wall:7.2f} {entry.cpu / base.cpu:6.2f}"
        )
    return "\n".join(lines)
