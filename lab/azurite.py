"""Azurite, Microsoft's own emulator of Azure Blob Storage, on loopback."""

import base64
import hashlib
import hmac
import urllib.error
from email.utils import formatdate
from pathlib import Path

from lab.bucket import BucketInfo, BucketServer
from lab.install import azurite_script, node_program
from lab.place import LabError
from lab.swift import request

ACCOUNT = "devstoreaccount1"
# The account and the key that Microsoft publishes for every installation of the emulator.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
API_VERSION = "2021-08-06"


class AzuriteNode(BucketServer):
    """One Azurite in one directory."""

    name = "Azurite"

    @property
    def info(self) -> BucketInfo:
        """What a client needs to know."""
        url = f"http://127.0.0.1:{self.port}"
        variables = {"WABS_ACCOUNT_NAME": ACCOUNT, "WABS_ACCESS_KEY": KEY, "WABS_ENDPOINT": f"{url}/{ACCOUNT}"}
        return BucketInfo("wabs", url, variables)

    def command(self) -> list[str | Path]:
        """See `BucketServer.command`."""
        options = ["--skipApiVersionCheck", "--disableTelemetry", "--silent", "--disableProductStyleUrl"]
        where = ["--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--location", str(self.directory / "data")]
        return [node_program(), azurite_script(), *where, *options]


def create_container(info: BucketInfo, name: str) -> str:
    """Make a container by a request that is signed with the account's key, and return its name."""
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
        request("PUT", f"{info.url}/{ACCOUNT}/{name}?restype=container", headers, b"").close()
    except urllib.error.HTTPError as error:
        with error:
            raise LabError(f"Azurite made no container: {error.code} {error.read()[:500]!r}") from None
    return name
