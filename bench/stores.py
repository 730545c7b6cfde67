"""`stores`: objects of 32 MiB, the size of a pack, to each kind of store and back, against the cloud's own client."""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.results import Options, Report
from lab import azurite, gcs, install, seaweed
from lab.account import clean_environment
from lab.azurite import AzuriteNode
from lab.bucket import BucketInfo, BucketServer
from lab.gcs import GoogleNode
from lab.place import PROJECT, lab_directory
from lab.seaweed import SeaweedNode
from lab.swift import SwiftNode

MIB = 1 << 20
SIZE = 32 * MIB
COUNT = 16
IN_FLIGHT = (1, 4, 16)
BUCKET = "transfers"
OURS = "ours"
_SCRIPT = Path(__file__).with_name("transfer.py").read_text()


@dataclass(frozen=True, slots=True)
class Rates:
    """MiB/s, and seconds of the client's CPU for each GB, of uploads and of downloads."""

    put: float
    put_cpu: float
    get: float
    get_cpu: float


@contextmanager
def bucket_server(
    kind: Callable[[Path], BucketServer], create: Callable[[BucketInfo, str], str], directory: Path
) -> Iterator[BucketInfo]:
    """A fresh server of buckets with a bucket in it."""
    with kind(directory) as server:
        create(server.info, BUCKET)
        yield server.info


@contextmanager
def swift_server(directory: Path) -> Iterator[BucketInfo]:
    """A fresh Swift with a container in it."""
    with SwiftNode(directory) as node:
        node.info.create_container(BUCKET)
        yield BucketInfo("swift", node.info.url, node.info.environment())


Server = Callable[[Path], AbstractContextManager[BucketInfo]]
SERVERS: dict[str, tuple[Server, str | None]] = {
    "S3 (SeaweedFS)": (lambda place: bucket_server(SeaweedNode, seaweed.create_bucket, place), "boto3"),
    "Azure (Azurite)": (
        lambda place: bucket_server(AzuriteNode, azurite.create_container, place),
        "azure-storage-blob",
    ),
    "Swift (tempauth)": (swift_server, "swiftclient"),
    "Google (the lab's emulator)": (lambda place: bucket_server(GoogleNode, gcs.create_bucket, place), None),
}


def main(options: Options, report: Report) -> None:
    """Measures each store in turn, and prints a table for it."""
    install.install("clients")
    for name, (server, plain) in SERVERS.items():
        clients = (OURS, plain) if plain else (OURS,)
        found: dict[tuple[str, int], list[Rates]] = {
            (client, threads): [] for threads in IN_FLIGHT for client in clients
        }
        for _ in range(options.rounds):
            for (client, threads), rates in found.items():
                with tempfile.TemporaryDirectory(dir=lab_directory()) as place, server(Path(place) / "node") as info:
                    rates.append(transfer(client, threads, info))
        middle = {key: median(rates) for key, rates in found.items()}
        raw = {f"{client} {threads}": asdict(rates) for (client, threads), rates in middle.items()}
        report.add(f"stores {name}", render(f"{name}: {COUNT} objects of 32 MiB", middle, plain), raw)


def transfer(client: str, threads: int, info: BucketInfo) -> Rates:
    """Runs one client in a process of its own."""
    python = sys.executable if client == OURS else str(install.environment_python("clients"))
    job = {
        "address": f"{info.scheme}://{BUCKET}",
        "bucket": BUCKET,
        "variables": info.environment(),
        "threads": threads,
        "count": COUNT,
        "size": SIZE,
    }
    done = subprocess.run(
        [python, "-c", _SCRIPT, client, json.dumps(job)],
        cwd=PROJECT if client == OURS else "/",
        env=clean_environment(),
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{client} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    took = json.loads(done.stdout)
    total = COUNT * SIZE
    (put, put_cpu), (get, get_cpu) = took["put"], took["get"]
    return Rates(total / MIB / put, put_cpu / total * 1e9, total / MIB / get, get_cpu / total * 1e9)


def median(rates: list[Rates]) -> Rates:
    """The median of each figure."""
    return Rates(*(statistics.median(getattr(one, name) for one in rates) for name in asdict(rates[0])))


def render(title: str, found: dict[tuple[str, int], Rates], plain: str | None) -> str:
    """A table whose last columns are our ratios to the plain client with as many in flight."""
    head = f"{'':20} {'in flight':>9} {'up MiB/s':>9} {'CPU s/GB':>9} {'down MiB/s':>11} {'CPU s/GB':>9}"
    lines = [f"\n{title}", f"{head} {'up x':>6} {'CPU x':>6} {'down x':>7} {'CPU x':>6}"]
    for (client, threads), rates in found.items():
        line = f"{client:20} {threads:9} {rates.put:9.0f} {rates.put_cpu:9.2f} {rates.get:11.0f} {rates.get_cpu:9.2f}"
        if client == OURS and plain:
            base = found[plain, threads]
            line += f" {rates.put / base.put:6.2f} {rates.put_cpu / base.put_cpu:6.2f}"
            line += f" {rates.get / base.get:7.2f} {rates.get_cpu / base.get_cpu:6.2f}"
        lines.append(line)
    return "\n".join(lines)
