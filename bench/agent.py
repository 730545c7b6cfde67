"""What an agent costs that nobody asks: CPU time, how often it is woken up, and memory."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bench.calls import BenchError, Calls, Missing, Plan, carry_out
from bench.results import Options, Report
from bench.segments import like_a_cluster, real_segments
from bench.tools import PYTHON, Folder, need_agent, wal_e
from lab.account import give_to_server
from lab.cloud import Cloud
from lab.postgres import scratch_directory


def watch(root: Path, options: Options, variables: Mapping[str, str]) -> Calls:
    """Pushes some segments, so that the agent has done everything once, and looks at it for a while."""
    segments = real_segments(options.slow_segments)
    names = tuple(path.name for path in segments.files)
    with Folder(root) as folder:
        folder.part("archive")
        cluster = like_a_cluster(segments, folder.path / "cluster")
        environment = folder.environment(variables)
        plan = Plan("push", wal_e(need_agent(PYTHON), "wal-push", "%p"), cluster, names, environment)
        return carry_out(replace(plan, idle=options.idle))


def line(name: str, calls: Calls) -> str:
    """One line of the table; all agents together, where there should be one."""
    agents = [one for one in calls.idle["daemons"] if " agent run" in one["command"]]
    if not agents:
        return f"{name:24} -  no agent was running after the last call"
    seconds = calls.idle["seconds"]
    rss, peak, threads = (sum(one[key] for one in agents) for key in ("rss_mib", "peak_mib", "threads"))
    cpu, woken = calls.idle["cpu"] / seconds * 1000, calls.idle["woken"] / seconds
    return f"{name:24} {len(agents):6} {cpu:9.2f} {woken:8.1f} {rss:8.1f} {peak:9.1f} {threads:8}"


def main(options: Options, report: Report) -> None:
    """Measures and prints all of it."""
    root = give_to_server(scratch_directory("bench-agent-"), 0o755)
    lines = [f"\nAn agent that nobody asks, for {options.idle:g} s, after {options.slow_segments} segments and a rest"]
    lines.append(f"{'':24} {'agents':>6} {'CPU ms/s':>9} {'wakes/s':>8} {'RSS MiB':>8} {'peak MiB':>9} {'threads':>8}")
    raw = {}
    with Cloud(scratch_directory("bench-cloud-"), ("RegionOne",)) as keystone:
        keystone.create_container("bench")
        swift = {**keystone.environment(), "WALE_SWIFT_PREFIX": "swift://bench/idle"}
        for name, variables in {"folder": {}, "Swift": swift}.items():
            try:
                calls = watch(root, options, variables)
            except (BenchError, Missing) as error:
                lines.append(f"{name:24} -  {' '.join(str(error).split())[:300]}")
            else:
                lines.append(line(name, calls))
                raw[name] = calls.idle
    report.add("agent", "\n".join(lines), raw)
