"""
The installed `wal-e`, as archive_command and restore_command call it: by the account that runs PostgreSQL.

The interpreter trap: an environment made from a Python under a home of mode 0700 is closed to that account.
"""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from lab.account import server_account
from lab.place import PROJECT, LabError, executable, lab_directory

COPY = "wal-e"


def wal_e_command() -> Path:
    """
    Return the path of a `wal-e` that the server account can run; LabError where there is none.

    That is the project's own, or, where the project lies behind a closed directory, the lab's installed copy of it.
    """
    own = project_command()
    copy = lab_directory() / "environments" / COPY / "bin" / "wal-e"
    program = own if runs_for_server(own) else copy
    if not program.exists():
        raise LabError(f"{program} is missing: run make install lab")
    if not runs_for_server(program):
        raise LabError(
            f"the account {server_account().name} cannot run {program} ({program.resolve()}): clone the project to "
            "a place that every user may enter, and make .venv from /usr/bin/python3 (make clean install)"
        )
    return program


def project_command() -> Path:
    """Return where `make install` puts `wal-e`."""
    return PROJECT / ".venv" / "bin" / "wal-e"


def runs_for_server(program: Path) -> bool:
    """Say whether the server account can run a program of a virtual environment: it and its interpreter."""
    return executable(program) and executable(program.with_name("python"))


def shell_command(environment: Mapping[str, str], *arguments: str) -> str:
    """
    Return a shell command that runs `wal-e` with these variables, for archive_command (`"wal-push", "%p"`) and
    restore_command; PostgreSQL's own placeholders stay as they are.
    """
    words = ["env", *(f"{name}={value}" for name, value in environment.items()), str(wal_e_command())]
    return " ".join(
        [*map(shlex.quote, words), *(word if word.startswith("%") else shlex.quote(word) for word in arguments)]
    )


def main() -> None:
    """Say whether the installed `wal-e` can be run by PostgreSQL's account; a warning, as not everyone needs that."""
    try:
        print(f"{wal_e_command()} is ready for the account {server_account().name}")
    except LabError as error:
        print(f"warning: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
