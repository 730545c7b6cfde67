"""
The cluster that is measured: about 2.5 GB of accounts like those of pgbench, prose, JSON, and incompressible bytes.

Nothing repeats itself at a fixed distance: what such a cycle is worth depends on a compressor's window alone.
"""

from pathlib import Path

from lab.command import shell_command
from lab.postgres import Postgres

MAJOR = 15
_TABLES = (
    (
        "CREATE TABLE accounts AS SELECT i AS aid, i % 100 AS bid, (random() * 5000)::int AS abalance,"
        " repeat(' ', 84)::char(84) AS filler FROM generate_series(1, {rows}) i"
    ),
    "ALTER TABLE accounts ADD PRIMARY KEY (aid)",
    (
        "CREATE TABLE words AS SELECT i, translate(substr(md5(i::text), 1, 3 + i % 8), '0123456789', 'ghijklmnop')"
        " AS word FROM generate_series(0, 3999) i"
    ),
    "CREATE TABLE corpus (body bytea)",
    "ALTER TABLE corpus ALTER COLUMN body SET STORAGE EXTERNAL",
    (
        "INSERT INTO corpus SELECT convert_to(string_agg(word, ' ' ORDER BY random()), 'UTF8') FROM words JOIN"
        " (SELECT (random() ^ 3 * 3999)::int AS i FROM generate_series(1, 2000000)) AS chosen USING (i)"
    ),
    (
        "CREATE TABLE prose AS SELECT i AS id, now() - i * interval '1 minute' AS at,"
        " convert_from(substr(corpus.body, 1 + (random() * 10000000)::int, 100 + i % 300), 'UTF8') AS body"
        " FROM generate_series(1, {rows} / 4) i, corpus"
    ),
    (
        "CREATE TABLE documents AS SELECT jsonb_build_object('id', i, 'customer', md5((random() * 100000)::int::text),"
        " 'status', (array['new', 'paid', 'sent', 'closed'])[1 + (random() * 3)::int], 'total', round((random() *"
        " 1000)::numeric, 2), 'at', now() - random() * interval '300 days', 'lines', (SELECT"
        " jsonb_agg(jsonb_build_object('sku', (random() * 20000)::int, 'quantity', 1 + (random() * 5)::int)) FROM"
        " generate_series(1, 1 + i % 3))) AS body FROM generate_series(1, {rows} / 2) i"
    ),
    "CREATE INDEX ON documents ((body ->> 'customer'))",
    (
        "CREATE TABLE noise AS SELECT i AS id, decode(string_agg(md5(random()::text), ''), 'hex') AS body"
        " FROM generate_series(1, {rows} / 40) i, generate_series(1, 64) j GROUP BY i"
    ),
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
