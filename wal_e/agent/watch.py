"""Whether the files that an agent's settings came from are still what they were when it began."""

import os
from pathlib import Path

State = tuple[tuple[str, int, int, int], ...]


class Watch:
    """Remembers the state of files, and of directories with the files in them; paths may be relative."""

    def __init__(self, *paths: Path | None) -> None:
        self._paths = [path for path in paths if path is not None]
        self._home = os.getcwd() if any(not path.is_absolute() for path in self._paths) else None  # noqa: PTH109
        self._before = self._look()

    def changed(self) -> bool:
        """Whether a file was replaced, edited, added or removed since the beginning."""
        return self._look() != self._before

    def elsewhere(self, cwd: str) -> bool:
        """Whether, for who runs in `cwd`, a relative path means another file than for us."""
        return self._home is not None and cwd != self._home

    def _look(self) -> State:
        return tuple(entry for path in self._paths for entry in _states(path))


def _states(path: Path) -> list[tuple[str, int, int, int]]:
    try:
        with os.scandir(path) as entries:
            paths = sorted(entry.path for entry in entries)
    except NotADirectoryError:
        paths = [os.fspath(path)]
    except OSError:
        paths = []
    return [state for each in paths if (state := _state(each)) is not None]


def _state(path: str) -> tuple[str, int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116  a string from scandir
    except OSError:
        return None
    return path, found.st_ino, found.st_size, found.st_mtime_ns
