"""
Each permission that an archive needs, tried on its own in a scratch place that no other part of WAL-E looks at.

What a user may not do is one finding each: whoever may only read gets a list of what is missing, not the first error.
"""

import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from wal_e.errors import Denied, Exists, Misconfigured, NotFound, StoreError, Throttled, Unavailable
from wal_e.finding import Finding, Verdict, explained, failed, failure, ok, skipped, warning
from wal_e.maintain.checkup.clock import NAME, judge_clock
from wal_e.repo.layout import scratch_key
from wal_e.store.api import Body, ObjectInfo, Store, read_object
from wal_e.store.prefix import EitherSpelling

_SIZE: Final = 4096
_START: Final = 1000
_LENGTH: Final = 100


def probe(store: Store) -> Iterator[Finding]:
    """
    Yields one finding for each thing that was tried: container, spelling, put, clock, create-only, get, range, absent,
    list, delete, bulk delete.

    Nothing is left behind where the user may delete; else the finding says what is. A missing container and an outage
    end it at once.
    """
    try:
        seen = next(store.list(), None)
    except Denied as error:
        if isinstance(store, EitherSpelling):
            yield failure("list", error)
            yield skipped("put", "how names begin here is known by a listing only, so nothing works without")
            return
        denied: Denied | None = error
        seen = None
    except StoreError as error:
        yield failure("container" if isinstance(error, Misconfigured) else "store", error)
        return
    else:
        denied = None
        yield ok("container", "it is there, and may be listed")
        yield from _spelling(store)
    scratch = _Scratch(store, seen)
    try:
        yield from scratch.write()
        yield from scratch.read()
        yield failure("list", denied) if denied is not None else scratch.listed()
        yield from scratch.delete()
    finally:
        scratch.clean()


