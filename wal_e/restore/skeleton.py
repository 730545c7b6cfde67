"""The directories, links and small files of a restore: made, made durable, and what does not belong removed."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from wal_e.fsio import fsync_directory, write_atomically
from wal_e.repo.manifest import Manifest
from wal_e.restore.directory import Owner, give, mark_version, unmark_version, unusable
from wal_e.restore.plan import Entry, RestorePlan
from wal_e.restore.tablespaces import Places

_MODES: Final = frozenset({0o700, 0o750})
"""PostgreSQL refuses to start on a data directory of any other mode."""


def root_mode(manifest: Manifest) -> int:
    """The mode of the data directory."""
    recorded = next((directory.mode for directory in manifest.directories if directory.path == "."), 0o700)
    return recorded if recorded in _MODES else 0o700


def version_directories(manifest: Manifest, oids: Collection[int]) -> list[str]:
    """The directories `pg_tblspc/<oid>/PG_...` of some tablespaces."""
    wanted = {f"pg_tblspc/{oid}" for oid in oids}
    paths = (record.path for record in manifest.directories)
    return [path for path in paths if _is_version_directory(path) and path.rpartition("/")[0] in wanted]


def directory_paths(manifest: Manifest, places: Places) -> set[str]:
    """All plain directories that the restore makes, but for the places of tablespaces that lie elsewhere."""
    in_place = {f"pg_tblspc/{oid}" for oid, place in places.items() if place is None}
    parents = {"pg_tblspc"} if places else set[str]()
    return {record.path for record in manifest.directories} | in_place | parents


def sizes(manifest: Manifest, places: Places, target: Path, plan: RestorePlan) -> list[tuple[Path, int]]:
    """How many bytes more will be where: those of files that are made, less those of files that are removed."""
    links = {f"pg_tblspc/{oid}/": place for oid, place in places.items() if place is not None}
    found = dict.fromkeys([target, *links.values()], 0)
    for record in manifest.files:
        if record.path not in plan.reused and not plan.parts.is_shell(record.path):
            found[links.get(_head(record.path), target)] += record.size
    for entry in plan.removed:
        found[links.get(_head(entry.path), target)] -= entry.size
    return [(place, max(0, size)) for place, size in found.items()]


def _head(path: str) -> str:
    return "/".join(path.split("/", 2)[:2]) + "/"


def remove(target: Path, entries: Iterable[Entry]) -> None:
    """Removes what a plan says, in its order; links themselves, never what they point to."""
    try:
        for entry in entries:
            if entry.is_directory:
                (target / entry.path).rmdir()
            else:
                (target / entry.path).unlink(missing_ok=True)
    except OSError as error:
        raise unusable(target, error) from error


def make_directories(
    manifest: Manifest, places: Places, target: Path, owner: Owner | None, reused: Collection[int]
) -> None:
    """
    Makes all directories and the links to tablespaces.

    Version directories of tablespaces are marked as being filled, but for those that were there before (`reused`).
    """
    theirs = set(version_directories(manifest, reused))
    try:
        for oid, place in places.items():
            _make_tablespace(target / "pg_tblspc" / str(oid), place, owner, root_mode(manifest))
        for record in sorted(manifest.directories, key=lambda directory: directory.path):
            path = target / record.path
            if _is_version_directory(record.path) and record.path not in theirs:
                mark_version(path, target)
            path.mkdir(mode=record.mode, parents=True, exist_ok=True)
            if record.path != ".":
                path.chmod(record.mode)
            give(path, owner)
    except OSError as error:
        raise unusable(target, error) from error


def _make_tablespace(link: Path, place: Path | None, owner: Owner | None, mode: int) -> None:
    link.parent.mkdir(mode=mode, exist_ok=True)
    give(link.parent, owner)
    if place is None:
        if link.is_symlink():
            link.unlink()  # what it points to is not ours to fill
        link.mkdir(mode=mode, exist_ok=True)
        return
    if not place.exists():
        place.mkdir(mode=mode, parents=True)
        give(place, owner)
    if link.is_symlink():
        if link.readlink() == place:
            return  # put there by hand, it would be lost if we died between removing and making it
        link.unlink()
    link.symlink_to(place)


def write_small(path: Path, content: Iterable[bytes], owner: Owner | None) -> None:
    """Writes a file that the restore makes itself, whole and durable."""
    try:
        write_atomically(path, content)
        give(path, owner)
    except OSError as error:
        raise unusable(path, error) from error


def settle(manifest: Manifest, places: Places, target: Path, owner: Owner | None) -> None:
    """Makes every directory durable, from the leaves to the root."""
    try:
        for record in sorted(manifest.directories, key=lambda directory: directory.path, reverse=True):
            fsync_directory(target / record.path)
        for place in (target, *(place for place in places.values() if place is not None)):
            fsync_directory(place)
        give(target, owner)
        fsync_directory(target.parent)
    except OSError as error:
        raise unusable(target, error) from error


def unmark_versions(manifest: Manifest, target: Path) -> None:
    """Takes the marks of tablespaces away, once pg_control is there."""
    for record in manifest.directories:
        if _is_version_directory(record.path):
            unmark_version(target / record.path)


def _is_version_directory(path: str) -> bool:
    parts = path.split("/")
    return len(parts) == 3 and parts[0] == "pg_tblspc"  # noqa: PLR2004 - pg_tblspc/<oid>/PG_...
