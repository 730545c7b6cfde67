"""Where tablespaces go, and that they never go on top of a cluster that is there."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wal_e.errors import Corrupt, DataDirectoryError, UsageError
from wal_e.repo.manifest import Tablespace
from wal_e.restore.tablespaces import (
    Placing,
    RestoreSpec,
    check_on_disk,
    check_places,
    existing_links,
    map_tablespaces,
    parse_restore_spec,
    parse_tablespace_map,
    render_tablespace_map,
)

BACKUP = (Tablespace(16385, "/mnt/a"), Tablespace(16386, "/mnt/b"))
DATA = Path("/srv/data")


def spec(**entries: object) -> str:
    return json.dumps({"tablespaces": list(entries), **entries})


def test_default_prefers_the_links_that_are_there() -> None:
    places = map_tablespaces(BACKUP, Placing.DEFAULT, {16386: "/new/b", 99: "/other"})
    assert places == {16385: Path("/mnt/a"), 16386: Path("/new/b")}


def test_source_and_blind_ignore_links() -> None:
    links = {16386: "/new/b"}
    assert map_tablespaces(BACKUP, Placing.SOURCE, links) == {16385: Path("/mnt/a"), 16386: Path("/mnt/b")}
    assert map_tablespaces(BACKUP, Placing.BLIND, links) == {16385: None, 16386: None}


def test_h49_a_spec_decides_and_its_base_prefix_is_ignored() -> None:
    text = json.dumps(
        {
            "base_prefix": "/var/lib/postgresql/production/",
            "tablespaces": ["16385", "16386", "7"],
            "16385": {"loc": "/x/", "link": "pg_tblspc/16385"},
            "16386": {"loc": "/y"},
            "7": {"loc": "/z"},
        }
    )
    assert map_tablespaces(BACKUP, parse_restore_spec(text), {}) == {16385: Path("/x"), 16386: Path("/y")}


def test_a_spec_that_leaves_one_out_is_refused() -> None:
    with pytest.raises(UsageError) as error:
        map_tablespaces(BACKUP, RestoreSpec({16385: "/x"}), {})
    assert "16386" in error.value.detail


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"tablespaces": 3}', "not a list"),
        ('{"tablespaces": ["x"]}', "not an OID"),
        ('{"tablespaces": [true]}', "not an OID"),
        ('{"tablespaces": ["1", 1], "1": {"loc": "/x"}}', "listed twice"),
        ('{"tablespaces": ["1"]}', "no object"),
        ('{"tablespaces": ["1"], "1": {}}', '"loc"'),
        (spec(**{"1": {"loc": "/x", "link": "pg_tblspc/2"}}), '"link"'),
    ],
)
def test_a_bad_spec_is_refused_with_its_fault(text: str, detail: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_restore_spec(text)
    assert detail in error.value.detail


@pytest.mark.parametrize(
    ("places", "detail"),
    [
        ({1: Path("relative")}, "not an absolute path"),
        ({1: Path("/srv/data")}, "inside the data directory"),
        ({1: Path("/srv/data/x")}, "inside the data directory"),
        ({1: Path("//srv/./data/x")}, "inside the data directory"),
        ({1: Path("/srv/elsewhere/../data/x")}, "inside the data directory"),
        ({1: Path("/srv")}, "above the data directory"),
        ({1: Path("/")}, "above the data directory"),
        ({1: Path("/mnt/a"), 2: Path("/mnt/b/../a")}, "Tablespace 1"),
    ],
)
def test_h50_places_that_postgresql_could_not_use_are_refused(places: Mapping[int, Path | None], detail: str) -> None:
    with pytest.raises(UsageError) as error:
        check_places(places, DATA)
    assert detail in error.value.detail


def test_good_places_pass() -> None:
    check_places({1: Path("/srv/data2"), 2: Path("/mnt/a"), 3: None}, DATA)


def test_h50_links_are_resolved_before_judging(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (tmp_path / "alias").symlink_to(data)
    with pytest.raises(UsageError):
        check_on_disk({1: tmp_path / "alias" / "ts"}, data, 15)


def test_h49_a_directory_with_this_version_s_files_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "ts"
    (place / "PG_14_202107181" / "5").mkdir(parents=True)
    (place / "PG_15_202209061").mkdir()
    check_on_disk({1: place, 2: tmp_path / "absent", 3: None}, tmp_path / "data", 15)
    (place / "PG_15_202209061" / "5").mkdir()
    with pytest.raises(DataDirectoryError, match="already holds a tablespace"):
        check_on_disk({1: place}, tmp_path / "data", 15)


def test_a_file_in_the_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ts").write_text("x")
    with pytest.raises(DataDirectoryError):
        check_on_disk({1: tmp_path / "ts"}, tmp_path / "data", 15)


def test_existing_links_are_read(tmp_path: Path) -> None:
    assert existing_links(tmp_path) == {}
    (tmp_path / "pg_tblspc").mkdir()
    (tmp_path / "pg_tblspc" / "16385").symlink_to("/mnt/a")
    (tmp_path / "pg_tblspc" / "16386").mkdir()
    (tmp_path / "pg_tblspc" / "note").symlink_to("/mnt/c")
    assert existing_links(tmp_path) == {16385: "/mnt/a"}


def test_the_map_is_written_as_postgresql_writes_it() -> None:
    places = {16386: Path("/mnt/b"), 16385: Path("/mnt/a b"), 5: None}
    assert render_tablespace_map(places, 15) == "16385 /mnt/a b\n16386 /mnt/b\n"
    assert render_tablespace_map({}, 15) == ""


def test_backslashes_are_escaped_from_14_on() -> None:
    places = {1: Path("/a\\b\n\rc")}
    assert render_tablespace_map(places, 14) == "1 /a\\\\b\\\n\\\rc\n"
    assert render_tablespace_map(places, 13) == "1 /a\\b\\\n\\\rc\n"
    with pytest.raises(UsageError):
        render_tablespace_map({1: Path("/a\\")}, 13)


@given(
    st.dictionaries(
        st.integers(1, (1 << 32) - 1),
        st.text(st.characters(blacklist_characters="\0/."), min_size=1).map(lambda text: Path("/" + text)),
    ),
    st.sampled_from([10, 13, 14, 18]),
)
def test_what_is_written_is_read_back(places: Mapping[int, Path | None], major: int) -> None:
    if major < 14 and any(str(place).endswith("\\") for place in places.values()):
        return
    text = render_tablespace_map(places, major)
    assert parse_tablespace_map(text, major) == {oid: str(place) for oid, place in places.items()}


@pytest.mark.parametrize("text", ["x /mnt\n", "5\n", "5 \n", " 5 /x\n"])
def test_a_damaged_map_is_corrupt(text: str) -> None:
    with pytest.raises(Corrupt):
        parse_tablespace_map(text, 15)


@given(st.text(), st.sampled_from([13, 14]))
def test_any_text_is_a_map_or_corrupt(text: str, major: int) -> None:
    with contextlib.suppress(Corrupt):
        parse_tablespace_map(text, major)
