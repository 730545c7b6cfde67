"""pg_control of every version that is known, made from the documented table rather than from our own."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pg.synthetic import TABLE, control_bytes
from wal_e.errors import Corrupt, DataDirectoryError, WalEError
from wal_e.pg.control import CONTROL_PATH, State, parse_control, read_control

u32 = st.integers(0, (1 << 32) - 1)
u64 = st.integers(0, (1 << 64) - 1)


@pytest.mark.parametrize("version", TABLE)
@given(identifier=u64, catalog=u32, state=st.sampled_from(State), lsn=st.integers(1 << 10, 1 << 60), xid=u64)
def test_every_version_gives_back_what_was_written(
    version: int, identifier: int, catalog: int, state: State, lsn: int, xid: int
) -> None:
    control = parse_control(
        control_bytes(version, identifier=identifier, catalog=catalog, state=state, lsn=lsn, xid=xid)
    )
    assert control.system_identifier == identifier
    assert (control.pg_control_version, control.catalog_version, control.state) == (version, catalog, state)
    assert (control.checkpoint, control.redo, control.timeline, control.next_xid) == (lsn, lsn - 0x38, 3, xid)
    assert (control.min_recovery_point, control.min_recovery_timeline) == (lsn + 8, 2)
    assert (control.backup_start, control.backup_end, control.backup_end_required) == (lsn + 16, lsn + 24, True)
    assert (control.block_size, control.relation_segment_blocks) == (8192, 131072)
    assert (control.wal_segment_size, control.data_checksums) == (64 << 20, 1)


@pytest.mark.parametrize("version", TABLE)
@given(data=st.data())
def test_h35_any_flipped_bit_is_noticed(version: int, data: st.DataObject) -> None:
    whole = bytearray(control_bytes(version))
    crc = TABLE[version][-1]
    bit = data.draw(st.integers(0, (crc + 4) * 8 - 1))
    whole[bit // 8] ^= 1 << bit % 8
    with pytest.raises(WalEError):
        parse_control(bytes(whole))


@given(st.binary(max_size=600))
def test_arbitrary_bytes_never_escape_the_error_tree(data: bytes) -> None:
    with pytest.raises(WalEError):
        parse_control(data)


@given(st.sampled_from(list(TABLE)), st.binary(min_size=8, max_size=400))
def test_arbitrary_bytes_after_a_known_version_are_corrupt(version: int, tail: bytes) -> None:
    with pytest.raises(Corrupt):
        parse_control(bytes(8) + struct.pack("<I", version) + tail)


@pytest.mark.parametrize("version", [903, 960, 1301, 1902])
def test_an_unknown_version_is_refused_by_name(version: int) -> None:
    data = bytearray(control_bytes(1800))
    struct.pack_into("<I", data, 8, version)
    with pytest.raises(DataDirectoryError, match=str(version)):
        parse_control(bytes(data))


def test_an_unknown_state_is_corrupt() -> None:
    with pytest.raises(Corrupt, match="state"):
        parse_control(control_bytes(1300, state=7))


def test_h35_a_torn_copy_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / CONTROL_PATH
    path.parent.mkdir()
    whole = control_bytes(1300)
    path.write_bytes(whole[:100] + bytes(100) + whole[200:])
    pauses: list[float] = []

    def repair(seconds: float) -> None:
        pauses.append(seconds)
        path.write_bytes(whole)

    monkeypatch.setattr("wal_e.pg.control.time.sleep", repair)
    data, control = read_control(tmp_path)
    assert data == whole
    assert control.system_identifier == 7
    assert len(pauses) == 1


def test_h35_a_copy_that_stays_torn_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / CONTROL_PATH
    path.parent.mkdir()
    path.write_bytes(control_bytes(1300)[:290])
    with pytest.raises(Corrupt):
        read_control(tmp_path, attempts=2)


def test_no_file_is_not_a_data_directory(tmp_path: Path) -> None:
    with pytest.raises(DataDirectoryError, match="pg_control"):
        read_control(tmp_path)
