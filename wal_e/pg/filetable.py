"""
The files that a walk found, in columns: a cluster may have a million of them, and an object for each costs 400 bytes.

Here a file costs its path (8 bytes, 49 of a string, and a byte for each character) and 42 bytes of numbers.
"""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

_TYPES: Final = "qHIIqqQ"
"""Of the columns, in the order of FileEntry: 8, 2, 4, 4, 8, 8 and 8 bytes."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A regular file as `lstat` saw it; size in bytes, times in nanoseconds."""

    path: str
    size: int
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    ctime_ns: int
    inode: int


class FileTable:
    """Entries of files in the order in which they were added, or of their paths; each iteration makes them anew."""

    def __init__(self, entries: Iterable[FileEntry] = ()) -> None:
        self._paths: list[str] = []
        self._columns = [array(kind) for kind in _TYPES]
        for entry in entries:
            self.add(entry)

    def __len__(self) -> int:
        return len(self._paths)

    def __iter__(self) -> Iterator[FileEntry]:
        for row in zip(self._paths, *self._columns, strict=True):
            yield FileEntry(*row)

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(self._columns[0])

    def add(self, entry: FileEntry) -> None:
        """Appends one file."""
        values = (entry.size, entry.mode, entry.uid, entry.gid, entry.mtime_ns, entry.ctime_ns, entry.inode)
        self._paths.append(entry.path)
        for column, value in zip(self._columns, values, strict=True):
            column.append(value)

    def sort(self) -> None:
        """Puts the files into ascending order of their paths."""
        order = sorted(range(len(self._paths)), key=self._paths.__getitem__)
        self._paths = [self._paths[at] for at in order]
        for number, column in enumerate(self._columns):  # one after the other, so only one is there twice
            self._columns[number] = array(column.typecode, map(column.__getitem__, order))
