"""One archive, one cluster."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.faulty_store import FaultyStore
from wal_e.errors import Corrupt, StoreError, WrongCluster
from wal_e.repo.cluster import ClusterIdentity, check_identity, ensure_identity, parse_identity, read_identity
from wal_e.store.api import Body, ObjectInfo
from wal_e.store.drivers.memory import MemoryStore

OURS, THEIRS = 7_300_000_000_000_000_001, 18_446_744_073_709_551_615


def test_h02_the_first_cluster_owns_the_archive() -> None:
    store = MemoryStore()
    assert read_identity(store) is None
    identity = ensure_identity(store, OURS)
    assert identity.system_identifier == OURS
    assert ensure_identity(store, OURS) == read_identity(store) == identity
    with pytest.raises(WrongCluster) as caught:
        ensure_identity(store, THEIRS)
    assert str(OURS) in str(caught.value.detail)
    assert str(THEIRS) in str(caught.value.detail)
    assert caught.value.hint


def test_the_document_is_what_the_format_says() -> None:
    store = MemoryStore()
    identity = ensure_identity(store, THEIRS)
    document = json.loads(b"".join(store.get("cluster.json")))
    assert document["format"] == 1
    assert document["system_identifier"] == str(THEIRS)
    assert document["digest_seed"] == f"{identity.digest_seed:016x}"
    assert document["created"].endswith("Z")


def test_an_archive_of_the_original_is_claimed() -> None:
    store = MemoryStore()
    store.put("wal_005/000000010000000000000001.lzo", Body.of(b"x"))
    assert ensure_identity(store, OURS).system_identifier == OURS


class NotAtomic(MemoryStore):
    """As Swift may: the create-only put succeeds, and a moment later another writer's object is there."""

    def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
        info = super().put(key, body, create_only=create_only)
        if key == "cluster.json":
            rival = MemoryStore()
            ensure_identity(rival, THEIRS)
            super().put(key, Body.of(b"".join(rival.get(key))))
        return info


def test_h02_of_two_clusters_that_claim_at_once_the_one_that_is_read_back_wins() -> None:
    store = NotAtomic()
    with pytest.raises(WrongCluster):
        ensure_identity(store, OURS)
    assert ensure_identity(store, THEIRS).system_identifier == THEIRS


class Late(MemoryStore):
    """Another cluster claims between our look and our put."""

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        try:
            return super().get(key, start=start, length=length)
        finally:
            if not list(self.list()):
                super().put(key, Body.of(b'{"format": 1, "system_identifier": "1", "digest_seed": "0"}'))


def test_h02_losing_the_race_is_noticed() -> None:
    with pytest.raises(WrongCluster):
        ensure_identity(Late(), OURS)


def test_an_object_that_disappears_is_an_error() -> None:
    class Forgetful(MemoryStore):
        def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
            info = super().put(key, body, create_only=create_only)
            self.delete([key])
            return info

    with pytest.raises(Corrupt, match="disappeared"):
        ensure_identity(Forgetful(), OURS)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"<html>",
        b"\xff\xfe",
        b'{"format": 2, "system_identifier": "1", "digest_seed": "0"}',
        b'{"format": 1, "system_identifier": "-1", "digest_seed": "0"}',
        b'{"format": 1, "system_identifier": 1, "digest_seed": "0"}',
        b'{"format": 1, "system_identifier": "1", "digest_seed": "10000000000000000"}',
        b'{"format": 1, "system_identifier": "x", "digest_seed": "0"}',
        b"[" * 100_000,
        b" " * 100_000,
    ],
)
def test_garbage_is_corrupt_and_stays_untouched(text: bytes) -> None:
    store = MemoryStore()
    store.put("cluster.json", Body.of(text))
    with pytest.raises(Corrupt):
        ensure_identity(store, OURS)
    assert b"".join(store.get("cluster.json")) == text


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_corrupt_or_an_identity(data: bytes) -> None:
    try:
        assert isinstance(parse_identity(data), ClusterIdentity)
    except Corrupt:
        return


def test_a_fault_at_any_call_leaves_an_archive_without_or_with_an_owner() -> None:
    for mode in ("fail", "cut", "flip", "lost"):
        for call in range(1, 5):
            inner = MemoryStore()
            try:
                ensure_identity(FaultyStore(inner, call=call, mode=mode), OURS)
            except (StoreError, Corrupt, WrongCluster):
                assert read_identity(inner) is None or read_identity(inner) is not None
            check_identity(ensure_identity(inner, OURS), OURS)
