"""
Complete object names in one bucket or container of S3 or Azure, over the library obstore.

What the two drivers share is here; each of them adds its options and says what is different. An object is sent in
one request, so that it is there whole or not at all and the service's own condition makes create-only what it says.
obstore's own repeats are switched off: repeating is `store.retry`'s.

The checksum of an object goes along as metadata and is checked when the whole object is read, because an ETag is an MD5
in some services only, and there not always (S3 with a KMS key, composed objects).

obstore does not show answers as they came, and takes any document for a listing of S3, an empty one. So the end of a
listing is asked for again there: see `object_listing`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any, Final

from wal_e.errors import Denied, Exists, Misconfigured, NotFound, ShortRead, StoreError
from wal_e.store.api import Body, Capabilities, ObjectInfo, check_key
from wal_e.store.checksum import XXH3, Checksum
from wal_e.store.drivers.object_clients import Clients, Make, import_obstore
from wal_e.store.drivers.object_errors import (
    Answer,
    Service,
    listing_errors,
    not_the_service,
    store_error,
)
from wal_e.store.drivers.object_listing import Listing
from wal_e.units import GIB, MIB

CHUNK = MIB
MAX_OBJECT = 5 * GIB - 1  # S3's limit for one request; Azure allows as much
NOWHERE: Final = "wal-e-looks-who-answers"  # a name that nobody gives
CHECKSUM: Final = "xxh3"  # the name of our metadata

_NO_TIME: Final = datetime.fromtimestamp(0, UTC)  # what obstore says where an answer has no Last-Modified
_BUCKET = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)


def _no_login(_: BaseException) -> None:
    """Say that no login of the driver's own can have failed."""


@dataclass(frozen=True, slots=True)
class Kind:
    """
    What is different from service to service.

    `batch` is how many keys one deletion may have. `unordered` says that listings come in another order than that
    of keys, as SeaweedFS's do (a folder stands where its name without the slash would). `attributes` go along with
    every object. `vague_listings` says that obstore takes any document for a listing of this service, an empty one.
    `signs_bytes` says that the service refuses a body that is not what was signed.
    `failed_login` tells what a login that failed within a request of obstore's raised; None for any other exception.
    """

    service: Service
    capabilities: Capabilities
    batch: int
    unordered: bool = False
    vague_listings: bool = False
    signs_bytes: bool = False
    attributes: dict[str, str] = field(default_factory=dict)
    failed_login: Callable[[BaseException], StoreError | None] = _no_login


