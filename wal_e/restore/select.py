"""Finding the backup to restore: what the archive holds is gathered here, `target` decides."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from wal_e.errors import Corrupt, NoSuchBackup
from wal_e.events import Level, Message, Sink
from wal_e.legacy.catalogue import list_legacy, refuse
from wal_e.pg.history import History
from wal_e.pg.recovery import Target
from wal_e.pg.wal import is_history
from wal_e.repo.catalogue import list_backups, load_summary
from wal_e.repo.cluster import read_identity
from wal_e.repo.layout import is_backup_name
from wal_e.repo.manifest import Summary
from wal_e.repo.wal import WalObject, list_wal, read_history
from wal_e.restore.target import ArchiveFacts, Choice, Timeline, choose_backup
from wal_e.store.api import Store

LATEST: Final = "LATEST"


@dataclass(frozen=True, slots=True)
class BackupQuery:
    """Which backup is wanted: a name or LATEST, and how far recovery shall go from there."""

    name: str = LATEST
    target: Target | None = None
    timeline: Timeline = None


def select_backup(store: Store, query: BackupQuery, emit: Sink) -> Choice:
    """
    The backup that fits the query; nothing but listings and summaries is read.

    Raises `NoSuchBackup` where there is none, or where the target lies outside of what the archive can reach, and
    `WalMissing` where WAL that recovery needs is not there.
    """
    name = None if query.name == LATEST else query.name
    summaries = list(_summaries(store, emit)) if name is None else [_named(store, name)]
    listing = list(list_wal(store))
    facts = ArchiveFacts.of(listing, _histories(store, listing))
    choice = choose_backup(summaries, query.target, query.timeline, facts, datetime.now(UTC), name=name)
    emit(
        Message(
            __name__,
            "selected a base backup",
            detail=f'"{choice.summary.name}": {choice.reason}.',
            fields={"name": choice.summary.name, "timeline": choice.timeline},
        )
    )
    return choice


def _named(store: Store, name: str) -> Summary:
    """Our names may look like the original's: only what is not in our catalogue can be one of its backups."""
    try:
        if is_backup_name(name):
            return load_summary(store, name)
    except NoSuchBackup:
        pass  # said below, unless it is one of the original's
    if any(backup.name == name for backup in list_legacy(store)):
        raise refuse(name)
    raise NoSuchBackup(f'there is no backup "{name}"', hint="wal-e backup-list shows the backups of this archive.")


def _summaries(store: Store, emit: Sink) -> Iterable[Summary]:
    """All summaries that can be read; a damaged one is reported and passed over, for another backup may serve."""
    for entry in list_backups(store):
        try:
            yield load_summary(store, entry.name)
        except Corrupt as error:
            emit(
                Message(
                    __name__,
                    f'the manifest of "{entry.name}" is damaged',
                    detail=f"{error.message}.",
                    hint="This backup is passed over. Take a new one soon.",
                    level=Level.WARNING,
                )
            )


def _histories(store: Store, listing: Iterable[WalObject]) -> dict[int, History]:
    found: dict[int, History] = {}
    for timeline in {int(file.name[:8], 16) for file in listing if is_history(file.name)}:
        history = read_history(store, timeline)
        if history is not None:
            found[timeline] = history
    return found


def digest_seed(store: Store, summary: Summary) -> int:
    """The seed of the archive's block digests; `Corrupt` where it is lost, or the archive another cluster's."""
    identity = read_identity(store)
    if identity is None:
        raise Corrupt(
            "the archive has no cluster.json",
            detail="Without it the blocks of a backup cannot be checked.",
            hint="Bring cluster.json back from wherever the archive was copied from.",
        )
    if identity.system_identifier != summary.system_identifier:
        raise Corrupt(f'the backup "{summary.name}" is not of the cluster that the archive belongs to')
    return identity.digest_seed
