"""`--json`: the shapes that docs/operations.md promises to programs."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.backup.tiny import tiny, tiny_with_tablespace
from tests.cli.conftest import Shell
from wal_e.cli import render
from wal_e.cli.event_stream import EventStream
from wal_e.cli.log import Log
from wal_e.cli.progress import Listener
from wal_e.errors import UsageError, WalEError
from wal_e.events import Level, Message, Progress, Result

__all__ = ["tiny", "tiny_with_tablespace"]
HEAD = {"version", "event", "time"}
SHAPES = {
    "start": HEAD | {"command"},
    "message": HEAD | {"level", "source", "message", "detail", "hint", "fields"},
    "progress": HEAD
    | {"what", "done", "total", "transferred", "reused", "seconds", "bytes_per_second", "seconds_left"},
    "end": HEAD | {"command", "exit_code", "signal", "error"},
}
RESULTS = {
    "backup-push": {
        *("name", "timeline", "start_lsn", "stop_lsn", "start_time", "stop_time"),
        *("size", "stored", "shared", "parent", "checksum_failures"),
    },
    "backup-fetch": {"name", "size"},
    "export": {"name", "format", "size"},
}


def events(text: str) -> list[dict[str, Any]]:
    """Every line, checked against the promised shapes."""
    found = [json.loads(line) for line in text.splitlines()]
    for event in found:
        assert event["version"] == 1
        expected = SHAPES.get(event["event"]) or HEAD | {"command"} | RESULTS[event["command"]]
        assert set(event) == expected
    assert found[0]["event"] == "start"
    assert [event["event"] for event in found].count("end") == 1
    assert found[-1]["event"] == "end"
    return found


def test_every_command_tells_its_story(wal_e: Shell, archive: Path, tiny: Path, tmp_path: Path) -> None:
    assert archive.exists()
    stories = []
    for words in (
        ("backup-push", "--json", "--while-offline", tiny),
        ("backup-fetch", "--json", tmp_path / "copy", "LATEST"),
        ("export", "--json", "--output", tmp_path / "a.tar", "LATEST"),
        ("export", "--json", "--output", tmp_path / "plain", "LATEST"),
    ):
        code, out, err = wal_e(*words)
        assert code == 0, err
        assert "MSG: starting WAL-E" in err
        assert "goes on" not in err
        stories.append(events(out))
        (result,) = [event for event in stories[-1] if event["event"] == "result"]
        assert result["command"] == words[0]
        progress = [event for event in stories[-1] if event["event"] == "progress"]
        assert progress[-1]["done"] >= progress[-1]["total"] - 8192  # pg_control is written by itself
        assert stories[-1][-1] | {"time": ""} == {
            "version": 1,
            "event": "end",
            "time": "",
            "command": words[0],
            "exit_code": 0,
            "signal": None,
            "error": None,
        }
    assert len({event["name"] for story in stories for event in story if event["event"] == "result"}) == 1


def test_an_error_is_in_the_stream_and_on_stderr(wal_e: Shell, archive: Path, tmp_path: Path) -> None:
    assert archive.exists()
    code, out, err = wal_e("backup-fetch", "--json", tmp_path / "copy", "base_none")
    assert code == 1
    assert "MSG: there is no backup" in err
    end = events(out)[-1]
    assert end["exit_code"] == 1
    assert end["error"]["message"] == 'there is no backup "base_none"'
    assert end["error"]["hint"]


def test_where_stdout_has_the_tar_stderr_has_the_events_alone(wal_e: Shell, archive: Path, tiny: Path) -> None:
    wal_e("backup-push", "--while-offline", tiny)
    command = [sys.executable, "-m", "wal_e", f"--file-prefix=file://localhost{archive}", "export", "--json"]
    done = subprocess.run([*command, "LATEST"], capture_output=True, check=True)
    assert done.stdout[257:262] == b"ustar"
    assert events(done.stderr.decode())[-1]["exit_code"] == 0
    done = subprocess.run([*command, "base_none"], capture_output=True, check=False)
    assert done.returncode == 1
    assert events(done.stderr.decode())[-1]["error"]["message"] == 'there is no backup "base_none"'


def test_a_reader_that_leaves_stops_no_backup(wal_e: Shell, archive: Path, tiny: Path) -> None:
    assert archive.exists()
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "wal_e", f"--file-prefix=file://localhost{archive}", "backup-push", "--json"]
    done = subprocess.run([*command, "--while-offline", str(tiny)], stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert done.returncode == 0, done.stderr
    assert len(wal_e("backup-list")[1].splitlines()) == 2


def test_progress_is_thinned_and_ends_with_the_last_state() -> None:
    now = 0.0
    lines: list[str] = []
    stream = EventStream("backup-push", lines.append, now=lambda: now)
    for step in range(1, 19):
        now = step / 4
        stream(Progress("backup-push", step, 36, step // 2, step // 3))
    stream(Message("here", "done with it", level=Level.WARNING))
    found = [json.loads(line) for line in lines]
    told = [event for event in found if event["event"] == "progress"]
    assert [event["done"] for event in told] == [1, 5, 9, 13, 17, 18]
    assert told[-1]["seconds"] == 4.5
    assert told[-1]["bytes_per_second"] == 4
    assert told[-1]["seconds_left"] == 4.5
    assert (told[-1]["transferred"], told[-1]["reused"]) == (9, 6)
    assert found[-1]["level"] == "warning"


def test_the_end_tells_the_signal_and_unknown_errors_too() -> None:
    lines: list[str] = []
    stream = EventStream("export", lines.append)
    stream.end(143, 15, UsageError("a", detail="B.", hint="C."))
    stream.end(2, None, ZeroDivisionError("d"))
    first, second = map(json.loads, lines)
    assert (first["exit_code"], first["signal"]) == (143, "SIGTERM")
    assert first["error"] == {"message": "a", "detail": "B.", "hint": "C."}
    assert (second["signal"], second["error"]) == (None, {"message": "d", "detail": None, "hint": None})


def test_after_an_error_nothing_is_written_any_more() -> None:
    written: list[str] = []

    def write(text: str) -> None:
        written.append(text)
        raise WalEError("full")

    stream = EventStream("export", write)
    stream.start()
    stream.start()
    assert len(written) == 1


def test_stderr_that_is_gone_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    with pytest.raises(WalEError, match="stderr"):
        render.write_error("x")


def test_a_result_is_nothing_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    Listener(Log({"stderr"}), terminal=False)(Result("export", {"name": "x"}))
    assert capsys.readouterr() == ("", "")
