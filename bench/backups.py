"""The two tools that take and restore base backups of one cluster in turn, and what changes the cluster in between."""

import os
import random
import shutil
from pathlib import Path
from typing import Final

from bench.cluster import make_cluster
from bench.measure import Run, run
from lab.account import clean_environment, give_to_server, server_account
from lab.command import wal_e_command
from lab.postgres import Postgres

PAGE: Final = 8192
CHANGED_TABLES: Final = ("accounts", "prose", "documents")


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
        self._dice = random.Random(5)  # noqa: S311 - the same damage in each run

    def close(self) -> None:
        """Stops the server and removes everything."""
        self.cluster.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def run(self, *command: str) -> Run:
        """Runs one command as the server's account."""
        return run(command, self.environment, self.account)

    def wal_e(self, *arguments: str) -> Run:
        """Runs `wal-e`, quietly."""
        return self.run(str(wal_e_command()), "--terse", *arguments)

    def push(self, *options: str) -> Run:
        """A base backup with wal-e on two threads."""
        return self.wal_e("backup-push", "-p", "2", *options, str(self.cluster.data_directory))

    def push_level(self, level: int) -> Run:
        """A full one at another level of zstd."""
        data = str(self.cluster.data_directory)
        return self.wal_e(f"--compression-level={level}", "backup-push", "-p", "2", "--full", data)

    def fetch(self, *options: str) -> Run:
        """A restore with wal-e; into an empty directory, unless an option says that something is there."""
        if not options:
            self.clear()
        return self.wal_e("backup-fetch", "-p", "2", *options, str(self.target), "LATEST")

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

    def pgbackrest_push(self, kind: str, *, level: int = 3) -> Run:
        """A backup of a kind (full, incr) with pgBackRest and two processes, with bundles."""
        options = (
            "--process-max=2",
            f"--type={kind}",
            "--compress-type=zst",
            f"--compress-level={level}",
            "--start-fast",
            "--no-archive-check",
            "--repo1-bundle",
            "--repo1-retention-full=99",
        )
        return self.pgbackrest(*self.source(), *options, "backup")

    def pgbackrest_fetch(self, *options: str) -> Run:
        """A restore with pgBackRest; into an empty directory, unless an option says that something is there."""
        if not options:
            self.clear()
            give_to_server(self.target)
        return self.pgbackrest(
            f"--pg1-path={self.target}", "--archive-mode=off", "--process-max=2", *options, "restore"
        )

    def raw_push(self) -> Run:
        """What reading and compressing alone cost."""
        target = self.raw / "copy.tar.zst"
        data = self.cluster.data_directory
        return self.run("bash", "-c", f"tar -C {data} --exclude=./pg_wal/* -c . | zstd -q -3 -T2 -f -o {target}")

    def raw_fetch(self) -> Run:
        """What decompressing and writing alone cost."""
        self.clear()
        give_to_server(self.target)
        return self.run("bash", "-c", f"zstd -q -d -c {self.raw / 'copy.tar.zst'} | tar -C {self.target} -x")

    def clear(self) -> None:
        """Removes what was restored."""
        shutil.rmtree(self.target, ignore_errors=True)

    def change(self, share: float) -> None:
        """Updates one row in each of a share of the pages, chosen at random, of every table but the noise."""
        for table in CHANGED_TABLES:
            pages = self.cluster.value(f"SELECT pg_relation_size('{table}') / {PAGE}")
            column = "bid" if table == "accounts" else "body"
            self.cluster.sql(
                f"UPDATE {table} SET {column} = {column} WHERE ctid = ANY(ARRAY(SELECT"  # noqa: S608 - the same
                f" format('(%s,%s)', (random() * {pages})::int, 1 + (random() * 5)::int)::tid"
                f" FROM generate_series(1, ({pages} * {share})::int)))"
            )
        self.cluster.sql("CHECKPOINT")

    def damage(self, share: float) -> None:
        """Overwrites a share of the pages of the restored tables, chosen at random; pg_control makes it look used."""
        for path in (self.target / "base").glob("*/*"):
            pages = path.stat().st_size // PAGE
            with path.open("r+b") as file:
                for page in self._dice.sample(range(pages), int(pages * share)):
                    file.seek(page * PAGE + 100)
                    file.write(self._dice.randbytes(64))


def stored_bytes(folder: Path) -> int:
    """The bytes of the newest backup among the children of a folder."""
    newest = max((path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()), key=_changed)
    return sum(path.stat().st_size for path in newest.rglob("*") if path.is_file())


def _changed(path: Path) -> int:
    return path.stat().st_mtime_ns
