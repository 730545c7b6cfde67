"""
What every end-to-end test needs: an archive, servers that push into it, and the command line as their users call it.

Nothing of the product is imported: `wal-e` is run as the account of PostgreSQL runs it.
"""

import csv
import shlex
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess

import psycopg

from lab.account import as_postgres, give_to_server
from lab.command import wal_e_command
from lab.place import remove_tree
from lab.postgres import Postgres, scratch_directory
from tests.plugins.buckets import Buckets

FOOBAR = "select generate_series(0, 200000) into foobar"
FOOBAR_ROWS = 200_001


@dataclass
class Scene:
    """One archive with its servers; `env` holds the variables of the store, `directory` everything on disk."""

    directory: Path
    env: dict[str, str]
    stack: ExitStack
    program: Path = field(default_factory=wal_e_command)

    def command(self, words: str, env: Mapping[str, str] | None = None) -> str:
        """Return a shell line that runs `wal-e` with the archive's variables (or `env`) set in front of it."""
        given = " ".join(f"{name}={shlex.quote(value)}" for name, value in (env or self.env).items())
        return f"{given} {self.program} {words}"

    def leader(
        self, major: int, conf: Mapping[str, str] | None = None, *, segment_size_mb: int | None = None
    ) -> Postgres:
        """Start a new cluster that archives here, unless `conf` says otherwise."""
        archiving = {
            "archive_mode": "on",
            "archive_command": self.command('wal-push "%p"'),
            "wal_retrieve_retry_interval": "1s",  # for the followers, which inherit it
        }
        leader = Postgres.create(
            major, self.new_path("leader"), segment_size_mb=segment_size_mb, conf=archiving | dict(conf or {})
        )
        self.stack.callback(leader.close)
        return leader.start()

    def run(
        self, *arguments: str | Path, server: Postgres | None = None, env: Mapping[str, str] | None = None
    ) -> CompletedProcess[str]:
        """Run `wal-e` and return its result, whatever its exit code; `server` gives the libpq variables."""
        own = {**self.env, **(env or {}), **(server.dsn_environment() if server else {})}
        return as_postgres([self.program, *arguments], env=own, timeout=150)

    def wal_e(
        self, *arguments: str | Path, server: Postgres | None = None, env: Mapping[str, str] | None = None
    ) -> CompletedProcess[str]:
        """Run `wal-e` and return its result; an exit code other than 0 fails the test with what it said."""
        done = self.run(*arguments, server=server, env=env)
        assert done.returncode == 0, f"wal-e {arguments} gave {done.returncode}:\n{done.stderr[-4000:]}"
        return done

    def backup(self, server: Postgres, *options: str) -> str:
        """Take a base backup and return its name."""
        before = set(self.names())
        self.wal_e("backup-push", *options, server.data_directory, server=server)
        (name,) = set(self.names()) - before
        return name

    def names(self) -> list[str]:
        """Return the names of the backups that `backup-list` shows, in its order."""
        rows = csv.DictReader(self.wal_e("backup-list").stdout.splitlines(), dialect="excel-tab")
        return [row["name"] for row in rows]

    def restore(self, major: int, name: str, *options: str, conf: Mapping[str, str] | None = None) -> Postgres:
        """Restore a backup into a new directory and return the cluster, not started."""
        target = self.new_path("copy")
        self.wal_e("backup-fetch", *options, target, name)
        return self.adopt(major, target, conf)

    def adopt(self, major: int, directory: Path, conf: Mapping[str, str] | None = None) -> Postgres:
        """Wrap a restored directory; its server ends with the test."""
        copy = Postgres.restored(major, directory, conf=conf)
        self.stack.callback(copy.close)
        return copy

    def new_path(self, word: str) -> Path:
        """Return a path that nothing uses, in a directory of the server account."""
        return self.directory / f"{word}{sum(1 for _ in self.directory.iterdir())}"

    def holds(self, name: str) -> bool:
        """Say whether a folder archive has this WAL file."""
        return (self.directory / "archive" / "wal_005" / f"{name}.zst").exists()


@contextmanager
def file_scene() -> Iterator[Scene]:
    """An empty archive in a local folder."""
    with _scene() as scene:
        archive = give_to_server(scene.directory / "archive")
        scene.env = {"WALE_FILE_PREFIX": f"file://localhost{archive}", "WALE_AGENT": "off"}
        yield scene


@contextmanager
def swift_scene(container: str, login: Mapping[str, str]) -> Iterator[Scene]:
    """An empty archive in a container of a real Swift; `login` holds the SWIFT_* variables."""
    with _scene() as scene:
        scene.env = {"WALE_SWIFT_PREFIX": f"swift://{container}/wal-e/main", "WALE_AGENT": "off", **login}
        yield scene


@contextmanager
def bucket_scene(buckets: Buckets, bucket: str) -> Iterator[Scene]:
    """An empty archive in a bucket or container."""
    scheme = buckets.info.scheme
    with _scene() as scene:
        prefix = {f"WALE_{scheme.upper()}_PREFIX": f"{scheme}://{bucket}/main"}
        scene.env = prefix | {"WALE_AGENT": "off"} | buckets.info.environment()
        yield scene


@contextmanager
def _scene() -> Iterator[Scene]:
    directory = scratch_directory("scene-")
    with ExitStack() as stack:
        stack.callback(remove_tree, directory)
        yield Scene(directory, {}, stack)


@contextmanager
def writer(server: Postgres) -> Iterator[Callable[[], int]]:
    """Insert rows into a table `visits` as long as the block lasts; the value tells how many are committed."""
    server.sql("create table if not exists visits (id bigserial primary key, at timestamptz default now(), what text)")
    stop = threading.Event()
    committed = [0]

    def write() -> None:
        with server.connect() as connection, suppress(psycopg.OperationalError):
            while not stop.is_set():
                connection.execute("insert into visits (what) select repeat('x', 100) from generate_series(1, 10)")
                committed[0] += 10

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield lambda: committed[0]
    finally:
        stop.set()
        thread.join()


def promote(server: Postgres) -> None:
    """Make a standby a leader, and wait until it is one."""
    as_postgres([server.bindir / "pg_ctl", "promote", "-D", server.data_directory], check=True)
    server.wait_for("select pg_is_in_recovery()", expected=False)


def archive_all(server: Postgres) -> None:
    """Switch the segment and wait until the archiver has delivered all that was written before."""
    # A segment without a record would not be switched, and the name of its predecessor or its own be returned.
    server.sql("select pg_logical_emit_message(false, 'end', 'end')")
    last = server.value("select pg_walfile_name(pg_switch_wal())")
    # A text of our own making: the name that the server gave a line above.
    server.wait_for(f"select last_archived_wal >= '{last}' from pg_stat_archiver")  # noqa: S608 - see above
