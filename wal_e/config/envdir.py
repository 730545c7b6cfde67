"""
A directory of variables, as `envdir` of daemontools reads it, without needing daemontools.

A file's name is the variable; its first line, without blanks at the end, is the value; NUL stands for a line break;
an empty file removes the variable. Names that begin with a dot are passed over (Kubernetes keeps its bookkeeping
there), and so are directories.
"""

import os
from pathlib import Path

from wal_e.errors import UsageError


def read_envdir(directory: Path) -> dict[str, str | None]:
    """
    Reads the variables of an envdir; None says that the variable is to be removed.

    Raises `UsageError` where the directory or one of its files cannot be read, or a name cannot be a variable.
    """
    try:
        names = sorted(entry.name for entry in directory.iterdir() if not entry.name.startswith("."))
        files = [directory / name for name in names if not (directory / name).is_dir()]
        return {file.name: _value(file) for file in files}
    except OSError as error:
        raise UsageError(
            f'the envdir "{directory}" cannot be read',
            detail=f"{error.filename}: {error.strerror}.",
            hint="Check that it is a directory, and that it and its files are readable by the user that runs wal-e.",
        ) from error


def apply_envdir(directory: Path) -> None:
    """
    Puts an envdir into the environment of this process, so that libpq and the cloud libraries see it too.

    Raises `UsageError` as `read_envdir` does, and then has changed nothing.
    """
    for name, value in read_envdir(directory).items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _value(file: Path) -> str | None:
    if "=" in file.name:
        raise UsageError(f'"{file}" cannot be a variable', hint='Rename the file: the name of a variable has no "=".')
    content = file.read_bytes()
    if not content:
        return None
    line = content.split(b"\n", 1)[0].rstrip(b" \t")
    return os.fsdecode(line.replace(b"\0", b"\n"))
