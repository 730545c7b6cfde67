"""
A real SeaweedFS on loopback, which speaks S3 the way Amazon does: signatures, conditions, checksums, paging.

One process is master, volume, filer and S3 gateway. Two keys: one that may do everything but make buckets, and one that
may only read. A node may have more, each with a policy in Amazon's language, which it enforces.
"""

import json
import urllib.error
from collections.abc import Mapping
from pathlib import Path

from lab.bucket import BucketInfo, BucketServer
from lab.install import weed_program
from lab.processes import free_ports
from lab.swift import request

KEY, SECRET = "lab", "labsecret"
READER_KEY, READER_SECRET = "reader", "readersecret"
DOMAIN = "s3.lab.example"  # for the style that names the bucket in the host; it does not resolve, a proxy stands there
INNER = ("master", "volume", "filer")  # and the S3 gateway, on the port that clients see


class SeaweedNode(BucketServer):
    """One SeaweedFS in one directory."""

    name = "SeaweedFS"

    def __init__(self, directory: Path, policies: Mapping[str, object] | None = None) -> None:
        super().__init__(directory)
        self.policies = dict(policies or {})
        names = [*(f"{role}.port" for role in INNER), *(f"{role}.port.grpc" for role in (*INNER, "s3"))]
        self.ports = dict(zip(names, free_ports(len(names)), strict=True)) | {"s3.port": self.port}

    @property
    def info(self) -> BucketInfo:
        """What a client needs to know."""
        url = f"http://127.0.0.1:{self.port}"
        variables = {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": url,
            "WALE_S3_UNORDERED": "true",
        }
        return BucketInfo("s3", url, variables)

    def ready(self) -> bool:
        """See `BucketServer.ready`."""
        return super().ready() and _answers(self.info.url)

    def command(self) -> list[str | Path]:
        """See `BucketServer.command`."""
        where = self.directory
        # A bucket begins with seven volumes by default, which takes a while.
        (where / "master.toml").write_text("[master.volume_growth]\ncopy_1 = 1\n")
        (where / "s3.json").write_text(json.dumps(_access(self.policies)))
        ports = [f"-{name}={port}" for name, port in self.ports.items()]
        return [
            weed_program(),
            f"-logdir={where}",
            "server",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-dir={where}/data",
            "-filer",
            "-s3",
            f"-s3.domainName={DOMAIN}",
            *ports,
            "-master.volumeSizeLimitMB=256",
            "-master.electionTimeout=500ms",
            "-master.heartbeatInterval=100ms",
            "-master.telemetry=false",
            "-volume.max=2000",
            "-volume.preStopSeconds=0",
            f"-filer.localSocket={where}/filer.sock",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.localSocket={where}/s3.sock",
            f"-s3.config={where}/s3.json",
        ]


def create_bucket(info: BucketInfo, name: str) -> str:
    """Make a bucket of SeaweedFS, and return its name; unsigned requests may do that, and nothing else."""
    request("PUT", f"{info.url}/{name}", {}).close()
    return name


def reader(info: BucketInfo) -> dict[str, str]:
    """Return the variables of the key that may only read."""
    keys = {"AWS_ACCESS_KEY_ID": READER_KEY, "AWS_SECRET_ACCESS_KEY": READER_SECRET}
    return info.environment() | keys


def holder(info: BucketInfo, policy: str) -> dict[str, str]:
    """Return the variables of the key that may do what a policy of the node says."""
    return info.environment() | {"AWS_ACCESS_KEY_ID": policy, "AWS_SECRET_ACCESS_KEY": f"{policy}-secret"}


def _access(policies: Mapping[str, object]) -> dict[str, object]:
    holders = [
        {
            "name": name,
            "credentials": [{"accessKey": name, "secretKey": f"{name}-secret"}],
            "actions": [],
            "policyNames": [name],
        }
        for name in policies
    ]
    documents = [{"name": name, "content": json.dumps(document)} for name, document in policies.items()]
    return {"identities": [*_identities(), *holders], "policies": documents}


def _identities() -> list[dict[str, object]]:
    keys = (
        ("lab", KEY, SECRET, ["Read", "Write", "List", "Tagging"]),
        ("reader", READER_KEY, READER_SECRET, ["Read", "List"]),
    )
    signed: list[dict[str, object]] = [
        {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}
        for name, key, secret, actions in keys
    ]
    return [*signed, {"name": "anonymous", "actions": ["Admin"]}]


def _answers(url: str) -> bool:
    try:
        request("GET", f"{url}/", {}).close()
    except urllib.error.HTTPError as error:
        error.close()
        return error.code < 500
    except OSError:
        return False
    return True
