"""What a put sends: bytes that lie in memory or come from a source, opened anew for every repeat."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from wal_e.errors import ShortRead
from wal_e.units import MIB

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PIECE: Final = MIB


@dataclass(frozen=True, slots=True)
class Pace:
    """
    A say in how a body leaves: what `start` returns is called before each piece, with its size, `step` bytes at most.

    It may wait, and raise.
    """

    step: int
    start: Callable[[], Callable[[int], None]]


@dataclass(frozen=True, slots=True)
class Body:
    """
    What a put sends: `size` bytes that can be opened again for every repeat.

    `view` are the bytes where they are all in memory. Whoever sends them does so at the `pace`, if there is one; who
    only wants a digest looks at them.
    """

    size: int
    source: Callable[[], BinaryIO]
    view: memoryview | None = None
    pace: Pace | None = None

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview) -> "Body":
        """A body of bytes in memory, which must not change; it is read where it lies, not copied."""
        view = memoryview(data)
        return cls(len(view), lambda: cast("BinaryIO", _View(view)), view)

    @classmethod
    def of_file(cls, path: Path) -> "Body":
        """A body of a file's present size; the file must not change while it is sent."""
        return cls(path.stat().st_size, lambda: path.open("rb"))

    def open(self) -> BinaryIO:
        """The bytes from their beginning, to be sent as they are read."""
        source = self.source()
        return source if self.pace is None else cast("BinaryIO", _Paced(source, self.pace))

    def pieces(self, size: int = PIECE) -> Iterator[bytes | memoryview]:
        """Yields the bytes to be sent, `size` at once; raises `ShortRead` where they are not so many."""
        if self.view is None:
            yield from self._read(size)
            return
        passes = None if self.pace is None else self.pace.start()
        step = size if self.pace is None else min(size, self.pace.step)
        for start in range(0, self.size, step):
            piece = self.view[start : start + step]
            if passes is not None:
                passes(len(piece))
            yield piece

    def look(self) -> Iterator[bytes | memoryview]:
        """Yields the bytes to somebody who does not send them, so at no pace; otherwise as `pieces`."""
        return replace(self, pace=None).pieces()

    def whole(self, *, lent: bool = False) -> bytes | memoryview:
        """
        All the bytes to be sent; raises `ShortRead` where the source has fewer or more than it said.

        They stay what they are when the memory behind the body is used for others, as whoever sends them may outlive a
        put that was given up; with `lent` they need not.
        """
        if self.view is None:
            with self.open() as source:
                data = source.read(self.size + 1)
            if len(data) != self.size:
                raise ShortRead(f"{len(data)} of {self.size} bytes were there to be stored")
            return data
        for _ in self.pieces():
            pass
        return self.view if lent or isinstance(self.view.obj, bytes) else bytes(self.view)

    def _read(self, size: int) -> Iterator[bytes]:
        left = self.size
        with self.open() as source:
            while left:
                piece = source.read(min(left, size))
                if not piece:
                    raise ShortRead(f"{self.size - left} of {self.size} bytes were there to be stored")
                left -= len(piece)
                yield piece
            if source.read(1):
                raise ShortRead(f"more than {self.size} bytes were there to be stored")


class _View(io.RawIOBase):
    """Reads memory from its beginning, and goes back to it: python-swiftclient asks that of all that has `seek`."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._done = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        beginning = {io.SEEK_SET: 0, io.SEEK_CUR: self._done, io.SEEK_END: len(self._view)}[whence]
        self._done = max(0, beginning + offset)
        return self._done

    def read(self, size: int | None = -1, /) -> bytes:
        end = len(self._view) if size is None or size < 0 else self._done + size
        piece = bytes(self._view[self._done : end])
        self._done += len(piece)
        return piece

    def readinto(self, buffer: "WriteableBuffer") -> int:
        target = memoryview(buffer)
        piece = self._view[self._done : self._done + len(target)]
        target[: len(piece)] = piece
        self._done += len(piece)
        return len(piece)


class _Paced(io.RawIOBase):
    """What a source has, as its pace lets it through."""

    def __init__(self, source: BinaryIO, pace: Pace) -> None:
        self._source = source
        self._step = pace.step
        self._passes = pace.start()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._source.seekable()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._source.seek(offset, whence)

    def read(self, size: int | None = -1, /) -> bytes:
        parts: list[bytes] = []
        left = -1 if size is None else size
        while left:
            piece = self._source.read(self._step if left < 0 else min(left, self._step))
            if not piece:
                break
            self._passes(len(piece))
            parts.append(piece)
            left -= len(piece) if left > 0 else 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        piece = self.read(min(len(view), self._step))
        view[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self._source.close()
        super().close()
