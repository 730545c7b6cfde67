"""Which backup a restore begins with: by the manifests' times and positions, on the right timeline, or an error."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wal_e.errors import NoSuchBackup, WalMissing
from wal_e.pg.history import History, Switch
from wal_e.pg.recovery import Target
from wal_e.pg.wal import Lsn, SegmentName
from wal_e.repo.manifest import Summary
from wal_e.restore.target import ArchiveFacts, Choice, Timeline, choose_backup, recovery_window

SIZE = 1 << 24
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
NOW = NOON + timedelta(days=1)


def at(hours: float) -> datetime:
    return NOON + timedelta(hours=hours)


def summary(
    name: str, hours: float, start: int, *, stop: int | None = None, timeline: int = 1, xmax: int | None = 1000
) -> Summary:
    start_lsn = Lsn(start * SIZE + 40)
    stop_lsn = Lsn(stop if stop is not None else (start + 1) * SIZE)
    return Summary(
        name=name,
        system_identifier=7,
        pg_version=150000,
        segment_size=SIZE,
        timeline=timeline,
        start_lsn=start_lsn,
        stop_lsn=stop_lsn,
        start_time=at(hours) - timedelta(minutes=5),
        stop_time=at(hours),
        stop_xmax=xmax,
        from_standby=False,
        offline=False,
        data_directory="/data",
        size=1,
        stored=1,
        tablespaces=(),
        label="",
        checksum_failures=0,
    )


def facts(
    *numbers: int,
    timeline: int = 1,
    histories: Mapping[int, History] | None = None,
    extra: Mapping[str, datetime] | None = None,
    last: float = 20,
) -> ArchiveFacts:
    names = {str(SegmentName(timeline, n, SIZE)): at(n / 10) for n in numbers}
    names |= extra or {}
    if names:
        names[max(names)] = at(last)
    return ArchiveFacts(names, histories or {})


A = summary("base_a", 1, 2, xmax=1000)
B = summary("base_b", 5, 10, xmax=2000)
FULL = facts(*range(2, 40))


def choose(
    target: Target | None = None,
    timeline: Timeline = None,
    summaries: Sequence[Summary] = (B, A),
    archive: ArchiveFacts = FULL,
    **kw: str,
) -> Choice:
    return choose_backup(summaries, target, timeline, archive, NOW, **kw)


def test_h21_latest_is_the_newest_by_stop_time_not_by_name_or_listing() -> None:
    renamed = summary("base_0_older_name", 9, 5)
    assert choose(summaries=(A, renamed, B)).summary is renamed


def test_a_time_chooses_the_newest_backup_that_had_ended() -> None:
    assert choose(Target.at_time(at(5))).summary is B
    assert choose(Target.at_time(at(5) - timedelta(microseconds=1))).summary is A


@pytest.mark.parametrize(
    ("when", "why"),
    [
        (at(0), "no backup ended before"),
        (at(21), "after the last WAL"),
        (NOW + timedelta(1), "in the future"),
    ],
)
def test_h54_a_time_outside_the_window_is_refused_and_the_window_told(when: datetime, why: str) -> None:
    with pytest.raises(NoSuchBackup, match=why) as error:
        choose(Target.at_time(when))
    assert error.value.detail == (
        "The archive can bring the cluster back to any time from 2026-05-01 13:00:00+00 to 2026-05-02 08:00:00+00."
    )


def test_a_time_without_any_wal_is_refused() -> None:
    with pytest.raises(NoSuchBackup, match="cannot recover") as error:
        choose(Target.at_time(at(6)), archive=facts())
    assert "no WAL" in error.value.detail


def test_a_position_needs_a_backup_that_stopped_before_it() -> None:
    assert choose(Target.at_lsn(B.stop_lsn)).summary is B
    assert choose(Target.at_lsn(Lsn(B.stop_lsn - 1))).summary is A
    with pytest.raises(NoSuchBackup) as error:
        choose(Target.at_lsn(Lsn(A.stop_lsn - 1)))
    assert str(A.stop_lsn) in error.value.detail


def test_a_position_needs_every_segment_up_to_it() -> None:
    holed = facts(*range(2, 15), *range(18, 21), 30)
    with pytest.raises(WalMissing) as error:
        choose(Target.at_lsn(Lsn(22 * SIZE)), archive=holed)
    assert error.value.detail == (
        "Not in the archive: 00000001000000000000000F to 000000010000000000000011, "
        "000000010000000000000015 to 000000010000000000000016."
    )
    assert choose(Target.at_lsn(Lsn(15 * SIZE - 1)), archive=holed).summary is B


def test_a_position_on_a_boundary_needs_the_segment_that_begins_there() -> None:
    with pytest.raises(WalMissing):
        choose(Target.at_lsn(Lsn(40 * SIZE)))
    assert choose(Target.at_lsn(Lsn(40 * SIZE - 1))).summary is B


def test_a_backup_without_its_own_wal_is_refused() -> None:
    with pytest.raises(WalMissing, match="a segment is missing"):
        choose(archive=facts(*range(2, 10), *range(11, 30)))


def test_a_transaction_chooses_by_what_was_not_yet_assigned() -> None:
    assert choose(Target.at_xid(2000)).summary is B
    assert choose(Target.at_xid(1999)).summary is A
    with pytest.raises(NoSuchBackup, match="transaction 999"):
        choose(Target.at_xid(999))


def test_a_backup_that_does_not_know_its_transactions_serves_no_transaction() -> None:
    unknown = summary("base_c", 8, 12, xmax=None)
    assert choose(Target.at_xid(5000), summaries=(A, unknown)).summary is A
    with pytest.raises(NoSuchBackup, match="transaction 5000"):
        choose(Target.at_xid(5000), summaries=(unknown,))


@given(st.integers(3, 1 << 40), st.integers(-(1 << 30), 1 << 30))
def test_transactions_compare_around_the_circle(xmax: int, distance: int) -> None:
    backup = summary("base_a", 1, 2, xmax=xmax)
    target = Target.at_xid(xmax + distance)
    if distance >= 0:
        assert choose(target, summaries=(backup,)).summary is backup
    else:
        with pytest.raises(NoSuchBackup):
            choose(target, summaries=(backup,))


def test_a_name_takes_the_newest_and_says_that_it_cannot_be_looked_up() -> None:
    choice = choose(Target.at_name("before upgrade"))
    assert choice.summary is B
    assert "cannot look up" in choice.reason


def test_a_named_backup_is_held_to_the_same_conditions() -> None:
    assert choose(name="base_a").summary is A
    with pytest.raises(NoSuchBackup, match='"base_b" did not end before'):
        choose(Target.at_time(at(3)), name="base_b")
    with pytest.raises(NoSuchBackup, match="there is no backup"):
        choose(name="base_x")
    with pytest.raises(WalMissing):
        choose(name="base_a", archive=facts(*range(3, 30)))


TWO = History(2, (Switch(1, Lsn(8 * SIZE + 100)),))
FORKED = facts(
    *range(2, 40),
    histories={2: TWO},
    extra={str(SegmentName(2, n, SIZE)): at(6 + n / 10) for n in range(8, 20)},
)


def test_latest_is_the_newest_backup_that_reaches_the_newest_timeline() -> None:
    choice = choose(archive=FORKED)
    assert (choice.summary, choice.timeline) == (A, 2)


def test_current_stays_on_the_backup_s_own_timeline() -> None:
    choice = choose(None, "current", archive=FORKED)
    assert (choice.summary, choice.timeline) == (B, 1)
    choice = choose(Target.immediate(), archive=FORKED)
    assert (choice.summary, choice.timeline) == (B, 1)


def test_a_backup_may_end_where_its_timeline_was_left_and_no_later() -> None:
    edge = summary("base_e", 7, 8, stop=8 * SIZE + 100)
    assert choose(None, 2, summaries=(A, edge), archive=FORKED).summary is edge
    late = summary("base_e", 7, 8, stop=8 * SIZE + 101)
    assert choose(None, 2, summaries=(A, late), archive=FORKED).summary is A
    with pytest.raises(NoSuchBackup, match='"base_b" cannot be brought to timeline 2'):
        choose(name="base_b", archive=FORKED)


def test_an_unknown_timeline_is_refused() -> None:
    with pytest.raises(NoSuchBackup, match="timeline 3") as error:
        choose(None, 3, archive=FORKED)
    assert "timelines 1, 2" in error.value.detail


def test_wal_of_the_branch_that_was_left_does_not_fill_a_hole() -> None:
    holed = facts(*range(2, 40), histories={2: TWO}, extra={str(SegmentName(2, n, SIZE)): at(1) for n in (8, 9, 11)})
    with pytest.raises(WalMissing) as error:
        choose(Target.at_lsn(Lsn(11 * SIZE + 5)), 2, archive=holed)
    assert error.value.detail == "Not in the archive: 00000002000000000000000A."


def test_the_switch_segment_may_be_on_either_timeline() -> None:
    only_child = facts(*range(2, 8), histories={2: TWO}, extra={str(SegmentName(2, n, SIZE)): at(1) for n in (8, 9)})
    assert choose(Target.at_lsn(Lsn(9 * SIZE)), archive=only_child).summary is A


def test_the_window_is_that_of_the_timeline() -> None:
    assert recovery_window((A, B), "current", FULL).latest == at(20)
    window = recovery_window((A, B), 2, FORKED)
    assert window.earliest == at(1)
    assert window.latest == max(t for n, t in FORKED.segments.items() if n.startswith("00000002"))
    assert recovery_window((), None, FULL) is None
    assert recovery_window((A,), None, facts()) is None


def test_an_archive_without_backups_says_so() -> None:
    with pytest.raises(NoSuchBackup, match="holds no backup"):
        choose(summaries=())


def test_a_segment_of_another_size_is_not_taken_for_ours() -> None:
    odd = ArchiveFacts({**FULL.segments, "000000010000000000000FFF": NOW}, {})
    assert recovery_window((A,), None, odd).latest == at(20)


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(2, 30)), min_size=1, max_size=8, unique=True),
    st.integers(-1, 22),
)
def test_the_choice_is_the_newest_that_fits_whatever_the_order(places: list[tuple[int, int]], hour: int) -> None:
    backups = [summary(f"base_{i:02}", h, s) for i, (h, s) in enumerate(places)]
    fitting = [b for b in backups if b.stop_time <= at(hour)]
    try:
        chosen = choose(Target.at_time(at(hour)), summaries=backups).summary
    except NoSuchBackup:
        assert hour > 20 or not fitting
    else:
        assert (chosen.stop_time, chosen.stop_lsn) == max((b.stop_time, b.stop_lsn) for b in fitting)
