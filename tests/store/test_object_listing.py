"""
Listings of what obstore lists: whole, in order, and never ended by a page that was somebody else's (H20, H45).

A listing of obstore is a function here, in which any page may be a foreign one: an empty document, as obstore sees it.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wal_e.errors import Unavailable
from wal_e.store.drivers.object_listing import Listing

PAGE = 3
NOW = datetime.now(UTC)
LETTERS = "ab/-~"
keys = st.text(LETTERS, min_size=1, max_size=4).filter(lambda key: "//" not in key and key.strip("/") == key)


class Bucket:
    """Keys in pages; request number `foreign` gets an empty document, `between` is done before each request."""

    def __init__(self, names: set[str], foreign: int = 0, between: Callable[[int], object] = bool) -> None:
        self.names, self.foreign, self.between = names, foreign, between
        self.requests = 0

    def entries(self, folder: str, begin: str) -> Iterator[Any]:
        while True:
            self.requests += 1
            self.between(self.requests)
            below = f"{folder}/" if folder else ""
            found = sorted(name for name in self.names if name.startswith(below) and name > begin)
            page = [] if self.requests == self.foreign else found[:PAGE]
            yield from ({"path": name, "size": 1, "last_modified": NOW} for name in page)
            if self.requests == self.foreign or len(found) <= PAGE:
                return
            begin = page[-1]

    def confirm_empty(self, folder: str, begin: str) -> None:
        if next(self.entries(folder, begin), None) is not None:
            raise Unavailable("not empty")

    def listing(self, prefix: str = "", after: str = "") -> Iterator[str]:
        listing = Listing(prefix, after, self.entries, self.confirm_empty, unordered=False, vague=True)
        return (info.key for info in listing)

    def patient(self, prefix: str, after: str) -> list[str]:
        """As `Retrying` goes on."""
        found: list[str] = []
        while True:
            try:
                found.extend(self.listing(prefix, found[-1] if found else after))
            except Unavailable:
                continue
            return found


def expected(names: set[str], prefix: str, after: str) -> list[str]:
    return sorted(name for name in names if name.startswith(prefix) and name > after)


@given(st.sets(keys, max_size=20), st.text(LETTERS, max_size=3), st.one_of(st.just(""), keys))
def test_h45_a_listing_is_whole_wherever_a_foreign_page_comes(names: set[str], prefix: str, after: str) -> None:
    prefix = prefix.replace("//", "/").lstrip("/")
    clean = Bucket(names)
    assert list(clean.listing(prefix, after)) == expected(names, prefix, after)
    for number in range(1, clean.requests + 1):
        assert Bucket(names, number).patient(prefix, after) == expected(names, prefix, after), number


@pytest.mark.parametrize("count", range(8))
def test_a_listing_costs_one_request_more(count: int) -> None:
    bucket = Bucket({f"a/{number}" for number in range(count)})
    assert len(list(bucket.listing("a/"))) == count
    assert bucket.requests == max(1, -(-count // PAGE)) + 1


@pytest.mark.parametrize("request_number", range(1, 6))
def test_what_comes_while_it_is_listed_is_no_reason_to_doubt(request_number: int) -> None:
    names = {f"a/{number}" for number in range(7)}
    bucket = Bucket(names, between=lambda number: names.add("a/later") if number == request_number else None)
    found = list(bucket.listing("a/"))
    assert found == sorted(found)
    assert found[:7] == sorted(names - {"a/later"})
    assert ("a/later" in found) == (request_number <= 4)  # three pages and the question for the end


@pytest.mark.parametrize("request_number", range(1, 7))
def test_what_goes_while_it_is_listed_is_no_reason_to_doubt_for_long(request_number: int) -> None:
    names = {f"a/{number}" for number in range(7)}
    bucket = Bucket(names, between=lambda number: names.discard("a/6") if number == request_number else None)
    found = bucket.patient("a/", "")
    assert found in (sorted(names), [*sorted(names), "a/6"])
    assert bucket.requests <= 6


def test_a_directory_that_never_stops_growing_ends_with_its_reader() -> None:
    names = {"a/0000"}
    bucket = Bucket(names, between=lambda number: names.add(f"a/{number:04}"))
    assert len(list(islice(bucket.listing("a/"), 50))) == 50
