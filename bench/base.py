"""
Base backups of one cluster and their restores, ours and pgBackRest's in turn; `raw` does only what nobody can avoid.

Two threads or processes, page checksums verified on both sides, a local folder as the store. The raw limit is `tar`
through `zstd -3 -T2`, which checks nothing and starts no backup.
"""

from collections.abc import Callable
from dataclasses import asdict

from bench.backups import BaseBench, stored_bytes
from bench.measure import Row, Run, in_turn, render, row
from bench.results import Options, Report
from bench.tools import need
from lab.postgres import scratch_directory
from wal_e.repo.catalogue import list_backups, load_manifest
from wal_e.store.drivers.file import FolderStore

ROUNDS_OF_CHANGES = 30
SHARE = 0.01


def main(options: Options, report: Report) -> None:
    """Measures and prints all of it."""
    need("pgbackrest", "zstd")
    bench = BaseBench(scratch_directory("bench-base-"), options.rows)
    try:
        bench.pgbackrest(*bench.source(), "--no-online", "stanza-create")
        size = float(str(bench.cluster.value("SELECT sum(pg_database_size(oid)) FROM pg_database"))) / 1e9
        for name, title, rows in (
            ("base-push", f"Full backup of {size:.2f} GB", _full(bench, options.rounds)),
            ("base-fetch", "Restore to an empty directory", _restored(bench, options.rounds)),
            ("base-next", "The next backup, 1 % of the pages changed", _next(bench, options.rounds)),
            ("base-idle", "The next backup, nothing changed", _idle(bench, options.rounds)),
            ("base-delta", "Restore over a copy with 1 % of the pages damaged", _delta(bench, options.rounds)),
        ):
            report.add(name, render(title, rows), list(map(asdict, rows)))
        _many(bench, report)
    finally:
        bench.close()


def _measured(contenders: dict[str, tuple[Callable[[], Run], Callable[[], int] | None]], rounds: int) -> list[Row]:
    stored: dict[str, int] = {}

    def noting(name: str, command: Callable[[], Run], look: Callable[[], int] | None) -> Callable[[], Run]:
        def call() -> Run:
            result = command()
            stored[name] = look() if look else 0
            return result

        return call

    runs = in_turn({name: noting(name, *pair) for name, pair in contenders.items()}, rounds)
    return [row(name, results, stored[name]) for name, results in runs.items()]


def _full(bench: BaseBench, rounds: int) -> list[Row]:
    ours = lambda: stored_bytes(bench.archive / "basebackups_006")  # noqa: E731 - said three times below
    theirs = lambda: stored_bytes(bench.repository / "backup" / "bench")  # noqa: E731 - the same
    return _measured(
        {
            "pgBackRest full, zstd 3": (lambda: bench.pgbackrest_push("full"), theirs),
            "wal-e --full, zstd 3": (lambda: bench.push_level(3), ours),
            "pgBackRest full, zstd 1": (lambda: bench.pgbackrest_push("full", level=1), theirs),
            "wal-e --full, zstd 1": (lambda: bench.push_level(1), ours),
            "raw: tar | zstd -3 -T2": (bench.raw_push, lambda: (bench.raw / "copy.tar.zst").stat().st_size),
        },
        rounds,
    )


def _restored(bench: BaseBench, rounds: int) -> list[Row]:
    bench.push("--full")
    return _measured(
        {
            "pgBackRest restore": (bench.pgbackrest_fetch, None),
            "wal-e backup-fetch": (bench.fetch, None),
            "raw: zstd -d | tar -x": (bench.raw_fetch, None),
        },
        rounds,
    )


def _next(bench: BaseBench, rounds: int) -> list[Row]:
    ours: list[Run] = []
    theirs: list[Run] = []
    for _ in range(rounds):
        bench.change(SHARE)
        theirs.append(bench.pgbackrest_push("incr"))
        ours.append(bench.push())
    return [
        row("pgBackRest incr", theirs, stored_bytes(bench.repository / "backup" / "bench")),
        row("wal-e backup-push", ours, stored_bytes(bench.archive / "basebackups_006")),
    ]


def _idle(bench: BaseBench, rounds: int) -> list[Row]:
    def checkpoint() -> Run:
        sql = "SELECT pg_backup_start('c', true)" if bench.cluster.major >= 15 else "CHECKPOINT"
        return bench.run("psql", "--quiet", "--output=/dev/null", "--command", sql, "postgres")

    bench.push()
    return _measured(
        {
            "psql: start of a backup alone": (checkpoint, None),
            "wal-e backup-push": (bench.push, lambda: stored_bytes(bench.archive / "basebackups_006")),
            "pgBackRest incr": (
                lambda: bench.pgbackrest_push("incr"),
                lambda: stored_bytes(bench.repository / "backup" / "bench"),
            ),
        },
        rounds,
    )


def _delta(bench: BaseBench, rounds: int) -> list[Row]:
    ours: list[Run] = []
    theirs: list[Run] = []
    for _ in range(rounds):
        bench.pgbackrest_fetch()
        bench.damage(SHARE)
        theirs.append(bench.pgbackrest_fetch("--delta"))
        bench.fetch()
        bench.damage(SHARE)
        ours.append(bench.fetch("--delta"))
    return [row("pgBackRest restore --delta", theirs), row("wal-e backup-fetch --delta", ours)]


def _many(bench: BaseBench, report: Report) -> None:
    """What the newest backup drags along after many rounds of changes, and how long its restore takes."""
    store = FolderStore(bench.archive)
    for _ in range(ROUNDS_OF_CHANGES):
        bench.change(SHARE)
        bench.push()
    (newest, *_) = sorted(list_backups(store), key=lambda entry: entry.last_modified, reverse=True)
    manifest = load_manifest(store, newest.name)
    kept = sum(pack.size for pack in manifest.packs)
    worn = [bench.fetch() for _ in range(3)]
    bench.push("--full")
    full = stored_bytes(bench.archive / "basebackups_006")
    fresh = [bench.fetch() for _ in range(3)]
    rows = [
        row("restore of a fresh full backup", fresh, full),
        row(f"restore after {ROUNDS_OF_CHANGES} rounds of 1 %", worn, kept),
    ]
    report.add("base-many", render("What rounds of changes leave behind", rows), list(map(asdict, rows)))
