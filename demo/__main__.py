"""
The story: a leader archives, a base backup is taken under load, a follower is made from the archive alone, keeps up,
and is promoted. Exit code 0 where every step gave what it should.
"""

import os
import signal
import sys
import time
from types import FrameType

from demo.stage import STORES, DemoError, Stage, open_stage, writer
from lab.place import LabError
from lab.postgres import Postgres

ROWS = 10_000_001


def main() -> int:
    """Tell the story and return the exit code; every server and file is gone afterwards."""
    store = os.environ.get("STORE", "file")
    if store not in STORES:
        print(f"STORE is {store}, but may be {' or '.join(STORES)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _interrupt)
    began = time.monotonic()
    try:
        with open_stage(store) as stage:
            _story(stage)
            stage.scene("The end")
    except KeyboardInterrupt:
        print("\nInterrupted; everything is cleaned up.", file=sys.stderr)
        return 130
    except (DemoError, LabError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    print(f"Servers, archive and copies are gone again. That took {time.monotonic() - began:.0f} s.")
    return 0


def _story(stage: Stage) -> None:
    leader = _leader(stage)
    written = _backup(stage, leader)
    follower = _follower(stage, written)
    _keep_up(stage, leader, follower)
    _promote(stage, leader, follower)


def _leader(stage: Stage) -> Postgres:
    stage.scene("A leader that archives")
    stage.tell("A PostgreSQL cluster hands each finished segment of its write-ahead log to WAL-E (postgresql.conf):")
    leader = stage.leader()
    for name, value in leader.dsn_environment().items():
        stage.export(name, value)
    stage.tell("It gets ten million rows and one more:")
    stage.shell('psql -c "select generate_series(0, 10000000) into foobar"')
    return leader


def _backup(stage: Stage, leader: Postgres) -> int:
    stage.scene("A base backup while a writer is at work")
    stage.tell("Someone inserts row after row into another table, from before the backup until after it.")
    with writer(leader) as written:
        leader.wait_for("select count(*) > 0 from visits")
        before = written()
        stage.shell(f"{stage.wal_e} backup-push $D/leader")
        during = written() - before
    if before < 0 or during <= 0:
        raise DemoError("the writer was held up by the backup")
    total = int(leader.value("select count(*) from visits"))
    stage.tell(f"{during} rows were committed meanwhile. The archive now holds a backup:")
    stage.shell(f"{stage.wal_e} backup-list")
    stage.tell("The last segment is not full yet; PostgreSQL is told to hand it over now:")
    stage.shell('psql -Atc "select pg_walfile_name(pg_switch_wal())"')
    return total


def _follower(stage: Stage, visits: int) -> Postgres:
    stage.scene("A follower, made from the archive alone")
    stage.tell("It never speaks to the leader. --standby writes the settings that make PostgreSQL follow the archive:")
    stage.shell(f"{stage.wal_e} backup-fetch $D/follower LATEST --standby")
    stage.shell("ls $D/follower/standby.signal; grep ^restore_command $D/follower/postgresql.auto.conf")
    stage.tell("Its server starts, replays, and answers questions:")
    follower = stage.follower(stage.directory / "follower")
    address = follower.dsn_environment()
    stage.export("FOLLOWER", f"host={address['PGHOST']} port={address['PGPORT']} user=postgres dbname=postgres")
    _expect(stage, "select count(*) from foobar", ROWS)
    follower.wait_for("select count(*) from visits", visits)
    stage.tell("The rows that the writer inserted during the backup are there, too:")
    _expect(stage, "select count(*) from visits", visits)
    return follower


def _keep_up(stage: Stage, leader: Postgres, follower: Postgres) -> None:
    stage.scene("The follower keeps up")
    stage.shell('psql -c "insert into foobar select generate_series(1, 1000)" -c "select pg_switch_wal()"')
    stage.tell("As soon as the segment is in the archive, the follower fetches it:")
    follower.wait_for("select count(*) from foobar", ROWS + 1000)
    _expect(stage, "select count(*) from foobar", ROWS + 1000)
    leader.wait_for("select failed_count from pg_stat_archiver", 0)


def _promote(stage: Stage, leader: Postgres, follower: Postgres) -> None:
    stage.scene("The leader is gone, the follower takes over")
    leader.stop()
    stage.shell("pg_ctl promote --silent -D $D/follower")
    follower.wait_for("select pg_is_in_recovery()", expected=False)
    stage.shell('psql "$FOLLOWER" -c "insert into foobar values (0)"')
    _expect(stage, "select count(*) from foobar", ROWS + 1001)
    stage.tell("It has begun a timeline of its own, and archives it:")
    follower.wait_for("select last_archived_wal is not null from pg_stat_archiver")
    stage.shell(f"{stage.wal_e} wal-fetch 00000002.history $D/history && cat $D/history")


def _expect(stage: Stage, query: str, value: int) -> None:
    answer = stage.shell(f'psql "$FOLLOWER" -Atc "{query}"').strip()
    if answer != str(value):
        raise DemoError(f"{query} gave {answer} instead of {value}")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
