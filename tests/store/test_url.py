"""Addresses of archives, and which driver they lead to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wal_e.errors import UsageError
from wal_e.store.registry import DRIVERS, driver_for
from wal_e.store.url import ArchiveUrl, parse_url

PART = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/"), min_size=1).filter(
    lambda part: part not in {".", ".."}
)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("swift://container/path", ArchiveUrl("swift", "container", "path")),
        ("swift://container/a/b/", ArchiveUrl("swift", "container", "a/b")),
        ("swift://container", ArchiveUrl("swift", "container", "")),
        ("swift://container/", ArchiveUrl("swift", "container", "")),
        ("SWIFT://Container/Path", ArchiveUrl("swift", "Container", "Path")),
        ("swift://container/a%20b?c#d", ArchiveUrl("swift", "container", "a%20b?c#d")),
        ("file://localhost/var/backups/main", ArchiveUrl("file", "", "/var/backups/main")),
        ("file:///var/backups/main/", ArchiveUrl("file", "", "/var/backups/main")),
        ("file://localhost//var//backups", ArchiveUrl("file", "", "/var/backups")),
        ("memory://name", ArchiveUrl("memory", "name", "")),
        ("s3://bucket/path", ArchiveUrl("s3", "bucket", "path")),
    ],
)
def test_addresses(text: str, url: ArchiveUrl) -> None:
    assert parse_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "container/path",
        "/var/backups",
        "swift:container",
        "swift:/c",
        "swift:///path",
        "://c/p",
        "swift://c/../d",
        "swift://c/./d",
        "swift://c/a\nb",
        "s3://c/a b",
        "s3://c/main ",
        "file://localhost",
        "file:///",
        "file://server/share",
        "file://var/backups",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_url(text)
    assert caught.value.hint or "control characters" in caught.value.message


@given(st.sampled_from(["swift", "memory"]), PART, st.lists(PART, max_size=4))
def test_an_address_is_written_as_it_is_read(scheme: str, container: str, parts: list[str]) -> None:
    url = ArchiveUrl(scheme, container, "/".join(parts))
    assert parse_url(str(url)) == url


@given(st.lists(PART, min_size=1, max_size=4))
def test_a_folder_s_address_is_written_as_it_is_read(parts: list[str]) -> None:
    url = ArchiveUrl("file", "", "/" + "/".join(parts))
    assert parse_url(str(url)) == url


@given(st.text())
def test_any_text_is_an_address_or_a_usage_error(text: str) -> None:
    try:
        url = parse_url(text)
    except UsageError:
        return
    assert parse_url(str(url)) == url


def test_an_unknown_scheme_names_those_that_we_have() -> None:
    known = "S3, Windows Azure Blob Storage, OpenStack Swift, Google Cloud Storage or File"  # as the original said it
    with pytest.raises(UsageError, match=f"^bad {known} URL scheme passed$") as caught:
        driver_for("ftp")
    assert '"ftp"' in (caught.value.detail or "")


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.scheme)
def test_every_driver_has_its_options(driver: object) -> None:
    assert isinstance(driver.options(), tuple)  # type: ignore[attr-defined] # parametrize knows no types
