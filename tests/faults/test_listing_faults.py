"""
Listings of several pages in trouble: pages that are somebody else's, and objects that come and go between the pages.

The proxy has each service answer in pages of three. Every request of a listing meets everything; what was there all
the time is listed, once and in order, or there is an error: a listing never ends early (H45).
"""

import base64
import hashlib
import hmac
import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from lab import azurite
from lab.faultproxy import FaultProxy
from lab.faults import Answer, Fault, Meanwhile, Rule
from tests.faults import service as services
from tests.faults.service import DEADLINE, Service, Skipping, opened
from wal_e.errors import StoreError, Unavailable
from wal_e.store.api import Body, Store
from wal_e.store.retry import Retrying, RetryPolicy

pytestmark = pytest.mark.slow
service = services.service

PAGE = 3
NAMES = [f"{number:02}" for number in range(8)]
HTML = b"<html><body>Welcome to the guest network. Please log in.</body></html>"
FOREIGN: dict[str, Fault] = {
    "HTML": Answer(200, {"Content-Type": "text/html"}, HTML),
    "XML": Answer(200, {"Content-Type": "application/xml"}, b'<?xml version="1.0"?><status>fine</status>'),
    "an object of JSON": Answer(200, {"Content-Type": "application/json"}, b"{}"),
    "a list of JSON": Answer(200, {"Content-Type": "application/json"}, b"[]"),
    "nothing": Answer(200),
    "204": Answer(204),
}
LISTINGS = {"all": ("", "", NAMES), "a part": ("0", "", NAMES), "the rest": ("", "02", NAMES[3:])}
TRIES = 9  # as many as the deadline has room for


def in_pages(path: str, headers: dict[str, str]) -> str:
    """Ask each service for pages of three; S3's signatures cover that, so it is asked without one."""
    if "list-type=2" in path:
        headers.pop("authorization", None)
        return f"{path}&max-keys={PAGE}"
    if "comp=list" in path:
        return f"{path}&maxresults={PAGE}"
    if "format=json" in path:
        return f"{re.sub('&limit=[0-9]+', '', path)}&limit={PAGE}"
    return re.sub("maxResults=[0-9]+", f"maxResults={PAGE}", path)


def shared_access() -> str:
    """A signature of Azure's that covers no parameters of requests, as the account's key does."""
    said = {"sp": "rl", "ss": "b", "srt": "sco", "st": "", "se": "2099-01-01T00:00:00Z", "sip": "", "spr": ""}
    said["sv"] = azurite.API_VERSION
    text = "\n".join([azurite.ACCOUNT, *said.values(), "", ""])
    digest = hmac.new(base64.b64decode(azurite.KEY), text.encode(), hashlib.sha256).digest()
    signature = base64.b64encode(digest).decode().replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    return "&".join(f"{name}={value}" for name, value in said.items() if value) + f"&sig={signature}"


@dataclass
class Paged:
    """A folder of objects, and a store that lists them in small pages through a proxy of its own."""

    proxy: FaultProxy
    store: Store
    beside: Store
    folder: str

    def fill(self) -> None:
        """Have exactly the objects of `NAMES` there."""
        there = {info.key for info in self.beside.list(f"{self.folder}/")}
        wanted = {f"{self.folder}/{name}" for name in NAMES}
        for key in wanted - there:
            self.beside.put(key, Body.of(b""))
        if there - wanted:
            self.beside.delete(there - wanted)

    def put(self, *names: str) -> None:
        for name in names:
            self.beside.put(f"{self.folder}/{name}", Body.of(b""))

    def delete(self, *names: str) -> None:
        self.beside.delete([f"{self.folder}/{name}" for name in names])

    def listed(self, store: Store, prefix: str = "", after: str = "") -> list[str]:
        begin = f"{self.folder}/{after}" if after else ""
        return [info.key.rpartition("/")[2] for info in store.list(f"{self.folder}/{prefix}", after=begin)]

    def patient(self, skipping: Skipping) -> Store:
        return Retrying(self.store, RetryPolicy(deadline=DEADLINE), clock=skipping.clock())

    def clean(self, prefix: str = "", after: str = "") -> int:
        """How many requests a listing takes."""
        self.proxy.arm()
        self.listed(self.store, prefix, after)
        return len(self.proxy.requests)


@contextmanager
def paging(service: Service, folder: str) -> Iterator[Paged]:
    with FaultProxy(service.proxy.target[1], rewrite=in_pages) as proxy:
        variables = dict(service.at(proxy.url))
        if service.scheme == "wabs":
            variables |= {"WABS_ACCESS_KEY": "", "WABS_SAS_TOKEN": shared_access()}
        store = opened(f"{service.scheme}://{service.place}", variables)
        paged = Paged(proxy, store, service.beside, folder)
        paged.fill()
        list(store.list("nothing/"))  # what only the first requests cost
        yield paged
        store.close()


