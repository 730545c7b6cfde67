"""Options: who wins, what an envdir and a TOML file say, and that secrets stay secret."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wal_e.config import (
    AnyOption,
    Option,
    Origin,
    apply_envdir,
    load,
    parse_bool,
    parse_choice,
    parse_count,
    parse_text,
)
from wal_e.config import read_envdir as read
from wal_e.config.rows import (
    FILE_PREFIX,
    GPG_KEY_ID,
    GS_PREFIX,
    LOG_DESTINATION,
    PREFIXES,
    PUSH_TIMEOUT,
    RETRIES,
    S3_PREFIX,
    SWIFT_PREFIX,
    archive_address,
    refuse_plain_text,
)
from wal_e.errors import UsageError
from wal_e.store.drivers import azure
from wal_e.store.drivers.s3 import options as s3
from wal_e.store.drivers.s3.options import parse_endpoint

USER = Option("swift-user", ("SWIFT_USER", "OS_USERNAME"), "who", "nobody", parse_text)
KEY = Option("swift-password", ("SWIFT_PASSWORD",), "key", "", parse_text, secret=True)
LEVEL = Option("level", ("LEVEL",), "level", 3, parse_count(1, 19))
PIN = Option("pin", ("PIN",), "pin", 0, parse_count(0), secret=True)
OPTIONS = (USER, KEY, LEVEL, PIN)


@given(flag=st.booleans(), envdir=st.booleans(), environment=st.booleans(), file=st.booleans())
def test_the_strongest_source_wins(
    tmp_path_factory: pytest.TempPathFactory, flag: bool, envdir: bool, environment: bool, file: bool
) -> None:
    directory = tmp_path_factory.mktemp("sources")
    (directory / "env").mkdir()
    if envdir:
        (directory / "env" / "SWIFT_USER").write_text("envdir")
    (directory / "wal-e.toml").write_text('swift-user = "file"\n' if file else "")
    settings = load(
        OPTIONS,
        {"swift-user": "flag"} if flag else {},
        {"SWIFT_USER": "environment"} if environment else {},
        directory / "env",
        directory / "wal-e.toml",
    )
    given = zip(("flag", "envdir", "environment", "file"), Origin, (flag, envdir, environment, file), strict=False)
    wanted = [(value, origin) for value, origin, used in given if used] + [("nobody", Origin.DEFAULT)]
    assert (settings[USER], settings.source(USER).origin) == wanted[0]


def test_a_password_in_an_address_that_cannot_be_used_is_not_told() -> None:
    endpoint = Option("endpoint", ("ENDPOINT",), "where", None, parse_endpoint)
    settings = load((endpoint,), environ={"ENDPOINT": "http://me:hush@s3.example.org"})
    with pytest.raises(UsageError) as caught:
        settings[endpoint]
    assert "s3.example.org" in str(caught.value.detail)
    assert "hush" not in f"{caught.value} {caught.value.detail} {caught.value.hint} {settings}"


def test_of_several_variables_the_first_that_is_not_empty_counts() -> None:
    assert load(OPTIONS, environ={"SWIFT_USER": "a", "OS_USERNAME": "b"})[USER] == "a"
    assert load(OPTIONS, environ={"SWIFT_USER": "", "OS_USERNAME": "b"})[USER] == "b"
    assert load(OPTIONS, environ={"SWIFT_USER": ""}).source(USER).origin is Origin.DEFAULT


def test_an_envdir_is_read_as_daemontools_reads_it(tmp_path: Path) -> None:
    for name, content in {
        "PLAIN": b"value\nsecond line\n",
        "BLANKS": b" keeps the front \t \n",
        "NUL": b"two\0lines",
        "UNSET": b"",
        "EMPTY": b"\n",
        "LATIN": b"caf\xe9",
        ".hidden": b"x",
    }.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "lost+found").mkdir()
    assert read(tmp_path) == {
        "PLAIN": "value",
        "BLANKS": " keeps the front",
        "NUL": "two\nlines",
        "UNSET": None,
        "EMPTY": "",
        "LATIN": "caf\udce9",
    }


def test_an_empty_file_of_an_envdir_removes_the_variable(tmp_path: Path) -> None:
    (tmp_path / "SWIFT_USER").write_bytes(b"")
    settings = load(OPTIONS, environ={"SWIFT_USER": "environment", "OS_USERNAME": "other"}, envdir=tmp_path)
    assert settings[USER] == "other"


def test_an_envdir_reaches_the_libraries_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "before")
    monkeypatch.setenv("PGPORT", "1")
    (tmp_path / "PGHOST").write_text("/run/postgresql\n")
    (tmp_path / "PGPORT").write_text("")
    apply_envdir(tmp_path)
    assert os.environ["PGHOST"] == "/run/postgresql"
    assert "PGPORT" not in os.environ


def test_an_envdir_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read") as caught:
        read(tmp_path / "absent")
    assert caught.value.hint
    (tmp_path / "A=B").write_text("x")
    with pytest.raises(UsageError, match="cannot be a variable"):
        read(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        'swift-user = "me"',
        'swift_user = "me"',
        '[wal-e]\nswift-user = "me"',
        'level = 5\n[wal-e]\nswift_user = "me"',
    ],
)
def test_toml_keys_at_top_level_or_in_the_table(tmp_path: Path, content: str) -> None:
    file = tmp_path / "wal-e.toml"
    file.write_text(content)
    settings = load(OPTIONS, environ={"WALE_CONFIG": str(file)})
    assert settings[USER] == "me"
    assert str(file) in str(settings.source(USER))
    assert settings.file == file


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('swift-usr = "me"', 'unknown option "swift-usr"'),
        ('swift-user = "a"\nswift_user = "b"', "set twice"),
        ('swift-user = "a"\n[wal-e]\nswift-user = "b"', "set twice"),
        ("swift-user = [1]", "has to be a text"),
        ("swift-user = 2020-01-01", "has to be a text"),
        ("wal-e = 1", "has to be a table"),
        ("swift-user = me", "is not TOML"),
        ("[other]\nx = 1", 'unknown option "other"'),
        ("\xff", "is not TOML"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "wal-e.toml"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(UsageError, match=said):
        load(OPTIONS, environ={}, file=file)


def test_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "f").write_text('swift_usr = "me"')
    with pytest.raises(UsageError) as caught:
        load(OPTIONS, environ={}, file=tmp_path / "f")
    assert caught.value.hint == 'Perhaps "swift-user" was meant.'


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load(OPTIONS, environ={}, file=tmp_path)


def test_a_bad_value_names_its_source() -> None:
    settings = load(OPTIONS, environ={"LEVEL": "high"})
    with pytest.raises(UsageError) as caught:
        _ = settings[LEVEL]
    assert caught.value.message == "the variable LEVEL cannot be used"
    assert caught.value.detail is not None
    assert "high" in caught.value.detail
    assert caught.value.hint == "Write a whole number from 1 to 19."


def test_secrets_are_never_shown() -> None:
    settings = load(OPTIONS, environ={"SWIFT_PASSWORD": "hunter2", "SWIFT_USER": "me", "PIN": "sesame"})
    assert "hunter2" not in repr(settings)
    assert "sesame" not in repr(settings)
    assert "me" in repr(settings)
    assert not KEY.has_flag
    with pytest.raises(UsageError) as caught:
        _ = settings[PIN]
    assert "sesame" not in f"{caught.value} {caught.value.detail} {caught.value.hint}"


@pytest.mark.parametrize(
    "address", ["https://me:hunter2@host", "https://host/?sv=1&sig=hunter2", "https+path://me:hunter2@host:1"]
)
@pytest.mark.parametrize("option", [s3.ENDPOINT, azure.ENDPOINT], ids=lambda option: option.name)
def test_an_address_that_is_refused_keeps_the_secret_that_is_in_it(option: AnyOption, address: str) -> None:
    """A signature is pasted together with its address, as the portal shows it."""
    settings = load([option], environ={option.variables[0]: address})
    with pytest.raises(UsageError) as caught:
        _ = settings[option]
    assert "host" in (caught.value.detail or "")
    assert "hunter2" not in f"{caught.value} {caught.value.detail} {caught.value.hint} {settings!r}"


def test_flags_beat_variables_among_prefixes_too() -> None:
    everything = {option.variables[0]: f"{option.name}:variable" for option in PREFIXES}
    assert archive_address(load(PREFIXES, environ=everything)) == "file-prefix:variable"
    assert archive_address(load(PREFIXES, {"swift-prefix": "flag"}, everything)) == "flag"
    flags = {option.name: option.name for option in (S3_PREFIX, GS_PREFIX, SWIFT_PREFIX)}
    assert archive_address(load(PREFIXES, flags, everything)) == "gs-prefix"
    del everything["WALE_FILE_PREFIX"], everything["WALE_GS_PREFIX"]
    assert archive_address(load(PREFIXES, environ=everything)) == "s3-prefix:variable"


def test_an_envdir_and_the_environment_are_one_rank_of_prefixes(tmp_path: Path) -> None:
    """As in the original, which saw one environment only."""
    (tmp_path / "WALE_SWIFT_PREFIX").write_text("swift://c/p")
    settings = load(PREFIXES, environ={"WALE_FILE_PREFIX": "file:///x"}, envdir=tmp_path)
    assert archive_address(settings) == "file:///x"


def test_no_prefix_is_the_original_s_error() -> None:
    with pytest.raises(UsageError, match=r"^no storage prefix defined$"):
        archive_address(load(PREFIXES, environ={}))


def test_a_gpg_key_is_refused_rather_than_ignored() -> None:
    options = (GPG_KEY_ID, FILE_PREFIX)
    refuse_plain_text(load(options, environ={}))
    for settings in (load(options, environ={"WALE_GPG_KEY_ID": "A1"}), load(options, {"gpg-key-id": "A1"}, {})):
        with pytest.raises(UsageError, match="cannot encrypt"):
            refuse_plain_text(settings)


@pytest.mark.parametrize(("text", "tries"), [("100", 100), ("1", 1), ("0", None), ("-1", None)])
def test_retries_below_one_are_without_limit(text: str, tries: int | None) -> None:
    assert load([RETRIES], environ={"WALE_RETRIES": text})[RETRIES] == tries


def test_durations_and_lists() -> None:
    settings = load(
        [PUSH_TIMEOUT, LOG_DESTINATION], environ={"WALE_PUSH_TIMEOUT": "90", "WALE_LOG_DESTINATION": "stderr"}
    )
    assert settings[PUSH_TIMEOUT] == timedelta(seconds=90)
    assert settings[LOG_DESTINATION] == {"stderr"}


@given(st.text())
def test_parsers_give_a_value_or_an_error_of_ours(text: str) -> None:
    for parse in (parse_bool, parse_count(1, 9), parse_choice("a", "b"), *(option.parse for option in PREFIXES)):
        hint: str | None = "a value"
        try:
            parse(text)
        except UsageError as error:
            hint = error.hint
        assert hint
