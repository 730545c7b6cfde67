"""Deletion from a store: the plan, its order, and what a crash at any call leaves."""

import contextlib
import itertools
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.faulty_store import FaultyStore, Mode
from wal_e.codec.compress import compress, leading_frames
from wal_e.errors import ArchiveError, Corrupt, LeaseLost, StoreError, Unavailable
from wal_e.events import Level, Message
from wal_e.maintain.delete import SENTINEL, DeletePlan, execute, plan_delete
from wal_e.maintain.retention import Before, Everything, OldVersions, OneBackup, Request, Retain
from wal_e.pg.history import History, Switch, render_history
from wal_e.pg.wal import Lsn, SegmentName, history_name
from wal_e.repo import layout
from wal_e.repo.catalogue import list_backups, load_manifest, load_packs
from wal_e.repo.cluster import ensure_identity
from wal_e.repo.lease import LASTS
from wal_e.repo.manifest import Manifest, PackRef, Summary, encode_manifest
from wal_e.store.api import Body, ObjectInfo, Store, read_object
from wal_e.store.drivers.file import FolderStore
from wal_e.store.drivers.memory import MemoryStore

SIZE = 1 << 24
NOW = datetime.now(UTC) + timedelta(days=3)
CLUSTER = 7
LEGACY = "base_000000010000000000000001_00000040"
HINT = "This is only a dry run -- no actual data is being deleted"


def commit(
    store: Store, number: int, hours: float, packs: int, shared: Sequence[str] = (), *, timeline: int = 1
) -> str:
    segment = SegmentName(timeline, number, SIZE)
    name = layout.backup_name(segment, segment.start + 40)
    own = [layout.pack_key(name, n) for n in range(packs)]
    for key in own:
        store.put(key, Body.of(b"pack"))
    when = datetime(2026, 5, 1, tzinfo=UTC) + timedelta(hours=hours)
    summary = Summary(
        name=name,
        system_identifier=CLUSTER,
        pg_version=150000,
        segment_size=SIZE,
        timeline=timeline,
        start_lsn=Lsn(segment.start + 40),
        stop_lsn=Lsn(segment.end + 40),
        start_time=when,
        stop_time=when,
        stop_xmax=1000,
        from_standby=False,
        offline=False,
        data_directory="/data",
        size=1,
        stored=1,
        tablespaces=(),
        label="",
        checksum_failures=0,
    )
    refs = tuple(PackRef(key, 4, 4, 4) for key in (*own, *shared))
    manifest = Manifest(summary, "", "", ("postgres", "postgres"), refs, (), ())
    store.put(layout.manifest_key(name), Body.of(encode_manifest(manifest)))
    store.put(layout.event_key(name, when, "verified"), Body.of(b"{}"))
    return name


def fill(store: Store) -> tuple[str, str, str]:
    """Three backups, the second with a pack of the first; a legacy one, a dead one; WAL on two timelines."""
    ensure_identity(store, CLUSTER)
    first = commit(store, 4, 1, 3)
    second = commit(store, 8, 2, 2, shared=[layout.pack_key(first, 1)])
    third = commit(store, 12, 3, 1)
    for rest in ("/extended_version.txt", "/tar_partitions/part_00000000.tar.lzo", "_backup_stop_sentinel.json"):
        store.put(f"basebackups_005/{LEGACY}{rest}", Body.of(b"x"))
    store.put(layout.pack_key("base_000000010000000000000006_00000040", 0), Body.of(b"dead"))
    for number in range(1, 16):
        store.put(layout.wal_key(str(SegmentName(1, number, SIZE))), Body.of(b"w"))
    store.put(layout.wal_key("000000020000000000000003"), Body.of(b"w"))
    store.put(layout.wal_key("000000010000000000000004.00000028.backup"), Body.of(b"w"))
    store.put(layout.wal_key("00000002.history"), Body.of(b"w"))
    store.put("wal_005/readme", Body.of(b"w"))
    age(store, f"basebackups_005/{LEGACY}_backup_stop_sentinel.json", datetime(2025, 1, 1, tzinfo=UTC))
    return first, second, third


def age(store: Store, key: str, when: datetime) -> None:
    if isinstance(store, MemoryStore):
        data, info = store._objects[key]
        store._objects[key] = data, replace(info, last_modified=when)
    else:
        os.utime(store._base / key, (when.timestamp(), when.timestamp()))


