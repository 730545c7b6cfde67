"""Where the story plays: a scratch directory, an archive in it or in a store, and a shell that shows what it runs."""

import os
import subprocess
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from lab import azurite, gcs, majors, seaweed
from lab.account import clean_environment, give_to_server, identity, server_account
from lab.azurite import AzuriteNode
from lab.bucket import BucketInfo, BucketServer
from lab.cloud import Cloud
from lab.command import wal_e_command
from lab.gcs import GoogleNode
from lab.place import LabError, remove_tree
from lab.postgres import Postgres, scratch_directory
from lab.seaweed import SeaweedNode

MAJOR = majors.DEBIAN_MAJOR
WIDTH = 110
SECRET_WORDS = ("PASSWORD", "SECRET", "ACCESS_KEY")


class DemoError(Exception):
    """The story did not go as told."""


@dataclass
class Stage:
    """
    The scratch directory (`$D` in the commands), the archive, and whatever must be ended when the story ends.

    `wal_e` is how a command of ours begins in an interactive shell, `wal_e_for_server` how in PostgreSQL's settings.
    """

    directory: Path
    stack: ExitStack
    wal_e: str = ""
    wal_e_for_server: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    def scene(self, title: str) -> None:
        """Begin a chapter, with the seconds since the start."""
        print(f"\n== {title}  [{time.monotonic() - self.began:.0f} s]")

    def tell(self, text: str) -> None:
        """Say something in plain words."""
        print(textwrap.fill(" ".join(text.split()), WIDTH))

    def show(self, lines: str) -> None:
        """Show the lines of a file or a setting."""
        print(textwrap.indent(lines.rstrip("\n"), "    "))

    def export(self, name: str, value: str) -> None:
        """Set a shell variable for the commands that follow, and show it."""
        self.variables[name] = value
        print(f"  $ export {name}='{value}'")

    def shell(self, command: str, *, timeout: float = 120) -> str:
        """Show a command, run it as the account of PostgreSQL, show what it prints; DemoError where it fails."""
        print(f"  $ {command}", flush=True)
        path = f"{wal_e_command().parent}:{majors.tool('psql', MAJOR).parent}"
        env = clean_environment(self.variables)
        env["PATH"] = f"{path}:{env['PATH']}"
        began = time.monotonic()
        done = subprocess.run(
            ["sh", "-c", command],
            env=env,
            cwd=self.directory,
            timeout=timeout,
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            **identity(),
        )
        if done.returncode:
            raise DemoError(f"exit code {done.returncode} from: {command}\n{done.stderr[-3000:]}{done.stdout[-1000:]}")
        if done.stdout.strip():
            self.show(done.stdout.replace("\r", ""))
        if command.startswith(self.wal_e):
            print(f"    (exit code 0 after {time.monotonic() - began:.1f} s)")
        return done.stdout

    def leader(self) -> Postgres:
        """Start a new cluster that archives."""
        conf = {
            "wal_level": "replica",
            "archive_mode": "on",
            "archive_command": f'{self.wal_e_for_server} wal-push "%p"',
        }
        # A follower asks the archive for news every 5 s by default.
        leader = Postgres.create(MAJOR, self.directory / "leader", conf=conf | {"wal_retrieve_retry_interval": "1s"})
        self.stack.callback(leader.close)
        self.show("\n".join(f"{name} = '{value}'" for name, value in conf.items()))
        return leader.start()

    def follower(self, directory: Path) -> Postgres:
        """Start a server on a directory that was restored."""
        follower = Postgres.restored(MAJOR, directory)
        self.stack.callback(follower.close)
        return follower.start()


@contextmanager
def open_stage(store: str) -> Iterator[Stage]:
    """Set everything up for one of `STORES`, and take it all away again, whatever happens meanwhile."""
    with ExitStack() as stack:
        directory = scratch_directory("demo-")
        stack.callback(remove_tree, directory)
        stage = Stage(directory, stack)
        _ARCHIVES[store](stage)
        yield stage


