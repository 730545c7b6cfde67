"""
The archive's lease: one backup or one deletion at a time (H25, H46; docs/adr/0006-leases.md).

A claim is a few small objects under a name of its own, none of which is ever rewritten:

    leases/<claim>/00000000.json     the claim: who, since when, for how long
    leases/<claim>/00000001.json     a renewal, and so on; each takes the place of the one before
    leases/<claim>/released.json     the claim counts no more (where nothing may be deleted, or by a successor)

Whoever wants the lease stores a claim, and then lists: who sees no other claim that counts has it. Of two at once the
later one to store sees the other, whatever the clocks say. Where several see each other, the first by name stays
until the others have withdrawn. A holder that has not renewed for too long, while a newcomer watched, is taken for
dead; it finds out before it does anything that cannot be undone, for it looks each time.
"""

import contextlib
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Final, Self

from wal_e.errors import Denied, Exists, LeaseLost, NotFound, StoreError, Unavailable
from wal_e.events import Event, Level, Message, Sink
from wal_e.repo.claims import Claim, Rival, held_by, list_claims, read_rivals
from wal_e.repo.holder import Holder
from wal_e.repo.layout import LEASE_PREFIX, claim_key, claim_name, claim_prefix, release_key
from wal_e.store.api import Body, Store
from wal_e.units import format_timestamp

LASTS: Final = timedelta(minutes=10)
_LOOKS: Final = 5
_FAREWELL: Final = 10.0


