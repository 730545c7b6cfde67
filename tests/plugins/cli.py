"""The command `wal-e` as PostgreSQL runs it: as the server account, with an environment of its own."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import pytest

from lab.account import as_postgres, give_to_server
from lab.command import wal_e_command

# Whoever tests agents turns them on: no other test may leave one behind, or be answered by one.
WITHOUT_AGENT = {"WALE_AGENT": "off"}
os.environ |= WITHOUT_AGENT


class WalECli(Protocol):
    """What the fixture `wal_e_cli` is."""

    def __call__(
        self, *arguments: str | Path, env: Mapping[str, str] | None = ..., timeout: float = ...
    ) -> subprocess.CompletedProcess[str]:
        """Run `wal-e` and return its result; a non-zero exit is no exception."""


@pytest.fixture(scope="session")
def wal_e_program() -> Path:
    """The installed program, for archive_command and restore_command; proved to run as the server account."""
    return wal_e_command()


@pytest.fixture
def wal_e_cli(wal_e_program: Path) -> WalECli:
    """Run `wal-e` as the server account with nothing but `env` in its environment (and PATH, HOME, LANG); no agent."""

    def run(
        *arguments: str | Path, env: Mapping[str, str] | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        return as_postgres([wal_e_program, *arguments], env={**WITHOUT_AGENT, **(env or {})}, timeout=timeout)

    return run


@pytest.fixture
def archive_env(pg_tmp: Path) -> dict[str, str]:
    """Variables of an empty file:// archive in a directory that belongs to the server account."""
    archive = give_to_server(pg_tmp / "archive")
    return {"WALE_FILE_PREFIX": f"file://localhost{archive}"}
