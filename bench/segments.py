"""
Real WAL for the benchmarks: the segments that a mixed load wrote, and the cluster as it was before that load.

Making them takes a minute or two, so they are kept in the lab's directory between runs: `base` is the data directory
of a cluster that was shut down cleanly, `segments` are the files it wrote next, so a restored base can replay them.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from lab.account import as_postgres, give_to_server
from lab.place import lab_directory, remove_tree
from lab.postgres import Postgres
from lab.processes import locked

MAJOR = 15
_SETTINGS = {
    "archive_mode": "on",
    "archive_command": "false",  # nothing is archived, so nothing is recycled: pg_wal keeps it all
    "max_wal_size": "100GB",
    "checkpoint_timeout": "1h",
    "shared_buffers": "256MB",
    "autovacuum": "off",
}
_TABLES = (
    """
    CREATE TABLE counters AS SELECT i AS id, i % 1000 AS bucket, 0 AS balance, repeat(' ', 84) AS filler
    FROM generate_series(1, 1000000) i
    """,
    "ALTER TABLE counters ADD PRIMARY KEY (id)",
    "CREATE TABLE texts (id bigint, body text)",
    "CREATE TABLE documents (body jsonb)",
    "CREATE TABLE noise (id bigint, body bytea)",
)
_LOAD = (
    """
    INSERT INTO texts SELECT i, md5(i::text) || ' ' || md5((i / 7)::text) || ' lorem ipsum dolor'
    FROM generate_series(1, 60000) i
    """,
    """
    INSERT INTO documents SELECT jsonb_build_object('id', i, 'name', md5((i % 5000)::text), 'tags',
    jsonb_build_array(i % 10, i % 100, 'tag'), 'at', now() - i * interval '1 second')
    FROM generate_series(1, 60000) i
    """,
    """
    INSERT INTO noise SELECT i, decode(string_agg(md5(random()::text), ''), 'hex')
    FROM generate_series(1, 4000) i, generate_series(1, 64) j GROUP BY i
    """,
    "UPDATE counters SET balance = balance + 1 WHERE id % 100 = (random() * 99)::int",
    "UPDATE counters SET balance = balance + 1 WHERE id BETWEEN 1000 AND 30000",
)
_ROUNDS_TO_A_CHECKPOINT = 4


@dataclass(frozen=True, slots=True)
class Segments:
    """`base`: a data directory that was shut down cleanly; `files`: the WAL that the cluster wrote next, in order."""

    base: Path
    files: tuple[Path, ...]

    @property
    def size(self) -> int:
        """The bytes of one segment."""
        return self.files[0].stat().st_size


def real_segments(count: int) -> Segments:
    """The first `count` segments and their cluster, made where they are missing."""
    home = give_to_server(lab_directory() / "bench-wal", 0o755)
    with locked(lab_directory() / "bench-wal.lock"):
        if not (home / "complete").exists() or len(_files(home)) < count:
            remove_tree(home)
            _make(give_to_server(home, 0o755), count)
    segments = Segments(home / "base", _files(home)[:count])
    for path in segments.files:  # into the page cache, so that nobody is the first to read them
        path.read_bytes()
    return segments


def _files(home: Path) -> tuple[Path, ...]:
    return tuple(sorted((home / "segments").glob("?" * 24)))


def _make(home: Path, count: int) -> None:
    print(f"making {count} segments of real WAL ...", flush=True)
    cluster = Postgres.create(MAJOR, home / "cluster", conf=_SETTINGS, unique=True)
    try:
        cluster.start()
        for statement in _TABLES:
            cluster.sql(statement)
        as_postgres([cluster.tool("pgbench"), "-i", "-q", "-s", "10"], env=cluster.dsn_environment(), check=True)
        cluster.value("SELECT 1 FROM pg_switch_wal()")
        cluster.stop()
        first = _written(cluster)
        _copy(cluster.data_directory, home / "base", first)
        cluster.start()
        _load(cluster, first + count)
    finally:
        cluster.close()
    _keep(cluster.data_directory / "pg_wal", give_to_server(home / "segments", 0o755), first, count)
    remove_tree(cluster.data_directory)
    (home / "complete").touch()


def _load(cluster: Postgres, wanted: int) -> None:
    turn = 0
    while _written(cluster) < wanted:
        for statement in _LOAD:
            cluster.sql(statement)
        words = ["-n", "-c", "2", "-j", "1", "-t", "2000"]
        as_postgres([cluster.tool("pgbench"), *words], env=cluster.dsn_environment(), check=True)
        turn += 1
        if turn % _ROUNDS_TO_A_CHECKPOINT == 0:
            cluster.sql("CHECKPOINT")
    cluster.stop("immediate")


def _written(cluster: Postgres) -> int:
    """How many segments are finished: those that wait for their archive_command."""
    return len(list((cluster.data_directory / "pg_wal" / "archive_status").glob("*.ready")))


def _copy(data_directory: Path, base: Path, first: int) -> None:
    """A copy of the stopped cluster; the WAL that is older than its last checkpoint stays behind."""
    as_postgres(["cp", "-a", data_directory, base], check=True)
    old = sorted((base / "pg_wal").glob("?" * 24))[:first]
    for path in old:
        path.unlink()
    for path in (base / "pg_wal" / "archive_status").iterdir():
        path.unlink()


def _keep(pg_wal: Path, home: Path, first: int, count: int) -> None:
    finished = sorted(path.stem for path in (pg_wal / "archive_status").glob("?" * 24 + ".ready"))
    for name in finished[first : first + count]:
        (pg_wal / name).rename(home / name)


def like_a_cluster(segments: Segments, directory: Path) -> Path:
    """
    A data directory for archive_command: what says whose it is from `base`, and in `pg_wal` links to the segments.

    No `.ready` files yet.
    """
    give_to_server(directory)
    for part in ("global", "pg_wal", "pg_wal/archive_status"):
        give_to_server(directory / part)
    for name in ("PG_VERSION", "global/pg_control"):
        shutil.copy2(segments.base / name, directory / name)
        os.chown(directory / name, directory.stat().st_uid, directory.stat().st_gid)
    for path in segments.files:
        os.link(path, directory / "pg_wal" / path.name)
    return directory
