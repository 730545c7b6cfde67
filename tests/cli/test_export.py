"""The command line of `export`: where it goes, in which form, and what cannot be meant."""

import os
import pty
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.backup.tiny import push, tiny, tiny_with_tablespace
from tests.cli.conftest import Shell
from wal_e.store.drivers.file import FolderStore

__all__ = ["tiny", "tiny_with_tablespace"]


@pytest.fixture
def backup(archive: Path, tiny: Path) -> Path:
    push(FolderStore(archive), tiny)
    return archive


def program(archive: Path, *words: str, stdout: object = subprocess.PIPE) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "wal_e", f"--file-prefix=file://localhost{archive}", "export", *words, "LATEST"]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, check=False)  # type: ignore[call-overload,no-any-return] # any kind


def test_the_name_of_the_output_says_the_form(wal_e: Shell, backup: Path, tmp_path: Path) -> None:
    assert backup.exists()
    for words, is_file in (
        (("-o", tmp_path / "a.tar"), True),
        (("-o", tmp_path / "b"), False),
        (("-F", "t", "-o", tmp_path / "c"), True),
        (("--format=plain", "--output", tmp_path / "d.tar"), False),
    ):
        code, out, err = wal_e("export", *words, "LATEST")
        assert (code, out) == (0, ""), err
        assert Path(words[-1]).is_file() == is_file
        assert tarfile.is_tarfile(words[-1]) if is_file else (Path(words[-1]) / "PG_VERSION").exists()
    assert Path(tmp_path / "a.tar").read_bytes() == Path(tmp_path / "c").read_bytes()
    assert (tmp_path / "a.tar").stat().st_mode & 0o777 == 0o600


def test_stdout_gets_the_same_tar(wal_e: Shell, backup: Path, tmp_path: Path) -> None:
    wal_e("export", "-o", tmp_path / "a.tar", "LATEST")
    done = program(backup)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (tmp_path / "a.tar").read_bytes()
    with (tmp_path / "b.tar").open("wb") as file:
        assert program(backup, stdout=file).returncode == 0
    assert (tmp_path / "b.tar").read_bytes() == done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-F", "plain"], "a directory cannot go to stdout"),
        (["--blind-restore"], "in a tar every tablespace is a directory"),
        (["-o", "taken.tar"], "exists already"),
        (["-o", "."], "is not empty"),
        (["-o", "nowhere/a.tar"], "could not write"),
    ],
)
def test_what_cannot_be_meant_is_refused(wal_e: Shell, backup: Path, words: list[str], said: str) -> None:
    Path("taken.tar").write_text("mine")
    code, out, err = wal_e("export", *words, "LATEST")
    assert (code, out) == (1, "")
    assert said in err
    assert "HINT" in err
    assert Path("taken.tar").read_text() == "mine"
    assert backup.exists()


def test_a_terminal_gets_no_tar(backup: Path) -> None:
    master, slave = pty.openpty()
    done = program(backup, stdout=slave)
    os.close(slave)
    os.close(master)
    assert done.returncode == 1
    assert b"nothing for a terminal" in done.stderr


def test_an_output_that_cannot_be_written_is_no_success(backup: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = program(backup, stdout=full)
    assert done.returncode == 1
    assert b"could not write the output" in done.stderr
    reading, writing = os.pipe()
    os.close(reading)
    done = program(backup, stdout=writing)
    os.close(writing)
    assert done.returncode == 1


def test_damage_leaves_no_file(wal_e: Shell, backup: Path, tmp_path: Path) -> None:
    (pack,) = backup.rglob("pack-*")
    data = bytearray(pack.read_bytes())
    data[len(data) // 3] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(data)
    code, _, err = wal_e("export", "-o", tmp_path / "out" / "a.tar", "LATEST")
    assert code == 1, err
    (tmp_path / "out").mkdir()
    code, _, err = wal_e("export", "-o", tmp_path / "out" / "a.tar", "LATEST")
    assert code == 1
    assert "damaged" in err
    assert list((tmp_path / "out").iterdir()) == []
