"""Findings on paper: lines for people, a document for programs, one line for Nagios, and the exit code of each."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from wal_e.finding import Finding, Verdict

_WORDS: Final = {verdict: verdict.value for verdict in Verdict} | {Verdict.FAILED: "FAILED"}
_WIDTH: Final = max(map(len, _WORDS.values())) + 2
_NAME: Final = 16
_NAGIOS: Final = ((2, "CRITICAL", Verdict.FAILED), (1, "WARNING", Verdict.WARNING))


def finding_lines(finding: Finding) -> str:
    """One finding, its hint on a line of its own; ends with a line break."""
    text = f"{_WORDS[finding.verdict]:<{_WIDTH}}{finding.name:<{_NAME}}  {_one_line(finding.seen)}\n"
    if finding.hint is not None:
        text += f"{'':<{_WIDTH + _NAME}}  HINT: {_one_line(finding.hint)}\n"
    return text


def findings_document(findings: Iterable[Finding], *, strict: bool) -> dict[str, Any]:
    """All findings and what they come to, for JSON."""
    every = list(findings)
    return {
        "status": "failed" if exit_code(every, strict=strict) else "ok",
        "findings": [
            {"name": one.name, "verdict": one.verdict.value, "seen": one.seen, "hint": one.hint} for one in every
        ],
    }


def exit_code(findings: Iterable[Finding], *, strict: bool) -> int:
    """1 where something failed; with `strict` a warning is a failure too."""
    bad = {Verdict.FAILED, Verdict.WARNING} if strict else {Verdict.FAILED}
    return int(any(one.verdict in bad for one in findings))


def nagios(findings: Sequence[Finding]) -> tuple[int, str]:
    """The exit code of a Nagios plugin, and its line: the worst findings, else how many were good."""
    for code, word, verdict in _NAGIOS:
        bad = [f"{one.name}: {_one_line(one.seen)}" for one in findings if one.verdict is verdict]
        if bad:
            return code, f"WAL-E {word} - {'; '.join(bad).replace('|', '/')}\n"
    return 0, f"WAL-E OK - {sum(one.verdict is Verdict.OK for one in findings)} things are well\n"


def _one_line(text: str) -> str:
    return " ".join(text.split())
