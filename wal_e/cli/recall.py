"""
The restore command of a restored copy: our own `wal-fetch`, with the settings that this run had.

PostgreSQL calls it without the environment of whoever restored. An envdir and a TOML file are named again; what came
from flags and variables is repeated as flags. Every user of the database may read `restore_command`, so secrets are
never in it: where a secret came from a variable, or the command would be too long, the settings go into a file in the
copy's pg_wal that only its owner can read; no base backup takes it along from there.
"""

import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wal_e.cli.context import Context
from wal_e.cli.parser import all_options
from wal_e.config import AnyOption, Origin
from wal_e.config.rows import PREFIXES, chosen_prefix
from wal_e.errors import DataDirectoryError, UsageError
from wal_e.fsio import write_atomically

SETTINGS_FILE: Final = "pg_wal/wal-e.toml"
_LONGEST: Final = 800
"""Up to 15 PostgreSQL cuts a command at 1023 bytes, after it has put in file names and paths."""


@dataclass(frozen=True, slots=True)
class Recall:
    """The command, and the content of the settings file that it reads, None where it needs none."""

    restore_command: str
    settings: str | None


def recall(context: Context, program: Iterable[str] | None = None) -> Recall:
    """
    Works out the command; `program` is how wal-e is called, by default as it was called now.

    Raises `UsageError` where a setting cannot be written down.
    """
    called = [*(own_program() if program is None else program)]
    if context.envdir is not None:
        called += ["--envdir", os.fspath(context.envdir.absolute())]
    flags = list(_flags(context, Origin.FLAG))
    file = context.settings.file
    config = [] if file is None else ["--config", os.fspath(file.absolute())]
    command = _shell_line([*called, *config, *flags, *_flags(context, Origin.ENVIRONMENT)])
    secret = any(
        option.secret and context.settings.source(option).origin is Origin.ENVIRONMENT for option, _ in _kept(context)
    )
    if not secret and len(os.fsencode(command)) <= _LONGEST:
        return Recall(command, None)
    return Recall(_shell_line([*called, "--config", SETTINGS_FILE, *flags]), _toml(context))


def write_settings(content: str, data_directory: Path) -> None:
    """Writes the settings file into a restored copy, for the copy's owner alone; raises `DataDirectoryError`."""
    target = data_directory / SETTINGS_FILE
    try:
        write_atomically(target, [content.encode()], mode=0o600)
        owner = data_directory.stat()
        if os.geteuid() == 0:
            os.chown(target, owner.st_uid, owner.st_gid, follow_symlinks=False)
    except OSError as error:
        raise DataDirectoryError(
            f'could not write "{target}", which the restore command needs',
            detail=f"{error.strerror}.",
            hint="Restore into another directory, or use --envdir so that the file is not needed.",
        ) from error


def own_program() -> tuple[str, ...]:
    """How this program can be called from anywhere."""
    found = shutil.which(sys.argv[0])
    if found is None or Path(found).name == "__main__.py" or found.endswith(".py"):
        return sys.executable, "-m", "wal_e"
    path = os.path.abspath(found)  # noqa: PTH100  a virtual environment's link must stay a link
    # The native program turns into its sibling for the work that no agent does; whoever calls again calls the former.
    native = path.removesuffix("-python")
    return (native if shutil.which(native) else path,)


def _kept(context: Context) -> Iterator[tuple[AnyOption, str]]:
    """What was set, without the prefixes that were not chosen: as flags they could win over the one that was."""
    settings, chosen = context.settings, chosen_prefix(context.settings)
    for option in all_options():
        text = settings.text(option)
        if text is not None and (option is chosen or option not in PREFIXES):
            yield option, text


def _flags(context: Context, origin: Origin) -> Iterator[str]:
    for option, text in _kept(context):
        if context.settings.source(option).origin is not origin or not option.has_flag:
            continue
        if not option.switch:
            yield f"--{option.name}={text}"
        elif context.settings[option]:
            yield f"--{option.name}"


def _toml(context: Context) -> str:
    """What neither a flag nor the envdir repeats."""
    written = (Origin.ENVIRONMENT, Origin.FILE)
    lines = [
        f"{option.name} = {_quoted(option, text)}\n"
        for option, text in _kept(context)
        if context.settings.source(option).origin in written
    ]
    return "".join(lines)


def _quoted(option: AnyOption, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"the value of {option.name} is not UTF-8, and cannot be kept for the restored copy",
            hint="Put the variables into a directory and use --envdir.",
        ) from None
    # JSON's strings are TOML's, but for characters beyond 16 bits and DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _shell_line(words: Iterable[str]) -> str:
    line = " ".join(shlex.quote(word) for word in words).replace("%", "%%")
    return f'{line} wal-fetch "%f" "%p"'