@dataclass(slots=True)
class _Scratch:
    """The scratch objects of one run: `kept` are those that are still there, as far as is known."""

    store: Store
    seen: ObjectInfo | None
    run: str = field(default_factory=lambda: secrets.token_hex(8))
    data: bytes = field(default_factory=lambda: secrets.token_bytes(_SIZE))
    kept: list[str] = field(default_factory=list)
    given_up: bool = False

    def write(self) -> Iterator[Finding]:
        before = datetime.now(UTC)
        try:
            self._put("put")
        except StoreError as error:
            yield failure("put", error)
        else:
            yield ok("put", "objects can be stored")
            yield self._clock(before, datetime.now(UTC))
        yield self._create_only()

    def read(self) -> Iterator[Finding]:
        name = self._name("put")
        if name in self.kept:
            read = self._compared("get", "objects come back as they were stored", 0, _SIZE)
            yield read
            yield self._compared("range", "parts of objects can be read", _START, _LENGTH)
        elif self.seen is not None:
            yield (read := self._read_other(self.seen.key))
        else:
            yield (read := skipped("get", "there is no object to read"))
        if read.verdict is Verdict.OK:
            yield self._absent()

    def listed(self) -> Finding:
        try:
            found = {info.key for info in self.store.list(self._name(""))}
        except StoreError as error:
            return failure("list", error)
        late = [key for key in self.kept if key not in found]
        if late:
            return warning(
                "list",
                f"{late[0]} was stored a moment ago, and is not listed",
                "Repeat the command. A listing that lags makes deletion and wal-verify miss what is new.",
            )
        return ok("list", "what was stored is listed")

    def delete(self) -> Iterator[Finding]:
        one, several = self._name("put"), [self._name("create"), self._name("more")]
        with suppress(StoreError):
            self._put("more")
        single, bulk = self._delete([one]), self._delete(several)
        self.clean()
        left = f" Left behind: {', '.join(self.kept)}." if self.kept else ""
        for name, error, fine in (
            ("delete", single, "objects can be deleted"),
            ("bulk delete", bulk, "objects can be deleted several at once"),
        ):
            if error is None:
                yield ok(name, fine)
            else:
                hint = f"{error.hint or ''} Only deletion needs this: a host that archives can do without.{left}"
                yield warning(name, explained(error), hint.strip())
                left = ""  # once is enough

    def clean(self) -> None:
        """Deletes what is left, all at once or else one by one as far as is allowed; an outage ends it for good."""
        if self.kept and not self.given_up and isinstance(self._delete(list(self.kept)), Unavailable | Throttled):
            self.given_up = True  # each further request would be repeated as patiently
        if not self.given_up:
            for key in list(self.kept):
                self._delete([key])

    def _create_only(self) -> Finding:
        try:
            self._put("create", create_only=True)
        except StoreError as error:
            return failure("create-only", error)
        try:
            self.store.put(self._name("create"), Body.of(self.data[::-1]), create_only=True)
        except Exists:
            return ok("create-only", "a name that is taken is refused")
        except StoreError as error:
            return failure("create-only", error)
        return failed(
            "create-only",
            "a second object was taken under the same name: the service ignores If-None-Match",
            "Use a release of the service that knows it. Until then give each cluster credentials for its own prefix "
            "alone: nothing would keep two from overwriting each other's WAL.",
        )

    def _compared(self, name: str, fine: str, start: int, length: int) -> Finding:
        try:
            got = read_object(self.store, self._name("put"), start=start, length=length)
        except StoreError as error:
            return failure(name, error)
        if got != self.data[start : start + length]:
            return failed(name, "other bytes came back than were stored", "Look for a proxy that changes what passes.")
        return ok(name, fine)

    def _clock(self, before: datetime, after: datetime) -> Finding:
        """The store's own time of what was just put: what a put returns may be this machine's."""
        name = self._name("put")
        with suppress(StoreError):
            return judge_clock(self.store.head(name).last_modified, before, after)
        with suppress(StoreError):
            for info in self.store.list(name):
                return judge_clock(info.last_modified, before, after)
        return skipped(NAME, "the store does not show when it stored the object")

    def _absent(self) -> Finding:
        """What wal-fetch must hear where an archive ends."""
        try:
            next(self.store.get(self._name("absent")), b"")
        except NotFound:
            return ok("absent", "the store says so where there is no object")
        except StoreError as error:
            return failed(
                "absent",
                f"the store does not say that there is no object: {explained(error)}",
                "Grant the right to list, too: S3 and Google tell only then. No recovery finds the end of WAL without.",
            )
        return failed("absent", "an object came back that nobody stored", "Look for an HTTP proxy before the service.")

    def _read_other(self, key: str) -> Finding:
        try:
            next(self.store.get(key), b"")
        except NotFound:
            return skipped("get", "the object that was to be read is gone")
        except StoreError as error:
            return failure("get", error)
        return ok("get", "objects can be read")

    def _put(self, word: str, *, create_only: bool = False) -> ObjectInfo:
        key = self._name(word)
        self.kept.append(key)  # a put that fails may have stored it all the same
        try:
            return self.store.put(key, Body.of(self.data), create_only=create_only)
        except (Denied, Misconfigured):
            self.kept.remove(key)
            raise

    def _delete(self, keys: list[str]) -> StoreError | None:
        try:
            self.store.delete(keys)
        except StoreError as error:
            return error
        self.kept = [key for key in self.kept if key not in keys]
        return None

    def _name(self, word: str) -> str:
        return scratch_key(self.run, word)


def _spelling(store: Store) -> Iterator[Finding]:
    if not isinstance(store, EitherSpelling):
        return
    spellings = store.spellings()
    if len(spellings) > 1:
        yield warning(
            "spelling",
            "some names begin with a slash and some do not; both are read, new ones have none",
            "An older WAL-E and this one, or WAL-G, write to the same prefix. Let only one of them.",
        )
    elif spellings[0].startswith("/"):
        yield ok("spelling", "names begin with a slash, as WAL-E 1.x writes them, and will go on so")
