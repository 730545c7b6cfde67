"""Which directories servers work in, by their processes and not by their files (H49)."""

from pathlib import Path

import pytest

from wal_e.pg.running import served_directories


def process(proc: Path, number: int, name: str, directory: Path | None) -> None:
    (proc / str(number)).mkdir(parents=True)
    (proc / str(number) / "comm").write_text(f"{name}\n")
    if directory is not None:
        (proc / str(number) / "cwd").symlink_to(directory)


def test_each_directory_of_a_server_is_found_once(tmp_path: Path) -> None:
    proc, one, two, shell = (tmp_path / name for name in ("proc", "one", "two", "shell"))
    for directory in (one, two, shell):
        directory.mkdir()
    process(proc, 1, "postgres", one)
    process(proc, 2, "postgres", one)
    process(proc, 3, "postmaster", two)
    process(proc, 4, "bash", shell)
    process(proc, 5, "postgres", None)
    process(proc, 6, "postgres", tmp_path / "gone")
    (proc / "self").symlink_to(proc / "4")
    (proc / "7").mkdir()
    assert sorted(served_directories(proc)) == [one, two]


def test_nothing_is_known_without_proc(tmp_path: Path) -> None:
    assert served_directories(tmp_path / "missing") == []


@pytest.mark.slow
def test_a_real_server_is_found_without_its_pidfile(postgres_factory) -> None:  # type: ignore[no-untyped-def] # a plugin's  # noqa: ANN001
    server = postgres_factory(15)
    assert any(server.data_directory.samefile(found) for found in served_directories())
    server.stop()
    assert not any(found.exists() and server.data_directory.samefile(found) for found in served_directories())
