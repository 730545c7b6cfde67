"""
Checksums of whole objects, in the words of `ObjectInfo.etag`: an MD5 in hex, or `xxh3:` and an XXH3-128 in hex.

Swift and Google name an object's MD5 by themselves. What a driver stores along as metadata is an XXH3, which costs a
thirtieth of an MD5 and finds damage as well; neither is there against forgers.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Final, Self

import xxhash

XXH3: Final = "xxh3:"
_ETAG = re.compile(rf"(?P<prefix>{XXH3})?[0-9a-f]{{32}}")


class Checksum:
    """The checksum of the bytes so far: XXH3-128, or MD5."""

    def __init__(self, *, md5: bool = False) -> None:
        self.md5 = md5
        self._digest = hashlib.md5(usedforsecurity=False) if md5 else xxhash.xxh3_128()

    @classmethod
    def like(cls, etag: str | None) -> "Checksum | None":
        """Return a fresh one of the kind that an etag is of; None where it is of neither."""
        match = _ETAG.fullmatch(etag or "")
        return None if match is None else cls(md5=match["prefix"] is None)

    @property
    def etag(self) -> str:
        """What an object with these bytes is called by."""
        return f"{'' if self.md5 else XXH3}{self._digest.hexdigest()}"

    def add(self, data: bytes | memoryview) -> None:
        """Count further bytes."""
        self._digest.update(data)

    def of(self, chunks: Iterable[bytes | memoryview]) -> Self:
        """Count further bytes, and return it."""
        for chunk in chunks:
            self.add(chunk)
        return self
