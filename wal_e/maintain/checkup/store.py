"""
Each permission that an archive needs, tried on its own in a scratch place that no other part of WAL-E looks at.

What a user may not do is one finding each: whoever may only read gets a list of what is missing, not the first error.
"""

import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from wal_e.errors import Denied, Exists, Misconfigured, NotFound, StoreError
from wal_e.finding import Finding, explained, failed, failure, ok, skipped, warning
from wal_e.repo.layout import scratch_key
from wal_e.store.api import Body, ObjectInfo, Store, read_object
from wal_e.store.prefix import EitherSpelling

_SIZE: Final = 4096
_START: Final = 1000
_LENGTH: Final = 100
_DRIFT: Final = timedelta(seconds=30)
"""A clock that is off by more gets a warning. S3 refuses signatures from 15 minutes on."""


def probe(store: Store) -> Iterator[Finding]:
    """
    Yields one finding for each thing that was tried: container, spelling, put, clock, create-only, get, range, list,
    delete, bulk delete.

    Nothing is left behind where the user may delete; else the finding says what is. A missing container and an outage
    end it at once.
    """
    try:
        seen = next(store.list(), None)
    except Denied as error:
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

    def write(self) -> Iterator[Finding]:
        before = datetime.now(UTC)
        try:
            info = self._put("put")
        except StoreError as error:
            yield failure("put", error)
        else:
            yield ok("put", "objects can be stored")
            yield _clock(info.last_modified, before, datetime.now(UTC))
        yield self._create_only()

    def read(self) -> Iterator[Finding]:
        name = self._name("put")
        if name in self.kept:
            yield self._compared("get", "objects come back as they were stored", 0, _SIZE)
            yield self._compared("range", "parts of objects can be read", _START, _LENGTH)
        elif self.seen is not None:
            yield self._read_other(self.seen.key)
        else:
            yield skipped("get", "there is no object to read")

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

    def clean(self) -> None:
        """Deletes what is left, all at once or else one by one, as far as that is allowed."""
        if self.kept:
            self._delete(list(self.kept))
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


def _clock(stored: datetime, before: datetime, after: datetime) -> Finding:
    """The store's time of an object that was put between two times of this machine; some stores count full seconds."""
    ahead = before - timedelta(seconds=1) - stored
    behind = stored - after
    off = max(ahead, behind, timedelta())
    if off <= _DRIFT:
        return ok("clock", "it agrees with the store's")
    word = "ahead of" if ahead > behind else "behind"
    return warning(
        "clock",
        f"this machine is {round(off.total_seconds())} s {word} the store",
        "Set the clock by NTP (timedatectl set-ntp true). Tokens, signatures and retention go by it.",
    )
