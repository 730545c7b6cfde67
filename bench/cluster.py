"""
The cluster that is measured: about 2.5 GB of accounts like those of pgbench, prose, JSON, and incompressible bytes.

Nothing repeats itself at a fixed distance: what such a cycle is worth depends on a compressor's window alone.
"""

import random
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Final

from lab.command import shell_command
from lab.postgres import Postgres

MAJOR: Final = 15
_WORDS: Final = 20_000
_AT_ONCE: Final = 1000
_TABLES: Final = (
    (
        "CREATE TABLE accounts AS SELECT i AS aid, i % 100 AS bid, (random() * 5000)::int AS abalance,"
        " repeat(' ', 84)::char(84) AS filler FROM generate_series(1, {rows}) i"
    ),
    "ALTER TABLE accounts ADD PRIMARY KEY (aid)",
    "CREATE TABLE prose (id bigint, at timestamptz, body text)",
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
    with cluster.connect() as connection, connection.cursor().copy("COPY prose FROM STDIN") as copy:
        for number, body in enumerate(_prose(rows // 4)):
            copy.write(f"{number}\t2026-01-01 {number % 24:02}:{number % 60:02}:00+00\t{body}\n")
    cluster.sql("CHECKPOINT")
    cluster.configure({"archive_command": command})
    cluster.reload()
    return cluster


def _prose(count: int) -> Iterator[str]:
    """Texts of 25 to 54 words; words are as frequent as Zipf's law says, and follow each other by chance."""
    dice = random.Random(1)  # noqa: S311 - the same texts in each run
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    lengths = dice.choices(range(2, 12), k=_WORDS)
    words = ["".join(dice.choices(letters, range(len(letters), 0, -1), k=length)) for length in lengths]
    weights = list(accumulate(1 / rank for rank in range(1, _WORDS + 1)))
    for start in range(0, count, _AT_ONCE):
        chosen = iter(dice.choices(words, cum_weights=weights, k=_AT_ONCE * 54))
        for number in range(start, min(start + _AT_ONCE, count)):
            yield " ".join(next(chosen) for _ in range(25 + number % 30))
