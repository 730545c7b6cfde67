"""
`wal-push`: 200 real segments as archive_command gets them, one call after the other, and what a call costs at least.

`.ready` files for all of them are there from the beginning, as on a server that writes WAL faster than it is archived.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.calls import Calls, Missing, Plan, carry_out, measure_calls, python, render_calls
from bench.results import Options, Report
from bench.segments import Segments, like_a_cluster, real_segments
from bench.tools import DIRECT, NATIVE, PYTHON, Folder, PgBackRest, bytes_below, client, need, need_agent, wal_e
from lab.account import give_to_server
from lab.cloud import Cloud
from lab.postgres import scratch_directory

LEVEL_3 = {"WALE_COMPRESSION_LEVEL": "3"}
ANSWERS = 60  # an agent pushes no more than 64 files ahead
PEER = "pgBackRest async, 2 processes, zst 3"
RAW = "raw: 2 threads, zstd 3, fsync"
_ARCHIVES = ("archive", "pgbackrest/repository")
_RAW_SOURCE = Path(__file__).with_name("raw.py").read_text()


class PushBench:
    """The contenders of archive_command; each call of one runs it once and gives what that cost."""

    def __init__(self, root: Path, options: Options) -> None:
        self.root = root
        self.segments: Segments = real_segments(options.segments + 1)
        self.slow = options.slow_segments

    def true(self, *, known: bool = False) -> Calls:
        """The calls themselves."""
        return self._run("true", Folder(self.root), known=known)

    def interpreter(self) -> Calls:
        """The calls and an interpreter that does nothing."""
        return self._run(f"{python()} -I -S -c pass", Folder(self.root), known=True)

    def copy(self) -> Calls:
        """Plain copies, neither compressed nor durable."""
        folder = Folder(self.root)
        return self._run(f"cp %p {folder.part('archive')}/%f", folder)

    def direct(self) -> Calls:
        """Ours without an agent, as each call is then alike, for fewer segments."""
        program = client(PYTHON)
        return self._ours(program, DIRECT | LEVEL_3, few=True)

    def agent(self, kind: str, variables: Mapping[str, str], *, known: bool = False, few: bool = False) -> Calls:
        """Ours with its agent."""
        program = need_agent(kind)
        calls = self._ours(program, variables, known=known, few=few)
        if not any(" agent run" in daemon["command"] for daemon in calls.daemons):
            raise Missing("no agent was running after the last call")
        return calls

    def pgbackrest(self, *, asynchronous: bool, known: bool = False) -> Calls:
        """The peer, with two processes or with one."""
        folder = Folder(self.root)
        cluster = self._cluster(folder)
        tool = PgBackRest(folder.path / "pgbackrest", cluster, asynchronous=asynchronous)
        tool.run("--no-online", "stanza-create")
        return self._run(tool.shell("archive-push", "%p"), folder, known=known)

    def raw(self) -> Calls:
        """Two threads that compress, write and fsync, and nothing else; one call for all segments."""
        with Folder(self.root) as folder:
            target, sources = folder.part("archive"), " ".join(map(str, self.segments.files[1:]))
            (folder.path / "raw.py").write_text(_RAW_SOURCE)
            command = f"{python()} {folder.path / 'raw.py'} push 3 {target} {sources}"
            calls = carry_out(Plan("plain", command, folder.path, ("all",)))
            return replace(calls.shared_by(len(self.segments.files) - 1), stored=bytes_below(target))

    def _ours(self, program: Path, variables: Mapping[str, str], *, known: bool = False, few: bool = False) -> Calls:
        folder = Folder(self.root)
        folder.part("archive")
        return self._run(wal_e(program, "wal-push", "%p"), folder, folder.environment(variables), known=known, few=few)

    def _cluster(self, folder: Folder) -> Path:
        directory = folder.path / "cluster"
        return directory if directory.exists() else like_a_cluster(self.segments, directory)

    def _run(
        self,
        command: str,
        folder: Folder,
        environment: Mapping[str, str] | None = None,
        *,
        known: bool = False,
        few: bool = False,
    ) -> Calls:
        with folder:
            first, *names = [path.name for path in self.segments.files]
            names = names[: self.slow] if few else names[:ANSWERS] if known else names
            plan = Plan("push", command, self._cluster(folder), tuple(names), environment or {}, first=first)
            calls = carry_out(replace(plan, known=known))
            return replace(calls, stored=sum(bytes_below(folder.path / name, names) for name in _ARCHIVES))


def push_rows(bench: PushBench) -> dict[str, Callable[[], Calls]]:
    """Throughput to a local folder."""
    return {
        PEER: partial(bench.pgbackrest, asynchronous=True),
        "pgBackRest, zst 3": partial(bench.pgbackrest, asynchronous=False),
        RAW: bench.raw,
        "wal-e agent, native, level 3": partial(bench.agent, NATIVE, LEVEL_3),
        "wal-e agent, Python, level 3": partial(bench.agent, PYTHON, LEVEL_3),
        "wal-e agent, native, default level": partial(bench.agent, NATIVE, {}),
        "wal-e agent, Python, default level": partial(bench.agent, PYTHON, {}),
        "wal-e without agent, level 3": bench.direct,
        "cp": bench.copy,
        "true": bench.true,
    }


def answer_rows(bench: PushBench) -> dict[str, Callable[[], Calls]]:
    """How long a call takes for a segment that is in the archive already."""
    return {
        "pgBackRest async": partial(bench.pgbackrest, asynchronous=True, known=True),
        "wal-e agent, native": partial(bench.agent, NATIVE, LEVEL_3, known=True),
        "wal-e agent, Python": partial(bench.agent, PYTHON, LEVEL_3, known=True),
        "python -I -S -c pass": bench.interpreter,
        "true": partial(bench.true, known=True),
    }


class SwiftBench(PushBench):
    """The same to a real Swift behind a real Keystone, which are not counted as anybody's CPU time."""

    def __init__(self, root: Path, options: Options, variables: Mapping[str, str]) -> None:
        super().__init__(root, options)
        self.segments = replace(self.segments, files=self.segments.files[: options.slow_segments + 1])
        self.variables = dict(variables)
        self.turn = 0

    def _ours(self, program: Path, variables: Mapping[str, str], *, known: bool = False, few: bool = False) -> Calls:
        self.turn += 1
        prefix = {"WALE_SWIFT_PREFIX": f"swift://bench/{self.turn}"}
        return super()._ours(program, self.variables | prefix | dict(variables), known=known, few=few)


