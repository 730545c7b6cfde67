"""Claims to the archive's lease as the store lists them (docs/format.md, section 9); `lease` says what they mean."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from wal_e.errors import LeaseHeld
from wal_e.repo.holder import Holder, decode_holder
from wal_e.repo.layout import claim_prefix, parse_lease_key, release_key
from wal_e.store.api import ObjectInfo, Store, read_object
from wal_e.units import format_timestamp


@dataclass(frozen=True, slots=True)
class Claim:
    """The objects of one claim: the newest that makes or renews it (None: there is none), and all keys."""

    name: str
    newest: ObjectInfo | None
    keys: tuple[str, ...]

    @property
    def counts(self) -> bool:
        """Whether it was made and not released."""
        return self.newest is not None and not self.released

    @property
    def released(self) -> bool:
        """Whether it was ended, by whoever made it or by a successor."""
        return release_key(self.name) in self.keys


@dataclass(frozen=True, slots=True)
class Rival:
    """Another claim that counts: its newest object, who made it, and until when it counts by the store's clock."""

    claim: Claim
    newest: str
    holder: Holder
    expires: datetime

    @property
    def name(self) -> str:
        """The claim's name; the order of names is the order in which contenders give way."""
        return self.claim.name


def list_claims(store: Store, prefix: str) -> dict[str, Claim]:
    """The claims whose objects' keys start with the prefix, by name."""
    found: dict[str, list[tuple[int | None, ObjectInfo]]] = {}
    for info in store.list(prefix):
        parsed = parse_lease_key(info.key)
        if parsed is not None:
            found.setdefault(parsed.claim, []).append((parsed.number, info))
    return {
        name: Claim(
            name,
            next((info for number, info in reversed(objects) if number is not None), None),
            tuple(info.key for _, info in objects),
        )
        for name, objects in found.items()
    }


def read_rivals(store: Store, claims: Iterable[Claim], lasts: timedelta) -> Iterator[Rival]:
    """
    Reads who made those of the claims that count; `NotFound` where one was renewed or withdrawn since it was listed.

    `lasts` is how long one counts that does not parse.
    """
    for claim in claims:
        if claim.newest is not None and claim.counts:
            stored = claim.newest.last_modified
            holder = decode_holder(read_object(store, claim.newest.key), stored, lasts)
            yield Rival(claim, claim.newest.key, holder, stored + holder.lasts)


def held_by(rival: Rival) -> LeaseHeld:
    """The error for whoever meets this one."""
    return LeaseHeld(
        "another run has the archive: one backup or one deletion at a time",
        detail=f"It is {rival.holder}, since {format_timestamp(rival.holder.since)}.",
        hint=f"Wait until it is done. If it crashed, its lease expires by itself at {format_timestamp(rival.expires)}. "
        f'Where it is certain that it does not run any more, delete the objects under "{claim_prefix(rival.name)}".',
    )
