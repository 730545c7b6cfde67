"""The scenes as fixtures."""

from collections.abc import Callable, Iterator

import pytest

from lab.keystone import KeystoneInfo
from tests.e2e.scene import Scene, file_scene, swift_scene


@pytest.fixture
def scene() -> Iterator[Scene]:
    """An empty archive in a local folder."""
    with file_scene() as scene:
        yield scene


@pytest.fixture
def swift_scene_v3(keystone_swift: KeystoneInfo, container_name: Callable[[], str]) -> Iterator[Scene]:
    """An empty archive in a Swift behind Keystone, logged in to with identity v3."""
    container = keystone_swift.create_container(container_name())
    with swift_scene(container, keystone_swift.environment()) as scene:
        yield scene
