"""
A PostgreSQL cluster of any major from 10 to 18 that a test may break: made in a blink, stopped without a trace.

`Postgres.create` copies a cached initdb result; `Postgres.restored` wraps a data directory that somebody else made.
Port, socket and pg_hba are given on the command line of the server, so files that a restore brought stay as they are.
"""

import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

from lab import majors
from lab.account import as_postgres, give_to_server
from lab.place import LabError, lab_directory, remove_tree
from lab.processes import (
    Process,
    descendants,
    end,
    free_ports,
    locked,
    run_directory,
    short_directory,
    spawn,
    wait_until,
)

DEFAULTS = {
    "fsync": "off",
    "shared_buffers": "16MB",
    "max_connections": "30",
    "max_wal_senders": "5",
    "wal_level": "replica",
    "hot_standby": "on",
    "log_line_prefix": "%m [%p] ",
}
STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}


class Postgres:
    """One cluster: its directory, its server while it runs, and the questions a test asks it."""

    def __init__(self, major: int, directory: Path, *, port: int | None = None) -> None:
        self.major = major
        self.data_directory = directory
        self.port = port or free_ports(1)[0]
        self.bindir = majors.bindir(major)
        self.socket_directory = give_to_server(short_directory("wal-e-pg-"), 0o755)
        self.log = self.socket_directory / "log"
        self.settings: dict[str, str] = {}
        self._child: subprocess.Popen[bytes] | None = None

    @classmethod
    def create(
        cls,
        major: int,
        directory: Path,
        *,
        segment_size_mb: int | None = None,
        checksums: bool = True,
        unique: bool = False,
        conf: Mapping[str, str] | None = None,
    ) -> "Postgres":
        """
        Make a cluster in `directory` (absent, or empty; its parent open to the server account) without starting it.

        `segment_size_mb` needs 11 or later. Copies of one template share their system identifier: `unique` runs
        initdb anew. `conf` goes into postgresql.conf, after the lab's defaults; values are taken as strings.
        """
        options = _initdb_options(major, segment_size_mb, checksums=checksums)
        if unique:
            _initdb(major, directory, options)
        else:
            _copy(_template(major, options), directory)
        cluster = cls(major, directory)
        cluster.configure(DEFAULTS | dict(conf or {}))
        return cluster

    @classmethod
    def restored(
        cls, major: int, directory: Path, *, port: int | None = None, conf: Mapping[str, str] | None = None
    ) -> "Postgres":
        """
        Wrap a data directory that was restored by the product: none of its files is edited. `conf` goes onto the
        server's command line, where it overrides every file; without a postgresql.conf there, an empty one serves.
        """
        cluster = cls(major, directory, port=port)
        cluster.settings = dict(conf or {})
        if not (directory / "postgresql.conf").exists():
            empty = cluster.socket_directory / "postgresql.conf"
            empty.touch()
            cluster.settings["config_file"] = str(empty)
        return cluster

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def configure(self, conf: Mapping[str, str]) -> None:
        """Append settings to postgresql.conf; a running server reads them with `reload`."""
        lines = "".join(f"{name} = {_quoted(value)}\n" for name, value in conf.items())
        with (self.data_directory / "postgresql.conf").open("a") as file:
            file.write(lines)

    def start(self, *, timeout: float = 120, wait: bool = True) -> Self:
        """
        Start the server and wait until it accepts connections (a standby: until it is consistent). LabError with
        the end of its log where it gives up or takes longer than `timeout` seconds. Without `wait`, return at once.
        """
        if self._child is not None and self._child.poll() is None:
            raise LabError("this cluster runs already")
        words: list[str | Path] = [self.bindir / "postgres", "-D", self.data_directory]
        for name, value in (self._command_line_settings() | self.settings).items():
            words += ["-c", f"{name}={value}"]
        self._child = spawn(words, log=self.log, cwd=self.socket_directory, server_account=True, polite=signal.SIGQUIT)
        if wait:
            self.wait_ready(timeout)
        return self

    def wait_ready(self, timeout: float = 120) -> None:
        """Wait until a query is answered; LabError with the end of the log where the server ends or stays mute."""
        try:
            wait_until(self._answers, f"PostgreSQL {self.major} to accept connections", timeout)
        except LabError as error:
            raise LabError(f"{error}\n{self.log_text()[-3000:]}") from None

    def wait_stopped(self, timeout: float = 120) -> int:
        """Wait until the server ends by itself (a recovery that fails, or that shuts down) and return its exit code."""
        if self._child is None:
            raise LabError("this cluster was never started")
        try:
            return self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise LabError(f"the server still runs after {timeout:g} s\n{self.log_text()[-3000:]}") from None

    @property
    def running(self) -> bool:
        """Whether the server process lives."""
        return self._child is not None and self._child.poll() is None

    def stop(self, mode: str = "fast", timeout: float = 120) -> None:
        """Shut down as pg_ctl does (smart, fast, immediate) and wait; nothing happens where it does not run."""
        if self._child is None or self._child.poll() is not None:
            return
        self._child.send_signal(STOP_SIGNALS[mode])
        try:
            self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise LabError(f"the server did not stop in {timeout:g} s\n{self.log_text()[-3000:]}") from None

    def kill(self) -> None:
        """End the server and everything it started with SIGKILL, as a power cut would."""
        if self._child is None or self._child.poll() is not None:
            return
        postmaster = Process.of(self._child.pid)
        if postmaster is not None:
            family = descendants(postmaster)
            postmaster.signal(signal.SIGSTOP)  # it would start new children while we count
            family += [one for one in descendants(postmaster) if one not in family]
            end([postmaster, *family], polite=signal.SIGKILL)
        self._child.wait()

    def close(self) -> None:
        """Stop at once and delete socket and log; the data directory stays with whoever made it."""
        with suppress(LabError):
            self.stop("immediate", timeout=10)
        remove_tree(self.socket_directory)

    def reload(self) -> None:
        """Make the server read its configuration files again."""
        self.sql("select pg_reload_conf()")

    def connect(self, dbname: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        """Return a connection in autocommit mode as superuser, over the Unix socket."""
        return psycopg.connect(
            host=str(self.socket_directory), port=self.port, user="postgres", dbname=dbname, autocommit=True
        )

    def sql(self, query: str, dbname: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one or several statements and return the rows of the last; empty where it has none."""
        with self.connect(dbname) as connection:
            cursor = connection.execute(query.encode())
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def value(self, query: str, dbname: str = "postgres") -> Any:
        """Return the first column of the first row of a query."""
        return self.sql(query, dbname)[0][0]

    def wait_for(self, query: str, expected: object = True, timeout: float = 120) -> None:  # noqa: FBT002 - a value of SQL
        """Repeat the query until its first value equals `expected`; connection errors count as not yet."""

        def fits() -> bool:
            with suppress(psycopg.Error, IndexError):
                return bool(self.value(query) == expected)
            return False

        try:
            wait_until(fits, f"{query!r} to give {expected!r}", timeout)
        except LabError as error:
            raise LabError(f"{error}\n{self.log_text()[-3000:]}") from None

    def dsn_environment(self) -> dict[str, str]:
        """Return the libpq variables that lead to this cluster."""
        return {
            "PGHOST": str(self.socket_directory),
            "PGPORT": str(self.port),
            "PGUSER": "postgres",
            "PGDATABASE": "postgres",
        }

    def tool(self, name: str) -> Path:
        """Return a client program of this major (`pg_verifybackup`); LabError where the lab has none."""
        return majors.tool(name, self.major)

    def run_tool(self, name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a client program of this major as the server account, with this cluster's libpq variables."""
        return as_postgres([self.tool(name), *arguments], env=self.dsn_environment())

    def log_text(self) -> str:
        """Return what the server has logged so far, over all its starts."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _answers(self) -> bool:
        if self._child is None or self._child.poll() is not None:
            raise LabError(f"PostgreSQL {self.major} ended during its start")
        with suppress(psycopg.OperationalError):
            return bool(self.value("select 1") == 1)
        return False

    def _command_line_settings(self) -> dict[str, str]:
        trust = self.socket_directory / "pg_hba.conf"
        trust.write_text(
            "local all all trust\nhost all all 127.0.0.1/32 trust\nlocal replication all trust\n"
            "host replication all 127.0.0.1/32 trust\n"
        )
        return {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.socket_directory),
            "hba_file": str(trust),
            "logging_collector": "off",
            "log_destination": "stderr",
        }


def _quoted(value: str) -> str:
    return "'" + str(value).replace("'", "''") + "'"


def _initdb_options(major: int, segment_size_mb: int | None, *, checksums: bool) -> list[str]:
    options: list[str] = []
    if segment_size_mb is not None and (major > 10 or segment_size_mb != 16):
        if major == 10:
            raise LabError("PostgreSQL 10 fixes its segment size when it is compiled: 16 MiB here")
        options.append(f"--wal-segsize={segment_size_mb}")
    if checksums:
        options.append("--data-checksums")
    elif major >= 18:
        options.append("--no-data-checksums")
    return options


def _initdb(major: int, directory: Path, options: Sequence[str]) -> None:
    common = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
    done = as_postgres([majors.bindir(major) / "initdb", f"--pgdata={directory}", *common, *options])
    if done.returncode:
        raise LabError(f"initdb of PostgreSQL {major} failed: {done.stderr or done.stdout}")


def _template(major: int, options: Sequence[str]) -> Path:
    name = re.sub(r"[^a-z0-9]+", "", "".join(options)) or "plain"
    store = give_to_server(lab_directory() / "templates", 0o755)
    template = store / f"{major}-{name}"
    with locked(lab_directory() / f"template-{major}.lock"):
        if not (template / "global" / "pg_control").exists():
            remove_tree(template)
            draft = store / f"{major}-{name}.new"
            remove_tree(draft)
            _initdb(major, draft, options)
            draft.rename(template)
    return template


def _copy(template: Path, directory: Path) -> None:
    copier = shutil.which("cp") or "/bin/cp"
    done = as_postgres([copier, "--archive", "--reflink=auto", "--no-target-directory", template, directory])
    if done.returncode:
        raise LabError(f"cannot make a cluster in {directory}: {done.stderr}")


def scratch_directory(prefix: str) -> Path:
    """Return a new directory that belongs to the server account, inside this run's; it ends with the run."""
    return give_to_server(Path(tempfile.mkdtemp(prefix=prefix, dir=run_directory())))
