"""The restore command that a restored copy gets."""

import stat
from argparse import Namespace
from pathlib import Path

import pytest

from wal_e.cli.context import Context
from wal_e.cli.parser import all_options
from wal_e.cli.recall import SETTINGS_FILE, recall, write_settings
from wal_e.config import Settings, load
from wal_e.config.rows import archive_address
from wal_e.errors import DataDirectoryError
from wal_e.events import silent

PROGRAM = ("/opt/my tools/wal-e",)


def context(settings: Settings, envdir: Path | None = None) -> Context:
    return Context(Namespace(), settings, silent, envdir)


def test_flags_and_variables_become_flags() -> None:
    settings = load(
        all_options(),
        {"file-prefix": "file:///var/100% it's", "terse": "true"},
        {"WALE_SWIFT_PREFIX": "swift://not/chosen", "WALE_FETCH_TIMEOUT": "3", "WALE_DEBUG": "0"},
    )
    found = recall(context(settings), PROGRAM)
    assert found.settings is None
    assert found.restore_command == (
        "'/opt/my tools/wal-e' '--file-prefix=file:///var/100%% it'\"'\"'s' --terse --fetch-timeout=3 "
        'wal-fetch "%f" "%p"'
    )


def test_an_envdir_and_a_file_are_named_again(tmp_path: Path) -> None:
    env = tmp_path / "env"
    env.mkdir()
    (env / "WALE_SWIFT_PREFIX").write_text("swift://c/p")
    (env / "SWIFT_PASSWORD").write_text("hunter2")
    file = tmp_path / "wal-e.toml"
    file.write_text('swift-user = "me"')
    found = recall(context(load(all_options(), {}, {}, env, file), env), ("wal-e",))
    assert found.restore_command == f'wal-e --envdir {env} --config {file} wal-fetch "%f" "%p"'
    assert found.settings is None


def test_a_secret_from_a_variable_goes_into_a_file_that_gives_the_same_settings(tmp_path: Path) -> None:
    variables = {
        "WALE_SWIFT_PREFIX": "swift://c/p",
        "SWIFT_USER": "tenant:me",
        "SWIFT_PASSWORD": 'hun"ter\\2\n\x7f\U0001f600',
    }
    found = recall(context(load(all_options(), {"fetch-timeout": "3"}, variables)), ("wal-e",))
    assert found.restore_command == f'wal-e --config {SETTINGS_FILE} --fetch-timeout=3 wal-fetch "%f" "%p"'
    assert found.settings is not None
    (tmp_path / "pg_wal").mkdir()
    write_settings(found.settings, tmp_path)
    written = tmp_path / SETTINGS_FILE
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    again = load(all_options(), {}, {}, None, written)
    assert archive_address(again) == "swift://c/p"
    for option in all_options():
        if set(option.variables) & set(variables):
            assert again.text(option) == variables[option.variables[0]]


def test_a_command_that_postgresql_would_cut_goes_into_a_file() -> None:
    settings = load(all_options(), {}, {"WALE_FILE_PREFIX": f"file:///{'x' * 900}"})
    found = recall(context(settings), ("wal-e",))
    assert len(found.restore_command) < 100
    assert found.settings is not None


def test_a_copy_without_pg_wal_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataDirectoryError, match="could not write"):
        write_settings("x", tmp_path)
