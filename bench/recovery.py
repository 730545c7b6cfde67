"""
The whole disaster: a backup is restored, PostgreSQL starts, replays about 100 segments, and is ready for writers.

All begin with a backup of the same stopped cluster and replay the same WAL. CPU time is everybody's, PostgreSQL's too.
"""

import shlex
import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

from bench.calls import BenchError, Calls, Missing, Plan, carry_out
from bench.fetch import fill_ours, fill_pgbackrest
from bench.results import Options, Report
from bench.segments import MAJOR, Segments, like_a_cluster, real_segments
from bench.tools import (
    DIRECT,
    NATIVE,
    PYTHON,
    Folder,
    PgBackRest,
    client,
    need,
    need_agent,
    subprocess_as_server,
    wal_e,
)
from lab import majors
from lab.account import give_to_server
from lab.place import remove_tree
from lab.postgres import scratch_directory
from lab.processes import free_ports

MOST_SEGMENTS: Final = 100
STEPS: Final = ("restore", "start")
_SCRIPT: Final = """\
cd {target}
touch recovery.signal
echo {line} >> postgresql.auto.conf
{postgres} -D {target} {settings} > log 2>&1 &
until {ready}; do
    kill -0 $! || {{ tail -n 20 log; exit 1; }}
    sleep 0.02
done
grep -q 'restored log file "{last}" from archive' log || {{ echo "{last} was not replayed"; tail log; exit 1; }}
"""


@dataclass(frozen=True, slots=True)
class Disaster:
    """One way through it: two shell commands, and the restore_command that PostgreSQL gets in between."""

    restore: str
    restore_command: str
    environment: Mapping[str, str]


class RecoveryBench:
    """The contenders, each with a backup and an archive of its own that are made once."""

    def __init__(self, folder: Folder, options: Options) -> None:
        self.folder = folder
        self.target = folder.path / "target"
        self.segments: Segments = real_segments(min(MOST_SEGMENTS, options.segments))
        names = tuple(path.name for path in self.segments.files)
        cluster = like_a_cluster(self.segments, folder.path / "source")
        fill_ours(folder, cluster, names)
        fill_pgbackrest(folder.path / "pgbackrest", cluster, names)
        variables = " ".join(f"{name}={value}" for name, value in folder.environment(DIRECT).items())
        backup = wal_e(client(PYTHON), "backup-push", "--while-offline", str(self.segments.base))
        _prepare(f"env {variables} {backup}")
        tool = PgBackRest(folder.path / "pgbackrest", self.segments.base, asynchronous=True)
        _prepare(tool.shell("--no-online", "--type=full", "--repo1-retention-full=9", "backup"))

    def ours(self, kind: str) -> Calls:
        """Ours, with its agent."""
        return self._ours(need_agent(kind), {})

    def direct(self) -> Calls:
        """Ours, without one."""
        return self._ours(client(PYTHON), DIRECT)

    def copy(self) -> Calls:
        """Plain copies of the files and of the segments."""
        restore = f"cp -a {self.segments.base} {self.target}"
        return self._run(Disaster(restore, f"cp {self.segments.files[0].parent}/%f %p", {}))

    def pgbackrest(self, *, asynchronous: bool) -> Calls:
        """The peer, with two processes or with one."""
        tool = PgBackRest(self.folder.path / "pgbackrest", self.target, asynchronous=asynchronous)
        restore = f"mkdir -m 0700 {self.target} && {tool.shell('--archive-mode=off', '--process-max=2', 'restore')}"
        return self._run(Disaster(restore, tool.shell("archive-get", "%f", '"%p"'), {}))

    def _ours(self, program: Path, variables: Mapping[str, str]) -> Calls:
        restore = wal_e(program, "backup-fetch", "-p", "2", str(self.target), "LATEST")
        return self._run(Disaster(restore, wal_e(program, "wal-fetch", "%f", "%p"), self.folder.environment(variables)))

    def _run(self, disaster: Disaster) -> Calls:
        remove_tree(self.target)
        (self.folder.path / "restore").write_text(disaster.restore + "\n")
        (self.folder.path / "start").write_text(self._start(disaster.restore_command))
        environment = dict(disaster.environment)
        return carry_out(Plan("plain", f"sh {self.folder.path}/%f", self.folder.path, STEPS, environment))

    def _start(self, restore_command: str) -> str:
        """A script; without hot standby the server answers nobody until the recovery is over."""
        (port,) = free_ports(1)
        values = {
            "port": port,
            "unix_socket_directories": self.folder.sockets,
            "listen_addresses": "",
            "hot_standby": "off",
            "archive_mode": "off",
        }
        settings = " ".join(f"-c {name}={value or shlex.quote('')}" for name, value in values.items())
        line = f"restore_command = '{restore_command}'"
        return _SCRIPT.format(
            target=self.target,
            line=shlex.quote(line),
            postgres=majors.tool("postgres", MAJOR),
            ready=f"{majors.tool('pg_isready', MAJOR)} -q -h {self.folder.sockets} -p {port}",
            settings=settings,
            last=self.segments.files[-1].name,
        )


def _prepare(command: str) -> None:
    done = subprocess_as_server(command)
    if done.returncode:
        raise BenchError(f"{command}\n{done.stdout}{done.stderr}")


def recovery_rows(bench: RecoveryBench) -> dict[str, Callable[[], Calls]]:
    """All contenders."""
    return {
        "pgBackRest async": partial(bench.pgbackrest, asynchronous=True),
        "wal-e agent, native": partial(bench.ours, NATIVE),
        "wal-e agent, Python": partial(bench.ours, PYTHON),
        "wal-e without agent": bench.direct,
        "cp": bench.copy,
    }


def render(title: str, runs: Mapping[str, list[Calls]], missing: Mapping[str, str]) -> str:
    """A table of medians; the last column compares the whole time with the first row's."""
    lines = [f"\n{title}", f"{'':24} {'restore s':>9} {'replay s':>9} {'all s':>7} {'CPU s':>7} {'all x':>6}"]
    base = 0.0
    for name, results in runs.items():
        if name in missing:
            lines.append(f"{name:24} -  {missing[name]}")
            continue
        restore, replay = (statistics.median(run.calls_ms[step] for run in results) / 1000 for step in (0, 1))
        wall, cpu = (
            statistics.median(values) for values in zip(*((run.wall, run.cpu) for run in results), strict=True)
        )
        base = base or wall
        lines.append(f"{name:24} {restore:9.2f} {replay:9.2f} {wall:7.2f} {cpu:7.2f} {wall / base:6.2f}")
    return "\n".join(lines)


def main(options: Options, report: Report) -> None:
    """Measures and prints all of it."""
    need("pgbackrest")
    missing: dict[str, str] = {}
    with Folder(give_to_server(scratch_directory("bench-recovery-"), 0o755)) as folder:
        bench = RecoveryBench(folder, options)
        contenders = recovery_rows(bench)
        runs: dict[str, list[Calls]] = {name: [] for name in contenders}
        for name in list(contenders) * options.rounds:
            try:
                runs[name].append(contenders[name]())
            except (BenchError, Missing) as error:
                missing[name] = " ".join(str(error).split())[:300]
    raw = {name: list(map(asdict, results)) for name, results in runs.items()}
    title = f"Restore, replay of {len(bench.segments.files)} segments, ready"
    report.add("recovery", render(title, runs, missing), raw)
