"""`wal-e check` on a store that forbids one thing: that is found with a hint, and nothing else is blamed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.store.faulty import FaultyStore
from wal_e.errors import Denied, Misconfigured, StoreError, Unavailable
from wal_e.finding import Finding, Verdict
from wal_e.maintain.checkup.store import probe
from wal_e.repo.layout import SCRATCH_PREFIX
from wal_e.store.api import Body, Capabilities, ObjectInfo, Store
from wal_e.store.drivers.file import FolderStore
from wal_e.store.drivers.memory import MemoryStore
from wal_e.store.prefix import EitherSpelling

EVERYTHING = ["container", "put", "clock", "create-only", "get", "range", "absent", "list", "delete", "bulk delete"]


@dataclass
class Policed:
    """A store that refuses what `forbidden` names, each of them apart, as a policy of a real service can."""

    store: Store = field(default_factory=MemoryStore)
    forbidden: frozenset[str] = frozenset()
    ignores_conditions: bool = False
    garbles: bool = False
    lists_late: bool = False
    ahead: timedelta = timedelta()

    @property
    def capabilities(self) -> Capabilities:
        return self.store.capabilities

    def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
        self._need("create" if create_only else "put")
        return self.store.put(key, body, create_only=create_only and not self.ignores_conditions)

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        self._need("range" if start else "get")
        if key.endswith("/absent"):
            self._need("hear of absence")
        chunks = self.store.get(key, start=start, length=length)
        return (chunk[::-1] for chunk in chunks) if self.garbles else chunks

    def head(self, key: str) -> ObjectInfo:
        self._need("head")
        return self._dated(self.store.head(key))

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        self._need("list")
        return map(self._dated, () if self.lists_late else self.store.list(prefix, after=after))

    def delete(self, keys: Iterable[str]) -> None:
        doomed = list(keys)
        self._need("bulk delete" if len(doomed) > 1 else "delete")
        self.store.delete(doomed)

    def close(self) -> None:
        self.store.close()

    def _dated(self, info: ObjectInfo) -> ObjectInfo:
        return replace(info, last_modified=info.last_modified + self.ahead)

    def _need(self, right: str) -> None:
        if right in self.forbidden:
            raise Denied(f"you may not {right}", hint=f"Ask for the right to {right}.")


def bad(findings: Iterable[Finding]) -> dict[str, Finding]:
    return {one.name: one for one in findings if one.verdict in {Verdict.FAILED, Verdict.WARNING}}


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_all_is_well_and_nothing_is_left(kind: str, tmp_path: Path) -> None:
    store: Store = MemoryStore() if kind == "memory" else FolderStore(tmp_path)
    findings = list(probe(store))
    assert [one.name for one in findings] == EVERYTHING
    assert {one.verdict for one in findings} == {Verdict.OK}
    assert list(store.list()) == []


@pytest.mark.parametrize("right", ["put", "create", "get", "range", "list", "delete", "bulk delete"])
def test_one_missing_permission_is_one_finding_with_its_hint(right: str) -> None:
    store = Policed(forbidden=frozenset({right}))
    found = bad(probe(store))
    assert list(found) == [right if right != "create" else "create-only"]
    (finding,) = found.values()
    assert finding.verdict is (Verdict.WARNING if "delete" in right else Verdict.FAILED)
    assert f"you may not {right}" in finding.seen
    assert f"Ask for the right to {right}." in (finding.hint or "")
    assert all(info.key in (finding.hint or "") for info in store.store.list())
    assert right == "delete" or not list(store.store.list())


def test_who_may_not_delete_at_all_hears_what_is_left() -> None:
    store = Policed(forbidden=frozenset({"delete", "bulk delete"}))
    found = bad(probe(store))
    assert list(found) == ["delete", "bulk delete"]
    left = [info.key for info in store.store.list()]
    assert len(left) == 3
    assert all(key.startswith(SCRATCH_PREFIX) for key in left)
    said = " ".join(finding.hint or "" for finding in found.values())
    assert [said.count(key) for key in left] == [1, 1, 1]


def test_who_may_only_read_is_told_of_the_rest_and_reads_what_there_is() -> None:
    inner = MemoryStore()
    store = Policed(inner, frozenset({"put", "create", "delete", "bulk delete"}))
    assert {one.name: one.verdict for one in probe(store)}["get"] is Verdict.SKIPPED
    inner.put("cluster.json", Body.of(b"{}"))
    verdicts = {one.name: one.verdict for one in probe(store)}
    assert verdicts["get"] is verdicts["list"] is Verdict.OK
    assert verdicts["put"] is verdicts["create-only"] is Verdict.FAILED
    assert [info.key for info in inner.list()] == ["cluster.json"]


@pytest.mark.parametrize(
    ("store", "name", "verdict", "said"),
    [
        (Policed(ignores_conditions=True), "create-only", Verdict.FAILED, "ignores If-None-Match"),
        (Policed(lists_late=True), "list", Verdict.WARNING, "is not listed"),
        (Policed(ahead=timedelta(minutes=2)), "clock", Verdict.WARNING, "behind the store"),
        (Policed(ahead=timedelta(minutes=-2)), "clock", Verdict.WARNING, "ahead of the store"),
        (Policed(ahead=timedelta(minutes=20)), "clock", Verdict.FAILED, "1200 s behind the store"),
        (Policed(forbidden=frozenset({"head"}), ahead=timedelta(minutes=2)), "clock", Verdict.WARNING, "behind"),
        (Policed(forbidden=frozenset({"hear of absence"})), "absent", Verdict.FAILED, "does not say"),
    ],
)
def test_a_service_that_is_odd_is_found_out(store: Policed, name: str, verdict: Verdict, said: str) -> None:
    found = bad(probe(store))
    assert list(found) == [name]
    assert found[name].verdict is verdict
    assert said in found[name].seen
    assert found[name].hint


def test_a_clock_that_nobody_shows_is_not_called_right() -> None:
    verdicts = {one.name: one.verdict for one in probe(Policed(forbidden=frozenset({"head", "list"})))}
    assert verdicts["clock"] is Verdict.SKIPPED


def test_without_a_listing_no_name_is_known_where_some_begin_with_a_slash() -> None:
    found = list(probe(EitherSpelling(Policed(forbidden=frozenset({"list"})), "p")))
    assert [(one.name, one.verdict) for one in found] == [("list", Verdict.FAILED), ("put", Verdict.SKIPPED)]


def test_an_outage_of_deletion_is_not_waited_for_again_and_again() -> None:
    inner = MemoryStore()
    faults = dict.fromkeys(range(11, 30), lambda: Unavailable("no answer"))
    store = FaultyStore(inner, faults)
    found = bad(probe(store))
    assert list(found) == ["delete", "bulk delete"]
    assert len(store.calls) == 13  # one, several, and once what is left
    assert all(info.key in (found["delete"].hint or "") for info in inner.list())


def test_other_bytes_are_a_failure() -> None:
    assert list(bad(probe(Policed(garbles=True)))) == ["get", "range"]


@pytest.mark.parametrize(("seconds", "fine"), [(0, True), (20, True), (-20, True), (40, False), (-40, False)])
def test_a_clock_may_be_off_by_half_a_minute(seconds: float, fine: bool) -> None:
    assert (bad(probe(Policed(ahead=timedelta(seconds=seconds)))) == {}) is fine


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (Misconfigured("the container does not exist", hint="Create it."), "container"),
        (Unavailable("no answer", hint="Check the network."), "store"),
    ],
)
def test_a_store_that_is_not_there_ends_the_check_at_once(error: StoreError, name: str) -> None:
    def absent(*_arguments: object, **_keywords: object) -> Iterator[ObjectInfo]:
        raise error

    store = MemoryStore()
    store.list = absent  # type: ignore[method-assign]
    (finding,) = probe(store)
    assert (finding.name, finding.verdict, finding.hint) == (name, Verdict.FAILED, error.hint)


def test_a_check_that_is_stopped_cleans_up_too() -> None:
    store = MemoryStore()
    findings = probe(store)
    while next(findings).name != "range":
        pass
    assert list(store.list())
    findings.close()
    assert list(store.list()) == []


@pytest.mark.parametrize(
    ("keys", "name_of", "verdict"),
    [
        (["p/cluster.json"], None, None),
        (["/p/cluster.json"], "spelling", Verdict.OK),
        (["p/cluster.json", "/p/cluster.json"], "spelling", Verdict.WARNING),
    ],
)
def test_the_spelling_of_names_is_told(keys: list[str], name_of: str | None, verdict: Verdict | None) -> None:
    inner = MemoryStore()
    for key in keys:
        inner.put(key, Body.of(b"{}"))
    findings = {one.name: one for one in probe(EitherSpelling(inner, "p"))}
    assert ("spelling" in findings) is (name_of is not None)
    if name_of is not None:
        assert findings[name_of].verdict is verdict
    assert [info.key for info in inner.list()] == sorted(keys)


@pytest.mark.parametrize("call", range(1, 13))
def test_an_outage_at_any_call_is_one_finding_and_leaves_nothing(call: int) -> None:
    """
    The store fails once, at call N; nothing escapes, and what the failure left is cleaned up.

    Call 3 looks for a time that a listing shows, too; calls 5 and 8 are refused before they can fail; call 10 only adds
    one more object for the deletion.
    """
    inner = MemoryStore()
    store = FaultyStore(inner, {call: lambda: Unavailable("no answer", hint="Check the network.")}, after=True)
    findings = list(probe(store))
    assert len(store.calls) >= call
    assert len(bad(findings)) == (call not in {3, 5, 8, 10})
    assert list(inner.list()) == []
