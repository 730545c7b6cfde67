"""`wal-e check` from outside: what it prints, in which form, with which exit code."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from wal_e.cli.findings import exit_code, nagios
from wal_e.finding import Finding, failed, ok, skipped, warning

WELL = ok("a", "it works")
ODD = warning("b", "it is | odd", "Change it.")
BAD = failed("c", "it fails", "Mend it.")


def test_a_good_store(wal_e: Shell, archive: Path) -> None:
    code, out, err = wal_e("check", "--no-postgres")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ["ok"] * 10
    assert list(archive.iterdir()) == []


def test_a_server_that_is_not_there_is_a_failure(wal_e: Shell, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "/nonexistent")
    code, out, _ = wal_e("check")
    assert code == 1
    assert "FAILED   postgresql" in out
    assert "HINT: Set PGHOST" in out
    assert archive.is_dir()
    code, out, _ = wal_e("check", "--no-store")
    assert (code, out.count("FAILED")) == (1, 1)


def test_a_missing_folder_and_create(wal_e: Shell, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = archive / "a" / "b"
    monkeypatch.setenv("WALE_FILE_PREFIX", f"file://localhost{deep}")
    code, out, _ = wal_e("check", "--no-postgres")
    assert code == 1
    assert "FAILED   container" in out
    assert not deep.exists()
    code, out, _ = wal_e("check", "--no-postgres", "--create")
    assert code == 0
    assert out.startswith("ok       created")
    assert list(deep.iterdir()) == []
    code, out, _ = wal_e("check", "--no-postgres", "--create")
    assert (code, "created" in out) == (0, False)


def test_a_folder_that_cannot_be_created_is_told(wal_e: Shell, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (archive / "file").write_text("")
    monkeypatch.setenv("WALE_FILE_PREFIX", f"file://localhost{archive}/file/b")
    code, out, _ = wal_e("check", "--no-postgres", "--create")
    assert code == 1
    assert "FAILED   created" in out


def test_a_store_without_a_way_to_create_is_told(wal_e: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WALE_FILE_PREFIX", "memory://check-create")
    code, out, _ = wal_e("check", "--no-postgres", "--create")
    assert code == 1
    assert "HINT: " in out


@pytest.mark.parametrize("words", [["check"], ["check", "--policy"]])
def test_no_prefix(wal_e: Shell, words: list[str]) -> None:
    code, out, err = wal_e(*words)
    assert code == 1
    assert "WALE_SWIFT_PREFIX" in out + err


def test_a_setting_that_cannot_be_used_stops_before_the_store(
    wal_e: Shell, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WALE_RETRIES", "often")
    code, out, _ = wal_e("check", "--no-postgres")
    assert (code, len(out.splitlines())) == (1, 2)
    assert list(archive.iterdir()) == []


def test_json_and_strict(wal_e: Shell, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWIFT_USER", "u")
    assert archive.is_dir()
    code, out, _ = wal_e("check", "--no-postgres", "--json")
    document = json.loads(out)
    assert (code, document["status"]) == (0, "ok")
    assert document["findings"][0] == {
        "name": "OpenStack Swift",
        "verdict": "warning",
        "seen": "variables are set for a store that is not in use: SWIFT_USER",
        "hint": "Unset them, unless they are another program's, or the prefix should name that store.",
    }
    code, out, _ = wal_e("check", "--no-postgres", "--json", "--strict")
    assert (code, json.loads(out)["status"]) == (1, "failed")
    code, out, _ = wal_e("check", "--no-postgres", "--nagios")
    assert (code, out[:33]) == (1, "WAL-E WARNING - OpenStack Swift: ")


@pytest.mark.parametrize(
    ("findings", "plain", "strict", "code", "line"),
    [
        ([WELL, skipped("d", "as asked")], 0, 0, 0, "WAL-E OK - 1 things are well\n"),
        ([WELL, ODD], 0, 1, 1, "WAL-E WARNING - b: it is / odd\n"),
        ([BAD, WELL, ODD, BAD], 1, 1, 2, "WAL-E CRITICAL - c: it fails; c: it fails\n"),
    ],
)
def test_exit_codes(findings: list[Finding], plain: int, strict: int, code: int, line: str) -> None:
    assert (exit_code(findings, strict=False), exit_code(findings, strict=True)) == (plain, strict)
    assert nagios(findings) == (code, line)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"WALE_SWIFT_PREFIX": "swift://c/p", "SWIFT_USER": "demo:me"},
            "swift post --read-acl demo:me --write-acl demo:me c\n",
        ),
        (
            {"WALE_SWIFT_PREFIX": "swift://c", "SWIFT_USER": "me", "OS_PROJECT_ID": "1", "OS_USER_ID": "2"},
            "--read-acl 1:2 --write-acl 1:2 c\n",
        ),
        ({"WALE_SWIFT_PREFIX": "swift://c$(x)"}, "--read-acl PROJECT:USER --write-acl PROJECT:USER 'c$(x)'\n"),
        ({"WALE_FILE_PREFIX": "file://localhost/a b"}, "install -d -m 700 -o postgres -g postgres '/a b'\n"),
        ({"WALE_GS_PREFIX": "gs://b/p"}, 'startsWith("projects/_/buckets/b/objects/p/")'),
        ({"WALE_GS_PREFIX": "gs://b"}, 'startsWith("projects/_/buckets/b/objects/")'),
        ({"WALE_FILE_PREFIX": "ftp://b"}, "nothing is known"),
    ],
)
def test_the_least_rights_need_no_network(
    wal_e: Shell, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    _, out, err = wal_e("check", "--policy")
    assert said in out + err


@pytest.mark.parametrize(
    ("prefix", "resource", "listed"),
    [("s3://b/p/q", "arn:aws:s3:::b/p/q/*", ["p/q/*"]), ("s3://b", "arn:aws:s3:::b/*", None)],
)
def test_the_policy_of_s3_is_json(
    wal_e: Shell, monkeypatch: pytest.MonkeyPatch, prefix: str, resource: str, listed: list[str] | None
) -> None:
    monkeypatch.setenv("WALG_S3_PREFIX", prefix)
    code, out, _ = wal_e("check", "--policy")
    listing, reading, deleting = json.loads(out)["Statement"]
    assert code == 0
    condition = {"Condition": {"StringLike": {"s3:prefix": listed}}} if listed else {}
    assert {name: value for name, value in listing.items() if name == "Condition"} == condition
    assert listing["Resource"] == ["arn:aws:s3:::b"]
    assert reading["Resource"] == deleting["Resource"] == [resource]


def test_the_role_of_azure_is_json(wal_e: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WALG_AZ_PREFIX", "azure://c/p")
    document = json.loads(wal_e("check", "--policy")[1])
    assert "wabs://c/p" in document["Description"]
    assert all("/containers/blobs/" in right for right in document["DataActions"])
