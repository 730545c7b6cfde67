"""
A delta restore: onto a directory that holds an older or damaged copy of the same cluster.

What must be true before (H49, H50): no server works there or in its tablespaces, and what is there is this cluster's.
Its pg_control, or what an interrupted run made of it, says which cluster that is.
"""

import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from wal_e.errors import Corrupt, DataDirectoryError
from wal_e.events import Level, Message, Progress, Sink
from wal_e.pg.control import CONTROL_PATH
from wal_e.pg.running import served_directories
from wal_e.repo.manifest import Manifest
from wal_e.restore.directory import UNFINISHED, UNFINISHED_PATH
from wal_e.restore.parts import Parts
from wal_e.restore.plan import Entry, RestorePlan, superfluous
from wal_e.restore.skeleton import directory_paths, version_directories
from wal_e.restore.survey import Surveyor, list_target
from wal_e.restore.tablespaces import Places, existing_links

_READY: Final = re.compile(r"pg_wal/archive_status/[0-9A-F]{24}[^/]*\.ready", re.ASCII)


def holds_copy(target: Path) -> bool:
    """Whether a delta restore has something to begin with; otherwise it is a fresh one, with all its conditions."""
    return any(os.path.lexists(target / path) for path in (CONTROL_PATH, UNFINISHED_PATH))


def reused_tablespaces(target: Path, places: Places) -> set[int]:
    """The tablespaces whose link in the target leads to the very place where they shall be, or that lie in it."""
    links = existing_links(target)
    return {oid for oid, place in places.items() if place is not None and links.get(oid) == str(place)}


def check_copy(target: Path, system_identifier: int) -> None:
    """Raises `DataDirectoryError` where the target is not a copy of this cluster, or the rest of a restore of it."""
    plain = all((target / name).is_dir() and not (target / name).is_symlink() for name in ("", "global"))
    if not plain:
        raise _foreign(target, "It, or its directory global, is not a plain directory.")
    path = next(name for name in (CONTROL_PATH, UNFINISHED_PATH) if os.path.lexists(target / name))
    try:
        content = (target / path).read_bytes()
    except OSError as error:
        raise _foreign(target, f'"{path}" could not be read: {error.strerror}.') from error
    if path == UNFINISHED_PATH and content == UNFINISHED:
        return  # a fresh restore that died: everything there is its own
    found = int.from_bytes(content[:8], "little")
    if found != system_identifier:
        raise _foreign(target, f"Its system identifier is {found}, that of the backup {system_identifier}.")


def check_tablespaces(target: Path, places: Places, served: Collection[Path] | None = None) -> None:
    """
    Raises `DataDirectoryError` where a running server has a tablespace in one of the places.

    A copy of a data directory made with cp or rsync has the original's links: its tablespaces are the original's.
    """
    resolved = {os.path.realpath(place): place for place in places.values() if place is not None}
    for directory in served_directories() if served is None else served:
        for location in existing_links(directory).values():
            if (place := resolved.get(os.path.realpath(location))) is not None:
                raise DataDirectoryError(
                    f'a running server has a tablespace in "{place}"',
                    detail=f'It is the one in "{directory}", which the links of "{target}" share.',
                    hint="Give every tablespace a directory of its own with --restore-spec FILE.",
                )


def plan_delta(
    surveyor: Surveyor, manifest: Manifest, target: Path, places: Places, parts: Parts, emit: Sink
) -> RestorePlan:
    """Looks at all that is there, and says what of it stays, changes and goes; nothing is changed yet."""
    versions = version_directories(manifest, reused_tablespaces(target, places))
    found = list(list_target(target, versions))
    files = _paths(manifest, parts)
    removed = superfluous(found, files, directory_paths(manifest, places))
    _warn_of_wal(removed, emit)
    sizes = {entry.path: entry.size for entry in found if entry.is_reusable and entry.path in files}
    total, done = sum(sizes.values()), 0

    def progress(size: int) -> None:
        nonlocal done
        done += size
        emit(Progress("backup-fetch, comparing", min(done, total), total, 0))

    reused = surveyor.compare((record for record in manifest.files if record.path in sizes), progress)
    return RestorePlan(reused, removed, parts)


def _warn_of_wal(removed: Iterable[Entry], emit: Sink) -> None:
    """The last transactions may be in segments that no archiver took: nothing else has them."""
    ready = sorted(entry.path for entry in removed if _READY.fullmatch(entry.path))
    if ready:
        emit(
            Message(
                __name__,
                f"{len(ready)} WAL files in pg_wal were never archived, and go with the rest of it",
                detail=f"The first is marked by {ready[0]}.",
                hint="Save them with wal-e wal-push before this runs, if the archive lacks them.",
                level=Level.WARNING,
            )
        )


def _paths(manifest: Manifest, parts: Parts) -> set[str]:
    """The files with content; a path that is there twice would be written twice, and only once be right (H51)."""
    paths: set[str] = set()
    for record in manifest.files:
        if record.path in paths:
            raise Corrupt(f'the manifest names "{record.path}" twice')
        if record.path != CONTROL_PATH and not parts.is_shell(record.path):
            paths.add(record.path)
    return paths


def _foreign(target: Path, detail: str) -> DataDirectoryError:
    return DataDirectoryError(
        f'"{target}" is not a copy of the cluster that the backup is of',
        detail=detail,
        hint="Leave out --delta and name an empty or missing directory; move this one away, do not delete it yet.",
    )
