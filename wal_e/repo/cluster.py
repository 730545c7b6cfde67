"""
Whose archive this is: `cluster.json`, written once, compared ever after (H02, H27).

Two clusters under one prefix overwrite or expire each other's WAL sooner or later, so an archive belongs to one
system identifier, and everything that writes to it says which cluster it writes for.
"""

import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from wal_e.errors import Corrupt, Exists, NotFound, WrongCluster
from wal_e.repo.layout import CLUSTER_KEY
from wal_e.store.api import Body, Store
from wal_e.units import KIB, format_timestamp

FORMAT: Final = 1
_LIMIT: Final = 64 * KIB
_UINT64: Final = 1 << 64


@dataclass(frozen=True, slots=True)
class ClusterIdentity:
    """The owner: its 64-bit system identifier, and the seed of this archive's block digests."""

    system_identifier: int
    digest_seed: int


def read_identity(store: Store) -> ClusterIdentity | None:
    """The owner of the archive, or None while it has none; `Corrupt` where the object does not parse."""
    data = b""
    try:
        for chunk in store.get(CLUSTER_KEY):
            data += chunk
            if len(data) > _LIMIT:
                raise _corrupt(f"it has more than {_LIMIT} bytes")
    except NotFound:
        return None
    return parse_identity(data)


def ensure_identity(store: Store, system_identifier: int) -> ClusterIdentity:
    """
    The owner of the archive, which must be this cluster; an archive without one is claimed.

    What was created is read back, because creating is not exclusive on every store (Swift): of two clusters that
    claim one archive at once, the one whose claim is read back owns it, the other gets `WrongCluster`. An archive
    that already holds what the original wrote is claimed in the same way.
    """
    identity = read_identity(store)
    if identity is None:
        _claim(store, system_identifier)
        identity = read_identity(store)
    if identity is None:
        raise Corrupt(
            f'"{CLUSTER_KEY}" disappeared right after it was written',
            hint="Repeat the command; if it happens again, look for lifecycle rules that delete new objects.",
        )
    check_identity(identity, system_identifier)
    return identity


def check_identity(identity: ClusterIdentity, system_identifier: int) -> None:
    """Raises `WrongCluster` where the archive's owner is not the cluster with this system identifier."""
    if identity.system_identifier != system_identifier:
        raise WrongCluster(
            "the archive belongs to another cluster",
            detail=(
                f"The archive is of the cluster with system identifier {identity.system_identifier}, "
                f"this is {system_identifier}."
            ),
            hint="Give each cluster a prefix of its own. A restored or newly initialised cluster needs a new one.",
        )


def parse_identity(data: bytes) -> ClusterIdentity:
    """Reads the text of `cluster.json`; anything unexpected raises `Corrupt`."""
    try:
        document: Any = json.loads(data)
        if document["format"] != FORMAT:
            raise _corrupt(f"its format is {document['format']!r}, this version reads {FORMAT}")
        identifier, seed = int(document["system_identifier"], 10), int(document["digest_seed"], 16)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _corrupt(f"{type(error).__name__}: {error}") from error
    if not (0 <= identifier < _UINT64 and 0 <= seed < _UINT64):
        raise _corrupt("a number in it is not a 64-bit one")
    return ClusterIdentity(identifier, seed)


def _claim(store: Store, system_identifier: int) -> None:
    document = {
        "format": FORMAT,
        "system_identifier": str(system_identifier),
        "digest_seed": f"{secrets.randbits(64):016x}",
        "created": format_timestamp(datetime.now(UTC)),
    }
    try:
        store.put(CLUSTER_KEY, Body.of(json.dumps(document, indent=1).encode() + b"\n"), create_only=True)
    except Exists:
        return


def _corrupt(reason: str) -> Corrupt:
    return Corrupt(
        f'"{CLUSTER_KEY}" in the archive cannot be read',
        detail=f"{reason[:1].upper()}{reason[1:]}.",
        hint="Check that the prefix is right. The file says whose archive this is, and is never changed by us.",
    )
