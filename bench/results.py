"""What a run of the benchmarks was asked for, and where its results go."""

import json
import os
import platform
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results")


@dataclass(frozen=True, slots=True)
class Options:
    """
    The sizes of a run: BENCH_ROUNDS, BENCH_SEGMENTS, BENCH_SLOW_SEGMENTS for rows that take long, BENCH_ROWS of the
    biggest table of the base backup, BENCH_IDLE seconds to watch an agent that nobody asks, BENCH_OBJECTS in the
    archive and BENCH_FILES in the cluster of `scale`.
    """

    rounds: int
    segments: int
    slow_segments: int
    rows: int
    idle: float
    objects: int
    files: int

    @classmethod
    def from_environment(cls) -> "Options":
        """Reads the variables."""

        def number(name: str, default: int) -> int:
            return int(os.environ.get(f"BENCH_{name}", default))

        segments = number("SEGMENTS", 200)
        slow = min(number("SLOW_SEGMENTS", 40), segments)
        return cls(
            rounds=number("ROUNDS", 3),
            segments=segments,
            slow_segments=slow,
            rows=number("ROWS", 6_000_000),
            idle=number("IDLE", 20),
            objects=number("OBJECTS", 100_000),
            files=number("FILES", 1_000_000),
        )


class Report:
    """Prints each table as it is ready and keeps the raw results of the run in one JSON file."""

    def __init__(self, options: Options) -> None:
        RESULTS.mkdir(exist_ok=True)
        now = datetime.now(UTC)
        self.path = RESULTS / f"{now:%Y%m%dT%H%M%SZ}.json"
        self._result: dict[str, Any] = {
            "at": f"{now:%Y-%m-%dT%H:%M:%SZ}",
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
            "options": asdict(options),
        }
        print(f"{self._result['machine']}, {options.rounds} rounds, load {os.getloadavg()[0]:.1f} at the start")

    def add(self, name: str, table: str, raw: object) -> None:
        """Prints a table and saves what it was made of."""
        print(f"{table}\n", flush=True)
        self._result[name] = {"table": table, "raw": raw, "load": os.getloadavg(), "monotonic": time.monotonic()}
        self.path.write_text(json.dumps(self._result, indent=1) + "\n")
