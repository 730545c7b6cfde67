"""The contenders' programs: ours with and without its agent, pgBackRest, and what they need to run."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Final, Self

from bench.calls import Missing
from lab.account import as_postgres, clean_environment, give_to_server
from lab.command import wal_e_command
from lab.place import lab_directory, remove_tree
from lab.processes import short_directory

NATIVE: Final = "native"
PYTHON: Final = "Python"
DIRECT: Final = {"WALE_AGENT": "off"}
_ELF: Final = b"\x7fELF"
# What setup.py makes of `wal-e` where there is no C compiler. `wal-e-python` is no measure of it: older versions of pip
# have such a script import `re`, at a third of the whole price.
_SCRIPT: Final = "#!{python}\nfrom wal_e.entry import main\n\nmain()\n"


def need(*programs: str) -> None:
    """Installs what is missing from Debian, or says how."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing and os.geteuid() == 0:
        subprocess.run(["apt-get", "install", "-y", "-qq", *missing], check=True, stdout=subprocess.DEVNULL)
    elif missing:
        sys.exit(f"as root: apt-get install {' '.join(missing)}")


def client(kind: str) -> Path:
    """The `wal-e` in C or the one in Python; `Missing` where it is not installed."""
    command = wal_e_command()
    with command.open("rb") as file:
        is_native = file.read(len(_ELF)) == _ELF
    if kind == NATIVE and not is_native:
        raise Missing("no native client is installed")
    return _script(command.with_name("python")) if kind == PYTHON and is_native else command


@cache
def _script(python: Path) -> Path:
    path = give_to_server(lab_directory() / "bench-client", 0o755) / "wal-e"
    path.write_text(_SCRIPT.format(python=python))
    path.chmod(0o755)
    return path


def need_agent(kind: str) -> Path:
    """The client, where this build has an agent; otherwise `Missing`."""
    program = client(kind)
    if as_postgres([program, "agent", "--help"]).returncode:
        raise Missing("this build has no agent")
    return program


class Folder:
    """A fresh folder of the server's account, gone at the end; `sockets` is another, with a short path."""

    def __init__(self, root: Path) -> None:
        self.path = give_to_server(Path(tempfile.mkdtemp(dir=root)))
        self.sockets = give_to_server(short_directory("wal-e-bench-"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        remove_tree(self.path)
        remove_tree(self.sockets)

    def part(self, name: str) -> Path:
        """A folder below, made if missing."""
        return give_to_server(self.path / name)

    def environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        """The variables of ours: the archive is a folder here unless `extra` says otherwise; agents stay in here."""
        own = {"WALE_AGENT_DIR": str(self.sockets), "WALE_LOG_DESTINATION": "stderr"}
        if "WALE_SWIFT_PREFIX" not in extra:
            own["WALE_FILE_PREFIX"] = f"file://localhost{self.path / 'archive'}"
        return own | dict(extra)


def wal_e(program: Path, *words: str) -> str:
    """A shell command that calls ours, logging warnings and errors only, which is what pgBackRest does by default."""
    return " ".join([shlex.quote(str(program)), "--terse", *words])


class PgBackRest:
    """pgBackRest with a repository in one folder, for one data directory; zstd level 3."""

    def __init__(self, folder: Path, data_directory: Path, *, asynchronous: bool) -> None:
        self.folder = give_to_server(folder)
        self.repository = give_to_server(folder / "repository")
        lines = [
            "[global]",
            f"repo1-path={self.repository}",
            f"lock-path={give_to_server(folder / 'lock')}",
            f"spool-path={give_to_server(folder / 'spool')}",
            f"log-path={give_to_server(folder / 'log')}",
            "log-level-file=off",
            "compress-type=zst",
            "compress-level=3",
            f"process-max={2 if asynchronous else 1}",
            f"archive-async={'y' if asynchronous else 'n'}",
            "[bench]",
            f"pg1-path={data_directory}",
        ]
        self.configuration = folder / "pgbackrest.conf"
        self.configuration.write_text("\n".join(lines) + "\n")
        self.configuration.chmod(0o644)

    def shell(self, *words: str) -> str:
        """A shell command that calls it."""
        return " ".join(["pgbackrest", f"--config={shlex.quote(str(self.configuration))}", "--stanza=bench", *words])

    def run(self, *words: str) -> None:
        """Calls it once, outside of what is measured."""
        done = subprocess_as_server(self.shell(*words))
        if done.returncode:
            raise Missing(f"pgBackRest failed: {done.stdout.strip()[-200:]} {done.stderr.strip()[-200:]}")


def subprocess_as_server(command: str) -> subprocess.CompletedProcess[str]:
    """Runs a shell command as the server's account, outside of what is measured."""
    return as_postgres(["sh", "-c", command], env=clean_environment(), timeout=3600)


def bytes_below(folder: Path, names: Collection[str] = ()) -> int:
    """The bytes of all files below a folder, or of those whose own name starts with one of `names` of 24 letters."""
    files = [path for path in folder.rglob("*") if path.is_file() and (not names or path.name[:24] in set(names))]
    return sum(path.stat().st_size for path in files)
