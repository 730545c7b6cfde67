"""
A real Keystone (identity v3, sqlite) on loopback, with identity v2.0 beside it and any number of Swift regions.

Making the database takes about 3 s, so a filled one without regions is kept and copied.
"""

import json
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.account import clean_environment
from lab.install import environment_python
from lab.keystone_admin import ADMIN_PASSWORD, Admin, add_region, fill, publish_identity
from lab.place import PROJECT, LabError, lab_directory, remove_tree
from lab.processes import Process, disown, end, free_ports, listening, locked, spawn, wait_until
from lab.swift import put_container

CONFIGURATION = """\
[DEFAULT]
use_stderr = true
log_file =
[database]
connection = sqlite:///{directory}/keystone.db
[fernet_tokens]
key_repository = {directory}/fernet-keys
[fernet_receipts]
key_repository = {directory}/fernet-keys
[credential]
key_repository = {directory}/credential-keys
[token]
provider = fernet
expiration = {token_life}
allow_expired_window = 0
[identity]
password_hash_rounds = 4
[cache]
enabled = true
backend = oslo_cache.dict
"""

# Keystone reads sys.argv itself, so ours is taken out before its import.
SERVE_SCRIPT = """\
import sys
port = int(sys.argv.pop())
from keystone.wsgi.api import application
from cheroot import wsgi
wsgi.Server(("127.0.0.1", port), application, numthreads=8).start()
"""

# One interpreter for all steps of keystone-manage: importing Keystone costs more than the work.
MANAGE_SCRIPT = """\
import json, os, sys
from keystone.cmd import cli, manage
for arguments in json.loads(sys.argv[1]):
    child = os.fork()
    if child == 0:
        sys.argv = ["keystone-manage", *arguments]
        sys.exit(manage.main())
    if os.waitpid(child, 0)[1]:
        sys.exit(f"keystone-manage {arguments} failed")
"""
STATE = ("keystone.db", "fernet-keys", "credential-keys", "service-id")


@dataclass(frozen=True, slots=True)
class KeystoneInfo:
    """What a client needs to know; a plain value, so that test processes can share a Keystone through JSON."""

    url: str  # without a version
    v2_url: str  # of identity v2.0, ending in /v2.0
    service_id: str  # of the object store, for `add_region`
    regions: dict[str, str]  # name to the URL of its Swift
    project_id: str
    user_id: str
    application_credential_id: str
    application_credential_secret: str
    user: str = "demo"
    password: str = "demopw"
    project: str = "demo"
    domain: str = "Default"
    reader: str = "reader"  # a user of the same project who may only read
    reader_password: str = "readerpw"

    @property
    def v3_url(self) -> str:
        """The address of identity v3."""
        return f"{self.url}/v3"

    def environment(self, version: int = 3, region: str | None = None) -> dict[str, str]:
        """Return the SWIFT_* variables of WAL-E for identity 3 or 2; the first region unless one is named."""
        common = {
            "SWIFT_AUTHURL": self.v3_url if version == 3 else self.v2_url,
            "SWIFT_USER": self.user,
            "SWIFT_PASSWORD": self.password,
            "SWIFT_REGION": region or next(iter(self.regions)),
            "SWIFT_AUTH_VERSION": str(version),
        }
        if version == 2:
            return common | {"SWIFT_TENANT": self.project}
        names = {"SWIFT_USER_DOMAIN_NAME": self.domain, "SWIFT_PROJECT_DOMAIN_NAME": self.domain}
        return common | names | {"SWIFT_PROJECT_NAME": self.project}

    def openstack_environment(self, region: str | None = None) -> dict[str, str]:
        """Return the same login as OS_* variables, as an openrc file sets them."""
        return {
            "OS_AUTH_URL": self.v3_url,
            "OS_USERNAME": self.user,
            "OS_PASSWORD": self.password,
            "OS_PROJECT_NAME": self.project,
            "OS_USER_DOMAIN_NAME": self.domain,
            "OS_PROJECT_DOMAIN_NAME": self.domain,
            "OS_REGION_NAME": region or next(iter(self.regions)),
            "OS_IDENTITY_API_VERSION": "3",
        }

    def authenticate(self, region: str | None = None) -> tuple[str, str]:
        """Log in as the user and return (storage URL, token)."""
        session = Admin(self.url, self.user, self.password, self.project)
        return session.storage_url(region or next(iter(self.regions))), session.token

    def revoke(self, token: str) -> None:
        """Make a token invalid; Swift believes it for 2 s more at the longest."""
        Admin(self.url).revoke(token)

    def add_region(self, region: str, swift_url: str) -> None:
        """Put one more address of an object store into the catalog: a fault proxy's, for one."""
        add_region(Admin(self.url), self.service_id, region, swift_url)

    def create_container(self, name: str, region: str | None = None) -> str:
        """Make the container where it is missing, and return its name."""
        storage_url, token = self.authenticate(region)
        put_container(storage_url, token, name)
        return name

    def to_json(self) -> str:
        """Return the value as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "KeystoneInfo":
        """Return the value that `to_json` wrote."""
        return cls(**json.loads(text))


class KeystoneNode:
    """One Keystone in one directory, with identity v2.0 on a port of its own."""

    def __init__(self, directory: Path, *, token_life: int = 3600) -> None:
        self.directory = directory.absolute()
        self.token_life = token_life
        self.port, self.v2_port = free_ports(2)
        self._children: list[subprocess.Popen[bytes]] = []

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        remove_tree(self.directory)

    def __enter__(self) -> Self:
        return self

    @property
    def url(self) -> str:
        """The address without a version."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, regions: Mapping[str, str]) -> KeystoneInfo:
        """Start it, with these regions (name to the URL of a Swift, which need not run yet); return when it answers."""
        _copy_state(_template(), self.directory)
        _write_configuration(self.directory, self.token_life)
        self._children = [
            _serve(self.directory, self.port),
            spawn(
                [environment_python("keystone"), "-m", "lab.identity_v2", str(self.v2_port), self.url],
                log=self.directory / "identity-v2.log",
                cwd=self.directory,
                env={"PYTHONPATH": str(PROJECT)},
            ),
        ]
        _wait_for(self._children[0], self.port, self.directory / "keystone.log")
        _wait_for(self._children[1], self.v2_port, self.directory / "identity-v2.log")
        service = (self.directory / "service-id").read_text()
        admin = Admin(self.url)
        publish_identity(admin, self.url)
        for region, swift_url in regions.items():
            add_region(admin, service, region, swift_url)
        return self._info(service, dict(regions))

    def stop(self) -> None:
        """End both servers and wait."""
        _end(self._children)
        self._children = []

    def disown(self) -> None:
        """Leave the servers to the run that owns them, when this process ends first."""
        for child in self._children:
            disown(child)

    def _info(self, service: str, regions: dict[str, str]) -> KeystoneInfo:
        demo = Admin(self.url, "demo", "demopw", "demo")
        user, project = demo.facts["user"]["id"], demo.facts["project"]["id"]
        fields = {"application_credential": {"name": "lab", "secret": "appsecret"}}
        made = demo.call("POST", f"/v3/users/{user}/application_credentials", fields)["application_credential"]
        v2_url = f"http://127.0.0.1:{self.v2_port}/v2.0"
        return KeystoneInfo(self.url, v2_url, service, regions, project, user, made["id"], made["secret"])