@pytest.fixture(scope="module")
def pages(service: Service) -> Iterator[Paged]:
    with paging(service, "pages") as found:
        yield found


@pytest.fixture
def paged(pages: Paged) -> Paged:
    pages.proxy.arm()
    pages.fill()
    return pages


ALL = pytest.mark.parametrize("service", services.SERVICES, indirect=True)


@ALL
def test_the_pages_are_small(paged: Paged) -> None:
    assert paged.listed(paged.store) == NAMES
    assert paged.clean() >= -(-len(NAMES) // PAGE)


@pytest.mark.parametrize("listing", LISTINGS)
@pytest.mark.parametrize("fault", FOREIGN)
@ALL
def test_h20_h45_a_foreign_page_in_place_of_any_is_an_outage_and_repeated(
    paged: Paged, fault: str, listing: str
) -> None:
    prefix, after, expected = LISTINGS[listing]
    clean = paged.clean(prefix, after)
    for number in range(1, clean + 1):
        paged.proxy.arm(Rule.at(number, FOREIGN[fault]))
        try:
            found = paged.listed(paged.store, prefix, after)
        except Unavailable:
            pass
        else:  # S3's goes on by itself where its end turns out to be none
            assert found == expected
        skipping = Skipping()
        paged.proxy.arm(Rule.at(number, FOREIGN[fault]))
        assert paged.listed(paged.patient(skipping), prefix, after) == expected
        assert paged.proxy.struck == 1
        assert len(skipping.pauses) <= 1
        assert len(paged.proxy.requests) <= 2 * clean + 2


@pytest.mark.parametrize("fault", FOREIGN)
@ALL
def test_h20_h45_foreign_pages_from_any_on_end_a_listing_inside_its_deadline(paged: Paged, fault: str) -> None:
    clean = paged.clean()
    for number in range(1, clean + 1):
        skipping = Skipping()
        paged.proxy.arm(Rule(FOREIGN[fault], first=number))
        with pytest.raises(Unavailable) as caught:
            paged.listed(paged.patient(skipping))
        assert "tried" in (caught.value.detail or "")
        assert skipping.skipped < DEADLINE
        assert len(paged.proxy.requests) <= number + 2 * TRIES


CHANGES: dict[str, Callable[[Paged], object]] = {
    "the last one goes": lambda paged: paged.delete(NAMES[-1]),
    "the last page goes": lambda paged: paged.delete(*NAMES[6:]),
    "all go": lambda paged: paged.delete(*NAMES),
    "the first one goes": lambda paged: paged.delete(NAMES[0]),
    "one comes at the end": lambda paged: paged.put("99"),
    "a page comes at the end": lambda paged: paged.put("96", "97", "98", "99"),
    "one comes between": lambda paged: paged.put("04-and-a-half"),
    "the last one goes and another comes": lambda paged: (paged.delete(NAMES[-1]), paged.put("99")),
}


@pytest.mark.parametrize("change", CHANGES)
@ALL
def test_h45_what_comes_and_goes_meanwhile_ends_no_listing_early_and_does_not_make_it_fail(
    paged: Paged, change: str
) -> None:
    clean = paged.clean()
    for number in range(1, clean + 1):
        paged.fill()
        skipping = Skipping()
        paged.proxy.arm(Rule.at(number, Meanwhile(lambda: CHANGES[change](paged))))
        found = paged.listed(paged.patient(skipping))
        assert paged.proxy.struck == 1
        assert found == sorted(set(found))
        left = set(paged.listed(paged.beside))
        assert set(NAMES) & left <= set(found) <= set(NAMES) | left
        assert len(skipping.pauses) <= 1
        assert len(paged.proxy.requests) <= 2 * clean + 2


@ALL
def test_h45_a_listing_ends_once_nobody_adds_to_it_faster_than_it_is_read(paged: Paged) -> None:
    new = (f"new-{number:02}" for number in itertools.count())
    paged.proxy.arm(Rule(Meanwhile(lambda: paged.put(next(new))), last=12))
    found = paged.listed(paged.patient(Skipping()))
    assert found[: len(NAMES)] == NAMES
    assert found == sorted(set(found))
    assert len(paged.proxy.requests) <= 12 + 4


@ALL
def test_h45_a_listing_that_is_refused_in_the_middle_is_an_error(paged: Paged) -> None:
    for number in range(1, paged.clean() + 1):
        paged.proxy.arm(Rule(Answer(403), first=number))
        with pytest.raises(StoreError):
            paged.listed(paged.patient(Skipping()))
        assert len(paged.proxy.requests) <= number + 1