class ObjectStore:
    """One bucket or container; `make` opens it with given timeouts."""

    def __init__(self, kind: Kind, make: Make, client_options: dict[str, Any], patience: float) -> None:
        self.capabilities = kind.capabilities
        self._kind = kind
        self._container_seen = False
        self._obstore = import_obstore(kind.service.label)
        self._clients = Clients(make, client_options, patience)
        self._reader = self._clients.reader  # bad options are found here

    def put(self, key: str, body: Body, *, create_only: bool = False) -> ObjectInfo:
        """See `Store.put`; the whole body is in memory meanwhile."""
        what = f'could not store "{key}"'
        if body.size > self.capabilities.max_object:
            raise Misconfigured(f"{what}: {body.size} bytes are too many for one request")
        data = body.whole(lent=self._kind.signs_bytes)
        etag = Checksum().of([data]).etag
        client = self._clients.for_upload(body.size)
        attributes = {**self._kind.attributes, CHECKSUM: etag.removeprefix(XXH3)}
        mode = "create" if create_only else "overwrite"
        try:
            with self._errors(what):
                self._obstore.put(client, check_key(key), data, attributes=attributes, mode=mode, use_multipart=False)
        except NotFound as error:  # as for a listing
            raise not_the_service(what, self._kind.service, error.detail) from error
        except Denied:
            self._confirm_container(key)  # some services refuse what they would have to make a bucket for
            raise
        self._container_seen = True
        return ObjectInfo(key, body.size, datetime.now(UTC), etag)

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """See `Store.get`; the checksum of a whole object is compared at its end, where it was stored with one."""
        what = f'could not read "{key}"'
        found = self._open(what, key, start, length)
        if found is None:
            return
        begin, end = found.range
        whole = start == 0 and length is None
        expected = _etag(found) if whole else None
        checksum = Checksum()
        got = 0
        with self._errors(what):
            for piece in found.stream(CHUNK):
                chunk = bytes(piece)
                got += len(chunk)
                if expected is not None:
                    checksum.add(chunk)
                yield chunk
        if got != end - begin:
            raise ShortRead(f"{what}: {got} of {end - begin} bytes arrived")
        if expected is not None and checksum.etag != expected:
            raise ShortRead(f"{what}: its checksum is {checksum.etag} and not {expected}")

    def head(self, key: str) -> ObjectInfo:
        """See `Store.head`; the etag is the checksum that was stored along, None for objects of other programs."""
        found = self._fetch(f'could not look at "{key}"', key, {"head": True})
        return ObjectInfo(key, found.meta["size"], found.meta["last_modified"], _etag(found))

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """
        See `Store.list`.

        obstore lists what is below a whole path segment, so the service is asked from the place in the order of keys
        where the prefix begins, and what is before it and behind it is left out here: where the service does not
        offer to begin somewhere, too. Where it lists in an order of its own, all of the listing is read first.
        """
        found = self._listed(prefix, "" if self._kind.unordered else after)
        if self._kind.unordered:
            each = {info.key: info for info in found if info.key > after}
            yield from (each[key] for key in sorted(each))
            return
        last = ""
        for info in found:
            if info.key <= last:
                raise Misconfigured(
                    f'could not list "{prefix}": {self._kind.service.label} does not list in the order of keys',
                    detail=f'"{info.key}" came after "{last}".',
                    hint="Set WALE_S3_UNORDERED=true for this service.",
                )
            last = info.key
            yield info

    def delete(self, keys: Iterable[str]) -> None:
        """See `Store.delete`; each key's answer is looked at."""
        rest = iter(keys)
        while batch := [check_key(key) for key in islice(rest, self._kind.batch)]:
            try:
                self._delete(batch)
            except NotFound:  # hides the answers about the keys after it
                for key in batch:
                    self._delete_one(key)

    def close(self) -> None:
        """See `Store.close`."""
        self._clients.close()

    def _listed(self, prefix: str, after: str) -> Iterator[ObjectInfo]:
        """Yield the objects in the order that the service gives, some twice where that is not the order of keys."""
        what = f'could not list "{prefix}"'
        listing = Listing(
            prefix,
            after,
            partial(self._entries, what),
            partial(self._confirm_empty, what),
            unordered=self._kind.unordered,
            vague=self._kind.vague_listings,
        )
        yield from listing

    def _entries(self, what: str, folder: str, begin: str) -> Iterator[Any]:
        with listing_errors(what, self._kind.service), self._errors(what):
            for page in self._obstore.list(self._reader, folder or None, offset=begin or None):
                self._container_seen = True
                yield from page
        self._container_seen = True

    def _confirm_empty(self, what: str, folder: str, begin: str) -> None:
        """
        Raise where an empty listing was somebody else's page.

        Who always answers with one knows an object that nobody has, too; who did once answers otherwise now.
        """
        try:
            with self._errors(what):
                self._obstore.head(self._reader, f"{folder}/{NOWHERE}" if folder else NOWHERE)
        except (NotFound, Denied):
            pass  # S3 says either of what is absent, as the policy is
        else:
            raise not_the_service(what, self._kind.service)
        if any(self._entries(what, folder, begin)):
            raise not_the_service(what, self._kind.service)

    def _delete(self, keys: Sequence[str]) -> None:
        what = f'could not delete {len(keys)} objects, "{keys[0]}" first'
        try:
            with self._errors(what):
                self._obstore.delete(self._reader, keys)
        except Exists as error:  # a conflict, and not with a name that is taken
            hint = "Look for what keeps objects: a lease, a legal hold, or a policy of immutability or retention."
            text = f"{what}: {self._kind.service.label} keeps it"
            raise Denied(text, detail=error.detail, hint=hint) from error

    def _delete_one(self, key: str) -> None:
        try:
            self._delete([key])
        except NotFound as error:
            if not _is_explained(error):
                raise not_the_service(f'could not delete "{key}"', self._kind.service) from error

    def _open(self, what: str, key: str, start: int, length: int | None) -> Any:
        """Return obstore's answer about exactly these bytes, None where there are none of them."""
        if length == 0:
            self._check_start(key, start)
            return None
        try:
            found = self._fetch(what, key, _range(start, length))
        except ShortRead:
            if start and length is None and self._check_start(key, start) == start:
                return None
            raise
        end = found.meta["size"] if length is None else start + length
        if found.range != (start, end):
            raise ShortRead(f"{what}: asked for bytes {start} to {end}, the answer has {found.range}")
        return found

    def _fetch(self, what: str, key: str, options: dict[str, Any]) -> Any:
        try:
            with self._errors(what):
                found = self._obstore.get(self._reader, check_key(key), options=options)
        except NotFound as error:
            if not _is_explained(error):
                self._confirm_absent(what, key, has_body=not options.get("head"))
            raise NotFound(f'"{key}" is not in the {self._kind.service.noun}') from None
        except Misconfigured as error:
            if error.__cause__ is not None and Answer.of(error.__cause__).is_bare_refusal:
                next(self._listed("", ""), None)  # has a body that says why, as the answer to a HEAD has not
            raise
        if found.meta["e_tag"] is None or found.meta["last_modified"] == _NO_TIME:
            raise not_the_service(what, self._kind.service)  # every object has both; obstore asks it of Azure's only
        self._container_seen = True
        return found

    def _check_start(self, key: str, start: int) -> int:
        """Return the object's size; raises `ShortRead` where it ends before `start`."""
        size = self.head(key).size
        if start > size:
            raise ShortRead(f'"{key}" has {size} bytes, and not those from {start}')
        return size

    def _confirm_absent(self, what: str, key: str, *, has_body: bool) -> None:
        """
        Raise where a 404 without an explanation meant something else than the object (H14).

        An answer to HEAD never explains itself; one with a body that does not is somebody else's, or of a service that
        says too little: then a listing that does not show the object is the second answer.
        """
        if not has_body:
            self._confirm_container(key)
        elif any(info.key == key for info in self._listed(key, "")):
            raise not_the_service(what, self._kind.service)

    def _confirm_container(self, key: str) -> None:
        """
        Raise where a 404 without an explanation meant the container; a listing says so.

        It is one of the key's folder: a policy may allow none of the whole container.
        """
        if not self._container_seen:
            folder, slash, _ = key.rpartition("/")
            next(self._listed(f"{folder}{slash}", ""), None)

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except (self._obstore.exceptions.BaseError, FileNotFoundError) as error:
            raise self._kind.failed_login(error) or store_error(error, what, self._kind.service) from error


