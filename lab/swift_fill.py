"""
Names in a container's listing without objects behind them: thousands in a second, where uploads would take minutes.

Swift lists from the container server's own database, so a listing of these names is a real one; a GET finds nothing.
"""

import json
import subprocess
from collections.abc import Iterable

from lab.install import environment_python
from lab.place import LabError
from lab.swift import SwiftNode

FILL_SCRIPT = """\
import json, sys, time
from swift.container.backend import ContainerBroker
name, *paths = sys.argv[1:]
(broker,) = [b for b in map(ContainerBroker, paths) if b.get_info()["container"] == name]
row = {"size": 0, "content_type": "application/octet-stream", "etag": "d41d8cd98f00b204e9800998ecf8427e", "deleted": 0,
       "storage_policy_index": 0, "ctype_timestamp": None, "meta_timestamp": None}
now = time.time()
names = json.load(sys.stdin)
broker.merge_items([{**row, "name": n, "created_at": f"{now + i / 1e5:.5f}"} for i, n in enumerate(names)])
"""


def fill_listing(node: SwiftNode, container: str, names: Iterable[str]) -> None:
    """Add the names to the listing of a container that is there."""
    databases = [str(path) for path in (node.directory / "data").rglob("containers/**/*.db")]
    done = subprocess.run(
        [environment_python("swift"), "-c", FILL_SCRIPT, container, *databases],
        input=json.dumps([*names]),
        env={"PYTHONPATH": str(node.directory / "etc"), "PYTHONWARNINGS": "ignore"},
        cwd=node.directory,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise LabError(f"the listing of {container} cannot be filled:\n{done.stderr[-2000:]}")
