"""What archive_command's text says, before it is run. Pure."""

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Final

from wal_e.config import HIDDEN, without_secrets
from wal_e.finding import Finding, failed, ok, warning

NAME: Final = "archive_command"
GOOD: Final = "archive_command = 'envdir /etc/wal-e/env wal-e wal-push %p'"
_VERB: Final = "wal-push"
_PRETENDERS: Final = frozenset({"true", "/bin/true", "/usr/bin/true", ":", "exit"})
_LOSES: Final = {
    "|": "the last program of a pipe decides the exit code, so a failure of wal-push is lost",
    ";": "the last command decides the exit code, so a failure of wal-push is lost",
    "||": "a failure of wal-push is passed over",
    "&": "PostgreSQL does not wait for wal-push, and takes every segment for archived",
}
_DELETED: Final = "PostgreSQL would then delete WAL that was never archived."

_SECRET = re.compile(
    r"(?i)([\w-]*(?:password|passwd|secret|token|key|connection_string)[\w-]*=)(\"[^\"]*\"|'[^']*'|[^\s;|&]+)"
)


def judge_command(text: str) -> Iterator[Finding]:
    """Yields what is wrong with a command that is set, or that nothing is; a secret in it is not shown."""
    words = _words(text)
    text = without_secrets(_SECRET.sub(rf"\1{HIDDEN}", text))
    findings = [*_what_runs(text, words), *_failures_lost(words)]
    if not findings and "%p" not in text.replace("%%", ""):
        findings.append(failed(NAME, "%p is missing, so wal-push gets no file", f"Write {GOOD}"))
    yield from findings or [ok(NAME, f"it runs wal-push: {text}")]


def _what_runs(text: str, words: Sequence[str]) -> Iterator[Finding]:
    if words and words[0] in _PRETENDERS:
        yield failed(NAME, f"it archives nothing and reports success: {text}", f"Write {GOOD}. {_DELETED}")
    elif _VERB not in text:
        yield warning(NAME, f"it does not name wal-push: {text}", f"If it is no script that does, write {GOOD}")
    elif _VERB in words:
        yield from _program(words[: words.index(_VERB)])


def _program(before: Sequence[str]) -> Iterator[Finding]:
    programs = [word for word in before if re.fullmatch(r"(.*/)?wal-[eg]", word)]
    program = programs[-1] if programs else ""
    if program.endswith("wal-g"):
        yield warning(NAME, "it runs WAL-G, not WAL-E", "Change the one word, and look at docs/configuration.md.")
    elif "/" in program and not program.startswith("/"):
        yield warning(
            NAME,
            f'"{program}" is looked for below the data directory, where the command runs',
            "Write the absolute path of wal-e.",
        )


def _failures_lost(words: Sequence[str]) -> Iterator[Finding]:
    if _VERB not in words:
        return
    for word in words[words.index(_VERB) :]:
        if word in _LOSES:
            yield failed(NAME, _LOSES[word], f"End the command with wal-push. {_DELETED}")
            return


def _words(text: str) -> list[str]:
    """The shell's words, operators apart; none where the quoting is broken, which the shell will tell by itself."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        return list(lexer)
    except ValueError:
        return []
