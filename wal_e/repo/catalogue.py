"""
Which base backups the archive has: a backup exists when its manifest does.

Finding them costs a request for each backup, not for each pack: events, manifest and packs sort in this order,
so after a manifest the listing goes on behind the packs.
"""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from wal_e.errors import NoSuchBackup, NotFound, ShortRead
from wal_e.repo.layout import BACKUP_PREFIX, PACK, backup_prefix, manifest_key
from wal_e.repo.manifest import (
    Manifest,
    PackRef,
    Summary,
    decode_manifest,
    decode_packs,
    decode_summary,
    encode_manifest,
)
from wal_e.store.api import Body, Store, read_object
from wal_e.units import KIB

_HEAD: Final = 32 * KIB
_LAST: Final = "~"
"""Sorts behind every character that our object names begin with."""


@dataclass(frozen=True, slots=True)
class BackupEntry:
    """One committed base backup, as the listing shows it; `size` is that of the manifest, in bytes."""

    name: str
    last_modified: datetime
    size: int


def list_backups(store: Store) -> list[BackupEntry]:
    """The committed backups in the order of their names."""
    entries: list[BackupEntry] = []
    after: str | None = ""
    while after is not None:
        listing, after = store.list(BACKUP_PREFIX, after=after), None
        for info in listing:
            name = info.key.removeprefix(BACKUP_PREFIX).split("/", 1)[0]
            if info.key == manifest_key(name):
                entries.append(BackupEntry(name, info.last_modified, info.size))
            if info.key >= manifest_key(name):
                after = backup_prefix(name) + _LAST
                break
    return entries


def load_summary(store: Store, name: str, size: int | None = None) -> Summary:
    """
    The summary of one backup, from the first bytes of its manifest; `NoSuchBackup` when there is none.

    `size` is that of the manifest; where a listing told it, one request is spared.
    """
    key = manifest_key(name)
    try:
        size = store.head(key).size if size is None else size
        head = read_object(store, key, start=0, length=min(size, _HEAD))
    except NotFound:
        raise _no_such_backup(name) from None
    summary = decode_summary(head)
    return load_manifest(store, name).summary if summary is None else summary


def load_manifest(store: Store, name: str) -> Manifest:
    """The whole manifest of one backup; `NoSuchBackup` when there is none, `Corrupt` when it is damaged."""
    try:
        return decode_manifest(read_object(store, manifest_key(name)))
    except NotFound:
        raise _no_such_backup(name) from None


def load_packs(store: Store, name: str) -> tuple[PackRef, ...]:
    """
    The packs that a backup needs, its own and others'; errors are those of `load_manifest`.

    The list of files, which may be a million of them, is not even fetched.
    """
    try:
        return decode_packs(store.get(manifest_key(name)))
    except NotFound:
        raise _no_such_backup(name) from None


def commit(store: Store, manifest: Manifest) -> None:
    """
    Makes the backup exist, after comparing every pack with what the store really holds (H22).

    A second commit of one name raises `Exists`, from the store.
    """
    sizes = pack_sizes(store, manifest.packs)
    for pack in manifest.packs:
        size = sizes.get(pack.key, 0)
        if size != pack.size:
            raise ShortRead(
                f'the pack "{pack.key}" has {size} bytes in the store, {pack.size} were sent',
                hint="The backup was not committed. Take it again.",
            )
    store.put(manifest_key(manifest.summary.name), Body.of(encode_manifest(manifest)), create_only=True)


def pack_sizes(store: Store, packs: Iterable[PackRef]) -> dict[str, int]:
    """
    The sizes of those of the packs that the store has, in bytes, by key: one listing for each backup they are of.

    A listing may lag behind (H18): what it does not show is asked for by name.
    """
    wanted = {pack.key for pack in packs}
    sizes: dict[str, int] = {}
    for prefix in sorted({key.rpartition("/")[0] + "/" for key in wanted}):
        sizes |= {info.key: info.size for info in store.list(prefix + PACK) if info.key in wanted}
    for key in sorted(wanted - sizes.keys()):
        with contextlib.suppress(NotFound):
            sizes[key] = store.head(key).size
    return sizes


def name_is_taken(store: Store, name: str) -> bool:
    """Whether anything is stored under this backup's name, committed or not."""
    return next(iter(store.list(backup_prefix(name))), None) is not None


def _no_such_backup(name: str) -> NoSuchBackup:
    return NoSuchBackup(f'there is no backup "{name}"', hint="wal-e backup-list shows the backups of this archive.")
