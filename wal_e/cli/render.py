"""What commands print on stdout: the one module that does."""

import contextlib
import csv
import io
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from wal_e.errors import Interrupted, WalEError

_GAP: Final = "  "
LIST_COLUMNS: Final = (
    "name",
    "last_modified",
    "expanded_size_bytes",
    "wal_segment_backup_start",
    "wal_segment_offset_backup_start",
    "wal_segment_backup_stop",
    "wal_segment_offset_backup_stop",
)


class ReaderGone(Interrupted):
    """Whoever read our output closed it, as `head` does; not worth a word."""


def tsv(rows: Iterable[Sequence[str]], columns: Sequence[str] = LIST_COLUMNS) -> str:
    """Rows under a header, separated by tabs, each line ended by CR and LF as in the original."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, dialect="excel-tab")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def columns(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Lines with columns of equal width, so that people can read them; programs take the JSON."""
    every = [head, *rows]
    widths = [max(len(row[at]) for row in every) for at in range(len(head))]
    for row in every:
        yield _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def write_out(text: str) -> None:
    """Writes to stdout as it is; `ReaderGone` where the reader has left, `WalEError` where it cannot be written."""
    with _stdout():
        sys.stdout.flush()
        sys.stdout.write(text)
        sys.stdout.flush()


def write_error(text: str) -> None:
    """Writes to stderr as it is; `WalEError` where it cannot be written."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError) as error:
        raise WalEError("could not write to stderr", detail=f"{error}.") from error


def write_binary(chunks: Iterable[bytes | memoryview]) -> None:
    """
    Writes bytes to stdout, and makes them durable where that is a file; raises as `write_out` does.

    Where the chunks raise, what was written until then is not whole.
    """
    for chunk in chunks:
        with _stdout():
            sys.stdout.buffer.write(chunk)
    with _stdout():
        sys.stdout.buffer.flush()
        if stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode):
            os.fsync(sys.stdout.fileno())


@contextlib.contextmanager
def _stdout() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        _drop_stdout()
        raise ReaderGone("nobody reads the output any more") from None
    except OSError as error:
        _drop_stdout()
        raise WalEError("could not write the output", detail=f"{error.strerror}.") from error


def _drop_stdout() -> None:
    """What is still buffered would fail again when the interpreter ends, and change the exit code."""
    with contextlib.suppress(OSError, ValueError):
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)
