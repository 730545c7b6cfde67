"""What the lab's stores of buckets share: the facts that a client needs, and one process that is started and ended."""

import json
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.place import LabError, remove_tree
from lab.processes import Process, disown, end, free_ports, listening, spawn, wait_until


@dataclass(frozen=True, slots=True)
class BucketInfo:
    """
    A service that keeps buckets (or containers): the scheme of addresses there, its own address, and the variables
    that WAL-E reads. A plain value, so that test processes can share a service through JSON.
    """

    scheme: str
    url: str
    variables: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """Return the variables of WAL-E for this service."""
        return dict(self.variables)

    def at(self, url: str) -> "BucketInfo":
        """Return the same facts with another address, that of a proxy before the service."""
        changed = {name: text.replace(self.url, url) for name, text in self.variables.items()}
        return replace(self, url=url, variables=changed)

    def to_json(self) -> str:
        """Return the value as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "BucketInfo":
        """Return the value that `to_json` wrote."""
        return cls(**json.loads(text))


class BucketServer(ABC):
    """One server process in one directory; as a context manager it stops at the end and deletes what it stored."""

    name: str

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        (self.port,) = free_ports(1)
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        remove_tree(self.directory)

    @property
    @abstractmethod
    def info(self) -> BucketInfo:
        """What a client needs to know."""

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """The command that serves until it is ended; it may write below `directory`, which is there."""

    def ready(self) -> bool:
        """Whether requests are answered now."""
        return listening(self.port)

    def start(self) -> BucketInfo:
        """Start it and wait until it answers; LabError with its log where it ends."""
        (self.directory / "data").mkdir(parents=True, exist_ok=True)
        log = self.directory / "log"
        self._child = child = spawn(self.command(), log=log, cwd=self.directory)

        def ready() -> bool:
            if child.poll() is not None:
                raise LabError(f"{self.name} did not start:\n{log.read_text(errors='replace')[-2000:]}")
            return self.ready()

        wait_until(ready, self.name)
        return self.info

    def stop(self) -> None:
        """End it and wait; what it stored stays."""
        if self._child is None:
            return
        found = Process.of(self._child.pid)
        # What they have answered is in their files, and a polite end would take seconds.
        end([found] if found else [], polite=signal.SIGKILL)
        self._child.wait()
        self._child = None

    def disown(self) -> None:
        """Leave it to the run that owns it, when this process ends first."""
        if self._child is not None:
            disown(self._child)
