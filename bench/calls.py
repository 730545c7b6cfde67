"""Calls of archive_command or restore_command, made by `bench.archiver`: what they cost, as rows of a table."""

import json
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from lab.account import clean_environment, identity
from lab.command import wal_e_command

_SOURCE: Final = Path(__file__).with_name("archiver.py").read_text()
_LIMIT: Final = 3600


class Missing(Exception):
    """A row that cannot be measured here; the text says why, in a few words."""


class BenchError(Exception):
    """A contender failed; the text has its output."""


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What PostgreSQL would do: `command` for each of `names`, in `cwd`; a `first` call before that is timed apart.

    `kind` is push (with archive_status), fetch (of files of `size` bytes) or plain. With `known` all files are ready
    when the first call is made, and who looks ahead has the time to. `idle` are seconds to look on afterwards.
    """

    kind: str
    command: str
    cwd: Path
    names: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    path: str = "pg_wal/%f"
    first: str = ""
    known: bool = False
    size: int = 0
    idle: float = 0


@dataclass(frozen=True, slots=True)
class Calls:
    """
    One carried out plan. Wall and CPU in seconds, all processes together; milliseconds of each call and of the first;
    the peak memory in MiB of the largest process; `stored` in bytes.
    """

    wall: float
    cpu: float
    peak_mib: float
    first_ms: float
    calls_ms: tuple[float, ...]
    daemons: tuple[dict[str, Any], ...]
    idle: dict[str, Any]
    stored: int = 0

    def shared_by(self, count: int) -> "Calls":
        """The same costs where the one call did the work for `count` files."""
        return replace(self, calls_ms=(sum(self.calls_ms) / count,) * count)


@dataclass(frozen=True, slots=True)
class CallRow:
    """The medians of several rounds of one contender, for each of `count` files of `size` bytes."""

    name: str
    count: int
    size: int
    wall: float
    cpu: float
    p50: float
    p99: float
    longest: float
    first: float
    peak_mib: float
    stored: int
    missing: str = ""

    @property
    def rate(self) -> float:
        """MiB of WAL per second."""
        return self.count * self.size / self.wall / 2**20

    @property
    def cpu_ms(self) -> float:
        """Milliseconds of CPU time per file."""
        return self.cpu / self.count * 1000


def carry_out(plan: Plan) -> Calls:
    """Carries out a plan as the server's account; `BenchError` where a call fails."""
    environment = clean_environment(plan.environment)
    with tempfile.NamedTemporaryFile(prefix="wal-e-bench-") as log:
        Path(log.name).chmod(0o666)
        fields = {**asdict(plan), "cwd": str(plan.cwd), "environment": environment, "log": log.name}
        done = subprocess.run(
            [str(python()), "-I", "-S", "-c", _SOURCE],
            input=json.dumps(fields),
            env=environment,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=_LIMIT,
            **identity(),
        )
    if done.returncode:
        raise BenchError(done.stderr)
    result = json.loads(done.stdout)
    if "error" in result:
        raise BenchError(result["error"])
    result["calls_ms"], result["daemons"] = tuple(result["calls_ms"]), tuple(result["daemons"])
    return Calls(**result)


def python() -> Path:
    """The interpreter of the installed `wal-e`, which the server's account can run."""
    return wal_e_command().with_name("python")


def measure_calls(
    contenders: Mapping[str, Callable[[], Calls]], rounds: int, size: int
) -> tuple[list[CallRow], dict[str, list[dict[str, Any]]]]:
    """The rows of all contenders, run in turn so that a machine that drifts drifts for all, and the raw results."""
    runs: dict[str, list[Calls]] = {name: [] for name in contenders}
    missing: dict[str, str] = {}
    for number in range(rounds):
        for name, contender in contenders.items():
            if name in missing:
                continue
            try:
                runs[name].append(contender())
            except Missing as error:
                missing[name] = str(error)
            except BenchError as error:
                missing[name] = "failed: " + " ".join(str(error).split())[:300]
            if runs[name]:
                print(f"  round {number + 1}: {name}: {runs[name][-1].wall:.2f} s", flush=True)
    rows = [_row(name, results, size, missing.get(name, "")) for name, results in runs.items()]
    return rows, {name: list(map(asdict, results)) for name, results in runs.items()}


def _row(name: str, runs: Sequence[Calls], size: int, missing: str) -> CallRow:
    empty = CallRow(name, 0, size, 0, 0, 0, 0, 0, 0, 0, 0, missing or "not run")
    if not runs or missing:
        return empty
    return replace(
        empty,
        missing="",
        count=len(runs[0].calls_ms),
        wall=statistics.median(run.wall for run in runs),
        cpu=statistics.median(run.cpu for run in runs),
        p50=statistics.median(_percentile(run.calls_ms, 0.5) for run in runs),
        p99=statistics.median(_percentile(run.calls_ms, 0.99) for run in runs),
        longest=statistics.median(max(run.calls_ms) for run in runs),
        first=statistics.median(run.first_ms for run in runs),
        peak_mib=max(run.peak_mib for run in runs),
        stored=int(statistics.median(run.stored for run in runs)),
    )


def _percentile(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def render_calls(title: str, rows: Sequence[CallRow], peer: str, limit: str = "") -> str:
    """
    A table of the rows. Its last columns compare the rate and the CPU time per file with those of the row named
    `peer`, and the rate with that of the row named `limit`, where these rows could be measured.
    """
    by_name = {row.name: row for row in rows if not row.missing}
    head = f"{'':38} {'files':>5} {'MiB/s':>7} {'CPU ms':>7} {'p50 ms':>7} {'p99 ms':>7} {'max ms':>7} {'first':>6}"
    lines = [f"\n{title}", f"{head} {'peak MiB':>8} {'stored MB':>9} {'rate x':>6} {'CPU x':>6} {'limit x':>7}"]
    lines += [_line(row, by_name.get(peer), by_name.get(limit)) for row in rows]
    return "\n".join(lines)


def _line(row: CallRow, peer: CallRow | None, limit: CallRow | None) -> str:
    if row.missing:
        return f"{row.name:38} -  {row.missing}"
    stored = f"{row.stored / 1e6:9.1f}" if row.stored else f"{'-':>9}"
    compared = [
        (row.rate / peer.rate if peer is not None else None, 6),
        (row.cpu_ms / peer.cpu_ms if peer is not None and peer.cpu else None, 6),
        (row.rate / limit.rate if limit is not None else None, 7),
    ]
    ratios = " ".join(f"{value:{width}.2f}" if value else f"{'-':>{width}}" for value, width in compared)
    return (
        f"{row.name:38} {row.count:5} {row.rate:7.1f} {row.cpu_ms:7.1f} {row.p50:7.1f} {row.p99:7.1f}"
        f" {row.longest:7.1f} {row.first:6.0f} {row.peak_mib:8.0f} {stored} {ratios}"
    )
