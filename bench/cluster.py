"""The cluster that is measured: about 2 GB of counters, text, JSON and bytes that do not compress."""

from pathlib import Path

from lab.command import shell_command
from lab.postgres import Postgres

MAJOR = 15
_TABLES = (
    (
        "CREATE TABLE counters AS SELECT i AS id, i % 1000 AS bucket, 0 AS balance, repeat(' ', 84) AS filler"
        " FROM generate_series(1, {rows}) i"
    ),
    (
        "CREATE TABLE texts AS SELECT i AS id, md5(i::text) || ' ' || md5((i / 7)::text) || ' lorem ipsum dolor'"
        " AS body FROM generate_series(1, {rows}) i"
    ),
    (
        "CREATE TABLE documents AS SELECT jsonb_build_object('id', i, 'name', md5((i % 5000)::text), 'tags',"
        " jsonb_build_array(i % 10, i % 100, 'tag'), 'at', now() - i * interval '1 second') AS body"
        " FROM generate_series(1, {rows} / 2) i"
    ),
    (
        "CREATE TABLE noise AS SELECT i AS id, decode(string_agg(md5(random()::text), ''), 'hex') AS body"
        " FROM generate_series(1, {rows} / 40) i, generate_series(1, 64) j GROUP BY i"
    ),
    "ALTER TABLE counters ADD PRIMARY KEY (id)",
    "CHECKPOINT",
)


def make_cluster(directory: Path, archive: Path, rows: int) -> Postgres:
    """A running server with page checksums, its data in place and its WAL going to `archive` with wal-e."""
    command = shell_command({"WALE_FILE_PREFIX": f"file://localhost{archive}"}, "--terse", "wal-push", "%p")
    cluster = Postgres.create(
        MAJOR,
        directory,
        conf={
            "archive_mode": "on",
            "archive_command": "true",
            "max_wal_size": "8GB",
            "shared_buffers": "256MB",
            "maintenance_work_mem": "256MB",
            "autovacuum": "off",
        },
    )
    cluster.start()
    for statement in _TABLES:
        cluster.sql(statement.format(rows=rows))
    cluster.configure({"archive_command": command})
    cluster.reload()
    return cluster
