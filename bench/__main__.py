"""
`make bench`, or `make bench BENCH_ARGS="wal-push recovery"`: the benchmarks that are named, or all of them.

Each compares whole commands, ours, pgBackRest's and the raw limit's, in one run on one machine. docs/benchmarks.md says
what the rows mean; the raw results go to bench/results.
"""

import sys
from collections.abc import Callable

from bench import agent, base, fetch, push, recovery, scale, stores
from bench.results import Options, Report

BENCHES: dict[str, Callable[[Options, Report], None]] = {
    "base": base.main,
    "wal-push": push.main,
    "wal-fetch": fetch.main,
    "recovery": recovery.main,
    "agent": agent.main,
    "stores": stores.main,
    "scale": scale.main,
}


def main() -> int:
    """Runs the benchmarks and returns the exit code."""
    names = sys.argv[1:] or list(BENCHES)
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        print(f"there is no benchmark {unknown[0]}; there are {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    options = Options.from_environment()
    report = Report(options)
    for name in names:
        BENCHES[name](options, report)
    print(f"raw results: {report.path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
