"""
Where tablespaces go: the choice of places, the checks on them, and the text of `tablespace_map`.

A backup knows each tablespace by OID and by its place on the host it was taken from. A restore puts it where the
user says, and never on top of a cluster that lives there (H49, H50): with an unchanged map, a second restore on
one host would take over the first one's tables (wal-e#354).

Choosing and checking are functions of values; only `existing_links` and `check_on_disk` look at the disk.
"""

import enum
import json
import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from wal_e.errors import Corrupt, DataDirectoryError, UsageError

_OID = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)
_MAP_LINE = re.compile(r"([0-9]+) (.+)", re.ASCII | re.DOTALL)
_BACKSLASHES_ESCAPED_SINCE: Final = 14
_SPEC_HINT: Final = (
    'A restore specification looks like {"tablespaces": ["16385"], '
    '"16385": {"loc": "/mnt/fast/", "link": "pg_tblspc/16385"}}.'
)


class Tablespace(Protocol):
    """One tablespace of a backup: its OID and the absolute path that it had."""

    @property
    def oid(self) -> int:
        """The tablespace's OID, as in the name of its link in pg_tblspc."""
        ...

    @property
    def location(self) -> str:
        """Where it lay on the host that was backed up."""
        ...


class Placing(enum.Enum):
    """How places are chosen when no specification gives them."""

    DEFAULT = "links that are already in the target win, other tablespaces go where they came from"
    BLIND = "every tablespace becomes a plain directory in pg_tblspc"
    SOURCE = "every tablespace goes where it came from"


@dataclass(frozen=True, slots=True)
class RestoreSpec:
    """The places that a `--restore-spec` file gives, by OID."""

    locations: Mapping[int, str]


Places = Mapping[int, Path | None]
"""OID to directory; `None` is a plain directory inside pg_tblspc."""


def map_tablespaces(
    tablespaces: Iterable[Tablespace], mode: Placing | RestoreSpec, existing_links: Mapping[int, str]
) -> Places:
    """
    Decides where each tablespace goes.

    A specification that leaves a tablespace out raises `UsageError`; one that names more than the backup has is
    accepted, for one file may serve many backups. The places still need `check_places` and `check_on_disk`.
    """
    if isinstance(mode, RestoreSpec):
        return _map_by_spec(tablespaces, mode)
    places: dict[int, Path | None] = {}
    for tablespace in tablespaces:
        match mode:
            case Placing.BLIND:
                places[tablespace.oid] = None
            case Placing.SOURCE:
                places[tablespace.oid] = Path(tablespace.location)
            case Placing.DEFAULT:
                places[tablespace.oid] = Path(existing_links.get(tablespace.oid, tablespace.location))
    return places


def _map_by_spec(tablespaces: Iterable[Tablespace], spec: RestoreSpec) -> Places:
    wanted = [tablespace.oid for tablespace in tablespaces]
    absent = [str(oid) for oid in wanted if oid not in spec.locations]
    if absent:
        raise UsageError(
            "the restore specification does not say where every tablespace goes",
            detail=f"The backup has tablespaces that it leaves out: {', '.join(absent)}.",
            hint=_SPEC_HINT,
        )
    return {oid: Path(spec.locations[oid]) for oid in wanted}


