"""The variables of WAL-G: its users change one word, and nothing that they asked for is dropped in silence."""

import argparse
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from wal_e.cli.commands import COMMANDS
from wal_e.cli.log import make_log
from wal_e.cli.parser import all_options, parse, settle
from wal_e.config import load
from wal_e.config.foreign import FOREIGN, OWN
from wal_e.config.rows import ENCRYPTION, PREFIXES, archive_address, refuse_plain_text
from wal_e.errors import UsageError
from wal_e.events import Level

SEGMENT = "000000010000000000000001"


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({"WALG_SWIFT_PREFIX": "swift://c/p"}, "swift://c/p"),
        ({"WALG_S3_PREFIX": "s3://b/p"}, "s3://b/p"),
        ({"WALG_GS_PREFIX": "gs://b/p"}, "gs://b/p"),
        ({"WALG_AZ_PREFIX": "azure://c/p"}, "wabs://c/p"),
        ({"WALE_WABS_PREFIX": "wabs://c/p"}, "wabs://c/p"),
        ({"WALG_FILE_PREFIX": "/var/backups/main"}, "file://localhost/var/backups/main"),
        ({"WALG_FILE_PREFIX": "file://localhost/var/backups"}, "file://localhost/var/backups"),
        ({"WALG_SWIFT_PREFIX": "swift://theirs/p", "WALE_SWIFT_PREFIX": "swift://ours/p"}, "swift://ours/p"),
        ({"WALG_SWIFT_PREFIX": "swift://theirs/p", "WALE_SWIFT_PREFIX": ""}, "swift://theirs/p"),
    ],
)
def test_prefixes(variables: dict[str, str], address: str) -> None:
    assert archive_address(load(PREFIXES, environ=variables)) == address


def arguments_of(words: list[str], variables: dict[str, str]) -> argparse.Namespace:
    parsed = parse(words, all_options())
    assert parsed.command is not None
    settle(parsed.arguments, parsed.command, load(all_options(), parsed.flags, variables))
    return parsed.arguments


@pytest.mark.parametrize(
    ("words", "variable", "attribute", "without"),
    [
        (["backup-push", "d"], "WALG_UPLOAD_CONCURRENCY", "pool_size", 4),
        (["wal-push", "w"], "WALG_UPLOAD_CONCURRENCY", "pool_size", 32),
        (["backup-fetch", "d", "LATEST"], "WALG_DOWNLOAD_CONCURRENCY", "pool_size", 4),
        (["wal-fetch", "w", "to"], "WALG_DOWNLOAD_CONCURRENCY", "prefetch", 8),
        (["backup-push", "d"], "WALG_DISK_RATE_LIMIT", "cluster_read_rate_limit", None),
    ],
)
def test_a_flag_beats_the_variable_which_beats_the_default(
    words: list[str], variable: str, attribute: str, without: int | None
) -> None:
    assert getattr(arguments_of(words, {}), attribute) == without
    assert getattr(arguments_of(words, {variable: "7"}), attribute) == 7
    ours = variable.replace("WALG", "WALE").replace("DISK", "CLUSTER_READ")
    assert getattr(arguments_of(words, {variable: "7", ours: "6"}), attribute) == 6
    flag = f"--{attribute.replace('_', '-')}=5"
    assert getattr(arguments_of([*words, flag], {variable: "7"}), attribute) == 5


def test_a_concurrency_that_is_no_number_is_told_by_the_commands_that_use_it(
    wal_e: Shell, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WALG_UPLOAD_CONCURRENCY", "many")
    code, _, err = wal_e("wal-push", archive / SEGMENT)
    assert code == 1
    assert "the variable WALG_UPLOAD_CONCURRENCY cannot be used" in err
    assert wal_e("backup-list")[0] == 0


@pytest.mark.parametrize("variable", [name for option in ENCRYPTION for name in option.variables])
def test_what_should_be_encrypted_is_not_stored_in_the_clear(
    wal_e: Shell, archive: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "sesame")
    with pytest.raises(UsageError, match="cannot encrypt") as caught:
        refuse_plain_text(load(ENCRYPTION, environ={variable: "sesame"}))
    assert variable in (caught.value.detail or "")
    for words in (["wal-push", SEGMENT], ["backup-push", "d"]):
        code, out, err = wal_e(*words)
        assert (code, out) == (1, "")
        assert "cannot encrypt" in err
        assert "sesame" not in err
    assert list(archive.iterdir()) == []


@pytest.mark.parametrize(
    ("variables", "level"),
    [
        ({}, Level.INFO),
        ({"WALG_LOG_LEVEL": "NORMAL"}, Level.INFO),
        ({"WALG_LOG_LEVEL": "devel"}, Level.DEBUG),
        ({"WALG_LOG_LEVEL": "ERROR"}, Level.WARNING),
        ({"WALG_LOG_LEVEL": "loud"}, Level.INFO),
    ],
)
def test_log_levels(variables: dict[str, str], level: Level) -> None:
    log, complaints = make_log(load(all_options(), environ=variables))
    assert log.level == level
    assert len(complaints) == (variables.get("WALG_LOG_LEVEL") == "loud")


def test_a_name_is_an_option_or_explained_never_both() -> None:
    names = [*OWN, *(name for option in all_options() for name in option.variables)]
    names += [name for foreign in FOREIGN for name in foreign.names]
    assert len(set(names)) == len(names)


def test_every_attribute_is_the_one_that_argparse_uses() -> None:
    for command in COMMANDS:
        words = [argument.names[0] for argument in command.arguments if argument.positional and not argument.optional]
        if not command.children:
            parsed = parse([command.name, *words], all_options())
            for argument in command.arguments:
                assert hasattr(parsed.arguments, argument.attribute)
