"""The laws of retention: nothing that is needed goes, every backup gets one verdict, and the reason is told."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wal_e.errors import ArchiveError, NoSuchBackup, UsageError
from wal_e.legacy.catalogue import LegacyBackup
from wal_e.maintain.retention import (
    Before,
    Decision,
    Directory,
    Held,
    OneBackup,
    Retain,
    Selection,
    Verdict,
    decide,
    held_legacy,
    named_segment,
    sweep,
    wal_order,
)
from wal_e.pg.wal import SegmentName

SIZE = 1 << 24
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
GRACE = timedelta(hours=24)


def backup(
    number: int,
    hours: float,
    *,
    timeline: int = 1,
    stop: int | None = None,
    cluster: int = 7,
    needs: str | None = None,
    name: str | None = None,
) -> Held:
    segment = str(SegmentName(timeline, number, SIZE))
    name = name or f"base_{segment}_00000040"
    return Held(
        f"basebackups_006/{name}/manifest.json.zst",
        name,
        NOON + timedelta(hours=hours),
        (stop if stop is not None else number + 1) * SIZE,
        segment,
        wal_order(segment),
        cluster,
        needs,
    )


def names(verdicts: Iterable[Verdict]) -> list[str]:
    return [verdict.backup.name for verdict in verdicts]


A, B, C = backup(2, 1), backup(5, 2), backup(9, 3)


def test_retain_keeps_the_newest() -> None:
    decision = decide(Retain(2), [C, A, B], 7)
    assert names(decision.drop) == [A.name]
    assert names(decision.keep) == [B.name, C.name]
    assert [v.reason for v in decision.keep] == ["it is one of the 2 newest"] * 2


def test_retain_more_than_there_are_drops_nothing() -> None:
    assert decide(Retain(9), [A, B], 7).drop == ()


@pytest.mark.parametrize("count", [0, -1])
def test_retain_fewer_than_one_is_refused(count: int) -> None:
    with pytest.raises(UsageError):
        decide(Retain(count), [A], 7)


def test_h27_order_is_completion_not_name() -> None:
    first_by_name = backup(1, 10)
    assert names(decide(Retain(1), [first_by_name, C], 7).keep) == [first_by_name.name]


def test_before_a_backup() -> None:
    decision = decide(Before(B.name), [A, B, C], 7)
    assert names(decision.drop) == [A.name]
    assert decision.drop[0].reason == f"it completed before {B.name}"
    assert decision.keep[0].reason == "it is the one named"


def test_before_an_unknown_backup_is_refused() -> None:
    with pytest.raises(NoSuchBackup):
        decide(Before("base_0000000100000000000000FF_00000040"), [A], 7)


@pytest.mark.parametrize(
    "name",
    [
        "000000010000000000000006",
        "000000010000000000000006.00000028.backup",
        "000000010000000000000006.partial",
        "000000010000000000000006.zst",
        "wal_005/000000010000000000000006.lzo",
        "000000030000000000000006",
    ],
)
def test_before_a_segment_or_an_archived_file(name: str) -> None:
    assert names(decide(Before(name), [A, B, C], 7).keep) == [C.name]


@pytest.mark.parametrize("name", ["00000002.history", "LATEST", "", "../x", "0000000100000000000000"])
def test_before_nonsense_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        named_segment(name)


def test_h26_no_request_but_everything_leaves_no_backup() -> None:
    with pytest.raises(ArchiveError, match="every base backup"):
        decide(Before("0000000100000000000000FF"), [A, B, C], 7)


def test_the_newest_backup_stays_though_its_wal_begins_early() -> None:
    standby = backup(3, 9)
    decision = decide(Before("000000010000000000000004"), [A, B, standby], 7)
    assert names(decision.keep) == [B.name, standby.name]


def test_one_backup_goes_even_the_newest() -> None:
    for one in (A, B, C):
        decision = decide(OneBackup(one.name), [A, B, C], 7)
        assert names(decision.drop) == [one.name]
        assert decision.drop[0].reason == "it is the one named"


def test_h26_the_last_backup_does_not_go_alone() -> None:
    legacy = held_legacy(LegacyBackup.of_name("base_000000010000000000000001_00000040", NOON))
    for backups in ([A], [A, legacy], [A, backup(1, 0, cluster=8)]):
        with pytest.raises(ArchiveError, match="every base backup") as error:
            decide(OneBackup(A.name), backups, 7)
        assert error.value.hint


def test_one_backup_that_is_not_there_is_refused() -> None:
    with pytest.raises(NoSuchBackup):
        decide(OneBackup(C.name), [A, B], 7)
    with pytest.raises(NoSuchBackup):
        decide(OneBackup(C.name), [A, backup(9, 3, cluster=8)], 7)


def test_h26_one_backup_that_a_delta_needs_is_refused() -> None:
    full, delta = (
        held_legacy(LegacyBackup.of_name(name, NOON))
        for name in ("base_000000010000000000000002", "base_000000010000000000000004_D_000000010000000000000002")
    )
    with pytest.raises(ArchiveError, match="cannot be deleted alone") as error:
        decide(OneBackup(full.name), [full, delta], None)
    assert delta.name in str(error.value.detail)


def test_h27_another_cluster_s_backups_stay() -> None:
    foreign = backup(1, 0, cluster=8)
    decision = decide(Retain(1), [foreign, A, B], 7)
    assert names(decision.keep) == [foreign.name, B.name]
    assert decision.keep[0].reason == "it belongs to another cluster"
    assert names(decide(Retain(1), [foreign, A, B], None).drop) == [A.name]


def test_h26_a_delta_keeps_its_parents_and_does_not_count() -> None:
    old_name = "base_000000010000000000000001"
    old, full, middle, delta = (
        held_legacy(LegacyBackup.of_name(name, NOON + timedelta(hours=hour)))
        for hour, name in enumerate(
            [
                old_name,
                "base_000000010000000000000002",
                "base_000000010000000000000004_D_000000010000000000000002",
                "base_000000010000000000000006_D_000000010000000000000004",
            ]
        )
    )
    decision = decide(Before(delta.name), [old, full, middle, delta], None)
    assert names(decision.keep) == [full.name, middle.name, delta.name]
    assert decision.keep[0].reason == f"{middle.name} is a delta of it"
    assert names(decide(Retain(1), [old, full, middle, delta], None).drop) == [old_name]


def test_an_offline_legacy_backup_protects_all_that_its_name_may_mean() -> None:
    offline = held_legacy(LegacyBackup.of_name("base_000000010000000200000050_00000050", NOON))
    assert offline.start == 2 << 32


def directory(name: str, age: timedelta, *, committed: bool = False, keys: Sequence[str] = ("pack",)) -> Directory:
    paths = tuple(f"basebackups_006/{name}/{k}" for k in keys)
    return Directory(name, f"basebackups_006/{name}/manifest.json.zst", committed, paths, NOON - age, 4, 1)


def test_h25_an_unfinished_backup_is_left_alone_until_it_is_old() -> None:
    young, old = directory("young", GRACE), directory("old", GRACE + timedelta(seconds=1))
    swept = sweep([young, old], (), (), NOON, GRACE)
    assert swept.keys == old.keys
    assert swept.swept == (old,)
    assert swept.underway == (young,)


def test_h25_while_a_backup_is_unfinished_no_pack_goes_that_it_may_refer_to() -> None:
    young = directory("base_000000010000000000000009_00000040", GRACE, keys=("pack-00000000",))
    parent = directory(A.name, GRACE * 9, committed=True, keys=("pack-00000000", "pack-00000001", "events/x"))
    remains = directory(B.name, GRACE * 9, keys=("pack-00000000",))
    dropped = {parent.commit_key}
    waiting = sweep([young, parent, remains], dropped, {parent.keys[0]}, NOON, GRACE)
    assert waiting.keys == (parent.keys[2],)
    assert set(waiting.waiting) == {parent.keys[1], remains.keys[0]}
    assert waiting.swept == ()
    later = sweep([young, parent, remains], dropped, {parent.keys[0]}, NOON + GRACE, GRACE)
    assert set(later.keys) == {*young.keys, *parent.keys[1:], *remains.keys}


def test_what_a_deleted_backup_left_to_others_is_no_unfinished_one() -> None:
    """It may be young: its packs were stored just before it was deleted."""
    remains = directory(A.name, timedelta(minutes=1), keys=("pack-00000000",))
    kept = sweep([remains], (), set(remains.keys), NOON, GRACE)
    assert (kept.keys, kept.underway, kept.swept) == ((), (), ())
    assert kept.still_needed == remains.keys


def test_packs_that_a_kept_manifest_needs_outlive_their_backup() -> None:
    dropped = directory("a", GRACE, committed=True, keys=("pack-0", "pack-1", "events/x"))
    left = directory("b", GRACE * 2, keys=("pack-0", "pack-1"))
    needed = {dropped.keys[0], left.keys[1]}
    swept = sweep([dropped, left], {dropped.commit_key}, needed, NOON, GRACE)
    assert set(swept.keys) == {dropped.keys[1], dropped.keys[2], left.keys[0]}
    assert set(swept.still_needed) == needed


BACKUPS = st.lists(
    st.builds(
        lambda number, hours, timeline, length, cluster: backup(
            number, hours, timeline=timeline, stop=number + length, cluster=cluster, name=f"base_{number}_{hours}"
        ),
        st.integers(0, 600),
        st.integers(0, 50),
        st.integers(1, 3),
        st.integers(1, 5),
        st.sampled_from([7, 7, 7, 8]),
    ),
    max_size=8,
    unique_by=lambda held: held.commit_key,
)
REQUESTS = st.one_of(
    st.integers(1, 9).map(Retain),
    st.integers(0, 650).map(lambda number: Before(str(SegmentName(1, number, SIZE)))),
    st.tuples(st.sampled_from([Before, OneBackup]), st.integers(0, 7)),
)


@given(BACKUPS, REQUESTS)
def test_laws(backups: list[Held], drawn: Before | Retain | tuple[type[Before | OneBackup], int]) -> None:
    if isinstance(drawn, tuple):
        assume(backups)
        kind, number = drawn
        request: Selection = kind(backups[number % len(backups)].name)
    else:
        request = drawn
    ours = [b for b in backups if b.system_identifier == 7]
    try:
        decision = decide(request, backups, 7)
    except NoSuchBackup:
        assert isinstance(request, Before | OneBackup)
        assert request.name not in {b.name for b in ours}
    except ArchiveError:
        assert ours
    else:
        check_laws(request, backups, ours, decision)


def check_laws(request: Selection, backups: list[Held], ours: list[Held], decision: Decision) -> None:
    kept, dropped = ([v.backup for v in verdicts] for verdicts in (decision.keep, decision.drop))
    assert sorted(b.commit_key for b in (*kept, *dropped)) == sorted(b.commit_key for b in backups)
    assert not any(b.system_identifier == 8 for b in dropped)
    assert not ours or set(kept) & set(ours)
    if isinstance(request, OneBackup):
        assert {b.name for b in dropped} == {request.name}
    else:
        assert not ours or max(b.order for b in ours) in {b.order for b in kept}
    if isinstance(request, Retain):
        assert len([b for b in kept if b in ours]) >= min(request.count, len(ours))


@given(st.sampled_from([1 << 20, 1 << 24, 1 << 27, 1 << 30]), st.integers(0, 1 << 33), st.integers(0, 1 << 33))
def test_wal_order_ascends_with_the_number_whatever_the_segment_size(size: int, one: int, other: int) -> None:
    one, other = (n % ((1 << 64) // size) for n in (one, other))
    orders = [wal_order(str(SegmentName(1, n, size))) for n in (one, other)]
    assert (orders[0] < orders[1]) == (one < other)
