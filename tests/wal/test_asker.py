"""Exit codes: an outage, an error or a bug is never "end of archive" to a server that would promote on it."""

from pathlib import Path

import pytest

from tests.wal.material import write_data_directory
from wal_e import errors
from wal_e.wal.asker import (
    RecoveryMode,
    data_directory_of,
    exit_code_for,
    recovery_mode,
    says_standby,
)
from wal_e.wal.fetch import Absent, Fetched

ALL_ERRORS = [
    *(cls("x") for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, errors.WalEError)),
    RuntimeError("a bug"),
    MemoryError(),
    KeyboardInterrupt(),
    SystemExit(2),
]


@pytest.mark.parametrize("mode", RecoveryMode)
def test_answers_have_the_same_code_for_everybody(mode: RecoveryMode) -> None:
    assert exit_code_for(Fetched("x", 1), mode) == 0
    assert exit_code_for(Absent("x"), mode) == 1


@pytest.mark.parametrize("error", ALL_ERRORS, ids=lambda error: type(error).__name__)
def test_h07_h14_errors_stop_a_recovery_and_not_a_standby(error: BaseException) -> None:
    assert exit_code_for(error, RecoveryMode.STANDBY) == 1
    for mode in (RecoveryMode.RECOVERY, RecoveryMode.UNKNOWN):
        code = exit_code_for(error, mode)
        assert 125 < code < 256
        assert code != 143


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, RecoveryMode.UNKNOWN),
        ({"standby.signal": ""}, RecoveryMode.STANDBY),
        ({"recovery.signal": ""}, RecoveryMode.RECOVERY),
        ({"recovery.signal": "", "standby.signal": ""}, RecoveryMode.STANDBY),
        ({"recovery.conf": "restore_command = 'x'\n"}, RecoveryMode.RECOVERY),
        ({"recovery.conf": "restore_command = 'x'\nstandby_mode = 'on'\n"}, RecoveryMode.STANDBY),
    ],
)
def test_the_mode_is_what_the_files_say(tmp_path: Path, files: dict[str, str], expected: RecoveryMode) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert recovery_mode(tmp_path) is expected


def test_without_a_directory_the_mode_is_unknown() -> None:
    assert recovery_mode(None) is RecoveryMode.UNKNOWN


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("standby_mode = on", True),
        ("standby_mode='ON' # really", True),
        ("  Standby_Mode 'tr'", True),
        ("standby_mode = 1", True),
        ("standby_mode = yes", True),
        ("standby_mode = off", False),
        ("standby_mode = o", False),
        ("# standby_mode = on", False),
        ("standby_mode = on\nstandby_mode = off", False),
        ("", False),
    ],
)
def test_recovery_conf_is_read_as_postgresql_reads_it(text: str, expected: bool) -> None:
    assert says_standby(text) is expected


def test_the_data_directory_is_found_from_p(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """%p is relative to the data directory, and pg_wal may be a symbolic link."""
    data = tmp_path / "pg"
    write_data_directory(data)
    (data / "pg_wal").rename(tmp_path / "wal")
    (data / "pg_wal").symlink_to(tmp_path / "wal")
    monkeypatch.chdir(data)
    assert data_directory_of(Path("pg_wal/RECOVERYXLOG")) == data
    assert data_directory_of(data / "pg_wal" / "RECOVERYXLOG") == data
    assert data_directory_of(tmp_path / "wal" / "RECOVERYXLOG") is None