@pytest.fixture
def store() -> Store:
    return MemoryStore()


def keys(store: Store) -> set[str]:
    return {info.key for info in store.list()}


def carry_out(store: Store, request: Request, **options: bool) -> list[Message]:
    events: list[Message] = []
    execute(store, plan_delete(store, request, NOW), events.append, **options)
    return events


def check_archive(store: Store) -> None:
    """Every manifest that is there has its packs, and the WAL from its start to its stop."""
    present = keys(store)
    for entry in list_backups(store):
        manifest = load_manifest(store, entry.name)
        assert {pack.key for pack in manifest.packs} <= present
        assert {layout.wal_key(str(segment)) for segment in manifest.summary.segments()} <= present
    for key in present:
        if key.endswith("_backup_stop_sentinel.json"):
            assert key.replace("_backup_stop_sentinel.json", "/tar_partitions/part_00000000.tar.lzo") in present


def test_retain_drops_what_only_the_oldest_needed(store: Store) -> None:
    first, second, third = fill(store)
    before = keys(store)
    carry_out(store, Retain(2))
    gone = before - keys(store)
    assert [entry.name for entry in list_backups(store)] == [second, third]
    assert layout.pack_key(first, 1) not in gone
    assert {layout.pack_key(first, 0), layout.pack_key(first, 2)} <= gone
    assert not any(LEGACY in key for key in keys(store))
    wal = {key for key in gone if key.startswith("wal_005/")}
    assert wal == {
        *(layout.wal_key(str(SegmentName(1, n, SIZE))) for n in range(1, 8)),
        layout.wal_key("000000020000000000000003"),
        layout.wal_key("000000010000000000000004.00000028.backup"),
    }
    check_archive(store)


def test_h29_manifests_go_first_then_packs_then_wal(store: Store) -> None:
    fill(store)
    things = [batch.thing for batch in plan_delete(store, Retain(1), NOW).batches]
    assert things[0] == SENTINEL
    assert things.index("a base backup volume") < things.index("a wal file")
    everything = plan_delete(store, Everything(), NOW).batches
    assert everything[0].thing == SENTINEL
    assert everything[-1].keys == (layout.CLUSTER_KEY,)


def test_a_dry_run_tells_the_same_and_does_nothing(store: Store) -> None:
    fill(store)
    before = keys(store)
    told = carry_out(store, Retain(1), dry_run=True)
    assert keys(store) == before
    done = carry_out(store, Retain(1))
    assert before - keys(store) == {event.fields["key"] for event in done if "key" in event.fields}
    assert [(e.message, e.detail) for e in told[1:]] == [(e.message, e.detail) for e in done[1:]]
    assert told[0].message == "performing dry run of data deletion"
    assert done[0].message == "deleting data in the store"
    assert all(event.hint == HINT for event in told if event.message.startswith("deleting a"))
    assert not any(event.hint for event in done)


def test_the_original_s_words_are_used(store: Store) -> None:
    fill(store)
    messages = {event.message for event in carry_out(store, Retain(1))}
    assert {
        "Deleting 3 oldest base backups.",
        "deleting a base backup sentinel file",
        "deleting a base backup volume",
        "deleting a extended version metadata file",
        "deleting a wal file",
        "deleting a backup history file",
        "skipping non-qualifying key in 'delete before'",
    } <= messages


def test_before_a_name(store: Store) -> None:
    _first, second, third = fill(store)
    carry_out(store, Before(second))
    assert [entry.name for entry in list_backups(store)] == [second, third]


def test_everything_leaves_nothing(store: Store) -> None:
    fill(store)
    store.put("other/thing", Body.of(b"not ours"))
    carry_out(store, Everything())
    assert keys(store) == {"other/thing"}


def test_everything_does_not_need_readable_manifests(store: Store) -> None:
    first, _second, _third = fill(store)
    store.put(layout.manifest_key(first), Body.of(b"rubbish"))
    with pytest.raises(Corrupt):
        plan_delete(store, Retain(1), NOW)
    carry_out(store, Everything())
    assert keys(store) == set()


