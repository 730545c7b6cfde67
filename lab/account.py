"""
The account that runs PostgreSQL, and how to run a command as that account.

PostgreSQL refuses root: where the lab runs as root everything that touches a cluster runs as `postgres`, otherwise as
the caller.
"""

import contextlib
import functools
import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine, with what a child process needs to become that user."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


class Identity(TypedDict, total=False):
    """Those arguments of subprocess that change who the child is."""

    user: int
    group: int
    extra_groups: list[int]


@functools.cache
def server_account() -> Account:
    """Return the account that runs PostgreSQL: `postgres` for root (root itself until it is installed), else us."""
    entry = pwd.getpwuid(os.geteuid())
    if entry.pw_uid == 0:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam("postgres")
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, groups, entry.pw_dir)


def identity() -> Identity:
    """Return the subprocess arguments that make a child the server account; empty where we are that already."""
    account = server_account()
    if account.uid == os.geteuid():
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": list(account.groups)}


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment that owes nothing to the caller's: PATH, HOME, a UTF-8 locale, and `extra`."""
    account = server_account()
    base = {"PATH": SYSTEM_PATH, "HOME": account.home, "USER": account.name, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
    return base | dict(extra or {})


def as_postgres(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | Path = "/",
    timeout: float = 120,
    check: bool = False,
) -> subprocess.CompletedProcess[str]:
    """
    Run a command as the server account and return its result with stdout and stderr as text.

    The environment is clean apart from `env`. With `check`, a non-zero exit raises CalledProcessError.
    """
    return subprocess.run(
        [str(word) for word in command],
        env=clean_environment(env),
        cwd=cwd,
        timeout=timeout,
        check=check,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        **identity(),
    )


def give_to_server(path: Path, mode: int = 0o700) -> Path:
    """Make a directory (parents too) that belongs to the server account, and return it."""
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    account = server_account()
    os.chown(path, account.uid, account.gid)
    path.chmod(mode)
    return path
