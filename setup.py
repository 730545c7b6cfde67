"""
Builds the program `wal-e`: native/wal-e.c where a C compiler is at hand, and the same in Python where there is none;
and the check of page checksums, native/page.c, under the same condition.

All else is in pyproject.toml, also `wal-e-python`, which the native program turns into for whatever no agent answers.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from distutils.command.build_scripts import build_scripts  # setuptools' own, by its old name
from functools import cache
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel

SOURCE = "native/wal-e.c"
SCRIPT = b"""#!python
from wal_e.entry import main

main()
"""
FLAGS = ("-O2", "-Wall", "-Wextra")


@cache
def native(version: str) -> bytes | None:
    """Return the compiled program; None without a compiler that can make it. CC, CFLAGS and LDFLAGS count."""
    named = os.environ.get("CC") or next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    if named is None:
        return None
    flags, libraries = (shlex.split(os.environ.get(name, "")) for name in ("CFLAGS", "LDFLAGS"))
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "wal-e")
        define = f'-DWAL_E_VERSION="{version}"'
        command = [*shlex.split(named), *FLAGS, *flags, define, SOURCE, "-o", program, *libraries]
        try:
            subprocess.run(command, check=True, cwd=Path(__file__).parent)
        except (OSError, subprocess.CalledProcessError) as error:
            sys.stderr.write(f"wal-e will be a Python script, not the native program: {error}\n")
            return None
        return program.read_bytes()


class BuildScripts(build_scripts):
    """Writes `wal-e` instead of copying scripts; its source counts as the script, so that an sdist has it."""

    def run(self) -> None:
        """Write the program with its permission to run."""
        self.mkpath(self.build_dir)
        program = Path(self.build_dir, "wal-e")
        program.unlink(missing_ok=True)
        program.write_bytes(native(self.distribution.get_version()) or SCRIPT)
        program.chmod(0o755)


class Wheel(bdist_wheel):
    """A wheel for this platform alone where it holds the native program, and for all where it does not."""

    def finalize_options(self) -> None:
        """Set whether the wheel is pure."""
        super().finalize_options()
        self.root_is_pure = native(self.distribution.get_version()) is None

    def get_tag(self) -> tuple[str, str, str]:
        """Return the tag: any Python 3, no interpreter's binary interface, and the platform."""
        _, _, platform = super().get_tag()
        return "py3", "none", platform


# A library for ctypes, which needs none of Python's headers; `optional`: without it numpy does the work.
PAGE = Extension("wal_e.pg._page", ["native/page.c"], extra_compile_args=["-O3"], py_limited_api=True, optional=True)

setup(scripts=[SOURCE], ext_modules=[PAGE], cmdclass={"build_scripts": BuildScripts, "bdist_wheel": Wheel})