def test_old_versions_never_touches_the_present_ones(store: Store) -> None:
    fill(store)
    before = keys(store)
    old = {"basebackups_004/base_x/part", "wal_000/x", "wal_004/y"}
    for key in old:
        store.put(key, Body.of(b"x"))
    events = carry_out(store, OldVersions())
    assert keys(store) == before
    assert {event.fields["key"] for event in events if event.fields} == old


def test_h25_a_young_unfinished_backup_and_its_wal_stay(store: Store) -> None:
    fill(store)
    pack = layout.pack_key("base_000000010000000000000006_00000040", 0)
    age(store, pack, NOW)
    carry_out(store, Retain(1))
    assert pack in keys(store)
    assert layout.wal_key("000000010000000000000006") in keys(store)
    assert layout.wal_key("000000010000000000000005") not in keys(store)


def test_an_empty_archive_has_nothing_to_delete(store: Store) -> None:
    for request in (Retain(1), Everything(), OldVersions()):
        assert plan_delete(store, request, NOW).count == 0


def test_h45_a_listing_that_leaves_out_a_manifest_is_noticed(store: Store) -> None:
    first, _second, _third = fill(store)

    class Forgetful(FaultyStore):
        def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
            return (i for i in super().list(prefix, after=after) if i.key != layout.manifest_key(first))

    with pytest.raises(ArchiveError, match="listing cannot be relied on"):
        plan_delete(Forgetful(store, call=1 << 30), Retain(1), NOW)


def test_a_hole_in_a_kept_backup_is_told(store: Store) -> None:
    _first, _second, third = fill(store)
    store.delete([layout.pack_key(third, 0)])
    (warning,) = plan_delete(store, Retain(1), NOW).warnings
    assert layout.pack_key(third, 0) in warning


@pytest.mark.parametrize("mode", ["fail", "cut"])
def test_h45_an_error_while_planning_deletes_nothing(store: Store, mode: Mode) -> None:
    fill(store)
    before = keys(store)
    for call in itertools.count(1):
        faulty = FaultyStore(store, call=call, mode=mode)
        try:
            plan_delete(faulty, Retain(1), NOW)
        except StoreError:
            assert keys(store) == before
        if not faulty.reached:
            break
    assert call > 5


@pytest.mark.parametrize("request_", [Retain(1), Retain(2), Everything()], ids=str)
@pytest.mark.parametrize("mode", ["fail", "cut", "lost"])
def test_h29_a_fault_at_any_call_leaves_a_whole_archive_and_a_repeat_finishes(mode: Mode, request_: Request) -> None:
    expected = None
    for call in itertools.count(1):
        store = MemoryStore()
        fill(store)
        faulty = FaultyStore(store, call=call, mode=mode)
        try:
            carry_out(faulty, request_)
        except StoreError:
            if mode == "fail":
                assert faulty.reached
        check_archive(store)
        carry_out(store, request_)
        check_archive(store)
        expected = keys(store) if expected is None else expected
        assert keys(store) == expected
        if not faulty.reached:
            break


@pytest.mark.parametrize("mode", ["kill", "killed"])
def test_h29_sigkill_at_any_call_leaves_a_whole_archive_and_a_repeat_finishes(tmp_path: Path, mode: Mode) -> None:
    fork = multiprocessing.get_context("fork")
    for call in itertools.count(1):
        folder = tmp_path / str(call)
        folder.mkdir()
        store = FolderStore(folder)
        fill(store)
        child = fork.Process(target=carry_out, args=(FaultyStore(store, call=call, mode=mode), Retain(1)))
        child.start()
        child.join(60)
        check_archive(store)
        carry_out(store, Retain(1))
        assert plan_delete(store, Retain(1), NOW).count == 0
        check_archive(store)
        if child.exitcode == 0:
            break
        assert child.exitcode == -signal.SIGKILL


def test_an_outage_while_deleting_is_an_error(store: Store) -> None:
    fill(store)
    plan = plan_delete(store, Retain(1), NOW)
    with pytest.raises(Unavailable):
        execute(FaultyStore(store, call=1, mode="fail"), plan, lambda _: None)


