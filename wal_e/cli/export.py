"""`export`: to a directory, to a file, or to stdout."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from wal_e.cli.backup_commands import STDOUT
from wal_e.cli.context import Context
from wal_e.cli.priority import step_back
from wal_e.cli.render import write_binary
from wal_e.cli.restore import placing_of
from wal_e.errors import UsageError, WalEError
from wal_e.fsio import write_atomically
from wal_e.restore.export import ExportRequest, export_plain, export_tar

FORMATS: Final = {"p": "plain", "plain": "plain", "t": "tar", "tar": "tar"}
"""The spellings that pg_basebackup accepts."""


def run(context: Context) -> int:
    """
    Exports a backup.

    Without --format a tar goes to stdout and to a file whose name ends in .tar, as `git archive` has it, and anything
    else is a directory, as `pg_basebackup -D` makes one.
    """
    arguments, output = context.arguments, context.arguments.output
    step_back(arguments)
    tar = (
        output == STDOUT or output.endswith(".tar") if arguments.format is None else FORMATS[arguments.format] == "tar"
    )
    _check(tar=tar, output=output, places=arguments.blind_restore or arguments.restore_spec is not None)
    request = ExportRequest(arguments.BACKUP_NAME, arguments.wal, arguments.pool_size)
    with context.store(requests=request.threads, limited=True) as store:
        if not tar:
            export_plain(store, request, Path(output), placing_of(arguments), context.emit)
        elif output == STDOUT:
            write_binary(export_tar(store, request, context.emit))
        else:
            _write_file(Path(output), export_tar(store, request, context.emit))
    return 0


def _check(*, tar: bool, output: str, places: bool) -> None:
    """Raises `UsageError` for what cannot be meant, before anything is fetched."""
    if not tar and output == STDOUT:
        raise UsageError("a directory cannot go to stdout", hint="Name it with --output DIR, or leave out --format.")
    if tar and places:
        raise UsageError(
            "in a tar every tablespace is a directory in pg_tblspc",
            hint="Leave out --blind-restore and --restore-spec. After unpacking, such a directory may be moved "
            "elsewhere, and a link be put in its place.",
        )
    if tar and output == STDOUT and sys.stdout.isatty():
        raise UsageError("a tar is nothing for a terminal", hint="Redirect stdout, or name a file with --output.")
    if tar and output != STDOUT and Path(output).exists():
        raise UsageError(f'"{output}" exists already', hint="Name another file, or remove it.")


def _write_file(path: Path, chunks: Iterator[bytes | memoryview]) -> None:
    """The file appears when it is whole."""
    try:
        write_atomically(path, chunks)
    except OSError as error:
        raise WalEError(
            f'could not write "{path}"',
            detail=f"The system says: {error.strerror}.",
            hint="Check space and permissions. The file appears under its name only when it is whole.",
        ) from error
