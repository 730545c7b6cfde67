"""backup-push from the command line: which parent, what a damaged page does, how much memory."""

import csv
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from wal_e.repo.blockmap import BLOCK_SIZE


@pytest.fixture
def push(wal_e: Shell, tmp_path: Path, own_tiny: Path) -> Shell:
    """Runs `backup-push --while-offline` with more options on a stopped cluster, to an archive in a folder."""
    archive = tmp_path / "archive"
    archive.mkdir()

    def run(*options: str) -> tuple[int, str, str]:
        prefix = ("--file-prefix", f"file://localhost{archive}")
        if options[:1] == ("backup-list",):
            return wal_e(*prefix, *options)
        return wal_e(*prefix, "backup-push", "--while-offline", *options, str(own_tiny))

    return run


def names(push: Shell) -> list[str]:
    code, out, _ = push("backup-list")
    assert code == 0
    return [row["name"] for row in csv.DictReader(out.splitlines(), dialect="excel-tab")]


def test_h34_a_damaged_page_turns_the_exit_code_only_if_asked_to(push: Shell, own_tiny: Path) -> None:
    relation = own_tiny / "base/5/16384"
    relation.write_bytes(b"\1" * BLOCK_SIZE)
    relation.chmod(0o600)
    shutil.chown(relation, own_tiny.stat().st_uid, own_tiny.stat().st_gid)
    code, _, err = push()
    assert (code, 'page checksums do not match in "base/5/16384"' in err) == (0, True)
    code, _, err = push("--checksum-failure", "fail")
    assert code == 1
    assert "MSG: 1 pages do not have the checksum that they should" in err
    assert len(names(push)) == 2
    assert push("--checksum-failure", "ignore")[0] == 2


def test_the_parent_is_the_newest_one_unless_the_user_says_otherwise(push: Shell) -> None:
    assert push()[0] == 0
    (first,) = names(push)
    code, _, err = push()
    assert (code, f'"{first}"' in err) == (0, True)
    assert push("--parent", first, "--read-all")[0] == 0
    assert "building on" not in push("--full")[2]
    assert len(names(push)) == 4
    assert push("--full", "--parent", first)[0] == 2
    code, _, err = push("--parent", "base_00000001000000000000000A_00000000")
    assert (code, "there is no backup" in err) == (1, True)


def test_little_memory_is_enough_for_a_small_cluster(push: Shell) -> None:
    assert push("--memory", "1MB")[0] == 0
    assert push("--memory", "lots")[0] == 2
