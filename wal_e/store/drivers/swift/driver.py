"""
OpenStack Swift: complete object names in one container, over python-swiftclient's request functions.

swiftclient.Connection is left aside: it is not thread-safe, and repeats by rules of its own. Here a pool of HTTP
connections shares one login. A refused token is renewed once per request, a body being opened again; all other
repeating is `store.retry`'s.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from wal_e.config import Settings
from wal_e.errors import Exists, Misconfigured, NotFound, ShortRead
from wal_e.store.api import PATIENCE, Body, Capabilities, ObjectInfo
from wal_e.store.checksum import XXH3, Checksum
from wal_e.store.drivers.pace import Sending, upload_seconds
from wal_e.store.drivers.swift.delete import Deleter
from wal_e.store.drivers.swift.errors import container_missing, not_swift
from wal_e.store.drivers.swift.login import open_login
from wal_e.store.drivers.swift.options import OPTIONS, SwiftOptions
from wal_e.store.drivers.swift.wire import Stream, Wire
from wal_e.store.url import ArchiveUrl
from wal_e.units import GIB

__all__ = ["OPTIONS", "SwiftStore", "open_driver"]

CHUNK = 1 << 20
MAX_OBJECT = 5 * GIB
LIST_PAGE = 10_000
FIRST_PAGE = 100  # most looks end here: whether there is anything, what the next segment is, where a manifest lies
_XXH3 = "x-object-meta-xxh3"
COUNT = "x-container-object-count"  # a header of every listing; what has none is not Swift's, and no empty one (H45)
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(?:\d+|\*)")

Page = list[ObjectInfo]


class SwiftStore:
    """One container. Creating is not atomic in Swift: several of concurrent create-only puts may be told 201."""

    def __init__(
        self, options: SwiftOptions, container: str, *, list_page: int | None = None, patience: float = PATIENCE
    ) -> None:
        self.capabilities = Capabilities(atomic_create=False, max_object=MAX_OBJECT, list_page=list_page or LIST_PAGE)
        self._list_page = list_page
        self._container = container
        self._container_seen = False
        self._patience = patience
        self._wire = Wire(open_login(options, patience), patience)
        self._deleter = Deleter(self._wire, container)

    def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
        """
        See `Store.put`; the MD5 of the body goes along, and Swift refuses other bytes.

        An XXH3 does so too, as metadata, for those who read: it costs them a thirtieth.
        """
        what = f'could not store "{key}"'
        if body.size > MAX_OBJECT:
            raise Misconfigured(f"{what}: {body.size} bytes are more than the 5 GiB that Swift takes in one object")
        md5, xxh3 = _checksums(body)
        answer: dict[str, Any] = {}
        headers = {_XXH3: xxh3.etag.removeprefix(XXH3)} | ({"If-None-Match": "*"} if create_only else {})

        def send(client: Any, where: dict[str, Any]) -> str:
            with body.open() as source:
                contents = Sending(source, what, upload_seconds(body.size, self._patience)) if body.size else b""
                sent: str = client.put_object(
                    **where,
                    container=self._container,
                    name=key,
                    contents=contents,
                    content_length=body.size,
                    etag=md5.etag,
                    content_type="application/octet-stream",
                    headers=headers,
                    response_dict=answer,
                )
                return sent

        try:
            etag = self._wire.call(what, send, sends_body=True)
        except NotFound as error:
            raise container_missing(self._container) from error
        except Exists:
            raise Exists(f'"{key}" exists already') from None
        if not etag:
            raise not_swift(what)
        if etag != md5.etag:
            raise ShortRead(f"{what}: Swift stored other bytes than were sent, with MD5 {etag} and not {md5.etag}")
        self._container_seen = True
        return ObjectInfo(key, body.size, _modified(what, answer["headers"]), xxh3.etag)

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """See `Store.get`; the checksum of a whole object is compared at its end: our XXH3, else Swift's MD5."""
        what = f'could not read "{key}"'
        if length == 0 or (start and length is None):
            size = self.head(key).size
            if start > size:
                raise ShortRead(f'"{key}" has {size} bytes, and not those from {start}')
            length = length if length is not None else size - start
            if length == 0:
                return
        with self._open(what, key, start, length) as stream:
            whole = start == 0 and length is None
            expected = _expected(what, stream.headers, start, length)
            etag = _etag(what, stream.headers)
            checksum = Checksum.like(etag) if whole else None
            got = 0
            for chunk in stream.chunks(CHUNK):
                got += len(chunk)
                if checksum is not None:
                    checksum.add(chunk)
                yield chunk
            if expected is not None and got != expected:
                raise ShortRead(f"{what}: {got} of {expected} bytes arrived")
            if checksum is not None and checksum.etag != etag:
                raise ShortRead(f"{what}: its checksum is {checksum.etag} and not {etag}")

    def head(self, key: str) -> ObjectInfo:
        """See `Store.head`."""
        what = f'could not look at "{key}"'
        try:
            headers = self._wire.call(
                what, lambda client, where: client.head_object(**where, container=self._container, name=key)
            )
        except NotFound:
            self._confirm_container(what)
            raise NotFound(f'"{key}" is not in the container "{self._container}"') from None
        self._container_seen = True
        return ObjectInfo(key, _size(what, headers), _modified(what, headers), _etag(what, headers))

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """See `Store.list`; a page that is not full need not be the last, so only an empty one ends the listing."""
        what = f'could not list "{prefix}" in the container "{self._container}"'
        limit: int | None = min(self._list_page or FIRST_PAGE, FIRST_PAGE)
        while True:
            try:
                page = self._page(what, prefix, after, limit)
            except Exists:  # 412: the service's own limit is smaller; without one of ours it uses that
                page = self._page(what, prefix, after, None)
            if not page:
                return
            yield from page
            after, limit = page[-1].key, self._list_page

    def delete(self, keys: Iterable[str]) -> None:
        """See `Store.delete`; in bulk where the service offers that, each key's answer checked."""
        if self._deleter.delete(keys):
            self._confirm_container("could not delete objects")

    def close(self) -> None:
        """See `Store.close`."""
        self._wire.close()

    def _open(self, what: str, key: str, start: int, length: int | None) -> Stream:
        headers = {}
        if start or length is not None:
            headers["Range"] = f"bytes={start}-{'' if length is None else start + length - 1}"
        try:
            return self._wire.stream(what, self._container, key, headers)
        except NotFound:
            self._confirm_container(what)
            raise NotFound(f'"{key}" is not in the container "{self._container}"') from None

    def _page(self, what: str, prefix: str, after: str, limit: int | None) -> Page:
        try:
            headers, page = self._wire.call(
                what,
                lambda client, where: client.get_container(
                    **where, container=self._container, prefix=prefix, marker=after, limit=limit
                ),
            )
            if COUNT not in headers:
                raise not_swift(what)
            found = [_listed(entry) for entry in page]
        except NotFound as error:
            raise container_missing(self._container) from error
        except (LookupError, TypeError, ValueError) as error:
            raise not_swift(what) from error
        self._container_seen = True
        return found

    def _confirm_container(self, what: str) -> None:
        """Raise where a 404 meant the container: an archive that cannot be seen is not an empty one."""
        if self._container_seen:
            return
        try:
            self._wire.call(what, lambda client, where: client.head_container(**where, container=self._container))
        except NotFound as error:
            raise container_missing(self._container) from error
        self._container_seen = True