def parse_restore_spec(text: str) -> RestoreSpec:
    """
    Reads a restore specification in the original's shape; anything else raises `UsageError`.

    `base_prefix` is ignored: the original wrote to that path, and so into the cluster that the backup came from,
    instead of into the directory on the command line (wal-e#291).
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise _bad_spec(f"It is not JSON: {error}.") from None
    if not isinstance(document, dict):
        raise _bad_spec("It is not a JSON object.")
    listed = document.get("tablespaces", [])
    if not isinstance(listed, list):
        raise _bad_spec('"tablespaces" is not a list of OIDs.')
    locations: dict[int, str] = {}
    for item in listed:
        name = str(item) if isinstance(item, str | int) else ""
        if _OID.fullmatch(name) is None:
            raise _bad_spec(f'{json.dumps(item)} in "tablespaces" is not an OID.')
        if int(name) in locations:
            raise _bad_spec(f"Tablespace {name} is listed twice.")
        locations[int(name)] = _spec_location(name, document.get(name))
    return RestoreSpec(locations)


def _spec_location(oid: str, entry: object) -> str:
    if not isinstance(entry, dict):
        raise _bad_spec(f'Tablespace {oid} is listed, but there is no object "{oid}" that describes it.')
    location = entry.get("loc")
    if not isinstance(location, str) or not location:
        raise _bad_spec(f'"loc" of tablespace {oid} is not a path.')
    link = entry.get("link", f"pg_tblspc/{oid}")
    if link != f"pg_tblspc/{oid}":
        raise _bad_spec(f'"link" of tablespace {oid} is {json.dumps(link)}, but PostgreSQL needs "pg_tblspc/{oid}".')
    return location


def _bad_spec(detail: str) -> UsageError:
    return UsageError("the restore specification cannot be used", detail=detail, hint=_SPEC_HINT)


def check_places(places: Places, data_directory: Path) -> None:
    """
    Raises `UsageError` for a place that PostgreSQL could not use, judging by the text of the paths alone.

    A place must be absolute, must lie neither in nor above the data directory, and must not be shared.
    """
    taken: dict[str, int] = {}
    base = os.path.normpath(data_directory)
    for oid, place in places.items():
        if place is None:
            continue
        path = _absolute(oid, place)
        if _within(path, base) or _within(base, path):
            relation = "inside" if _within(path, base) else "above"
            raise _bad_place(oid, place, f'It is {relation} the data directory "{data_directory}".')
        if path in taken:
            raise _bad_place(oid, place, f"Tablespace {taken[path]} would lie in the same directory.")
        taken[path] = oid


def _absolute(oid: int, place: Path) -> str:
    if not place.is_absolute() or "\0" in str(place):
        raise _bad_place(oid, place, "It is not an absolute path.")
    # normpath leaves two leading slashes alone, as POSIX allows; Linux means one by them.
    return os.path.normpath("/" + str(place).lstrip("/"))


def _within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _bad_place(oid: int, place: Path, detail: str) -> UsageError:
    return UsageError(
        f'tablespace {oid} cannot be restored to "{place}"',
        detail=detail,
        hint="Give every tablespace a directory of its own with --restore-spec FILE.",
    )


def existing_links(data_directory: Path) -> dict[int, str]:
    """The tablespace links that are already in the target's pg_tblspc; none where there is no such directory."""
    links: dict[int, str] = {}
    try:
        for entry in os.scandir(data_directory / "pg_tblspc"):
            if entry.is_symlink() and _OID.fullmatch(entry.name):
                links[int(entry.name)] = str(Path(entry.path).readlink())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise DataDirectoryError(
            f'cannot read the tablespace links in "{data_directory}"', detail=f"{error.strerror}."
        ) from error
    return links


def check_on_disk(places: Places, data_directory: Path, major: int, reused: Collection[int] = ()) -> None:
    """
    Checks the places as they are on disk: links resolved, and nothing of PostgreSQL `major` in them.

    Other versions' directories may be there; a version directory of this one that is not empty raises
    `DataDirectoryError`, for it belongs to a cluster that still wants it; tablespaces that a delta restore may reuse
    are excepted.
    """
    resolved = {oid: place and Path(os.path.realpath(place)) for oid, place in places.items()}
    check_places(resolved, Path(os.path.realpath(data_directory)))
    for oid, place in resolved.items():
        if place is not None and oid not in reused:
            _check_free(oid, place, major)


def _check_free(oid: int, place: Path, major: int) -> None:
    try:
        versions = [path for path in place.iterdir() if path.name.startswith(f"PG_{major}_")]
        used = next((path for path in versions if any(path.iterdir())), None)
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataDirectoryError(
            f'cannot use "{place}" for tablespace {oid}',
            detail=f"{error.strerror}.",
            hint="Choose another directory with --restore-spec FILE.",
        ) from error
    if used is not None:
        raise DataDirectoryError(
            f'"{place}" already holds a tablespace of PostgreSQL {major}',
            detail=f'"{used}" is not empty; restoring tablespace {oid} there would destroy another cluster.',
            hint="Choose another directory with --restore-spec FILE, or empty this one.",
        )


def render_tablespace_map(places: Places, major: int) -> str:
    """
    The text of `tablespace_map` for PostgreSQL `major`; empty where no tablespace is a link.

    Line ends in a path are escaped with a backslash, and from 14 on backslashes too. Before that a path that
    ends in a backslash cannot be written down, and raises `UsageError`.
    """
    lines = []
    for oid, place in sorted(places.items()):
        if place is None:
            continue
        path = str(place)
        if major < _BACKSLASHES_ESCAPED_SINCE and path.endswith("\\"):
            raise _bad_place(
                oid, place, f"PostgreSQL {major} cannot restore a tablespace whose path ends in a backslash."
            )
        special = r"[\n\r]" if major < _BACKSLASHES_ESCAPED_SINCE else r"[\n\r\\]"
        lines.append(f"{oid} {re.sub(special, lambda match: chr(92) + match[0], path)}\n")
    return "".join(lines)


def parse_tablespace_map(text: str, major: int) -> dict[int, str]:
    """Reads a `tablespace_map` that PostgreSQL `major` wrote, as OID to path; nonsense raises `Corrupt`."""
    escaped = r"\\[\n\r]" if major < _BACKSLASHES_ESCAPED_SINCE else r"\\[\s\S]"
    locations: dict[int, str] = {}
    for line in re.findall(rf"(?:{escaped}|[^\n\r])+", text):
        plain = re.sub(escaped, lambda match: match[0][1], line)
        match = _MAP_LINE.fullmatch(plain)
        if match is None:
            raise Corrupt("tablespace_map is damaged", detail=f"It has a line {json.dumps(line)}.")
        locations[int(match[1])] = match[2]
    return locations