def swift_rows(bench: SwiftBench) -> dict[str, Callable[[], Calls]]:
    """Throughput to Swift."""
    return {
        "wal-e without agent, level 3": bench.direct,
        "wal-e agent, native, level 3": partial(bench.agent, NATIVE, LEVEL_3),
        "wal-e agent, Python, level 3": partial(bench.agent, PYTHON, LEVEL_3),
        "wal-e agent, native, default level": partial(bench.agent, NATIVE, {}),
    }


def main(options: Options, report: Report) -> None:
    """Measures and prints all of it."""
    need("pgbackrest")
    root = give_to_server(scratch_directory("bench-push-"), 0o755)
    bench = PushBench(root, options)
    size = bench.segments.size
    rows, raw = measure_calls(push_rows(bench), options.rounds, size)
    report.add("wal-push", render_calls(f"wal-push of {options.segments} segments to a folder", rows, PEER, RAW), raw)
    rows, raw = measure_calls(answer_rows(bench), options.rounds, size)
    title = "Answer for a segment that is durable already"
    report.add("wal-push-answer", render_calls(title, rows, "pgBackRest async"), raw)
    with Cloud(scratch_directory("bench-cloud-"), ("RegionOne",)) as keystone:
        keystone.create_container("bench")
        swift = SwiftBench(root, options, keystone.environment())
        rows, raw = measure_calls(swift_rows(swift), options.rounds, size)
    title = f"wal-push of {options.slow_segments} segments to Swift with Keystone"
    report.add("wal-push-swift", render_calls(title, rows, "wal-e without agent, level 3"), raw)