def test_one_backup_goes_and_what_others_need_of_it_stays_until_they_go_too(store: Store) -> None:
    first, second, third = fill(store)
    shared = layout.pack_key(first, 1)
    told = carry_out(store, OneBackup(first))
    assert [entry.name for entry in list_backups(store)] == [second, third]
    assert {key for key in keys(store) if key.startswith(layout.backup_prefix(first))} == {shared}
    assert any(m.message == "keeping packs that other base backups need" and first in str(m.detail) for m in told)
    check_archive(store)
    again = plan_delete(store, Retain(9), NOW)
    assert (again.count, again.sweep.still_needed, again.warnings) == (0, (shared,), ())
    carry_out(store, OneBackup(second))
    assert not any(key.startswith(layout.backup_prefix(first)) for key in keys(store))
    check_archive(store)


def test_what_is_left_of_a_deleted_backup_is_no_unfinished_one_however_young(store: Store) -> None:
    first, _second, _third = fill(store)
    carry_out(store, OneBackup(first))
    age(store, layout.pack_key(first, 1), NOW)
    plan = plan_delete(store, Retain(2), NOW)
    assert plan.sweep.underway == ()
    assert layout.wal_key("000000010000000000000007") in {key for batch in plan.batches for key in batch.keys}


def test_h25_a_parent_may_go_while_its_child_is_under_way_but_its_packs_stay(store: Store) -> None:
    """Whoever works around the lease: the child refers to the parent's packs, and commits after the deletion."""
    first, _second, third = fill(store)
    child = "base_00000001000000000000000E_00000040"
    store.put(layout.pack_key(child, 0), Body.of(b"pack"))
    age(store, layout.pack_key(child, 0), NOW)
    told = carry_out(store, Retain(1))
    assert [entry.name for entry in list_backups(store)] == [third]
    assert any("an unfinished backup may refer to" in str(message.detail) for message in told)
    commit(store, 14, 4, 1, shared=[layout.pack_key(first, number) for number in range(3)])
    check_archive(store)
    carry_out(store, Retain(2))
    check_archive(store)
    carry_out(store, Retain(1))
    assert {parsed.backup for key in keys(store) if (parsed := layout.parse_backup_key(key))} == {child, first}


def test_a_damaged_manifest_stops_deletion_until_it_is_deleted_by_its_name(store: Store) -> None:
    first, second, third = fill(store)
    store.put(layout.manifest_key(second), Body.of(b"rubbish"))
    with pytest.raises(Corrupt, match="nobody knows which packs") as error:
        plan_delete(store, Retain(2), NOW)
    assert f"wal-e delete --confirm backup {second}" in str(error.value.hint)
    carry_out(store, OneBackup(second))
    assert [entry.name for entry in list_backups(store)] == [first, third]
    check_archive(store)
    carry_out(store, Retain(1))
    assert [entry.name for entry in list_backups(store)] == [third]


def test_damaged_manifests_go_one_after_the_other_and_nothing_else_before_the_last(store: Store) -> None:
    first, second, third = fill(store)
    whole = read_object(store, layout.manifest_key(second))
    store.put(layout.manifest_key(first), Body.of(b"rubbish"))
    head = len(whole) - len(leading_frames(whole, 1)[1])
    store.put(layout.manifest_key(second), Body.of(whole[:head] + b"rubbish"))
    before = keys(store)
    for request in (Retain(1), Before(third)):
        with pytest.raises(Corrupt):
            plan_delete(store, request, NOW)
    told = carry_out(store, OneBackup(first))
    assert before - keys(store) == {layout.manifest_key(first)}
    assert any(second in str(message.detail) and message.level is Level.WARNING for message in told)
    with pytest.raises(Corrupt):
        plan_delete(store, OneBackup(third), NOW)
    carry_out(store, OneBackup(second))
    assert [entry.name for entry in list_backups(store)] == [third]
    check_archive(store)
    assert layout.pack_key(first, 0) not in keys(store)


