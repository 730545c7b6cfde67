"""
Google Cloud Storage: complete object names in one bucket, over its JSON API.

Not over obstore as S3 and Azure are: the original gave its objects names that begin with a slash, and obstore cannot
name those (docs/adr/0009-object-stores.md). Google's own library for logins gives the tokens. The MD5 of an object goes
along with it, the service refuses other bytes, and what it says about a whole object is checked when it is read.
"""

import json
import secrets
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import chain
from typing import Final
from urllib.parse import quote

from wal_e.config import Settings
from wal_e.errors import Misconfigured, NotFound, ShortRead
from wal_e.store.api import PATIENCE, Body, Capabilities, ObjectInfo
from wal_e.store.checksum import Checksum
from wal_e.store.drivers.gs.options import KMS_KEY, OPTIONS, STORAGE_CLASS
from wal_e.store.drivers.gs.wire import Call, Response, Upload, Wire, open_wire, service_of
from wal_e.store.drivers.object_errors import container_missing, not_the_service
from wal_e.store.drivers.pace import Sending, upload_seconds
from wal_e.store.url import ArchiveUrl
from wal_e.units import GIB, MIB

__all__ = ["OPTIONS", "GoogleStore", "open_driver"]

CHUNK: Final = MIB
MAX_OBJECT: Final = 5 * GIB
LIST_PAGE: Final = 1_000
DELETERS: Final = 8  # Google's API deletes one object per request
LISTING: Final = "storage#objects"  # what a listing calls itself
FIELDS: Final = "name,size,updated,md5Hash"


class GoogleStore:
    """One bucket."""

    def __init__(self, wire: Wire, bucket: str, attributes: dict[str, str], *, list_page: int = LIST_PAGE) -> None:
        self.capabilities = Capabilities(atomic_create=True, max_object=MAX_OBJECT, list_page=list_page)
        self._wire = wire
        self._bucket = bucket
        self._attributes = attributes
        self._objects = f"/storage/v1/b/{quote(bucket, safe='')}/o"
        self._bucket_seen = False

    def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
        """See `Store.put`; the MD5 of the body goes along, and the service refuses other bytes."""
        what = f'could not store "{key}"'
        if body.size > MAX_OBJECT:
            raise Misconfigured(f"{what}: {body.size} bytes are too many for one request")
        digest = Checksum(md5=True).of(body.look()).etag
        about = {
            "name": key,
            "md5Hash": b64encode(bytes.fromhex(digest)).decode(),
            "contentType": "application/octet-stream",
        }
        query = {"uploadType": "multipart", "fields": FIELDS} | ({"ifGenerationMatch": "0"} if create_only else {})
        boundary = secrets.token_hex(20)  # no text that could be in the bytes
        headers = {"Content-Type": f"multipart/related; boundary={boundary}"}
        upload = _upload(what, boundary, about | self._attributes, body, upload_seconds(body.size, self._wire.patience))
        try:
            with self._wire.request(what, Call("POST", f"/upload{self._objects}", query, headers, upload)) as answer:
                stored = answer.json()
        except NotFound as error:
            raise container_missing(service_of(self._bucket)) from error
        self._bucket_seen = True
        info = _info(what, stored)
        if (info.size, info.etag) != (body.size, digest):
            raise ShortRead(f"{what}: Google stored {info.size} bytes with MD5 {info.etag}, not {digest}")
        return info

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """See `Store.get`; the MD5 of a whole object is compared at its end."""
        what = f'could not read "{key}"'
        length = self._length(key, start, length)
        if length == 0:
            return
        headers = {"Accept-Encoding": "identity"}
        if length is not None:
            headers["Range"] = f"bytes={start}-{start + length - 1}"
        checksum = Checksum(md5=True)
        got = 0
        with self._answer(what, key, {"alt": "media"}, headers) as answer:
            answer.confirm(start, length)
            for chunk in answer.chunks(CHUNK):
                got += len(chunk)
                if length is None:
                    checksum.add(chunk)
                yield chunk
            wanted, expected = (answer.size, answer.md5) if length is None else (length, None)
        if wanted is not None and got != wanted:
            raise ShortRead(f"{what}: {got} of {wanted} bytes arrived")
        if expected is not None and checksum.etag != expected.hex():
            raise ShortRead(f"{what}: its MD5 is {checksum.etag} and not {expected.hex()}")

    def head(self, key: str) -> ObjectInfo:
        """See `Store.head`."""
        what = f'could not look at "{key}"'
        with self._answer(what, key, {"fields": FIELDS}, {}) as answer:
            return _info(what, answer.json())

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """See `Store.list`."""
        what = f'could not list "{prefix}" in the bucket "{self._bucket}"'
        query = {"prefix": prefix, "startOffset": after, "maxResults": str(self.capabilities.list_page)}
        query["fields"] = f"kind,items({FIELDS}),nextPageToken"
        while True:
            try:
                with self._wire.request(what, Call("GET", self._objects, query)) as answer:
                    page = answer.json()
            except NotFound as error:
                raise container_missing(service_of(self._bucket)) from error
            if page.get("kind") != LISTING:  # an empty one says nothing else (H45)
                raise not_the_service(what, service_of(self._bucket))
            self._bucket_seen = True
            # The offset itself is among what the service gives.
            found = (_info(what, item) for item in page.get("items", ()))
            yield from (info for info in found if info.key > after)
            if not page.get("nextPageToken"):
                return
            query["pageToken"] = page["nextPageToken"]

    def delete(self, keys: Iterable[str]) -> None:
        """See `Store.delete`; several at a time, each key's answer looked at."""
        with ThreadPoolExecutor(DELETERS) as pool:
            absent = any(list(pool.map(self._delete_one, keys)))
        if absent:
            self._confirm_bucket()

    def close(self) -> None:
        """See `Store.close`."""
        self._wire.close()

    def _length(self, key: str, start: int, length: int | None) -> int | None:
        """Return how many bytes to ask for, None for the whole object; `ShortRead` where it ends before `start`."""
        if length or (start == 0 and length is None):
            return length
        size = self.head(key).size
        if start > size:
            raise ShortRead(f'"{key}" has {size} bytes, and not those from {start}')
        return size - start if length is None else 0

    def _delete_one(self, key: str) -> bool:
        """Delete an object, and return whether it was not there."""
        try:
            with self._wire.request(f'could not delete "{key}"', Call("DELETE", self._path(key), {})) as answer:
                answer.confirm_empty()
                return False
        except NotFound:
            return True

    def _answer(self, what: str, key: str, query: dict[str, str], headers: dict[str, str]) -> Response:
        try:
            answer = self._wire.request(what, Call("GET", self._path(key), query, headers))
        except NotFound:
            self._confirm_bucket()
            raise NotFound(f'"{key}" is not in the bucket "{self._bucket}"') from None
        self._bucket_seen = True
        return answer

    def _path(self, key: str) -> str:
        return f"{self._objects}/{quote(key, safe='')}"

    def _confirm_bucket(self) -> None:
        """Raise where a 404 meant the bucket: an archive that cannot be seen is not an empty one."""
        if not self._bucket_seen:
            next(self.list(), None)


