"""Backup, WAL and restore with each kind of store of buckets: every row comes back."""

from collections.abc import Callable

import pytest

from tests.e2e.scene import FOOBAR, FOOBAR_ROWS, archive_all, bucket_scene
from tests.plugins.buckets import Buckets

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["s3", "gs", "azure"])
def test_every_row_comes_back(kind: str, request: pytest.FixtureRequest, container_name: Callable[[], str]) -> None:
    buckets: Buckets = request.getfixturevalue(f"{kind}_buckets")
    with bucket_scene(buckets, buckets.create(container_name())) as scene:
        leader = scene.leader(15)
        leader.sql(FOOBAR)
        name = scene.backup(leader)
        assert scene.names() == [name]
        leader.sql("insert into foobar select generate_series(1, 1000)")
        archive_all(leader)
        restored = scene.restore(15, "LATEST", "--standby").start()
        restored.wait_for("select count(*) from foobar", FOOBAR_ROWS + 1000)
        scene.wal_e("delete", "--confirm", "everything")
        assert scene.names() == []
