"""What a command gets to work with."""

import io
import threading
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from wal_e.cli.context import Context
from wal_e.config import load
from wal_e.config.rows import GLOBAL_OPTIONS
from wal_e.events import silent
from wal_e.store.api import Body

THREADS = 16


def test_a_lease_is_renewed_while_all_threads_are_held_up_in_their_uploads_h46(tmp_path: Path) -> None:
    """As a limit on bytes per second holds them up, for minutes where packs are large and the limit is low."""
    settings = load(GLOBAL_OPTIONS, environ={"WALE_FILE_PREFIX": f"file://localhost{tmp_path}"})
    all_wait, go_on = threading.Barrier(THREADS + 1), threading.Event()

    def source() -> io.BytesIO:
        all_wait.wait(30)
        go_on.wait(30)
        return io.BytesIO(b"x")

    with (
        Context(Namespace(), settings, silent).store(requests=THREADS) as store,
        ThreadPoolExecutor(THREADS + 1) as pool,
    ):
        packs = [pool.submit(store.put, f"pack-{number}", Body(1, source)) for number in range(THREADS)]
        all_wait.wait(30)
        try:
            assert pool.submit(store.put, "lease", Body.of(b"x")).result(10).size == 1
        finally:
            go_on.set()
        assert [pack.result().size for pack in packs] == [1] * THREADS
