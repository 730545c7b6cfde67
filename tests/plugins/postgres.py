"""PostgreSQL of every major, in directories that the server account owns."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from lab import majors
from lab.place import remove_tree
from lab.postgres import Postgres, scratch_directory


class PostgresFactory(Protocol):
    """What the fixture `postgres_factory` is."""

    def __call__(  # the shape of a cluster, as `Postgres.create` takes it
        self,
        major: int = ...,
        *,
        name: str | None = ...,
        segment_size_mb: int | None = ...,
        checksums: bool = ...,
        unique: bool = ...,
        conf: Mapping[str, str] | None = ...,
        start: bool = ...,
    ) -> Postgres:
        """Make a cluster, started unless told otherwise."""


@pytest.fixture(params=majors.MAJORS, ids=lambda major: f"pg{major}")
def pg_major(request: pytest.FixtureRequest) -> int:
    """Each major in turn."""
    return int(request.param)


@pytest.fixture
def pg_tmp() -> Iterator[Path]:
    """A directory that belongs to the server account; tmp_path is closed to it."""
    directory = scratch_directory("test-")
    yield directory
    remove_tree(directory)


@pytest.fixture
def postgres_factory(pg_tmp: Path) -> Iterator[PostgresFactory]:
    """Make clusters by `Postgres.create`; all end with the test."""
    with ExitStack() as stack:

        def make(
            major: int = majors.DEBIAN_MAJOR,
            *,
            name: str | None = None,
            segment_size_mb: int | None = None,
            checksums: bool = True,
            unique: bool = False,
            conf: Mapping[str, str] | None = None,
            start: bool = True,
        ) -> Postgres:
            count = sum(1 for _ in pg_tmp.iterdir())
            cluster = Postgres.create(
                major,
                pg_tmp / (name or f"cluster{count}"),
                segment_size_mb=segment_size_mb,
                checksums=checksums,
                unique=unique,
                conf=conf,
            )
            stack.callback(cluster.close)
            return cluster.start() if start else cluster

        yield make


@pytest.fixture
def restored_factory() -> Iterator[Callable[..., Postgres]]:
    """Wrap restored data directories by `Postgres.restored`, not started; all servers end with the test."""
    with ExitStack() as stack:

        def wrap(major: int, directory: Path, conf: Mapping[str, str] | None = None) -> Postgres:
            cluster = Postgres.restored(major, directory, conf=conf)
            stack.callback(cluster.close)
            return cluster

        yield wrap
