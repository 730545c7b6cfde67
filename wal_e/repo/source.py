"""
A WAL file on its way into the archive: opened once, read once, and the same file until it is stored.

What is checked, what is compressed and what is stored are the same bytes (H05, H13). A file that changes meanwhile
is noticed by what the system says of it, and refused.
"""

import io
import os
import stat
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from wal_e.codec.compress import compress, compress_stream
from wal_e.errors import Corrupt, DataDirectoryError, WalEError
from wal_e.store.api import Body
from wal_e.units import MIB

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

IN_MEMORY: Final = 64 * MIB
_CHUNK: Final = MIB


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """
    One state of one file: a rename, a link, a write or a change of its size makes another (times in nanoseconds).

    Two changes within one tick of the kernel's clock look the same; see `changed_at`.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """The identity that an answer of stat(2) describes."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    @property
    def changed_at(self) -> int:
        """When the file was last changed, in nanoseconds since the epoch."""
        return max(self.mtime_ns, self.ctime_ns)


@dataclass(frozen=True, slots=True)
class Source:
    """A file that was opened for archiving; `data` is its content where it is no larger than `IN_MEMORY`."""

    path: Path
    identity: FileIdentity
    data: bytes | None

    @classmethod
    def of(cls, path: Path) -> Self:
        """Reads the file; `OSError` where it cannot be read, `DataDirectoryError` where it is no file or changes."""
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataDirectoryError(f'"{path}" is not a regular file')
        identity = FileIdentity.of(status)
        if identity.size > IN_MEMORY:
            return cls(path, identity, None)
        with path.open("rb", buffering=0) as file:
            source = cls(path, identity, file.readall())
            source.check(file.fileno())
        return source

    @property
    def size(self) -> int:
        """In bytes."""
        return self.identity.size

    def head(self, count: int) -> bytes:
        """The first `count` bytes."""
        if self.data is not None:
            return self.data[:count]
        with self.open() as file:
            return file.read(count)

    def open(self) -> io.BytesIO | io.BufferedReader:
        """The content from its beginning; of a large file, which must still be the same one."""
        if self.data is not None:
            return io.BytesIO(self.data)
        file = self.path.open("rb")
        try:
            self.check(file.fileno())
        except BaseException:
            file.close()
            raise
        return file

    def check(self, descriptor: int | None = None) -> None:
        """Raises unless the open file, or what lies under the path now, is the file in the state it was opened in."""
        now = FileIdentity.of(self.path.stat() if descriptor is None else os.fstat(descriptor))
        if now != self.identity or (self.data is not None and len(self.data) != self.size):
            raise DataDirectoryError(
                f'"{self.path}" changed while it was archived',
                hint="Only files that the server has finished are archived; repeat once this one is.",
            )

    @contextmanager
    def compressed(self, level: int) -> Generator[Body]:
        """One zstd frame of the file, in memory where the file is, else in a temporary file that has no name."""
        if self.data is not None:
            yield Body.of(compress(self.data, level))
            return
        with self.open() as file, _spool() as spool:
            try:
                for chunk in compress_stream(file, level, size=self.size):
                    _write(spool, chunk)
            except Corrupt:
                self.check(file.fileno())
                raise
            self.check(file.fileno())
            yield Body(spool.tell(), lambda: io.BufferedReader(_FromStart(spool.fileno()), _CHUNK))


class _FromStart(io.RawIOBase):
    """Reads an open file from its beginning, whatever the descriptor's position: one for every retry."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._done = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        count = os.preadv(self._descriptor, [buffer], self._done)
        self._done += count
        return count


@contextmanager
def _spool() -> Generator[io.FileIO]:
    with ExitStack() as stack:
        try:
            file = stack.enter_context(tempfile.TemporaryFile(buffering=0))
        except OSError as error:
            raise _no_room(error) from error
        yield file


def _write(spool: io.FileIO, chunk: bytes) -> None:
    view = memoryview(chunk)
    try:
        while view:
            view = view[spool.write(view) :]
    except OSError as error:
        raise _no_room(error) from error


def _no_room(error: OSError) -> WalEError:
    return WalEError(
        "could not write a temporary file",
        detail=f"The system says: {error.strerror}, in {tempfile.gettempdir()}.",
        hint="Free space there, or set TMPDIR to another directory.",
    )
