"""Azurite, Microsoft's own emulator of Azure Blob Storage, on loopback."""

import base64
import hashlib
import hmac
import urllib.error
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from urllib.parse import urlencode

from lab.bucket import BucketInfo, BucketServer
from lab.install import azurite_script, node_program
from lab.place import LabError
from lab.swift import request

ACCOUNT = "devstoreaccount1"
# The account and the key that Microsoft publishes for every installation of the emulator.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
API_VERSION = "2021-08-06"


class AzuriteNode(BucketServer):
    """One Azurite in one directory; with `certificate` and its key it has TLS, and takes tokens of identities too."""

    name = "Azurite"

    def __init__(self, directory: Path, certificate: tuple[Path, Path] | None = None) -> None:
        super().__init__(directory)
        self.certificate = certificate

    @property
    def info(self) -> BucketInfo:
        """What a client needs to know."""
        url = f"http{'s' if self.certificate else ''}://127.0.0.1:{self.port}"
        variables = {"WABS_ACCOUNT_NAME": ACCOUNT, "WABS_ACCESS_KEY": KEY, "WABS_ENDPOINT": f"{url}/{ACCOUNT}"}
        return BucketInfo("wabs", url, variables)

    def command(self) -> list[str | Path]:
        """See `BucketServer.command`."""
        options = ["--skipApiVersionCheck", "--disableTelemetry", "--silent", "--disableProductStyleUrl"]
        where = ["--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--location", str(self.directory / "data")]
        if self.certificate:
            certificate, key = map(str, self.certificate)
            options += ["--cert", certificate, "--key", key, "--oauth", "basic"]
        return [node_program(), azurite_script(), *where, *options]


def create_container(info: BucketInfo, name: str, trust: str | None = None) -> str:
    """Make a container by a request that is signed with the account's key, and return its name; see `request`."""
    date, kind = formatdate(usegmt=True), "application/octet-stream"
    # Shared Key: method, eleven standard headers (Content-Type is the fifth), then the x-ms ones and the resource.
    text = (
        f"PUT\n\n\n\n\n{kind}\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:{API_VERSION}\n"
        f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    )
    digest = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
    headers = {
        "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}",
        "Content-Type": kind,
        "x-ms-date": date,
        "x-ms-version": API_VERSION,
    }
    try:
        request("PUT", f"{info.url}/{ACCOUNT}/{name}?restype=container", headers, b"", trust=trust).close()
    except urllib.error.HTTPError as error:
        with error:
            raise LabError(f"Azurite made no container: {error.code} {error.read()[:500]!r}") from None
    return name


def account_holder(info: BucketInfo, permissions: str) -> dict[str, str]:
    """
    Return the variables of somebody with a signature of the account instead of its key, good for a day.

    `permissions` are letters of rwdlac. Such a one may make containers; Azurite fails (500) where it deletes by batch.
    """
    until = _tomorrow()
    text = f"{ACCOUNT}\n{permissions}\nb\nco\n\n{until}\n\nhttps,http\n{API_VERSION}\n\n"
    return _holder(info, text, {"ss": "b", "srt": "co", "sp": permissions, "se": until})


def holder(info: BucketInfo, container: str, permissions: str) -> dict[str, str]:
    """Return the variables of somebody with a signature of one container, good for a day."""
    until = _tomorrow()
    place = f"/blob/{ACCOUNT}/{container}"
    text = f"{permissions}\n\n{until}\n{place}\n\n\nhttps,http\n{API_VERSION}\nc\n\n\n\n\n\n\n"
    return _holder(info, text, {"sr": "c", "sp": permissions, "se": until})


def _holder(info: BucketInfo, text: str, fields: dict[str, str]) -> dict[str, str]:
    digest = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
    signed = fields | {"sv": API_VERSION, "spr": "https,http", "sig": base64.b64encode(digest).decode()}
    return info.environment() | {"WABS_ACCESS_KEY": "", "WABS_SAS_TOKEN": urlencode(signed)}


def _tomorrow() -> str:
    return (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
