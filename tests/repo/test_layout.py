"""Keys are built and read back by one module, and the two agree."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wal_e.errors import UsageError
from wal_e.pg.wal import SegmentName
from wal_e.repo import layout
from wal_e.store.api import check_key
from wal_e.units import MIB

NAME = "base_000000010000000000000005_00000040"
SIZES = st.sampled_from([MIB << power for power in range(11)])


@given(st.data(), SIZES)
def test_h12_backup_names_of_every_segment_size_come_back(data: st.DataObject, size: int) -> None:
    start = SegmentName(data.draw(st.integers(1, 2**32 - 1)), data.draw(st.integers(0, 2**64 // size - 1)), size)
    offset = data.draw(st.integers(0, size - 1))
    suffix = data.draw(st.one_of(st.none(), st.from_regex(r"[0-9a-f]{8}", fullmatch=True)))
    name = layout.backup_name(start, start.start + offset, suffix)
    assert layout.parse_backup_name(name) == layout.BackupName(str(start), offset, suffix)
    check_key(layout.manifest_key(name))


def test_the_offset_is_decimal_as_the_original_writes_it() -> None:
    start = SegmentName(1, 5)
    assert layout.backup_name(start, start.start + 0x28) == NAME
    assert layout.backup_name(start, start.start + 0x28, "0a1b2c3d") == f"{NAME}_0a1b2c3d"


def test_a_position_outside_of_the_segment_is_refused() -> None:
    start = SegmentName(1, 5)
    for position in (start.start - 1, start.end):
        with pytest.raises(UsageError):
            layout.backup_name(start, position)
    with pytest.raises(UsageError):
        layout.backup_name(start, start.start, "XYZ")


@pytest.mark.parametrize(
    "bad", ["", "LATEST", "base_1_2", NAME + "/x", NAME + "_XY", NAME.lower() + "\n", "../" + NAME]
)
def test_other_texts_are_no_backup_names(bad: str) -> None:
    assert not layout.is_backup_name(bad)
    with pytest.raises(UsageError, match="not the name of a base backup"):
        layout.parse_backup_name(bad)


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("000000010000000000000005.zst", ("000000010000000000000005", "", ".zst")),
        ("000000010000000000000005.lzo", ("000000010000000000000005", "", ".lzo")),
        ("000000010000000000000005", ("000000010000000000000005", "", "")),
        ("0000000A.history.zst.age", ("0000000A.history", "", ".zst.age")),
        ("000000010000000000000005.00000028.backup.zst", ("000000010000000000000005.00000028.backup", "", ".zst")),
        ("000000010000000000000005.partial.lz4", ("000000010000000000000005.partial", "", ".lz4")),
        (
            "000000010000000000000005.partial.0123456789ab.zst",
            ("000000010000000000000005.partial", "0123456789ab", ".zst"),
        ),
    ],
)
def test_wal_keys_of_all_writers_are_read(rest: str, expected: tuple[str, str, str]) -> None:
    assert layout.parse_wal_key(layout.WAL_PREFIX + rest) == layout.StoredWal(*expected)


@pytest.mark.parametrize(
    "rest",
    [
        "000000010000000000000005_delta.lz4",
        "000000010000000000000005.json",
        "00000001000000000000000.json",
        "x",
        "",
        "a/b",
    ],
)
def test_what_walg_keeps_beside_its_wal_is_no_wal(rest: str) -> None:
    assert layout.parse_wal_key(layout.WAL_PREFIX + rest) is None
    assert layout.parse_wal_key("elsewhere/000000010000000000000005.zst") is None


def test_variant_keys_come_back() -> None:
    key = layout.wal_variant_key("000000010000000000000005.partial", "0123456789abcdef" * 4)
    assert layout.parse_wal_key(key) == layout.StoredWal("000000010000000000000005.partial", "0123456789ab", ".zst")
    check_key(key)


def test_objects_of_a_backup_come_back() -> None:
    pack = layout.parse_backup_key(layout.pack_key(NAME, 12))
    assert pack is not None
    assert (pack.backup, pack.pack, pack.is_manifest, pack.event) == (NAME, 12, False, None)
    manifest = layout.parse_backup_key(layout.manifest_key(NAME))
    assert manifest is not None
    assert (manifest.pack, manifest.is_manifest) == (None, True)
    for other in (
        "cluster.json",
        layout.BACKUP_PREFIX,
        f"{layout.BACKUP_PREFIX}x/manifest.json.zst",
        layout.backup_prefix(NAME),
    ):
        assert layout.parse_backup_key(other) is None


@given(
    st.integers(0, 10**17).map(
        lambda microseconds: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    ),
    st.from_regex("[a-z]+", fullmatch=True),
)
def test_events_come_back_and_sort_by_time(when: datetime, kind: str) -> None:
    key = layout.event_key(NAME, when.astimezone(timezone(timedelta(hours=5))), kind)
    check_key(key)
    found = layout.parse_backup_key(key)
    assert found is not None
    assert found.event == (when, kind)
    assert key < layout.event_key(NAME, when + timedelta(microseconds=1), "a")


def test_an_impossible_event_is_refused_or_none() -> None:
    with pytest.raises(UsageError):
        layout.event_key(NAME, datetime.now(UTC), "../x")
    odd = layout.parse_backup_key(f"{layout.events_prefix(NAME)}20269999T000000.000000Z-pinned.json")
    assert odd is not None
    assert odd.event is None


def test_every_key_is_in_the_alphabet_of_stores() -> None:
    for key in (layout.CLUSTER_KEY, layout.wal_key("0000000A.history"), layout.pack_key(NAME, 99_999_999)):
        assert check_key(key) == key
    assert re.fullmatch(r"pack-\d{8}", layout.pack_key(NAME, 0).rpartition("/")[2])
