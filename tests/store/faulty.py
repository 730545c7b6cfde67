"""A store that fails on request, for the tests of the wrappers: it stands where `StackOptions.wrap` puts it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from wal_e.errors import StoreError
from wal_e.store.api import Body, Capabilities, ObjectInfo, Store

Fail = Callable[[], StoreError]


@dataclass
class FaultyStore:
    """
    Raises what `plan` says at call N (from 1), and counts.

    `after` puts the failure behind the effect, as when the answer is lost; `cut` lets that many bytes or names of a
    stream pass first. `before` is done before call N, and `etag` is what all objects are called by.
    """

    store: Store
    plan: dict[int, Fail] = field(default_factory=dict)
    after: bool = False
    cut: int = 0
    calls: list[str] = field(default_factory=list)
    before: dict[int, Callable[[], object]] = field(default_factory=dict)
    etag: str | None = None

    @property
    def capabilities(self) -> Capabilities:
        return self.store.capabilities

    def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
        fail = self._next("put", key)
        if fail and not self.after:
            raise fail()
        info = self.store.put(key, body, create_only=create_only)
        if fail:
            raise fail()
        return info

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        fail = self._next("get", f"{key} {start} {length}")
        passed = 0
        for chunk in self.store.get(key, start=start, length=length):
            for at in range(0, len(chunk), 100):
                if fail and passed >= self.cut:
                    raise fail()
                passed += len(chunk[at : at + 100])
                yield chunk[at : at + 100]
        if fail:
            raise fail()

    def head(self, key: str) -> ObjectInfo:
        if fail := self._next("head", key):
            raise fail()
        info = self.store.head(key)
        return replace(info, etag=self.etag) if self.etag else info

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        fail = self._next("list", f"{prefix} {after}")
        for number, info in enumerate(self.store.list(prefix, after=after)):
            if fail and number >= self.cut:
                raise fail()
            yield info
        if fail:
            raise fail()

    def delete(self, keys: Iterable[str]) -> None:
        fail = self._next("delete", "")
        doomed = list(keys)
        if fail and not self.after:
            raise fail()
        self.store.delete(doomed[: self.cut] if fail and self.cut else doomed)
        if fail:
            raise fail()

    def close(self) -> None:
        self.store.close()

    def _next(self, verb: str, what: str) -> Fail | None:
        self.calls.append(f"{verb} {what}".strip())
        self.before.get(len(self.calls), bool)()
        return self.plan.get(len(self.calls))
