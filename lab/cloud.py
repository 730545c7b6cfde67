"""A small OpenStack cloud: one Keystone, and a Swift in each region, started side by side (about 4 s)."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from lab.keystone import KeystoneInfo, KeystoneNode
from lab.place import remove_tree
from lab.swift import SwiftNode, request
from lab.swift_conf import SwiftOptions


class Cloud:
    """Keystone and its regions in one directory; `with Cloud(directory) as info` stops and deletes them at the end."""

    def __init__(
        self, directory: Path, regions: Sequence[str] = ("RegionOne", "RegionTwo"), *, token_life: int = 3600
    ) -> None:
        self.directory = directory.absolute()
        self.keystone = KeystoneNode(self.directory / "keystone", token_life=token_life)
        options = SwiftOptions(keystone=self.keystone.url)
        self.swifts = {region: SwiftNode(self.directory / region, options) for region in regions}

    def __enter__(self) -> KeystoneInfo:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        remove_tree(self.directory)

    def start(self) -> KeystoneInfo:
        """Start everything and return when every region has answered an authenticated request."""
        for swift in self.swifts.values():
            swift.spawn()
        info = self.keystone.start({region: swift.info.url for region, swift in self.swifts.items()})
        for region, swift in self.swifts.items():
            swift.wait()
            # Swift's first look at Keystone must not be two at once: the second would be refused with 401.
            storage_url, token = info.authenticate(region)
            request("GET", storage_url, {"X-Auth-Token": token}).close()
        return info

    def stop(self) -> None:
        """End all servers; what the regions stored stays."""
        self.keystone.stop()
        for swift in self.swifts.values():
            swift.stop()

    def disown(self) -> None:
        """Leave the servers to the run that owns them, when this process ends first."""
        self.keystone.disown()
        for swift in self.swifts.values():
            swift.disown()
