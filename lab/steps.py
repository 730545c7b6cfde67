"""How something is installed once: a stamp that names what was done, so that a changed recipe is done again."""

import hashlib
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.place import LabError, lab_directory


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to install: its name, all that decides its result, and the work."""

    name: str
    recipe: str
    work: Callable[[], None]

    def done(self) -> bool:
        """Say whether the stamp is that of this recipe."""
        stamp = self._stamp()
        return stamp.exists() and stamp.read_text() == self._digest()

    def run(self) -> None:
        """Do the work unless it is done; what it raises leaves no stamp."""
        if self.done():
            return
        print(f"lab: installing {self.name}", file=sys.stderr, flush=True)
        self.work()
        self._stamp().parent.mkdir(parents=True, exist_ok=True)
        self._stamp().write_text(self._digest())

    def _stamp(self) -> Path:
        return lab_directory() / "stamps" / self.name

    def _digest(self) -> str:
        return hashlib.sha256(self.recipe.encode()).hexdigest()


def run(command: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run a package client and return its stdout; LabError with what it said where it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=cwd, env=env, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        said = (done.stderr + done.stdout)[-2000:]
        raise LabError(f"{' '.join(words[:4])} failed with exit code {done.returncode}:\n{said}")
    return done.stdout
