"""Waiting until the WAL that a backup needs is in the archive: before that, the backup does not exist (H23)."""

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

from wal_e.errors import WalMissing
from wal_e.events import Message, Sink
from wal_e.pg.wal import SegmentName
from wal_e.repo.wal import wal_exists
from wal_e.store.api import Store

_PAUSE: Final = 0.25


def wait_for_wal(
    store: Store,
    segments: Sequence[SegmentName],
    timeout: timedelta,
    emit: Sink,
    *,
    explain: Callable[[], str | None],
) -> None:
    """
    Returns when every segment is in the archive; raises `WalMissing` when some are not at the deadline.

    `explain` is asked then for what the server's archiver has to say.
    """
    deadline = time.monotonic() + timeout.total_seconds()
    missing = [segment for segment in segments if not wal_exists(store, str(segment))]
    if missing:
        emit(
            Message(
                __name__,
                "blocking on sending WAL segments",
                detail=f"Waiting until {missing[0]} to {missing[-1]} are in the archive.",
            )
        )
    while missing and time.monotonic() < deadline:
        time.sleep(_PAUSE)
        missing = [segment for segment in missing if not wal_exists(store, str(segment))]
    if missing:
        raise WalMissing(
            f"WAL that the base backup needs did not arrive in the archive within {timeout}",
            detail=" ".join(filter(None, (f"Missing: {', '.join(map(str, missing[:10]))}.", explain()))),
            hint="Look for archive_command's error in the server's log; on a standby, the primary must switch its "
            "segment (SELECT pg_switch_wal()). The backup was not committed; take it again then.",
        )
