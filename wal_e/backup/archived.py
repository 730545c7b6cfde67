"""Waiting until the WAL that a backup needs is in the archive: before that, the backup does not exist (H23)."""

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

from wal_e.errors import WalMissing
from wal_e.events import Level, Message, Sink
from wal_e.pg.wal import SegmentName
from wal_e.repo.wal import wal_exists
from wal_e.store.api import Store

_SHORTEST: Final = 0.02
_LONGEST: Final = 0.5
"""Seconds between two looks: a quarter of what was waited already, within these."""
_LONG: Final = 30.0
"""Seconds after which the wait is no longer what every backup has: a busy archiver delivers a segment sooner."""
_ON_PRIMARY: Final = "Look for archive_command's error in the server's log."
_ON_STANDBY: Final = (
    "A standby cannot end the segment: on the primary, SELECT pg_switch_wal(), or wait for its archive_timeout. If "
    "that changes nothing, look for archive_command's error in the primary's log."
)


def wait_for_wal(
    store: Store,
    segments: Sequence[SegmentName],
    timeout: timedelta,
    emit: Sink,
    *,
    standby: bool = False,
    explain: Callable[[], str | None],
) -> None:
    """
    Returns when every segment is in the archive; raises `WalMissing` when some are not at the deadline.

    Where it takes long, a warning says what to do meanwhile; with `standby` that is to be done on the primary.
    `explain` is asked for what the server's archiver has to say.
    """
    begun = time.monotonic()
    hint = _ON_STANDBY if standby else _ON_PRIMARY
    told = False
    missing = [segment for segment in segments if not wal_exists(store, str(segment))]
    if missing:
        emit(
            Message(
                __name__,
                "blocking on sending WAL segments",
                detail=f"Waiting for {missing[0]}{f' to {missing[-1]}' if missing[1:] else ''}.",
            )
        )
    while missing and (waited := time.monotonic() - begun) < timeout.total_seconds():
        if waited >= _LONG and not told:
            told = True
            emit(_still_waiting(missing, waited, explain(), hint))
        time.sleep(min(_LONGEST, max(_SHORTEST, waited / 4)))
        missing = [segment for segment in missing if not wal_exists(store, str(segment))]
    if missing:
        raise WalMissing(
            f"WAL that the base backup needs did not arrive in the archive within {timeout}",
            detail=_detail(missing, explain()),
            hint=f"{hint} The backup was not committed; take it again then.",
        )


def _still_waiting(missing: Sequence[SegmentName], waited: float, said: str | None, hint: str) -> Message:
    return Message(
        __name__,
        f"still waiting for WAL that the base backup needs, after {waited:.0f} s",
        detail=_detail(missing, said),
        hint=hint,
        level=Level.WARNING,
    )


def _detail(missing: Sequence[SegmentName], said: str | None) -> str:
    return " ".join(filter(None, (f"Missing: {', '.join(map(str, missing[:10]))}.", said)))
