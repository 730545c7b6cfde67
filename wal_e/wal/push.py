"""
What archive_command does: one finished WAL file into the archive, or an error.

Returning means that the content is durable under its name and was this cluster's (H04); PostgreSQL may recycle
the file at once. `archive_status` is never touched: that is the server's business (H10).
"""

import time
from dataclasses import dataclass, field
from pathlib import Path

from wal_e.codec.compress import DEFAULT_LEVEL
from wal_e.errors import Corrupt, DataDirectoryError, WrongCluster
from wal_e.events import Sink
from wal_e.pg.control import ControlData, read_control
from wal_e.pg.segment import HEADER_SIZE
from wal_e.pg.wal_content import LARGEST_TEXT, check_header, check_name, check_text, is_text
from wal_e.repo.cluster import ensure_identity, read_identity
from wal_e.repo.layout import wal_key
from wal_e.repo.source import FileIdentity, Source
from wal_e.repo.wal import PutResult, put_wal
from wal_e.store.api import Store
from wal_e.wal import messages
from wal_e.wal.asker import data_directory_of
from wal_e.wal.messages import Place


@dataclass(frozen=True, slots=True)
class PushOptions:
    """The zstd level, and the archive's address as the user gave it, for messages."""

    level: int = DEFAULT_LEVEL
    location: str = ""


@dataclass(frozen=True, slots=True)
class Pushed:
    """
    What was archived: `fresh` is false where the archive had it already; `stored` is the bytes it added.

    `identity` is the state in which the file was archived; `compressing` and `sending` are seconds of work.
    """

    name: str
    key: str
    fresh: bool
    size: int
    stored: int
    identity: FileIdentity | None = field(default=None, compare=False)
    compressing: float = field(default=0.0, compare=False)
    sending: float = field(default=0.0, compare=False)


def push_file(store: Store, path: Path, options: PushOptions, emit: Sink) -> Pushed:
    """
    Archives the file under its own name.

    The same content twice is success, other content under a stored name is `ArchiveConflict` (H01). A file that is
    not what its name says is `Corrupt` (H05, H13), one of another cluster than the archive's or than the data
    directory's it lies in is `WrongCluster` (H02), a file that cannot be read, or that changes before the end, is
    `DataDirectoryError`.
    """
    name = check_name(path.name)
    try:
        source = Source.of(path)
        identifier = _check_file(name, source)
        _check_owner(store, name, identifier)
        place = Place(options.location, wal_key(name), name)
        emit(messages.push_begins(place, path))
        begun = time.monotonic()
        result = put_wal(store, name, source, options.level)
        source.check()
    except OSError as error:
        raise _unreadable(path, error) from error
    _report(emit, place, result, time.monotonic() - begun, options)
    return Pushed(
        name,
        result.key,
        result.fresh,
        result.size,
        result.stored,
        source.identity,
        result.compressing,
        result.sending,
    )


def _report(emit: Sink, place: Place, result: PutResult, seconds: float, options: PushOptions) -> None:
    if result.key != place.key:
        emit(messages.push_aside(Place(options.location, result.key, place.name)))
    elif result.fresh:
        emit(messages.push_completes(place, result.size, seconds))
    else:
        emit(messages.push_skips(place))


def _check_file(name: str, source: Source) -> int | None:
    """The system identifier of the cluster that wrote the file, None where neither it nor its place tells."""
    path = source.path
    directory = data_directory_of(path)
    control = read_control(directory)[1] if directory else None
    if is_text(name):
        if source.size > LARGEST_TEXT:
            raise Corrupt(f'"{path}" has {source.size} bytes, too many for a file of its kind')
        check_text(name, source.head(LARGEST_TEXT))
        return control.system_identifier if control else None
    header = check_header(name, source.head(HEADER_SIZE), source.size, None)
    if control is not None:
        _check_control(path, control, header.system_identifier, header.segment_size)
    return header.system_identifier


def _check_control(path: Path, control: ControlData, identifier: int, segment_size: int) -> None:
    if control.system_identifier != identifier:
        raise WrongCluster(
            f'"{path}" is not WAL of the cluster in whose directory it lies',
            detail=f"Its system identifier is {identifier}, the cluster's is {control.system_identifier}.",
            hint="Find out how the file came there; it is not needed by this cluster.",
        )
    if control.wal_segment_size != segment_size:
        raise Corrupt(
            f'"{path}" is a segment of {segment_size} bytes, the cluster\'s have {control.wal_segment_size}',
            hint="Run pg_controldata to see the size of the cluster's segments.",
        )


def _check_owner(store: Store, name: str, identifier: int | None) -> None:
    """Claims the archive or compares its owner; a text outside of a data directory says nothing of its cluster."""
    if identifier is not None:
        ensure_identity(store, identifier)
    elif read_identity(store) is None:
        raise DataDirectoryError(
            f'cannot tell which cluster "{name}" belongs to',
            detail="The archive is new, and the file does not lie in the pg_wal directory of a cluster.",
            hint="Push a WAL segment first, or push the file from where PostgreSQL keeps it.",
        )


def _unreadable(path: Path, error: OSError) -> DataDirectoryError:
    hint = "PostgreSQL runs archive_command in its data directory and replaces %p by the path relative to it."
    if isinstance(error, PermissionError):
        hint = "Run wal-push as the user who owns the data directory."
    return DataDirectoryError(f'could not read "{path}"', detail=f"The system says: {error.strerror}.", hint=hint)
