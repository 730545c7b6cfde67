"""Copying files into a packer as a backup does, for tests that need no cluster around them."""

from collections.abc import Iterable, Iterator

from wal_e.backup.copy import Copier
from wal_e.backup.records import Recorder
from wal_e.backup.tasks import Piece, pieces, read_tasks
from wal_e.pg.filetable import FileEntry
from wal_e.repo.blockmap import BlockMap
from wal_e.repo.filelist import FileRecord, FileWriter
from wal_e.repo.packer import Packer

Known = dict[str, BlockMap]


def copy_all(copier: Copier, packer: Packer, files: Iterable[FileEntry], known: Known | None = None) -> FileWriter:
    """Reads the files in this order, one after the other; the writer has their records."""
    writer = FileWriter()
    recorder = Recorder(packer, writer)

    def feed() -> Iterator[Piece | None]:
        for file in files:
            recorder.begin(file)
            yield from pieces(file, (known or {}).get(file.path))

    for task in read_tasks(feed()):
        for outcome in copier.copy(task):
            recorder.take(outcome)
    for outcome in copier.flush():
        recorder.take(outcome)
    recorder.flush_maps()
    return writer


def records_of(writer: FileWriter) -> tuple[FileRecord, ...]:
    """The records, decoded from what will be stored."""
    return tuple(writer.finish())
