"""`wal-e config`: what is in effect and why, and everything that is odd about the variables, each with its name."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from wal_e.cli.parser import all_options
from wal_e.cli.settings import unused_options, used_options
from wal_e.config import load
from wal_e.config.survey import survey
from wal_e.finding import Finding, Verdict

FILE = {"WALE_FILE_PREFIX": "file://localhost/a"}


def surveyed(variables: dict[str, str]) -> list[Finding]:
    settings = load(all_options(), environ=variables)
    return list(survey(settings, variables, used_options(settings), unused_options(settings)))


def test_nothing_to_say() -> None:
    openrc = {
        "OS_AUTH_URL": "https://k/v3",
        "OS_USERNAME": "u",
        "OS_PASSWORD": "p",
        "OS_PROJECT_NAME": "x",
        "OS_PROJECT_ID": "1",
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_REGION_NAME": "R",
        "OS_INTERFACE": "public",
        "OS_ENDPOINT_TYPE": "publicURL",
        "OS_IDENTITY_API_VERSION": "3",
        "OS_VOLUME_API_VERSION": "3",
        "OS_IMAGE_API_VERSION": "2",
    }
    others = {"PATH": "/bin", "HOME": "/", "PGHOST": "/run", "WALE_CONFIG": "", "WALE_AGENT_DIR": "/x", "LANG": "C"}
    assert surveyed({"WALE_SWIFT_PREFIX": "swift://c/p"} | openrc | others) == []


@pytest.mark.parametrize(
    ("variables", "name", "verdict", "said"),
    [
        ({"WALE_SWIT_PREFIX": "x"}, "WALE_SWIT_PREFIX", Verdict.WARNING, "Perhaps WALE_SWIFT_PREFIX was meant."),
        ({"WALE_ZZZZZZZZ": "x"}, "WALE_ZZZZZZZZ", Verdict.WARNING, "docs/reference.md"),
        ({"SWIFT_AUTH_URL": "x"}, "SWIFT_AUTH_URL", Verdict.WARNING, "Perhaps SWIFT_AUTHURL was meant."),
        ({"wale_retries": "3"}, "wale_retries", Verdict.WARNING, "Perhaps WALE_RETRIES was meant."),
        ({"OS_PASWORD": "x"}, "OS_PASWORD", Verdict.WARNING, "Perhaps OS_PASSWORD was meant."),
        ({"AWS_ACCES_KEY_ID": "x"}, "AWS_ACCES_KEY_ID", Verdict.WARNING, "Perhaps AWS_ACCESS_KEY_ID was meant."),
        ({"SWIFT_USER": "u"}, "OpenStack Swift", Verdict.WARNING, "not in use: SWIFT_USER"),
        (
            {"WALE_S3_PREFIX": "s3://b"},
            "prefix",
            Verdict.WARNING,
            "WALE_FILE_PREFIX counts, and not the variable WALE_S3",
        ),
        ({"WALG_FILE_PREFIX": "/b"}, "WALG_FILE_PREFIX", Verdict.WARNING, "something else than WALE_FILE_PREFIX"),
        ({"WALG_COMPRESSION_METHOD": "lz4"}, "WALG_COMPRESSION_METHOD", Verdict.OK, "always zstd"),
        ({"WALG_SSH_PREFIX": "ssh://h/p"}, "WALG_SSH_PREFIX", Verdict.WARNING, "no such store"),
        ({"WALE_RETRIES": "often"}, "retries", Verdict.FAILED, "WALE_RETRIES cannot be used"),
        ({"WALG_PGP_KEY": "k"}, "encryption", Verdict.FAILED, "cannot encrypt"),
        ({"WALG_PGP_KEY": "k", "WALG_LIBSODIUM_KEY": "l"}, "encryption", Verdict.FAILED, "cannot encrypt"),
    ],
)
def test_each_oddity_is_the_only_one_that_is_told(
    variables: dict[str, str], name: str, verdict: Verdict, said: str
) -> None:
    (finding,) = surveyed(FILE | variables)
    assert (finding.name, finding.verdict) == (name, verdict)
    assert said in f"{finding.seen} {finding.hint}"


def test_the_same_said_twice_and_an_empty_variable_are_no_contradiction() -> None:
    assert surveyed(FILE | {"WALG_FILE_PREFIX": "/a", "WALG_ZSTD_LEVEL": "", "WALE_COMPRESSION_LEVEL": "3"}) == []


def test_a_store_that_is_not_in_use_is_one_finding_whatever_its_variables_say() -> None:
    (finding,) = surveyed(FILE | {"SWIFT_PASSWORD": "a", "OS_PASSWORD": "b", "SWIFT_INSECURE": "perhaps"})
    assert finding.name == "OpenStack Swift"
    assert "SWIFT_PASSWORD, OS_PASSWORD, SWIFT_INSECURE" in finding.seen


def test_no_prefix_is_told_with_what_to_set() -> None:
    (finding,) = surveyed({})
    assert (finding.name, finding.verdict) == ("prefix", Verdict.FAILED)


def test_a_secret_stays_secret_in_every_finding() -> None:
    findings = surveyed({"WALE_SWIFT_PREFIX": "swift://c", "SWIFT_PASSWORD": "hunter2", "OS_PASSWORD": "hunter3"})
    assert [finding.name for finding in findings] == ["OS_PASSWORD"]
    assert "hunter" not in repr(findings)


def test_the_command_shows_value_and_origin_and_no_secret(
    wal_e: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "SWIFT_REGION").write_text("R1")
    (tmp_path / "wal-e.toml").write_text('retries = 3\ns3-prefix = "s3://b"')
    monkeypatch.setenv("WALG_SWIFT_PREFIX", "swift://c/p")
    monkeypatch.setenv("SWIFT_PASSWORD", "hunter2")
    monkeypatch.setenv("SWIFT_AUTHURL", "https://me:hunter3@k/v3")
    monkeypatch.setenv("SWIFT_STORAGE_URL", "https://k/v1/me?temp_url_sig=hunter4")
    words = ["--envdir", tmp_path / "env", "--config", tmp_path / "wal-e.toml", "--swift-user", "me", "config"]
    code, out, err = wal_e(*words)
    assert (code, err) == (0, "")
    assert "hunter" not in out
    lines = {line.split()[0]: line.split() for line in out.splitlines()}
    assert lines["swift-prefix"][1:] == ["swift://c/p", "the", "variable", "WALG_SWIFT_PREFIX"]
    assert lines["swift-password"][1] == "***"
    assert lines["swift-auth-url"][1] == "https://***@k/v3"
    assert lines["swift-storage-url"][1] == "https://k/v1/me?***"
    assert lines["compression-level"][1:] == ["3", "the", "default"]
    assert "s3-prefix" not in lines
    document = {row["name"]: row for row in json.loads(wal_e(*words, "--json")[1])}
    origins = {name: row["origin"] for name, row in document.items()}
    assert (origins["swift-user"], origins["swift-region"], origins["retries"]) == ("flag", "envdir", "file")
    assert (origins["swift-prefix"], origins["push-timeout"]) == ("environment", "default")
    assert document["swift-password"] == {
        "name": "swift-password",
        "value": "***",
        "secret": True,
        "origin": "environment",
        "set_by": "the variable SWIFT_PASSWORD",
    }
    assert "s3-prefix  " in wal_e(*words, "--all")[1]


def test_a_value_that_cannot_be_used_ends_the_command_after_the_table(
    wal_e: Shell, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WALE_RETRIES", "often")
    code, out, err = wal_e("config")
    assert code == 1
    assert f"file://localhost{archive}" in out
    assert "WALE_RETRIES cannot be used" in err


def test_the_exit_code_tells_whether_anything_is_wrong(
    wal_e: Shell, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert archive.exists()
    code, out, _ = wal_e("config", "--from-environment")
    assert (code, out.split()[:2]) == (0, ["ok", "variables"])
    monkeypatch.setenv("WALG_DELTA_MAX_STEPS", "6")
    assert wal_e("config", "--from-environment")[0] == 0
    monkeypatch.setenv("WALE_RETRYS", "3")
    code, out, _ = wal_e("config", "--from-environment", "--json")
    assert code == 1
    document = json.loads(out)
    assert document["status"] == "failed"
    assert {one["name"]: one["verdict"] for one in document["findings"]} == {
        "WALG_DELTA_MAX_STEPS": "ok",
        "WALE_RETRYS": "warning",
    }


@pytest.mark.parametrize("address", ["nonsense", "file://localhost/x", "swift://"])
def test_an_address_that_is_another_store_s_or_none_is_told(
    wal_e: Shell, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("WALE_SWIFT_PREFIX", address)
    code, out, _ = wal_e("config", "--from-environment")
    assert code == 1
    assert out.startswith("FAILED   address")
    assert "HINT: " in out
