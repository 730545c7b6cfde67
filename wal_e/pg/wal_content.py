"""Whether bytes are the WAL file that their name says: asked before a push, and before a fetch is shown."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from wal_e.errors import Corrupt, UsageError
from wal_e.pg.history import parse_history
from wal_e.pg.segment import HEADER_SIZE, SegmentHeader, check_segment, parse_header
from wal_e.pg.wal import is_archivable, is_backup_label, is_history, is_partial, is_segment
from wal_e.units import MIB

LARGEST_TEXT: Final = MIB
_LABEL_BEGIN: Final = re.compile(rb"START WAL LOCATION: [0-9A-F]{1,8}/[0-9A-F]{1,8} \(file [0-9A-F]{24}\)\n")


def check_name(name: str) -> str:
    """Returns a name that PostgreSQL gives to files that it archives; any other raises `UsageError` (H60)."""
    if not is_archivable(name):
        raise UsageError(
            f'"{name}" is not the name of a WAL file',
            detail="Segments, timeline histories, backup histories and partial segments are archived.",
            hint="Let PostgreSQL name the file: archive_command = 'wal-e wal-push \"%p\"', "
            'restore_command = \'wal-e wal-fetch "%f" "%p"\'.',
        )
    return name


def is_text(name: str) -> bool:
    """Whether files of this name are small texts rather than WAL."""
    return is_history(name) or is_backup_label(name)


def check_header(name: str, first_bytes: bytes, size: int | None, system_identifier: int | None) -> SegmentHeader:
    """
    The header of a segment or partial segment, which must fit the name, the cluster and the size where given.

    Raises `Corrupt` or `WrongCluster`. Only a `.partial` may be shorter than its header says: what pg_receivewal
    left may be.
    """
    header = parse_header(first_bytes)
    checked_size = header.segment_size
    if size is not None and (is_segment(name) or size > header.segment_size):
        checked_size = size
    check_segment(name[:24], header, checked_size, system_identifier)
    return header


def check_text(name: str, data: bytes) -> None:
    """Raises `Corrupt` where a text is no timeline history or no backup history."""
    if is_history(name):
        parse_history(int(name[:8], 16), data)
    elif _LABEL_BEGIN.match(data) is None:
        raise Corrupt(f'"{name}" does not begin like a backup history file')


def checked(name: str, chunks: Iterable[bytes], system_identifier: int | None) -> Iterator[bytes]:
    """
    Yields the chunks of a stored file and raises where they turn out not to be it (H15, H16, H20).

    The last word falls after the last chunk: whoever writes the chunks must not publish them before the end.
    """
    return _checked_text(name, chunks) if is_text(name) else _checked_wal(name, chunks, system_identifier)


def _checked_text(name: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    data = b""
    for chunk in chunks:
        data += chunk
        if len(data) > LARGEST_TEXT:
            raise Corrupt(f'"{name}" has more than {LARGEST_TEXT} bytes')
    check_text(name, data)
    yield data


def _checked_wal(name: str, chunks: Iterable[bytes], system_identifier: int | None) -> Iterator[bytes]:
    first, size, header = b"", 0, None
    for chunk in chunks:
        size += len(chunk)
        if header is None:
            first += chunk
            if len(first) < HEADER_SIZE:
                continue
            header = check_header(name, first, None, system_identifier)
            yield first
        else:
            yield chunk
        if size > header.segment_size:
            break
    if header is None or size > header.segment_size or (size < header.segment_size and not is_partial(name)):
        expected = "no header" if header is None else f"its header says {header.segment_size}"
        raise Corrupt(f"WAL segment {name} has {size} bytes, {expected}")