def _template() -> Path:
    template = lab_directory() / "templates-keystone"
    with locked(lab_directory() / "keystone.lock"):
        if not (template / "service-id").exists():
            remove_tree(template)
            template.mkdir(mode=0o700)
            _make_database(template)
            (port,) = free_ports(1)
            child = _serve(template, port)
            try:
                _wait_for(child, port, template / "keystone.log")
                service = fill(Admin(f"http://127.0.0.1:{port}"))
            finally:
                _end([child])
            (template / "service-id").write_text(service)
    return template


def _make_database(directory: Path) -> None:
    _write_configuration(directory, 3600)
    for folder in ("fernet-keys", "credential-keys"):
        (directory / folder).mkdir(mode=0o700)
    me = pwd.getpwuid(os.geteuid()).pw_name
    file = ["--config-file", str(directory / "keystone.conf")]
    owner = ["--keystone-user", me, "--keystone-group", me] if os.geteuid() == 0 else []
    steps = [
        [*file, "db_sync"],
        [*file, "fernet_setup", *owner],
        [*file, "credential_setup", *owner],
        [*file, "bootstrap", "--bootstrap-password", ADMIN_PASSWORD],
    ]
    done = subprocess.run(
        [environment_python("keystone"), "-c", MANAGE_SCRIPT, json.dumps(steps)],
        env=_environment(directory),
        cwd=directory,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise LabError(f"Keystone's database cannot be made:\n{done.stderr[-3000:]}")


def _copy_state(template: Path, directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in STATE:
        if not (directory / name).exists():
            copy = shutil.copytree if (template / name).is_dir() else shutil.copy2
            copy(template / name, directory / name)


def _write_configuration(directory: Path, token_life: int) -> None:
    (directory / "keystone.conf").write_text(CONFIGURATION.format(directory=directory, token_life=token_life))


def _environment(directory: Path) -> dict[str, str]:
    return clean_environment({"OS_KEYSTONE_CONFIG_DIR": str(directory), "PYTHONWARNINGS": "ignore"})


def _serve(directory: Path, port: int) -> subprocess.Popen[bytes]:
    return spawn(
        [environment_python("keystone"), "-c", SERVE_SCRIPT, str(port)],
        log=directory / "keystone.log",
        cwd=directory,
        env=_environment(directory),
    )


def _wait_for(child: subprocess.Popen[bytes], port: int, log: Path) -> None:
    def ready() -> bool:
        if child.poll() is not None:
            raise LabError(f"a server of Keystone did not start:\n{log.read_text(errors='replace')[-3000:]}")
        return listening(port)

    wait_until(ready, f"the server that writes {log.name}")


def _end(children: list[subprocess.Popen[bytes]]) -> None:
    found = [Process.of(child.pid) for child in children]
    end([process for process in found if process is not None], polite=signal.SIGTERM, grace=1)
    for child in children:
        child.wait()
