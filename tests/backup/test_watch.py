"""The look at the session while files are copied."""

import pytest

from tests.plugins.postgres import PostgresFactory
from wal_e.backup.watch import watching
from wal_e.errors import ServerError
from wal_e.events import Event, Message, Progress
from wal_e.pg.server import Server


@pytest.mark.slow
def test_h36_a_session_that_is_lost_ends_the_copy_soon(
    postgres_factory: PostgresFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = postgres_factory(15)
    for name, value in cluster.dsn_environment().items():
        monkeypatch.setenv(name, value)
    now = 0.0
    heard: list[Event] = []
    with Server.connect() as server:
        sink = watching(server, heard.append, now=lambda: now)
        going = Progress("backup-push", 1, 2, 0)
        now = 6
        sink(going)
        cluster.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'wal-e'")
        sink(going)  # asked a moment ago
        now = 100
        sink(Message("here", "no progress"))
        now = 12
        with pytest.raises(ServerError, match="session with PostgreSQL was lost"):
            sink(going)
    assert len(heard) == 4
