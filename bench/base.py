"""
Full backup and restore of one cluster, three ways, in turn.

Ours and pgBackRest run with zstd level 3, two threads or processes, page checksums verified, a local folder as the
store. The raw limit is `tar` through `zstd -3 -T2`, which checks nothing and starts no backup.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from bench.cluster import make_cluster
from bench.measure import Row, Run, in_turn, render, row, run
from bench.results import Options, Report
from bench.tools import need
from lab.account import clean_environment, give_to_server, server_account
from lab.command import wal_e_command
from lab.postgres import Postgres, scratch_directory


class BaseBench:
    """The folders, the commands and the cluster of one benchmark."""

    def __init__(self, root: Path, rows: int) -> None:
        self.root = give_to_server(root, 0o755)
        self.account = (server_account().uid, server_account().gid)
        self.archive = give_to_server(root / "archive")
        self.repository = give_to_server(root / "pgbackrest")
        self.raw = give_to_server(root / "raw")
        self.target = root / "target"
        self.cluster: Postgres = make_cluster(root / "cluster", self.archive, rows)
        self.environment = clean_environment(
            {
                **self.cluster.dsn_environment(),
                "WALE_FILE_PREFIX": f"file://localhost{self.archive}",
                "PATH": os.environ["PATH"],
            }
        )

    def run(self, *command: str) -> Run:
        """Runs one command as the server's account."""
        return run(command, self.environment, self.account)

    def pgbackrest(self, *arguments: str) -> Run:
        """Runs pgBackRest with everything on its command line."""
        options = {
            "stanza": "bench",
            "repo1-path": self.repository,
            "log-path": self.repository,
            "lock-path": self.repository / "lock",
            "log-level-console": "error",
            "log-level-file": "off",
        }
        return self.run("pgbackrest", *(f"--{name}={value}" for name, value in options.items()), *arguments)

    def source(self) -> tuple[str, ...]:
        """Where pgBackRest finds the cluster."""
        return (
            f"--pg1-path={self.cluster.data_directory}",
            f"--pg1-port={self.cluster.port}",
            f"--pg1-socket-path={self.cluster.socket_directory}",
            "--pg1-user=postgres",
        )

    def push_ours(self) -> Run:
        """A full base backup with wal-e."""
        return self.run(str(wal_e_command()), "--terse", "backup-push", "-p", "2", str(self.cluster.data_directory))

    def push_pgbackrest(self) -> Run:
        """A full backup with pgBackRest."""
        options = (
            "--process-max=2",
            "--type=full",
            "--compress-type=zst",
            "--compress-level=3",
            "--start-fast",
            "--no-archive-check",
        )
        return self.pgbackrest(*self.source(), *options, "--repo1-retention-full=99", "backup")

    def push_raw(self) -> Run:
        """What reading and compressing alone cost."""
        target = self.raw / "copy.tar.zst"
        return self.run(
            "bash",
            "-c",
            f"tar -C {self.cluster.data_directory} --exclude=./pg_wal/* -c . | zstd -q -3 -T2 -f -o {target}",
        )

    def fetch_ours(self) -> Run:
        """A restore with wal-e into an empty directory."""
        self._clear()
        return self.run(str(wal_e_command()), "--terse", "backup-fetch", "-p", "2", str(self.target), "LATEST")

    def fetch_pgbackrest(self) -> Run:
        """A restore with pgBackRest into an empty directory."""
        self._clear()
        give_to_server(self.target)
        return self.pgbackrest(f"--pg1-path={self.target}", "--archive-mode=off", "--process-max=2", "restore")

    def fetch_raw(self) -> Run:
        """What decompressing and writing alone cost."""
        self._clear()
        give_to_server(self.target)
        return self.run("bash", "-c", f"zstd -q -d -c {self.raw / 'copy.tar.zst'} | tar -C {self.target} -x")

    def _clear(self) -> None:
        shutil.rmtree(self.target, ignore_errors=True)


def stored_bytes(folder: Path) -> int:
    """The bytes of the newest backup among the children of a folder."""
    newest = max((path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()), key=_changed)
    return sum(path.stat().st_size for path in newest.rglob("*") if path.is_file())


def _changed(path: Path) -> int:
    return path.stat().st_mtime_ns


def measure(contenders: dict[str, Callable[[], Run]], stored: dict[str, Callable[[], int]], rounds: int) -> list[Row]:
    """Runs all in turn and gives their rows; the stored bytes are looked up afterwards."""
    runs = in_turn(contenders, rounds)
    return [row(name, results, stored[name]() if name in stored else 0) for name, results in runs.items()]


def main(options: Options, report: Report) -> None:
    """Measures and prints all of it."""
    need("pgbackrest", "zstd")
    bench = BaseBench(scratch_directory("bench-base-"), options.rows)
    try:
        size = bench.cluster.value("SELECT sum(pg_database_size(oid)) FROM pg_database")
        bench.pgbackrest(*bench.source(), "--no-online", "stanza-create")
        pushed = measure(
            {
                "wal-e backup-push, zstd 3": bench.push_ours,
                "pgBackRest full, zstd 3": bench.push_pgbackrest,
                "raw: tar | zstd -3 -T2": bench.push_raw,
            },
            {
                "wal-e backup-push, zstd 3": lambda: stored_bytes(bench.archive / "basebackups_006"),
                "pgBackRest full, zstd 3": lambda: stored_bytes(bench.repository / "backup" / "bench"),
                "raw: tar | zstd -3 -T2": lambda: (bench.raw / "copy.tar.zst").stat().st_size,
            },
            options.rounds,
        )
        table = render(f"Full backup of {float(str(size)) / 1e9:.2f} GB", pushed)
        report.add("base-push", table, list(map(asdict, pushed)))
        fetched = measure(
            {
                "wal-e backup-fetch": bench.fetch_ours,
                "pgBackRest restore": bench.fetch_pgbackrest,
                "raw: zstd -d | tar -x": bench.fetch_raw,
            },
            {},
            options.rounds,
        )
        report.add("base-fetch", render("Restore to an empty directory", fetched), list(map(asdict, fetched)))
    finally:
        bench.cluster.close()
        shutil.rmtree(bench.root, ignore_errors=True)
