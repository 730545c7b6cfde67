"""
Stores of buckets, one of each for the whole run: SeaweedFS and Swift's own front for S3, Azurite, and an emulator of
Google's service.

The first test process that asks for one starts it, as in `tests.plugins.swift`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from lab import azurite, gcs, seaweed
from lab.azurite import AzuriteNode
from lab.bucket import BucketInfo, BucketServer
from lab.gcs import GoogleNode
from lab.seaweed import SeaweedNode
from lab.swift import SwiftInfo
from tests.plugins.swift import shared


@dataclass(frozen=True)
class Buckets:
    """A service and how a bucket is made there."""

    info: BucketInfo
    create: Callable[[str], str]


@pytest.fixture(scope="session")
def s3_buckets() -> Buckets:
    """SeaweedFS."""
    info = _shared("seaweed", SeaweedNode)
    return Buckets(info, partial(seaweed.create_bucket, info))


@pytest.fixture(scope="session")
def swift_s3_buckets(swift_tempauth: SwiftInfo) -> Buckets:
    """The S3 front of the Swift with auth v1."""
    return Buckets(swift_tempauth.s3(), swift_tempauth.create_container)


@pytest.fixture(scope="session")
def azure_buckets() -> Buckets:
    """Azurite."""
    info = _shared("azurite", AzuriteNode)
    return Buckets(info, partial(azurite.create_container, info))


@pytest.fixture(scope="session")
def gs_buckets() -> Buckets:
    """The emulator of Google Cloud Storage."""
    info = _shared("gcs", GoogleNode)
    return Buckets(info, partial(gcs.create_bucket, info))


def _shared(name: str, kind: Callable[[Path], BucketServer]) -> BucketInfo:
    def start(directory: Path) -> BucketInfo:
        server = kind(directory)
        info = server.start()
        server.disown()
        return info

    return shared(name, BucketInfo, start)