def _folder(stage: Stage) -> None:
    archive = give_to_server(stage.directory / "archive")
    stage.scene("The archive is a folder")
    stage.export("D", str(stage.directory))
    stage.wal_e = "WALE_FILE_PREFIX=file://localhost$D/archive wal-e"
    stage.wal_e_for_server = f"WALE_FILE_PREFIX=file://localhost{archive} {wal_e_command()}"


def _swift(stage: Stage) -> None:
    stage.scene("The archive is a container of OpenStack Swift")
    stage.tell("A real Keystone and a real Swift start on this machine; WAL-E logs in with a user's password (v3).")
    cloud = Cloud(stage.directory.parent / f"{stage.directory.name}-cloud", ["RegionOne"])
    stage.stack.push(cloud)  # before the start, which may be interrupted half-way
    info = cloud.start()
    container = info.create_container("database-backups")
    _envdir(stage, {"WALE_SWIFT_PREFIX": f"swift://{container}/main"} | info.environment())


def _s3(stage: Stage) -> None:
    stage.scene("The archive is a bucket of S3")
    stage.tell("A real SeaweedFS starts on this machine and speaks S3; WAL-E signs its requests with an access key.")
    _bucket(stage, SeaweedNode, seaweed.create_bucket)


def _azure(stage: Stage) -> None:
    stage.scene("The archive is a container of Azure Blob Storage")
    stage.tell("Azurite, Microsoft's emulator, starts on this machine; WAL-E has the account's key.")
    _bucket(stage, AzuriteNode, azurite.create_container)


def _gcs(stage: Stage) -> None:
    stage.scene("The archive is a bucket of Google Cloud Storage")
    stage.tell("An emulator of its JSON API starts on this machine.")
    _bucket(stage, GoogleNode, gcs.create_bucket)


def _bucket(stage: Stage, kind: Callable[[Path], BucketServer], create: Callable[[BucketInfo, str], str]) -> None:
    server = kind(stage.directory.parent / f"{stage.directory.name}-store")
    stage.stack.push(server)  # before the start, which may be interrupted half-way
    info = server.start()
    address = f"{info.scheme}://{create(info, 'database-backups')}/main"
    _envdir(stage, {f"WALE_{info.scheme.upper()}_PREFIX": address} | info.environment())


def _envdir(stage: Stage, login: dict[str, str]) -> None:
    envdir = give_to_server(stage.directory / "env")
    for name, value in login.items():
        (envdir / name).write_text(value + "\n")
        os.chown(envdir / name, server_account().uid, server_account().gid)
        (envdir / name).chmod(0o600)
    stage.tell("The variables lie in a directory, one file for each, that only the postgres user can read:")
    stage.show("\n".join(f"{name}={_shown(name, value)}" for name, value in login.items()))
    stage.export("D", str(stage.directory))
    stage.wal_e = "wal-e --envdir $D/env"
    stage.wal_e_for_server = f"{wal_e_command()} --envdir {envdir}"


def _shown(name: str, value: str) -> str:
    return "(not shown)" if any(word in name for word in SECRET_WORDS) else value


_ARCHIVES = {"file": _folder, "swift": _swift, "s3": _s3, "gcs": _gcs, "azure": _azure}
STORES = tuple(_ARCHIVES)


@contextmanager
def writer(server: Postgres) -> Iterator[Callable[[], int]]:
    """Insert rows into `visits` while the block lasts; the value says how many are committed."""
    server.sql("create table visits (id bigserial primary key, at timestamptz default now())")
    stop = threading.Event()
    committed = [0]

    def write() -> None:
        try:
            with server.connect() as connection:
                while not stop.wait(0.002):
                    connection.execute("insert into visits default values")
                    committed[0] += 1
        except (psycopg.Error, LabError):
            committed[0] = -1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield lambda: committed[0]
    finally:
        stop.set()
        thread.join()
