"""The command line in this process, with an environment of its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.backup.tiny import own_tiny, tiny
from wal_e.cli.main import run

__all__ = ["own_tiny", "tiny"]


@dataclass(frozen=True)
class Shell:
    """Runs wal-e here; the result is exit code, stdout and stderr."""

    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str | Path) -> tuple[int, str, str]:
        outcome = run([str(argument) for argument in arguments])
        said = self.capture.readouterr()
        return outcome.code, said.out, said.err


@pytest.fixture
def wal_e(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(_variables()):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WALE_AGENT", "off")
    monkeypatch.chdir(tmp_path)


def _variables() -> Iterator[str]:
    from wal_e.cli.parser import all_options

    yield "WALE_CONFIG"
    for option in all_options():
        yield from option.variables


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty archive in a folder, set by its variable."""
    directory = tmp_path / "archive"
    directory.mkdir()
    monkeypatch.setenv("WALE_FILE_PREFIX", f"file://localhost{directory}")
    return directory
