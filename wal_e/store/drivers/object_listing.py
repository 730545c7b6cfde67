"""
Listings of a prefix made of what obstore lists: whole path segments, and of S3 any document, an empty one.

A page that is somebody else's may so look like the last one (H20, H45). Where obstore would not tell, the service is
asked once more, from just before the last key: only where that key comes, and none behind it, is it the end.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from wal_e.store.api import ObjectInfo

Entries = Callable[[str, str], Iterator[Any]]
"""Given a folder and a text, yields what obstore says about the keys in the folder that come after the text."""


@dataclass(frozen=True, slots=True)
class Listing:
    """
    The objects whose keys start with `prefix` and come after `after`, in the order that the service gives.

    `unordered` says that this is not the order of keys; some come twice then. `vague` says that obstore does not tell a
    listing from another document, and `confirm_empty(folder, begin)` raises where an empty one was none.
    """

    prefix: str
    after: str
    entries: Entries
    confirm_empty: Callable[[str, str], None]
    unordered: bool
    vague: bool

    def __iter__(self) -> Iterator[ObjectInfo]:
        """Yield them, asking for further ones as they are needed."""
        folder, name = _parted(self.prefix)
        begin, last = max(self.after, prefix_floor(folder, name)), ""
        while True:
            final = ""
            for meta in self.entries(folder, begin):
                final = meta["path"]
                if not self.unordered and final > self.prefix and not final.startswith(self.prefix):
                    return
                if self._is_wanted(final, last):
                    yield ObjectInfo(final, meta["size"], meta["last_modified"])
            if self._is_end(final, last, begin):
                return
            begin, last = prefix_floor(*_parted(final)), final

    def _is_wanted(self, key: str, last: str) -> bool:
        return key > self.after and key.startswith(self.prefix) and (self.unordered or key > last)

    def _is_end(self, final: str, last: str, begin: str) -> bool:
        if not self.vague or (final and final == last):
            return True
        if final and (self.unordered or final > last):
            return False
        self.confirm_empty(_parted(self.prefix)[0], last or begin)
        return True


def prefix_floor(folder: str, rest: str) -> str:
    """Return a text before all keys of the folder that start with `rest`, and near them; "" for all of the folder."""
    if not rest:
        return ""
    before = chr(ord(rest[-1]) - 1).replace("/", ".")  # a slash at the beginning would be lost
    name = f"{rest[:-1]}{before}~"
    return f"{folder}/{name}" if folder else name


def _parted(key: str) -> tuple[str, str]:
    folder, _, name = key.rpartition("/")
    return folder, name
