"""
Uploads and downloads of objects with one client, for `bench.stores`; prints what they took as JSON.

Run as text by the interpreter of the client's own environment: `python -c TEXT CLIENT JSON`. Each client is used as its
documentation shows, with its own defaults for checksums.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

Put = Callable[[str, bytes], object]
Get = Callable[[str], int]


def ours(job: dict[str, Any]) -> tuple[Put, Get]:
    """A store of this project, with all that it wraps around a driver."""
    from wal_e.cli.parser import all_options  # noqa: PLC0415 - the other clients' environments have no wal_e
    from wal_e.config import load  # noqa: PLC0415 - the same
    from wal_e.store.api import Body  # noqa: PLC0415 - the same
    from wal_e.store.stack import open_store  # noqa: PLC0415 - the same

    store = open_store(job["address"], load(all_options(), environ=job["variables"]))
    return lambda key, data: store.put(key, Body.of(data)), lambda key: sum(map(len, store.get(key)))


def boto3(job: dict[str, Any]) -> tuple[Put, Get]:
    """Amazon's library."""
    import boto3 as library  # type: ignore[import-not-found] # noqa: PLC0415 - in its own environment only
    from botocore.config import Config  # type: ignore[import-not-found] # noqa: PLC0415 - the same

    variables = job["variables"]
    client = library.client(
        "s3",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
        config=Config(max_pool_connections=32, s3={"addressing_style": "path"}),
    )
    bucket = job["bucket"]
    return (
        lambda key, data: client.put_object(Bucket=bucket, Key=key, Body=data),
        lambda key: len(client.get_object(Bucket=bucket, Key=key)["Body"].read()),
    )


def azure(job: dict[str, Any]) -> tuple[Put, Get]:
    """Microsoft's library."""
    from azure.storage.blob import ContainerClient  # type: ignore[import-not-found] # noqa: PLC0415 - as above

    variables = job["variables"]
    client = ContainerClient(
        variables["WABS_ENDPOINT"],
        job["bucket"],
        credential={"account_name": variables["WABS_ACCOUNT_NAME"], "account_key": variables["WABS_ACCESS_KEY"]},
    )
    return client.upload_blob, lambda key: len(client.download_blob(key).readall())


def swift(job: dict[str, Any]) -> tuple[Put, Get]:
    """OpenStack's library: a connection for each request that is under way."""
    from queue import LifoQueue  # noqa: PLC0415 - for this client alone

    from swiftclient.client import Connection  # noqa: PLC0415 - as above

    variables = job["variables"]
    names = ("SWIFT_AUTHURL", "SWIFT_USER", "SWIFT_PASSWORD")
    idle: LifoQueue[Any] = LifoQueue()
    for _ in range(job["threads"]):
        idle.put(Connection(*(variables[name] for name in names), auth_version="1"))

    def put(key: str, data: bytes) -> None:
        connection = idle.get()
        connection.put_object(job["bucket"], key, data)
        idle.put(connection)

    def get(key: str) -> int:
        connection = idle.get()
        size = len(connection.get_object(job["bucket"], key)[1])
        idle.put(connection)
        return size

    return put, get


CLIENTS = {"ours": ours, "boto3": boto3, "azure-storage-blob": azure, "swiftclient": swift}


def timed(threads: int, work: Callable[[str], object], keys: list[str]) -> tuple[float, float]:
    """Does the work for each key; returns seconds of wall time, and of CPU of this process."""
    before, begun = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, keys))
    wall, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_SELF)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Does what the arguments say."""
    job = json.loads(sys.argv[2])
    put, get = CLIENTS[sys.argv[1]](job)
    data = os.urandom(job["size"])
    put("warm", b"x")
    get("warm")
    keys = [f"object-{number}" for number in range(job["count"])]
    sent = timed(job["threads"], lambda key: put(key, data), keys)
    sizes: list[int] = []
    received = timed(job["threads"], lambda key: sizes.append(get(key)), keys)
    if sizes != [job["size"]] * job["count"]:
        sys.exit(f"the client read {sizes}")
    print(json.dumps({"put": sent, "get": received}))


if __name__ == "__main__":
    main()
