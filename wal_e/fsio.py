"""
Files that survive a power cut: the one place that renames, links and fsyncs.

The recipe is always the same: write a temporary file beside the target, fsync it, rename or link it, fsync the
directory. A failed fsync is never repeated on the same descriptor: Linux forgets the dirty pages after
reporting them once.
"""

import contextlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path


def fsync_directory(path: Path) -> None:
    """Makes the entries of a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_file(path: Path) -> None:
    """Makes the content of a file durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directories(path: Path, mode: int = 0o777) -> None:
    """Creates a directory and its parents, each durable in the one above it."""
    missing: list[Path] = []
    current = path
    while not current.is_dir():
        missing.append(current)
        current = current.parent
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=mode)
        fsync_directory(directory.parent)


def write_atomically(
    target: Path,
    chunks: Iterable[bytes | memoryview],
    *,
    mode: int = 0o600,
    replace: bool = True,
    durable: bool = True,
) -> int:
    """
    Writes `target` whole or not at all, and returns its size in bytes.

    With `replace=False` an existing target raises `FileExistsError` and stays untouched: the new file is put in
    place by link(2), which never overwrites. `durable=False` leaves out the fsyncs, for callers such as
    restore_command whose reader makes the file durable itself.
    """
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        size = _write_all(descriptor, chunks, durable=durable)
        if replace:
            temporary.replace(target)
        else:
            os.link(temporary, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
    if durable:
        fsync_directory(target.parent)
    return size


def _write_all(descriptor: int, chunks: Iterable[bytes | memoryview], *, durable: bool) -> int:
    size = 0
    with open(descriptor, "wb", buffering=0) as file:
        for chunk in chunks:
            view = memoryview(chunk)
            size += len(view)
            while view:
                view = view[file.write(view) :]
        if durable:
            os.fsync(file.fileno())
    return size
