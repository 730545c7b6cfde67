"""
A real OpenStack Swift on loopback: proxy, account, container and object server, one process each.

`SwiftNode.start` answers when requests work (1 to 2 s). Users log in by tempauth (auth v1), or through Keystone.
"""

import json
import signal
import ssl
import subprocess
import urllib.request
from dataclasses import asdict, dataclass, replace
from http.client import HTTPResponse
from pathlib import Path
from types import TracebackType
from typing import Self

from lab import swift_conf
from lab.bucket import BucketInfo
from lab.install import environment_python
from lab.place import LabError, remove_tree
from lab.processes import Process, disown, end, free_ports, listening, spawn, wait_until
from lab.swift_conf import SERVERS, SwiftOptions


@dataclass(frozen=True, slots=True)
class SwiftInfo:
    """What a client needs to know of a node; a plain value, so that test processes can share a node through JSON."""

    url: str  # http://127.0.0.1:port
    ports: dict[str, int]
    pids: dict[str, int]
    account: str = ""  # of tempauth; empty behind Keystone
    user: str = ""
    key: str = ""

    @property
    def auth_url(self) -> str:
        """The address of tempauth, for auth version 1."""
        return f"{self.url}/auth/v1.0"

    @property
    def login(self) -> str:
        """The user as auth version 1 wants it: `account:user`."""
        return f"{self.account}:{self.user}"

    def at(self, url: str) -> "SwiftInfo":
        """Return the same facts with another address, that of a proxy before the node."""
        return replace(self, url=url)

    def environment(self) -> dict[str, str]:
        """Return the SWIFT_* variables of WAL-E for auth version 1."""
        return {
            "SWIFT_AUTHURL": self.auth_url,
            "SWIFT_USER": self.login,
            "SWIFT_PASSWORD": self.key,
            "SWIFT_AUTH_VERSION": "1",
        }

    def s3(self) -> BucketInfo:
        """Return what a client of Swift's own S3 front needs to know; containers are buckets there."""
        keys = {"AWS_ACCESS_KEY_ID": self.login, "AWS_SECRET_ACCESS_KEY": self.key, "AWS_ENDPOINT_URL": self.url}
        return BucketInfo("s3", self.url, keys)

    def authenticate(self) -> tuple[str, str]:
        """Log in by tempauth and return (storage URL, token)."""
        headers = {"X-Auth-User": self.login, "X-Auth-Key": self.key}
        with request("GET", self.auth_url, headers) as answer:
            return answer.headers["X-Storage-Url"], answer.headers["X-Auth-Token"]

    def create_container(self, name: str) -> str:
        """Make the container where it is missing, and return its name."""
        storage_url, token = self.authenticate()
        put_container(storage_url, token, name)
        return name

    def to_json(self) -> str:
        """Return the value as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "SwiftInfo":
        """Return the value that `to_json` wrote."""
        return cls(**json.loads(text))


class SwiftNode:
    """One Swift in one directory; as a context manager it stops at the end and deletes what it stored."""

    def __init__(self, directory: Path, options: SwiftOptions | None = None, *, port: int | None = None) -> None:
        self.directory = directory.absolute()
        self.options = options or SwiftOptions()
        self.ports = dict(zip(SERVERS, free_ports(len(SERVERS)), strict=True))
        if port:
            self.ports["proxy"] = port
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        remove_tree(self.directory)

    @property
    def info(self) -> SwiftInfo:
        """What a client needs to know."""
        account, user, key = ("", "", "") if self.options.keystone else self.options.users[0]
        pids = {name: child.pid for name, child in self._children.items()}
        return SwiftInfo(f"http://127.0.0.1:{self.ports['proxy']}", self.ports, pids, account, user, key)

    def start(self) -> SwiftInfo:
        """Start the four servers and wait until each accepts connections; LabError with its log where one ends."""
        self.spawn()
        return self.wait()

    def spawn(self) -> None:
        """Start the four servers without waiting; what they stored before is still there."""
        python = environment_python("swift")
        if not (self.directory / "etc" / "object.ring.gz").exists():
            swift_conf.write(self.directory, self.ports, self.options, python)
        etc = self.directory / "etc"
        env = {"PYTHONPATH": str(etc), "PYTHONWARNINGS": "ignore"}
        for name in SERVERS:
            program = python.parent / f"swift-{name}-server"
            boot: list[str | Path] = [python, "-c", swift_conf.BOOT_SCRIPT, etc / "swift.conf", program]
            boot += [etc / f"{name}-server.conf", "verbose"]
            log = self.directory / "log" / f"{name}.log"
            self._children[name] = spawn(boot, log=log, cwd=self.directory, env=env)

    def wait(self) -> SwiftInfo:
        """Wait until every server accepts connections, and return the node's facts."""
        for name, child in self._children.items():

            def ready(name: str = name, child: subprocess.Popen[bytes] = child) -> bool:
                if child.poll() is not None:
                    log = (self.directory / "log" / f"{name}.log").read_text(errors="replace")
                    raise LabError(f"Swift's {name} server did not start:\n{log[-2000:]}")
                return listening(self.ports[name])

            wait_until(ready, f"Swift's {name} server")
        return self.info

    def stop(self) -> None:
        """End all servers and wait; what they stored stays."""
        found = [Process.of(child.pid) for child in self._children.values()]
        # Nothing of theirs needs a goodbye: objects are renamed into place, and SIGTERM would cost half a second.
        end([process for process in found if process is not None], polite=signal.SIGKILL)
        for child in self._children.values():
            child.wait()
        self._children.clear()

    def disown(self) -> None:
        """Leave the servers to the run that owns them, when this process ends first."""
        for child in self._children.values():
            disown(child)


def request(
    method: str, url: str, headers: dict[str, str], body: bytes | None = None, *, trust: str | None = None
) -> HTTPResponse:
    """
    Send one request past any proxy setting and return the open answer; urllib's HTTPError from 400 on.

    `trust` is the file with the authority of the server's certificate, where it has one of the lab's.
    """
    tls = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=trust))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), tls)
    answer: HTTPResponse = opener.open(urllib.request.Request(url, body, headers, method=method), timeout=30)
    return answer


def put_container(storage_url: str, token: str, name: str) -> None:
    """Make the container where it is missing."""
    request("PUT", f"{storage_url}/{name}", {"X-Auth-Token": token}).close()
