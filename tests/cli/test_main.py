"""The command line from outside: exit codes, outputs, errors with MSG and HINT and never a traceback."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from wal_e import __version__
from wal_e.cli import main as cli
from wal_e.cli.context import Context
from wal_e.cli.signals import Signals
from wal_e.errors import Interrupted
from wal_e.store.api import Body
from wal_e.store.drivers.file import FolderStore

HEADER = (
    "name\tlast_modified\texpanded_size_bytes\twal_segment_backup_start\twal_segment_offset_backup_start\t"
    "wal_segment_backup_stop\twal_segment_offset_backup_stop\r\n"
)
SEGMENT = "000000010000000000000001"


def test_version_needs_no_configuration(wal_e: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WALE_CONFIG", "/nonexistent")
    assert wal_e("version") == (0, f"{__version__}\n", "")
    assert wal_e("--version")[:2] == (0, f"{__version__}\n")


def test_help_of_every_command(wal_e: Shell) -> None:
    for words in ([], ["backup-push"], ["backup-fetch"], ["wal-fetch"], ["delete"], ["delete", "before"]):
        code, out, err = wal_e(*words, "--help")
        assert (code, err) == (0, "")
        assert out.startswith("usage: wal-e")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 127, "no subcommand was given"),
        (["frobnicate"], 2, "invalid choice"),
        (["delete"], 2, "required: WHAT"),
        (["delete", "retain", "x"], 2, "Write a whole number"),
        (["backup-push"], 2, "PG_CLUSTER_DIRECTORY"),
        (["backup-push", "-p", "0", "d"], 2, "Write a whole number"),
        (["backup-push", "--pool", "4", "d"], 2, "--pool"),
        (["backup-fetch", "--target-lsn=0/1", "--target-xid=3", "d", "LATEST"], 2, "not allowed with"),
        (["backup-fetch", "--target", "soon", "d", "LATEST"], 2, "immediate"),
        (["-k", "A", "--aws-instance-profile", "backup-list"], 2, "not allowed with"),
        (["backup-list"], 1, "MSG: no storage prefix defined"),
        (["--s3-prefix", "ftp://b/p", "backup-list"], 1, "URL scheme passed"),
        (["--s3-prefix", "s3://b/p", "backup-list"], 1, "no credentials for S3 are set"),
        (["--file-prefix", "nonsense", "backup-list"], 1, "is not the address of an archive"),
        (["--file-prefix", "file://localhost/nonexistent/x", "backup-list"], 1, "MSG:"),
        (["--config", "/nonexistent", "backup-list"], 1, "configuration file"),
        (["--envdir", "/nonexistent", "backup-list"], 1, "envdir"),
    ],
)
def test_what_is_wrong_is_told(wal_e: Shell, words: list[str], code: int, said: str) -> None:
    found, out, err = wal_e(*words)
    assert found == code
    assert said in err
    assert "Traceback" not in err
    assert out == ""
    if code == 1:
        assert "HINT: " in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["backup-fetch", "d", "LATEST", "--target-time", "yesterday"], "is not a time"),
        (["backup-fetch", "d", "LATEST", "--target-time", "2026-01-01 00:00:00"], "has no time zone"),
        (["backup-fetch", "d", "LATEST", "--target-lsn", "x"], "is not a WAL position"),
        (["backup-fetch", "d", "LATEST", "--target-xid", "-1"], "is not a transaction"),
        (["backup-fetch", "d", "LATEST", "--target-name", ""], "restore point"),
        (["backup-fetch", "d", "LATEST", "--target-timeline", "0"], "is not a timeline"),
        (["backup-fetch", "d", "LATEST", "--target-immediate", "--standby"], "a follower has no target"),
        (["backup-fetch", "d", "LATEST", "--target-action", "pause"], "needs a target"),
        (["backup-fetch", "d", "LATEST", "--target-immediate", "--target-exclusive"], "--target-exclusive is about"),
        (["backup-fetch", "d", "LATEST", "--restore-spec", "absent.json"], "restore specification"),
        (["backup-fetch", "d", "LATEST"], "MSG: the archive holds no backup"),
        (["backup-fetch", "d", "base_000000010000000000000002_00000040_0123abcd"], "there is no backup"),
        (["backup-list", "LATEST"], "MSG: the archive holds no backup"),
        (["backup-list", "base_000000010000000000000002_00000040"], "there is no backup"),
        (["backup-push", "absent"], "MSG: "),
        (["backup-push", "--while-offline", "absent"], "MSG: "),
        (["wal-push", "absent"], "MSG: "),
        (["wal-push", SEGMENT], "could not read"),
        (["delete", "before", "x"], "neither a base backup nor a WAL segment"),
    ],
)
@pytest.mark.usefixtures("archive")
def test_bad_input_of_every_kind(wal_e: Shell, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str) -> None:
    monkeypatch.setenv("PGHOST", "/nonexistent")
    code, out, err = wal_e(*words)
    assert (code, out) == (1, "")
    assert said in err
    assert "HINT: " in err or "wal-push" in words
    assert "Traceback" not in err


def test_the_list_of_an_empty_archive_is_its_header(wal_e: Shell, archive: Path) -> None:
    code, out, err = wal_e("backup-list")
    assert (code, out) == (0, HEADER)
    assert 'DETAIL: The subcommand is "backup-list".' in err
    assert wal_e("--terse", "backup-list") == (0, HEADER, "")
    assert wal_e("backup-list", "--terse") == (0, HEADER, "")
    assert list(archive.iterdir()) == []


def test_backups_of_the_original_are_listed(wal_e: Shell, archive: Path) -> None:
    store = FolderStore(archive)
    for number, sentinel in enumerate(
        [
            {
                "wal_segment_backup_stop": "000000010000000000000003",
                "wal_segment_offset_backup_stop": "00000080",
                "expanded_size_bytes": 12345,
            },
            None,
        ]
    ):
        name = f"base_00000001000000000000000{number + 2}_00000040"
        store.put(f"basebackups_005/{name}_backup_stop_sentinel.json", Body.of(json.dumps(sentinel).encode()))
    _code, out, _err = wal_e("backup-list", "--detail")
    header, first, second = (line.split("\t") for line in out.split("\r\n")[:3])
    assert header[:7] == HEADER.strip().split("\t")
    assert first[0] == "base_000000010000000000000002_00000040"
    assert first[1].endswith("Z")
    assert first[2:7] == ["12345", "000000010000000000000002", "00000040", "000000010000000000000003", "00000080"]
    assert first[7:] == second[7:] == [""] * 5
    assert second[2] == second[5] == second[6] == "timeout"
    _code, out, _err = wal_e("backup-list")
    assert [line.split("\t")[2] for line in out.removeprefix(HEADER).splitlines()] == ["", ""]


def test_an_envdir_and_a_file_reach_the_command(wal_e: Shell, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = os.environ["WALE_FILE_PREFIX"]
    monkeypatch.delenv("WALE_FILE_PREFIX")
    env = archive.parent / "env"
    env.mkdir()
    (env / "WALE_FILE_PREFIX").write_text(prefix + "\n")
    monkeypatch.setattr(os, "environ", os.environ.copy())
    assert wal_e("--envdir", env, "backup-list")[0] == 0
    monkeypatch.undo()
    file = archive.parent / "wal-e.toml"
    file.write_text(f'file-prefix = "{prefix}"\nterse = true\n')
    assert wal_e("backup-list", "--config", file) == (0, HEADER, "")
    file.write_text('file-prefx = "x"\n')
    assert 'Perhaps "file-prefix" was meant.' in wal_e("backup-list", "--config", file)[2]


def test_bad_log_settings_stop_nothing(wal_e: Shell, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WALE_SYSLOG_FACILITY", "local9")
    monkeypatch.setenv("WALE_LOG_DESTINATION", "printer")
    code, out, err = wal_e("backup-list")
    assert (code, out) == (0, HEADER)
    assert "MSG: invalid syslog facility level specified" in err
    assert archive.exists()


@pytest.mark.parametrize("words", [["wal-push", SEGMENT], ["backup-push", "d"]])
def test_nothing_is_stored_in_the_clear_where_a_key_is_set(wal_e: Shell, archive: Path, words: list[str]) -> None:
    code, _out, err = wal_e("--gpg-key-id", "A1B2", *words)
    assert code == 1
    assert "this build cannot encrypt" in err
    assert list(archive.iterdir()) == []


def test_delete_without_confirm_is_a_dry_run(wal_e: Shell, archive: Path) -> None:
    store = FolderStore(archive)
    store.put("wal_004/x", Body.of(b"old"))
    for flags in ([], ["-n"], ["--confirm", "--dry-run"], ["--dry-run", "--confirm"]):
        code, _out, err = wal_e("delete", *flags, "old-versions")
        assert code == 0
        assert "performing dry run of data deletion" in err
        assert 'DETAIL: The subcommand is "delete".' in err
        assert store.head("wal_004/x").size == 3
    assert wal_e("delete", "--confirm", "old-versions")[0] == 0
    assert not (archive / "wal_004" / "x").exists()


class TestFetchCodes:
    """H14: only the archive's own answer may be 1 in a recovery."""

    @pytest.fixture(params=["recovery.signal", "standby.signal", None])
    def signal_file(self, request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
        (tmp_path / "PG_VERSION").write_text("15\n")
        (tmp_path / "pg_wal").mkdir()
        if request.param:
            (tmp_path / request.param).touch()
        name: str | None = request.param
        return name

    @pytest.mark.parametrize(
        "words",
        [
            ["wal-fetch", SEGMENT, "pg_wal/RECOVERYXLOG"],
            ["wal-fetch", SEGMENT],
            ["wal-fetch", "--bad", SEGMENT, "pg_wal/RECOVERYXLOG"],
            ["--file-prefix", "nonsense", "wal-fetch", SEGMENT, "pg_wal/RECOVERYXLOG"],
            ["--file-prefix", "file:///nonexistent/a", "wal-fetch", SEGMENT, "pg_wal/RECOVERYXLOG"],
            ["--config", "/nonexistent", "wal-fetch", SEGMENT, "pg_wal/RECOVERYXLOG"],
            ["--envdir", "/nonexistent", "wal-fetch", SEGMENT, "pg_wal/RECOVERYXLOG"],
        ],
    )
    def test_an_error_is_no_answer(
        self, wal_e: Shell, monkeypatch: pytest.MonkeyPatch, words: list[str], signal_file: str | None
    ) -> None:
        monkeypatch.setenv("WALE_FETCH_TIMEOUT", "0")
        monkeypatch.setenv("WALE_STANDBY_FETCH_TIMEOUT", "0")
        code, _out, err = wal_e(*words)
        assert code == (1 if signal_file == "standby.signal" else 200)
        assert err
        assert "Traceback" not in err

    def test_an_unexpected_error_is_none_either(
        self, wal_e: Shell, archive: Path, monkeypatch: pytest.MonkeyPatch, signal_file: str | None
    ) -> None:
        _explode(monkeypatch, "wal_e.cli.wal.fetch_file")
        code, _out, err = wal_e("wal-fetch", SEGMENT, "pg_wal/RECOVERYXLOG")
        assert code == (1 if signal_file == "standby.signal" else 200)
        assert "CRITICAL MSG: An unprocessed exception has avoided all error handling" in err
        assert archive.exists()

    def test_absent_is_one_in_every_mode(self, wal_e: Shell, archive: Path, signal_file: str | None) -> None:
        FolderStore(archive).put("wal_005/000000010000000000000000.zst", Body.of(b"x"))
        code, _out, err = wal_e("wal-fetch", "00000002.history", "pg_wal/RECOVERYHISTORY")
        assert code == 1, (signal_file, err)
        assert "could no longer locate object while performing wal restore" in err

    def test_by_hand_a_bad_command_line_is_two(self, wal_e: Shell) -> None:
        assert wal_e("wal-fetch", SEGMENT)[0] == 2


def _explode(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    def explode(*_arguments: object) -> None:
        raise ZeroDivisionError("secret of the trade")

    monkeypatch.setattr(what, explode)


@pytest.mark.usefixtures("archive")
def test_an_unexpected_error_is_two_and_shows_its_traceback_on_request(
    wal_e: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    _explode(monkeypatch, "wal_e.cli.wal.push_file")
    code, _out, err = wal_e("wal-push", "wal-fetch")
    assert code == 2
    assert "DETAIL: ZeroDivisionError: secret of the trade (in explode" in err
    assert "Traceback" not in err
    assert "Traceback" in wal_e("--debug", "wal-push", SEGMENT)[2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("command", "by_signal"), [("wal-push", False), ("wal-fetch", True)])
@pytest.mark.usefixtures("archive")
def test_a_signal_unwinds_and_is_passed_on_by_fetch(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals, command: str, by_signal: bool
) -> None:
    """H47: cleanup runs once and undisturbed; PostgreSQL sees a restore_command that was killed."""
    cleaned: list[str] = []

    def operate(*_arguments: object) -> None:
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(number)
            cleaned.append("up")

    monkeypatch.setattr("wal_e.cli.wal.push_file", operate)
    monkeypatch.setattr("wal_e.cli.wal.fetch_file", operate)
    before = signal.getsignal(number)
    outcome = cli.run([command, SEGMENT, *([] if command == "wal-push" else ["pg_wal/RECOVERYXLOG"])])
    assert cleaned == ["up"]
    assert outcome.signal == (number if by_signal else None)
    assert outcome.code == (128 + number if by_signal else 1)
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.usefixtures("archive")
def test_h47_every_other_command_ends_by_the_signal(monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    monkeypatch.setattr("wal_e.cli.listing.run", lambda _context: signal.raise_signal(number))
    outcome = cli.run(["backup-list"])
    assert (outcome.code, outcome.signal) == (128 + number, number)


def test_a_signal_during_the_report_changes_nothing_any_more() -> None:
    with Signals() as signals:
        signals.closing = True
        signal.raise_signal(signal.SIGTERM)
    assert signals.received is None
    assert not signals.stop.requested


LONG = (
    "import signal, sys, threading, wal_e.cli.listing as listing\n"
    "def hang(context):\n"
    "    def work():\n"
    "        try: context.stop.wait(600)\n"
    "        finally: print('tidied', flush=True)\n"
    "    threading.Thread(target=work).start()\n"
    "    try:\n"
    "        print('ready', flush=True)\n"
    "        signal.pause()\n"
    "    finally:\n"
    "        print('cleaning', flush=True)\n"
    "        if 'stuck' in sys.argv: signal.pause()\n"
    "listing.run = hang\n"
    "from wal_e.cli.main import main\n"
    "main(['--file-prefix', 'file://localhost/nowhere', 'backup-list'])\n"
)


@contextmanager
def _stopped_once(script: str, *words: str) -> Iterator["subprocess.Popen[bytes]"]:
    """The program in the middle of its work, after a first SIGTERM."""
    with _program("-c", script, *words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        yield process


def test_h47_threads_that_wait_hear_of_the_signal_and_tidy_up() -> None:
    with _stopped_once(LONG) as process:
        out, err = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM
    assert sorted(out.splitlines()) == [b"cleaning", b"tidied"]
    assert b"MSG: stopped by SIGTERM" in err


def test_a_thread_that_does_not_listen_holds_nothing_up_for_long() -> None:
    script = LONG.replace("context.stop.wait(600)", "time.sleep(600)").replace("import signal", "import time, signal")
    with _stopped_once(script) as process:
        out, _err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM
    assert out == b"cleaning\n"


def test_a_second_signal_ends_a_long_command_at_once() -> None:
    with _stopped_once(LONG, "stuck") as process:
        assert process.stdout is not None
        while process.stdout.readline() != b"cleaning\n":
            pass
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM


def test_signals_are_left_alone_in_other_threads() -> None:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(cli.run(["version"]).code))
    thread.start()
    thread.join()
    assert codes == [0]


def _program(*words: str, **settings: object) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, *words], stderr=subprocess.PIPE, **settings)  # type: ignore[call-overload,no-any-return]  # keyword arguments of any kind


def test_the_real_process_dies_by_the_signal(tmp_path: Path) -> None:
    fifo = tmp_path / "pg_wal"
    fifo.mkdir()
    script = (
        "import sys, signal, wal_e.cli.wal as wal\n"
        "def hang(*_): print('ready', flush=True); signal.pause()\n"
        "wal.fetch_file = hang\n"
        "from wal_e.cli.main import main\n"
        f"main(['--file-prefix', 'file://localhost{tmp_path}', 'wal-fetch', '{SEGMENT}', '{fifo}/RECOVERYXLOG'])\n"
    )
    with _program("-c", script, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        _out, err = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM
    assert b"MSG: stopped by SIGTERM" in err


def test_a_reader_that_left_is_no_noise() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with _program("-m", "wal_e", "version", stdout=writing) as process:
        os.close(writing)
        _out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (1, b"")


def test_a_full_disk_behind_stdout_is_an_error() -> None:
    with Path("/dev/full").open("wb") as full, _program("-m", "wal_e", "version", stdout=full) as process:
        _out, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert b"MSG: could not write the output" in err


@pytest.mark.parametrize("words", [["version"], ["--help"]])
def test_version_imports_nothing_heavy(words: list[str]) -> None:
    script = (
        "import sys\nfrom wal_e.cli.main import run\n"
        f"run({words})\n"
        "heavy = {'psycopg', 'numpy', 'swiftclient', 'keystoneauth1', 'openstack', 'rich', 'zstandard', 'requests'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_interrupted_is_an_error_like_others() -> None:
    assert Interrupted("x").exit_code == 1
    assert Context.__dataclass_params__.frozen  # type: ignore[attr-defined]  # dataclasses keep it there