def _uptime() -> float:
    """Seconds that pass while the host sleeps, too: a holder must not wake up and believe that no time went by."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True, slots=True)
class Timing:
    """
    How long things take, in seconds but for `lasts`.

    A claim counts for `lasts` after its newest object was stored, by the store's clock, and is renewed every `renew`.
    `settle` is the pause before the listing that decides, where a store's listings may lag behind its puts: a
    Swift object server waits for the container's update for a second, by default. One that expired is watched for
    `watch`, longer than `renew`, before it counts as dead.
    """

    lasts: timedelta = LASTS
    renew: float = 60.0
    settle: float = 2.0
    watch: float = 90.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = _uptime


class Lease:
    """
    The lease of an archive for one command; a context manager that releases it, and may be left without it.

    `acquire` gets it and keeps it renewed on a thread; `check` stands before everything that cannot be undone.
    """

    def __init__(self, store: Store, command: str, emit: Sink, timing: Timing | None = None) -> None:
        self.name = claim_name(datetime.now(UTC), secrets.token_hex(8))
        self._store = store
        self._emit = emit
        self._timing = timing or Timing()
        self._holder = Holder.here(command, self._timing.lasts)
        self._keys: list[str] = []
        self._number = 0
        self._standing = claim_key(self.name, 0)
        self._renewed = 0.0
        self._stored = self._timing.clock()
        self._store_time = datetime.now(UTC)
        self._may_delete = True
        self._ended: list[Claim] = []
        self._lost: LeaseLost | None = None
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(_FAREWELL)
        self._withdraw()

    def acquire(self) -> None:
        """
        Gets the lease; `LeaseHeld`, with the holder's name, where another run has it.

        On a store whose listings may lag it takes some seconds; after a crash elsewhere, `Timing.watch`.
        """
        self._renewed = self._timing.clock()
        try:
            self._put(0)
        except Denied:
            self._keys = []  # nothing to release, and no right to say so
            raise
        self._stored = self._timing.clock()
        if not self._store.capabilities.atomic_create:
            self._timing.sleep(self._timing.settle)
        for dead in self._contend():
            self._bury(dead)
        for claim in self._ended:
            self._clear(claim)
        self._thread.start()

    def check(self) -> None:
        """
        Raises `LeaseLost` unless the lease is this run's, as the store sees it now.

        To be called before each thing that cannot be undone; costs a listing of one or two keys.
        """
        with self._lock:
            self._verify()
            if self._lapsed:
                self.renew()

    def renew(self) -> None:
        """Stores one renewal in place of the one before; `LeaseLost` where the lease is another's or was removed."""
        with self._lock:
            begun, before = self._timing.clock(), list(self._keys)
            self._number += 1
            self._put(self._number)
            self._verify()
            self._standing, self._renewed = self._keys[-1], begun
            if self._discard(before):
                self._keys = [key for key in self._keys if key not in before]

    def now(self) -> datetime:
        """The time by the store's clock, as it was when this claim was listed, and what went by since."""
        return self._store_time + timedelta(seconds=self._timing.clock() - self._stored)

    def watched(self, emit: Sink) -> Sink:
        """A sink that passes events on, and raises `LeaseLost` once the renewing thread has found it lost."""

        def pass_on(event: Event) -> None:
            if self._lost is not None:
                raise self._lost
            emit(event)

        return pass_on

    @property
    def _lapsed(self) -> bool:
        """Whether others may have taken us for dead; counted from before the renewal was sent."""
        return self._timing.clock() - self._renewed > self._timing.lasts.total_seconds()

    def _keep(self) -> None:
        while not self._stop.wait(self._timing.renew):
            try:
                self.renew()
            except LeaseLost:
                return
            except StoreError as error:
                # An outage: the next turn tries again, and `check` finds out what became of the lease meanwhile.
                self._emit(Message(__name__, "could not renew the lease", f"{error}.", level=Level.DEBUG))

    def _put(self, number: int) -> None:
        self._keys.append(claim_key(self.name, number))
        self._create(self._keys[-1])

    def _create(self, key: str) -> None:
        """Stores who we are under a key that nobody stores anything else under: there already is as good."""
        with contextlib.suppress(Exists):
            self._store.put(key, Body.of(self._holder.encode()), create_only=True)

    def _discard(self, keys: list[str]) -> bool:
        """Deletes what is of no use any more; where that is not allowed it stays, and is not tried again."""
        if self._may_delete:
            try:
                self._store.delete(keys)
            except Denied:
                self._may_delete = False
            except StoreError:
                return False
        return self._may_delete

    def _contend(self) -> list[Rival]:
        """Returns the claims of the dead once no other one counts; `LeaseHeld` where one does."""
        watched: dict[str, tuple[str, float]] = {}
        looks = 0
        while True:
            rivals = self._rivals()
            alive = [rival for rival in rivals if not self._is_dead(rival, watched)]
            held = [rival for rival in alive if rival.name not in watched]
            looks += bool(held)
            if not alive:
                return rivals
            if held and (looks > _LOOKS or any(rival.name < self.name for rival in held)):
                raise held_by(held[0])
            self._timing.sleep(self._timing.settle if held else self._timing.renew)

    def _rivals(self) -> list[Rival]:
        """All other claims that count, as the store lists them now; it must list our own as well."""
        for _look in range(_LOOKS):
            claims = list_claims(self._store, LEASE_PREFIX)
            own = claims.pop(self.name, None)
            if own is not None and own.newest is not None:
                self._store_time = own.newest.last_modified
                self._ended = [claim for claim in claims.values() if not claim.counts]
                # What was renewed since it was listed is listed again, for it may be withdrawn as well.
                with contextlib.suppress(NotFound):
                    return list(read_rivals(self._store, claims.values(), self._timing.lasts))
            self._timing.sleep(self._timing.settle)
        raise Unavailable(
            "the store's listing shows what is gone, or not what was stored just now",
            detail=f'What was stored is "{self._keys[-1]}".',
            hint="Listings of this store lag behind; repeat the command later.",
        )

    def _is_dead(self, rival: Rival, watched: dict[str, tuple[str, float]]) -> bool:
        """
        Whether its process is gone, or it expired and was not renewed while it was watched.

        `watched` is kept here: by name, the newest object of what expired, and since when that is known.
        """
        if rival.holder.gone:
            return True
        newest, since = watched.get(rival.name, (rival.newest, self._timing.clock()))
        if rival.expires >= self.now() or newest != rival.newest:
            watched.pop(rival.name, None)
            return False
        watched[rival.name] = newest, since
        return self._timing.clock() - since >= self._timing.watch

    def _verify(self) -> None:
        """
        Raises `LeaseLost` where what was stored last and found in its place is gone, or the claim is released.

        A renewal alone proves nothing: a successor may have come and gone. One that has just come is seen, too.
        """
        if self._lost is not None:
            raise self._lost
        claims = list_claims(self._store, LEASE_PREFIX if self._lapsed else claim_prefix(self.name))
        own = claims.pop(self.name, Claim(self.name, None, ()))
        stands = self._standing in own.keys
        if not stands:
            # A listing may lag behind: what it does not show is asked for by name.
            with contextlib.suppress(NotFound):
                stands = self._store.head(self._standing).key == self._standing
        if not stands or own.released or any(claim.counts for claim in claims.values()):
            self._lost = LeaseLost(
                "this run has lost the archive's lease",
                detail="It did not renew it in time, and another run took it over, or somebody removed it.",
                hint="Nothing more was changed. See whether another backup or deletion runs, then repeat the command.",
            )
            raise self._lost

    def _bury(self, dead: Rival) -> None:
        """Says for good that the claim of a dead run counts no more, and clears it away where that is allowed."""
        self._emit(
            Message(
                __name__, "taking over the lease of a run that is gone", f"It was {dead.holder}.", level=Level.WARNING
            )
        )
        self._create(release_key(dead.name))
        self._clear(dead.claim)

    def _clear(self, ended: Claim) -> None:
        """Deletes what is left of a claim that counts no more, in an order in which it never does again."""
        if self._discard([key for key in ended.keys if key != release_key(ended.name)]):
            self._discard([release_key(ended.name)])

    def _withdraw(self) -> None:
        if not self._keys:
            return
        try:
            self._remove()
        except StoreError as error:
            until = format_timestamp(self.now() + self._timing.lasts)
            self._emit(
                Message(
                    __name__,
                    "could not release the archive's lease",
                    detail=f"{error.message[:1].upper()}{error.message[1:]}.",
                    hint=f"It expires by itself at {until}. Until then runs on other hosts are refused.",
                    level=Level.WARNING,
                )
            )
        self._keys = []

    def _remove(self) -> None:
        """By deleting, else by one more object, unless an outage was waited for already."""
        begun = self._timing.clock()
        if self._may_delete:
            try:
                self._store.delete(self._keys)
            except StoreError:
                if self._timing.clock() - begun > _FAREWELL:
                    raise
            else:
                return
        self._create(release_key(self.name))