def open_object_store(
    name: str, kind: Kind, make: Make, client_options: dict[str, Any], patience: float
) -> ObjectStore:
    """
    Return the store of the bucket or container `name`; raises `Misconfigured` where obstore refuses the options.

    A name that no service would have is refused here, because obstore ends in a panic for some of them.
    """
    label = kind.service.label
    if _BUCKET.fullmatch(name) is None:
        raise Misconfigured(
            f'"{name}" cannot be the name of a bucket or container of {label}',
            hint="Letters, digits, dots, underscores and hyphens may be in it: check the archive's address.",
        )
    obstore = import_obstore(label)
    try:
        return ObjectStore(kind, make, client_options, patience)
    except (obstore.exceptions.BaseError, ValueError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise Misconfigured(
            f"the settings of {label} cannot be used",
            detail=f"obstore says: {reason}.",
            hint="See the section of this store in docs/guide.md.",
        ) from error


def _etag(found: Any) -> str | None:
    stored = found.attributes.get(CHECKSUM)
    return None if stored is None else f"{XXH3}{stored}"


def _is_explained(error: NotFound) -> bool:
    """Whether the service itself says that it is the object that is not there."""
    return error.__cause__ is not None and Answer.of(error.__cause__).is_about_object


def _range(start: int, length: int | None) -> dict[str, Any]:
    if length is not None:
        return {"range": (start, start + length)}
    return {"range": {"offset": start}} if start else {}
