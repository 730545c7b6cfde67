"""The shape of log lines, which people's scripts look for."""

import syslog
from datetime import UTC, datetime

import pytest

from wal_e.cli.log import CRITICAL, Log, format_message, message_of
from wal_e.cli.progress import Lines, Listener
from wal_e.errors import UsageError
from wal_e.events import Level, Message, Progress

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_shape_is_the_original_s() -> None:
    message = Message(
        "wal_e.worker.upload",
        "begin archiving a file",
        detail='Uploading "pg_wal/000000010000000000000001" to "swift://c/p/wal_005/000000010000000000000001.zst".',
        fields={"state": "begin", "action": "push-wal", "seg": "000000010000000000000001"},
    )
    assert format_message(message, Level.INFO, NOW, 1) == (
        "wal_e.worker.upload INFO     MSG: begin archiving a file\n"
        '        DETAIL: Uploading "pg_wal/000000010000000000000001" to '
        '"swift://c/p/wal_005/000000010000000000000001.zst".\n'
        "        STRUCTURED: time=2026-01-01T00:00:00.000000-00 pid=1 "
        "action=push-wal seg=000000010000000000000001 state=begin"
    )


def test_an_error_has_message_detail_and_hint() -> None:
    error = UsageError("no storage prefix defined", detail="A.", hint="B.")
    assert format_message(message_of(error), Level.ERROR, NOW, 7) == (
        "wal_e.main   ERROR    MSG: no storage prefix defined\n"
        "        DETAIL: A.\n"
        "        HINT: B.\n"
        "        STRUCTURED: time=2026-01-01T00:00:00.000000-00 pid=7"
    )


def test_what_others_wrote_cannot_look_like_a_line_of_the_log() -> None:
    forged = Message("wal_e.main", "x\nwal_e.main   ERROR    MSG: forged", fields={"a": "b\rwal_e.main"})
    first, *others = format_message(forged, CRITICAL, NOW, 1).splitlines()
    assert first == "wal_e.main   CRITICAL MSG: x"
    assert all(line.startswith("        ") for line in others)


def test_levels_and_destinations(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, str]] = []
    monkeypatch.setattr(syslog, "syslog", lambda priority, text: sent.append((priority, text)))
    log = Log({"syslog"}, "local3", Level.WARNING)
    log.write(Message("a", "quiet"))
    log.write(Message("a", "loud\0", level=Level.WARNING))
    assert capsys.readouterr().err == ""
    ((priority, text),) = sent
    assert priority == syslog.LOG_LOCAL3 | syslog.LOG_WARNING
    assert "MSG: loud\\0" in text
    Log({"stderr"}).write(Message("a", "here"))
    assert len(sent) == 1
    assert "MSG: here" in capsys.readouterr().err


def test_progress_without_a_terminal_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    clock = [0.0]
    lines = Lines(Log({"stderr"}), now=lambda: clock[0])
    for done in range(1001):
        clock[0] = done / 40  # a tenth in 2.5 s
        lines.update(Progress("backup-push", done, 1000, done // 2))
    said = capsys.readouterr().err
    assert said.count("MSG: backup-push goes on") == 10
    assert "1000 B of 1000 B done (100 %), 500 B transferred." in said
    clock[0] += 31
    lines.update(Progress("backup-push", 1000, 1000, 500))
    lines.update(Progress("backup-push", 0, 0, 0))
    assert capsys.readouterr().err.count("MSG:") == 1


def test_what_is_done_at_once_has_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    clock = [0.0]
    lines = Lines(Log({"stderr"}), now=lambda: clock[0])
    for done in range(1001):
        clock[0] = done / 600
        lines.update(Progress("backup-push", done, 1000, done // 2))
    assert capsys.readouterr().err == ""


def test_what_was_taken_over_is_told_where_there_is_any(capsys: pytest.CaptureFixture[str]) -> None:
    clock = [0.0]
    lines = Lines(Log({"stderr"}), now=lambda: clock[0])
    clock[0] = 10
    lines.update(Progress("backup-push", 500, 1000, 100))
    assert "reused" not in capsys.readouterr().err
    clock[0] = 20
    lines.update(Progress("backup-push", 1000, 1000, 100, reused=900))
    assert "1000 B of 1000 B done (100 %), 100 B transferred, 900 B reused." in capsys.readouterr().err


def test_terse_is_quiet_unless_something_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    listener = Listener(Log({"stderr"}, level=Level.WARNING), terminal=True)
    listener(Progress("backup-push", 1000, 1000, 100))
    listener(Message("wal_e.main", "all is well"))
    assert capsys.readouterr().err == ""
    listener(Message("wal_e.main", "something", level=Level.WARNING))
    assert "MSG: something" in capsys.readouterr().err


def test_a_terminal_gets_a_bar_with_the_log_above_it(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log({"stderr"})
    listener = Listener(log, terminal=True)
    listener(Progress("backup-push", 10, 100, 5))
    listener(Message("wal_e.main", "in between [bold]"))
    listener(Progress("backup-push", 100, 100, 50, reused=2048))
    listener.close()
    log.write(Message("wal_e.main", "afterwards"))
    said = capsys.readouterr().err
    assert "backup-push" in said
    assert "50 B transferred, 2.0 KiB reused" in "".join(said.split("\n"))
    assert "MSG: in between [bold]" in said
    assert "MSG: afterwards" in said
