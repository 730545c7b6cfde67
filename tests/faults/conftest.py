"""The small stopped cluster that these tests back up and restore, on disks that need not be waited for."""

import os

import pytest

from tests.backup.tiny import own_tiny, quiet, settled, small_packs, tiny, tiny_with_tablespace

__all__ = ["own_tiny", "quiet", "settled", "small_packs", "tiny", "tiny_with_tablespace"]


@pytest.fixture(autouse=True)
def _no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed process loses nothing that it wrote: only a power cut would, which no test here makes."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
