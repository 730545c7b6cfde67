"""A base backup and its restore reduced to copying files: what wal_e.pg offers, without an archive."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import google_crc32c

from lab.account import server_account
from lab.postgres import Postgres
from wal_e.pg.answers import BackupStart, BackupStop, ServerFacts
from wal_e.pg.backup_manifest import ManifestFile
from wal_e.pg.control import CONTROL_PATH, read_control
from wal_e.pg.datadir import Scan, scan
from wal_e.pg.recovery import RecoverySettings, recovery_files
from wal_e.pg.server import Server


@dataclass(frozen=True, slots=True)
class Copy:
    """A finished copy and what is known of it."""

    facts: ServerFacts
    start: BackupStart
    stop: BackupStop
    scan: Scan
    files: tuple[ManifestFile, ...]


@contextmanager
def session(cluster: Postgres, user: str = "postgres") -> Iterator[Server]:
    conninfo = f"host={cluster.socket_directory} port={cluster.port} user={user}"
    with Server.connect(conninfo) as server:
        yield server


def back_up(cluster: Postgres, destination: Path, during: Callable[[], None] = lambda: None) -> Copy:
    """Copy a running cluster, tablespaces become plain directories in `pg_tblspc`; `during` runs before pg_control."""
    with session(cluster) as server:
        facts = server.identify()
        start = server.start_backup("a copy")
        found = scan(cluster.data_directory, pg_version=facts.server_version_num)
        destination.mkdir(mode=0o700)
        for directory in found.directories:
            (destination / directory.path).mkdir(mode=0o700, parents=True, exist_ok=True)
        contents = {file.path: (cluster.data_directory / file.path).read_bytes() for file in found.files}
        during()
        contents[CONTROL_PATH] = read_control(cluster.data_directory)[0]
        stop = server.stop_backup()
    contents["backup_label"] = stop.backup_label
    files = tuple(_write(destination, path, content) for path, content in contents.items())
    own(destination)
    return Copy(facts, start, stop, found, files)


def configure(destination: Path, settings: RecoverySettings, major: int) -> None:
    auto = destination / "postgresql.auto.conf"
    for path, text in recovery_files(settings, major, auto.read_text()).items():
        (destination / path).write_text(text)
    own(destination)


def archiving(archive: Path) -> dict[str, str]:
    return {"archive_mode": "on", "archive_command": f'cp "%p" "{archive}/%f"', "wal_level": "replica"}


def restoring(archive: Path) -> str:
    return f'cp "{archive}/%f" "%p"'


def own(tree: Path) -> None:
    account = server_account()
    for path in (tree, *tree.rglob("*")):
        os.chown(path, account.uid, account.gid, follow_symlinks=False)


def _write(destination: Path, path: str, content: bytes) -> ManifestFile:
    (destination / path).write_bytes(content)
    (destination / path).chmod(0o600)
    return ManifestFile(path, len(content), datetime.now(UTC), google_crc32c.value(content))
