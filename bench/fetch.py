"""`wal-fetch`: 200 segments in order as restore_command gets them, one call after the other, from a local folder."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.calls import Calls, Missing, Plan, carry_out, measure_calls, python, render_calls
from bench.results import Options, Report
from bench.segments import Segments, like_a_cluster, real_segments
from bench.tools import DIRECT, NATIVE, PYTHON, Folder, PgBackRest, client, need, need_agent, wal_e
from lab.account import give_to_server
from lab.postgres import scratch_directory

PEER = "pgBackRest async, 2 processes"
RAW = "raw: 2 threads, unzstd, write"
HISTORY = "00000002.history"  # what a recovery asks for first
_RAW_SOURCE = Path(__file__).with_name("raw.py").read_text()


class FetchBench:
    """The contenders of restore_command, each with an archive of its own that is filled once."""

    def __init__(self, folder: Folder, options: Options) -> None:
        self.folder = folder
        self.segments: Segments = real_segments(options.segments)
        self.names = tuple(path.name for path in self.segments.files)
        self.slow = options.slow_segments
        self.cluster = like_a_cluster(self.segments, folder.path / "source")
        self.target = like_a_cluster(replace(self.segments, files=()), folder.path / "target")
        (self.target / "recovery.signal").touch()
        self.raw_archive = folder.part("raw")
        fill_ours(folder, self.cluster, self.names)
        fill_pgbackrest(folder.path / "pgbackrest", self.cluster, self.names)
        self._raw("push", self.raw_archive, self.segments.files)

    def copy(self) -> Calls:
        """Plain copies of segments that are not compressed."""
        return self._run(f"cp {self.segments.files[0].parent}/%f %p", {}, self.names)

    def direct(self) -> Calls:
        """Ours without an agent, as each call is then alike, for fewer segments."""
        command = wal_e(client(PYTHON), "wal-fetch", "%f", "%p")
        return self._run(command, self.folder.environment(DIRECT), self.names[: self.slow])

    def agent(self, kind: str) -> Calls:
        """Ours with its agent."""
        command = wal_e(need_agent(kind), "wal-fetch", "%f", "%p")
        calls = self._run(command, self.folder.environment({}), self.names)
        if not any(" agent run" in daemon["command"] for daemon in calls.daemons):
            raise Missing("no agent was running after the last call")
        return calls

    def pgbackrest(self, *, asynchronous: bool) -> Calls:
        """The peer, with two processes or with one."""
        tool = PgBackRest(self.folder.path / "pgbackrest", self.target, asynchronous=asynchronous)
        return self._run(tool.shell("archive-get", "%f", "%p"), {}, self.names)

    def raw(self) -> Calls:
        """Two threads that read, decompress and write, and nothing else; one call for all segments."""
        sources = sorted(self.raw_archive.iterdir())
        return self._raw("fetch", self.folder.part("copies"), sources).shared_by(len(sources))

    def _raw(self, kind: str, target: Path, sources: tuple[Path, ...] | list[Path]) -> Calls:
        script = self.folder.path / "raw.py"
        script.write_text(_RAW_SOURCE)
        command = f"{python()} {script} {kind} 3 {target} {' '.join(map(str, sources))}"
        return carry_out(Plan("plain", command, self.folder.path, ("all",)))

    def _run(self, command: str, environment: Mapping[str, str], names: tuple[str, ...]) -> Calls:
        plan = Plan("fetch", command, self.target, names, environment, "pg_wal/RECOVERYXLOG", HISTORY)
        return carry_out(replace(plan, size=self.segments.size))


def fill_ours(folder: Folder, cluster: Path, names: tuple[str, ...]) -> None:
    """Archives all segments with ours, the quickest way that this build has."""
    folder.part("archive")
    try:
        program, variables = need_agent(PYTHON), {"WALE_COMPRESSION_LEVEL": "3"}
    except Missing:
        program, variables = client(PYTHON), DIRECT
    command = wal_e(program, "wal-push", "%p")
    carry_out(Plan("push", command, cluster, names, folder.environment(variables)))


def fill_pgbackrest(home: Path, cluster: Path, names: tuple[str, ...]) -> None:
    """Archives all segments with pgBackRest."""
    tool = PgBackRest(home, cluster, asynchronous=True)
    tool.run("--no-online", "stanza-create")
    carry_out(Plan("push", tool.shell("archive-push", "%p"), cluster, names))


def fetch_rows(bench: FetchBench) -> dict[str, Callable[[], Calls]]:
    """All contenders."""
    return {
        PEER: partial(bench.pgbackrest, asynchronous=True),
        "pgBackRest": partial(bench.pgbackrest, asynchronous=False),
        RAW: bench.raw,
        "wal-e agent, native": partial(bench.agent, NATIVE),
        "wal-e agent, Python": partial(bench.agent, PYTHON),
        "wal-e without agent": bench.direct,
        "cp of plain segments": bench.copy,
    }


def main(options: Options, report: Report) -> None:
    """Measures and prints all of it."""
    need("pgbackrest")
    with Folder(give_to_server(scratch_directory("bench-fetch-"), 0o755)) as folder:
        bench = FetchBench(folder, options)
        rows, raw = measure_calls(fetch_rows(bench), options.rounds, bench.segments.size)
    title = f"wal-fetch of {options.segments} segments in order, from a folder"
    report.add("wal-fetch", render_calls(title, rows, PEER, RAW), raw)