def _checksums(body: Body) -> tuple[Checksum, Checksum]:
    """Return the MD5 and the XXH3 of a body, which is read once for both."""
    md5, xxh3 = Checksum(md5=True), Checksum()
    for piece in body.look():
        md5.add(piece)
        xxh3.add(piece)
    return md5, xxh3


def _expected(what: str, headers: dict[str, str], start: int, length: int | None) -> int | None:
    """Return how many bytes must come; raises `ShortRead` where the answer is about others than were asked for."""
    if length is None:
        announced = headers.get("content-length")
        return None if announced is None else int(announced)
    match = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
    if match is None or (int(match[1]), int(match[2])) != (start, start + length - 1):
        said = headers.get("content-range", "the whole object")
        raise ShortRead(f"{what}: asked for bytes {start} to {start + length - 1}, the answer has {said}")
    return length


def _listed(entry: dict[str, Any]) -> ObjectInfo:
    modified = datetime.fromisoformat(entry["last_modified"]).replace(tzinfo=UTC)
    return ObjectInfo(entry["name"], entry["bytes"], modified, entry["hash"])


def _etag(what: str, headers: dict[str, str]) -> str | None:
    """Return the checksum of the content; of an object made of segments Swift's says something else."""
    if "x-static-large-object" in headers or "x-object-manifest" in headers:
        return None
    etag = headers.get("etag", "").strip('"')
    if not etag:
        raise not_swift(what)
    ours = headers.get(_XXH3)
    return f"{XXH3}{ours}" if ours else etag


def _size(what: str, headers: dict[str, str]) -> int:
    try:
        return int(headers["content-length"])
    except (KeyError, ValueError):
        raise not_swift(what) from None


def _modified(what: str, headers: dict[str, str]) -> datetime:
    try:
        if "x-timestamp" in headers:
            return datetime.fromtimestamp(float(headers["x-timestamp"]), UTC)
        return parsedate_to_datetime(headers["last-modified"])
    except (KeyError, ValueError, OverflowError):
        raise not_swift(what) from None


def open_driver(url: ArchiveUrl, settings: Settings, patience: float = PATIENCE) -> SwiftStore:
    """Return the container of an address; raises `Misconfigured` where settings are missing."""
    return SwiftStore(SwiftOptions.of(settings), url.container, patience=patience)
