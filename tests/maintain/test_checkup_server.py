"""What a server says about itself, judged: each fault is found, with what to do, and a good server has none."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from wal_e.finding import Finding, Verdict
from wal_e.maintain.checkup.command import judge_command
from wal_e.maintain.checkup.server import archives, judge_archiver, judge_owner, judge_privileges, judge_server
from wal_e.pg.answers import ArchiverStatistics, Privileges, ServerFacts
from wal_e.repo.cluster import ClusterIdentity

GOOD = ServerFacts(
    server_version_num=150004,
    system_identifier=7,
    segment_size=16 << 20,
    timeline=1,
    in_recovery=False,
    data_checksums=True,
    data_directory="/d",
    wal_level="replica",
    archive_mode="on",
    archive_command="envdir /etc/wal-e/env /usr/local/bin/wal-e wal-push %p",
    archive_library="",
    tablespaces=(),
)


def bad(findings: list[Finding]) -> list[tuple[str, Verdict]]:
    return [(one.name, one.verdict) for one in findings if one.verdict is not Verdict.OK]


@pytest.mark.parametrize("changes", [{}, {"archive_mode": "always"}, {"in_recovery": True}, {"archive_library": None}])
def test_a_good_server(changes: dict[str, Any]) -> None:
    assert bad(list(judge_server(replace(GOOD, **changes)))) == []


@pytest.mark.parametrize(
    ("changes", "name", "verdict", "hint"),
    [
        ({"server_version_num": 190001}, "version", Verdict.WARNING, "newer release"),
        ({"wal_level": "minimal"}, "wal_level", Verdict.FAILED, "wal_level = 'replica'"),
        ({"archive_mode": "off", "archive_command": "(disabled)"}, "archive_mode", Verdict.FAILED, "archive_mode = on"),
        ({"archive_command": ""}, "archive_command", Verdict.FAILED, "wal-push %p"),
        ({"archive_command": None}, "archive_command", Verdict.FAILED, "wal-push %p"),
        ({"archive_library": "basic_archive"}, "archive_library", Verdict.FAILED, "RESET archive_library"),
        ({"archive_command": "cp %p /x/%f"}, "archive_command", Verdict.WARNING, "wal-push %p"),
    ],
)
def test_each_fault_is_found_alone(changes: dict[str, Any], name: str, verdict: Verdict, hint: str) -> None:
    findings = list(judge_server(replace(GOOD, **changes)))
    assert bad(findings) == [(name, verdict)]
    assert hint in next(one.hint or "" for one in findings if one.name == name)


@pytest.mark.parametrize(
    "text",
    [
        "wal-e wal-push %p",
        'envdir /etc/wal-e/env wal-e wal-push "%p"',
        "WALE_FILE_PREFIX=file:///x /opt/wal-e/bin/wal-e --terse wal-push %p 2>>/var/log/wal-e.log",
        "test ! -f /x/%f && wal-e wal-push %p",
        "wal-e wal-push %p && touch /run/archived",
        "bash -c 'set -o pipefail; wal-e wal-push %p | tee /tmp/x'",
        "timeout 60 wal-e wal-push %p",
    ],
)
def test_good_commands(text: str) -> None:
    (finding,) = judge_command(text)
    assert finding.verdict is Verdict.OK


@pytest.mark.parametrize(
    "setting",
    [
        "AWS_SECRET_ACCESS_KEY=hush",
        "SWIFT_PASSWORD='hush hush'",
        'WABS_SAS_TOKEN="sv=1&sig=hush"',
        "AZURE_STORAGE_CONNECTION_STRING='AccountName=a;AccountKey=hush'",
        "os_password=hush",
        "https_proxy=http://me:hush@proxy SWIFT_PASSWORD=hush",
    ],
)
@pytest.mark.parametrize("program", ["wal-e wal-push %p", "archive.sh %p"])
def test_a_secret_in_the_command_is_not_shown(setting: str, program: str) -> None:
    (finding,) = judge_command(f"env {setting} WALE_S3_PREFIX=s3://b/p {program}")
    assert "hush" not in repr(finding)
    assert f"*** WALE_S3_PREFIX=s3://b/p {program}" in finding.seen


@pytest.mark.parametrize(
    ("text", "verdict", "said"),
    [
        ("/bin/true", Verdict.FAILED, "archives nothing"),
        ("true", Verdict.FAILED, "archives nothing"),
        (": wal-e wal-push %p", Verdict.FAILED, "archives nothing"),
        ("exit 0", Verdict.FAILED, "archives nothing"),
        ("/usr/local/bin/archive.sh %p", Verdict.WARNING, "does not name wal-push"),
        ("wal-e wal-push %f", Verdict.FAILED, "%p is missing"),
        ("wal-e wal-push %%p", Verdict.FAILED, "%p is missing"),
        ("wal-g wal-push %p", Verdict.WARNING, "WAL-G"),
        ("bin/wal-e wal-push %p", Verdict.WARNING, "below the data directory"),
        ("./wal-e wal-push %p", Verdict.WARNING, "below the data directory"),
        ("wal-e wal-push %p | logger", Verdict.FAILED, "pipe"),
        ("wal-e wal-push %p || true", Verdict.FAILED, "passed over"),
        ("wal-e wal-push %p; exit 0", Verdict.FAILED, "last command"),
        ("wal-e wal-push %p &", Verdict.FAILED, "does not wait"),
    ],
)
def test_commands_that_lose_wal_or_do_not_run(text: str, verdict: Verdict, said: str) -> None:
    """H07: what the server is told is archived must be."""
    (finding,) = judge_command(text)
    assert finding.verdict is verdict
    assert said in finding.seen
    assert finding.hint


@pytest.mark.parametrize(
    ("changes", "does"),
    [
        ({}, True),
        ({"archive_mode": "always"}, True),
        ({"archive_mode": "off"}, False),
        ({"archive_command": ""}, False),
        ({"archive_library": "basic_archive"}, False),
        ({"in_recovery": True}, False),
        ({"in_recovery": True, "archive_mode": "always"}, True),
    ],
)
def test_whether_the_server_archives_at_all(changes: dict[str, Any], does: bool) -> None:
    assert archives(replace(GOOD, **changes)) is does


def test_privileges() -> None:
    all_right = Privileges((), "GRANT ...")
    assert judge_privileges(GOOD, all_right).verdict is Verdict.OK
    lacking = judge_privileges(GOOD, Privileges(("pg_switch_wal()",), "GRANT ..."))
    assert (lacking.verdict, lacking.hint) == (Verdict.FAILED, "GRANT ...")
    assert "pg_switch_wal()" in lacking.seen
    assert judge_privileges(replace(GOOD, data_directory=None), all_right).verdict is Verdict.WARNING


def test_the_archiver_is_judged_by_what_came_last() -> None:
    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)

    def verdict(archived: datetime | None, failed: datetime | None) -> Verdict:
        return judge_archiver(ArchiverStatistics(1, "A", archived, 1, "B", failed)).verdict

    assert verdict(None, None) is Verdict.OK
    assert verdict(early, None) is Verdict.OK
    assert verdict(late, early) is Verdict.OK
    assert verdict(early, late) is Verdict.FAILED
    assert verdict(None, early) is Verdict.FAILED


def test_h27_an_archive_of_another_cluster_is_a_failure() -> None:
    assert judge_owner(None, GOOD).verdict is Verdict.OK
    assert judge_owner(ClusterIdentity(7, 1), GOOD).verdict is Verdict.OK
    other = judge_owner(ClusterIdentity(8, 1), GOOD)
    assert other.verdict is Verdict.FAILED
    assert "prefix of its own" in (other.hint or "")
