"""`--nice` and `--ionice`: this process steps back, or says why not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wal_e.cli.parser import CommandLineError, all_options, parse
from wal_e.cli.priority import parse_ionice
from wal_e.errors import UsageError

SCRIPT = (
    "import os, sys, threading\n"
    "from wal_e.cli.parser import all_options, parse\n"
    "from wal_e.cli.priority import step_back\n"
    "step_back(parse(['backup-push', *sys.argv[1:], 'dir'], all_options()).arguments)\n"
    "def tell():\n"
    "    os.system('ionice -p %d' % threading.get_native_id())\n"
    "    print(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))\n"
    "thread = threading.Thread(target=tell)\n"
    "thread.start()\n"
    "thread.join()\n"
)


def run(*words: str, path: str | None = None) -> "subprocess.CompletedProcess[str]":
    env = os.environ | {"PATH": path or os.environ["PATH"], "PYTHONUNBUFFERED": "1"}
    return subprocess.run([sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, check=False, env=env)


@pytest.mark.parametrize(
    ("words", "io", "nice"),
    [
        (("--nice", "7", "--ionice", "idle"), "idle", 7),
        (("--ionice=best-effort:6",), "best-effort: prio 6", 0),
        (("--ionice=best-effort", "--nice=19"), "best-effort: prio 4", 19),
    ],
)
def test_threads_of_the_process_have_what_was_asked_for(words: tuple[str, ...], io: str, nice: int) -> None:
    done = run(*words)
    expected = min(os.getpriority(os.PRIO_PROCESS, 0) + nice, 19)
    assert done.stdout.splitlines() == [io, str(expected)], done.stderr


def test_a_host_without_ionice_is_told_what_to_do(tmp_path: Path) -> None:
    done = run("--ionice", "idle", path=str(tmp_path))
    assert done.returncode == 1
    assert "the program ionice is missing" in done.stderr


@pytest.mark.parametrize("text", ["", "realtime", "idle:3", "best-effort:8", "best-effort:"])
def test_other_classes_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="class of I/O"):
        parse_ionice(text)


@pytest.mark.parametrize("words", [["--nice", "20"], ["--nice", "-1"], ["--nice", "x"], ["--ionice", "none"]])
def test_a_wrong_priority_is_an_error_of_the_command_line(words: list[str]) -> None:
    with pytest.raises(CommandLineError):
        parse(["backup-push", *words, "dir"], all_options())


@pytest.mark.parametrize("option", ["--upload-rate-limit", "--download-rate-limit"])
def test_a_rate_of_nothing_is_refused(option: str) -> None:
    from wal_e.config import load
    from wal_e.config.rows import DOWNLOAD_RATE_LIMIT, UPLOAD_RATE_LIMIT

    row = UPLOAD_RATE_LIMIT if "upload" in option else DOWNLOAD_RATE_LIMIT
    flags = parse([option, "0", "backup-list"], all_options()).flags
    with pytest.raises(UsageError):
        load(all_options(), flags, environ={})[row]
    assert load(all_options(), {}, environ={"WALG_NETWORK_RATE_LIMIT": "10MB"})[UPLOAD_RATE_LIMIT] == 10 << 20