def test_h26_wal_goes_by_timeline_as_the_histories_say(store: Store) -> None:
    """1 was left in 6 for 2 and in 9 for 3; the history of 4 cannot be read. What is kept is on 3."""
    ensure_identity(store, CLUSTER)
    commit(store, 4, 1, 1)
    commit(store, 12, 2, 1, timeline=3)
    for timeline, place in ((2, 6), (3, 9)):
        history = History(timeline, (Switch(1, Lsn(place * SIZE + 100)),))
        store.put(layout.wal_key(history_name(timeline)), Body.of(compress(render_history(history))))
    store.put(layout.wal_key("00000004.history"), Body.of(b"rubbish"))
    for timeline, numbers in ((1, range(3, 15)), (2, range(6, 15)), (3, range(9, 15)), (4, range(10, 15))):
        for number in numbers:
            store.put(layout.wal_key(str(SegmentName(timeline, number, SIZE))), Body.of(b"w"))
    carry_out(store, Retain(2))
    assert layout.wal_key(str(SegmentName(1, 3, SIZE))) not in keys(store)
    assert layout.wal_key(str(SegmentName(2, 6, SIZE))) in keys(store)
    carry_out(store, Retain(1))
    left = {key for key in keys(store) if key.startswith("wal_005/") and not key.endswith(".history.zst")}
    assert left == {layout.wal_key(str(SegmentName(t, n, SIZE))) for t in (1, 2, 3, 4) for n in (12, 13, 14)}
    assert {layout.wal_key(history_name(t)) for t in (2, 3, 4)} <= keys(store)


def test_h46_the_lease_is_checked_before_everything_that_is_deleted(store: Store) -> None:
    fill(store)
    before = keys(store)
    recorded = FaultyStore(store, call=1 << 40)
    checks: list[int] = []

    def check() -> None:
        checks.append(len([verb for verb, _ in recorded.log if verb == "delete"]))
        if len(checks) == 4:
            raise LeaseLost("lost")

    plan = plan_delete(store, Retain(1), NOW)
    with pytest.raises(LeaseLost):
        execute(recorded, plan, lambda _: None, check=check)
    assert checks == [0, 1, 2, 3]
    assert before - keys(store) == set(plan.batches[0].keys)
    check_archive(store)


def test_leftovers_are_left_alone_for_as_long_as_a_lease_lasts_whatever_the_grace(store: Store) -> None:
    fill(store)
    pack = layout.pack_key("base_000000010000000000000006_00000040", 0)
    age(store, pack, NOW - LASTS)
    assert plan_delete(store, Retain(9), NOW, grace=timedelta(0)).count == 0
    age(store, pack, NOW - LASTS - timedelta(seconds=1))
    (batch,) = plan_delete(store, Retain(9), NOW, grace=timedelta(0)).batches
    assert batch.keys == (pack,)


@st.composite
def shared_archives(draw: st.DrawFn) -> Store:
    """Backups that refer to packs of older ones, some of which were deleted before."""
    store = MemoryStore()
    ensure_identity(store, CLUSTER)
    packs: list[str] = []
    for number in range(draw(st.integers(1, 5))):
        count = draw(st.integers(0, 3))
        shared = draw(st.lists(st.sampled_from(packs), unique=True, max_size=4)) if packs else []
        name = commit(store, 3 * number + 1, number, count, shared)
        packs += [layout.pack_key(name, pack) for pack in range(count)]
    for number in range(1, 20):
        store.put(layout.wal_key(str(SegmentName(1, number, SIZE))), Body.of(b"w"))
    return store


def cut_short(store: Store, plan: DeletePlan, steps: int) -> None:
    """Executes the plan object by object, and dies."""
    for key in itertools.islice((key for batch in plan.batches for key in batch.keys), steps):
        store.delete([key])


@given(shared_archives(), st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(0, 40)), max_size=4))
def test_h26_deletions_cut_short_in_any_way_leave_every_backup_whole(
    store: Store, deletions: list[tuple[int, bool, int]]
) -> None:
    for number, one, steps in deletions:
        names = [entry.name for entry in list_backups(store)]
        request = OneBackup(names[number % len(names)]) if one else Retain(number + 1)
        with contextlib.suppress(ArchiveError):
            cut_short(store, plan_delete(store, request, NOW), steps)
        assert list_backups(store)
        check_archive(store)
    carry_out(store, Retain(1))
    check_archive(store)
    (last,) = list_backups(store)
    referred = {pack.key for pack in load_packs(store, last.name)}
    assert {k for k in keys(store) if "/pack-" in k} == referred | own_packs(store, last.name)


def own_packs(store: Store, name: str) -> set[str]:
    return {info.key for info in store.list(layout.backup_prefix(name)) if "/pack-" in info.key}
