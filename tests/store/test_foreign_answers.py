"""Answers of somebody between us and the service: never "absent" (H14), never an object's bytes (H20)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from lab.faultproxy import Answer, Head
from lab.web import Web
from wal_e.config import load
from wal_e.errors import NotFound, StoreError, Unavailable
from wal_e.store.api import Body, Store
from wal_e.store.registry import driver_for
from wal_e.store.url import ArchiveUrl

PAGE = b"<html><body>Welcome to the guest network.</body></html>"
KEYS = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
SERVICES: dict[str, Callable[[str], dict[str, str]]] = {
    "s3": lambda url: KEYS | {"WALE_S3_ENDPOINT": url},
    "wabs": lambda url: {"WABS_ACCOUNT_NAME": "a", "WABS_ACCESS_KEY": "a2V5", "WABS_ENDPOINT": f"{url}/a"},
    "gs": lambda url: {"STORAGE_EMULATOR_HOST": url},
    "swift": lambda url: {"SWIFT_STORAGE_URL": f"{url}/v1/a", "SWIFT_AUTH_TOKEN": "secret"},
}
EMPTY_LISTING = {
    "s3": b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>",
    "wabs": b"<EnumerationResults><Blobs></Blobs></EnumerationResults>",
}
LISTING = {
    "s3": b"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a/b</Key><Size>1</Size>"
    b"<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>x</ETag></Contents></ListBucketResult>",
    "wabs": b"<EnumerationResults><Blobs><Blob><Name>a/b</Name><Properties><Etag>x</Etag>"
    b"<Last-Modified>Thu, 01 Jan 2026 00:00:00 GMT</Last-Modified><Content-Length>1</Content-Length>"
    b"<Content-Type>x</Content-Type></Properties></Blob></Blobs></EnumerationResults>",
}
VERBS: dict[str, Callable[[Store], object]] = {
    "put": lambda store: store.put("a/b", Body.of(b"x"), create_only=True),
    "get": lambda store: b"".join(store.get("a/b")),
    "range": lambda store: b"".join(store.get("a/b", start=1, length=2)),
    "head": lambda store: store.head("a/b"),
    "list": lambda store: list(store.list("a/")),
    "delete": lambda store: store.delete(["a/b"]),
    "bulk delete": lambda store: store.delete(["a/b", "a/c"]),
}


@contextmanager
def opened(scheme: str, answer: Callable[[Head, str], Answer]) -> Iterator[Store]:
    with Web(answer) as web:
        driver = driver_for(scheme)
        store = driver.open(ArchiveUrl(scheme, "bucket", ""), load(driver.options(), environ=SERVICES[scheme](web.url)))
        try:
            yield store
        finally:
            store.close()


@pytest.mark.parametrize("page", [PAGE, b""], ids=["page", "empty"])
@pytest.mark.parametrize("status", [200, 302, 307, 400, 403, 404, 405, 502])
@pytest.mark.parametrize("scheme", SERVICES)
def test_no_verb_takes_a_page_for_an_answer_h14(scheme: str, status: int, page: bytes) -> None:
    """Neither for an absent object or an empty archive, nor for bytes, nor for something that is done."""
    with opened(scheme, lambda _head, _body: Answer(status, {"Content-Type": "text/html"}, page)) as store:
        for name, verb in VERBS.items():
            if (scheme, status, page) == ("gs", 200, b"") and "delete" in name:
                continue  # what Google says to a deletion, but for a number
            with pytest.raises(StoreError) as caught:
                verb(store)
            assert not isinstance(caught.value, NotFound), name


@pytest.mark.parametrize("page", [PAGE, b""], ids=["page", "empty"])
@pytest.mark.parametrize("scheme", ["s3", "wabs", "gs"])
def test_a_404_of_a_proxy_is_an_outage_and_is_repeated(scheme: str, page: bytes) -> None:
    with opened(scheme, lambda _head, _body: Answer(404, body=page)) as store:
        for name, verb in VERBS.items():
            with pytest.raises(StoreError) as caught:
                verb(store)
            assert isinstance(caught.value, Unavailable), (name, caught.value)


@pytest.mark.parametrize("scheme", ["gs", "swift"])
def test_nobody_is_followed_to_another_place(scheme: str) -> None:
    """Where a page would be taken for the object, and Swift's token would be told to a stranger."""
    stranger: list[Head] = []

    def elsewhere(head: Head, _body: str) -> Answer:
        stranger.append(head)
        return Answer(200, {"X-Goog-Hash": "crc32c=AAAAAA==", "ETag": "0" * 32}, PAGE)

    with Web(elsewhere) as other:
        there = other.url.replace("127.0.0.1", "localhost")
        with opened(scheme, lambda _head, _body: Answer(302, {"Location": there})) as store:
            for verb in VERBS.values():
                with pytest.raises(StoreError):
                    verb(store)
    assert not stranger


@pytest.mark.parametrize("scheme", EMPTY_LISTING)
def test_a_404_that_does_not_explain_itself_is_compared_with_a_listing_h14(scheme: str) -> None:
    """Also long after the container was seen, as in an agent: a proxy may have come in between since."""
    listing = {"now": LISTING[scheme]}

    def answer(head: Head, _body: str) -> Answer:
        listed = head.method == "GET" and ("list-type" in head.path or "comp=list" in head.path)
        return Answer(200, body=listing["now"]) if listed else Answer(404, body=PAGE)

    with opened(scheme, answer) as store:
        assert [info.key for info in store.list("a/")] == ["a/b"]
        with pytest.raises(StoreError) as caught:
            b"".join(store.get("a/b"))
        assert not isinstance(caught.value, NotFound)
        listing["now"] = EMPTY_LISTING[scheme]
        with pytest.raises(NotFound):
            b"".join(store.get("a/b"))