def _upload(what: str, boundary: str, about: dict[str, str], body: Body, seconds: float) -> Upload:
    """Return what is said about an object and its bytes, in one message (RFC 2387), to be sent in so many seconds."""
    head = (
        f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{json.dumps(about)}\r\n"
        f"--{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n"
    )
    tail = f"\r\n--{boundary}--\r\n"

    def pieces() -> Iterator[bytes]:
        with body.open() as source:
            sent = Sending(source, what, seconds)
            yield from chain([head.encode()], iter(lambda: sent.read(CHUNK), b""), [tail.encode()])

    return Upload(len(head) + body.size + len(tail), pieces)


def _info(what: str, stored: dict[str, str]) -> ObjectInfo:
    """Return what Google says about an object; a composed one has no MD5."""
    try:
        etag = b64decode(stored["md5Hash"], validate=True).hex() if "md5Hash" in stored else None
        return ObjectInfo(stored["name"], int(stored["size"]), datetime.fromisoformat(stored["updated"]), etag)
    except (KeyError, ValueError, Base64Error) as error:
        raise not_the_service(what, service_of(""), f"{error!r}.") from error


def open_driver(url: ArchiveUrl, settings: Settings, patience: float = PATIENCE) -> GoogleStore:
    """Return the bucket of an address; raises `Misconfigured` where settings cannot be used."""
    attributes = {"storageClass": settings[STORAGE_CLASS] or "", "kmsKeyName": settings[KMS_KEY]}
    return GoogleStore(
        open_wire(url.container, settings, patience),
        url.container,
        {name: text for name, text in attributes.items() if text},
    )
