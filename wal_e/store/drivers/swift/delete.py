"""Deletes objects in Swift: many per request where the service offers that (its /info says so), else one by one."""

import json
from collections.abc import Iterable
from itertools import islice
from typing import Any
from urllib.parse import quote, urlsplit

from wal_e.errors import Misconfigured, NotFound
from wal_e.store.drivers.swift.errors import not_swift
from wal_e.store.drivers.swift.wire import Wire

BATCH = 1_000  # Swift deletes one after the other, about 10 ms each, while the request waits
HEADERS = {"Content-Type": "text/plain", "Accept": "application/json"}
NO_CONTENT = 204
TRANSACTION = "x-trans-id"  # a header of every answer of Swift's, and of Ceph's; a proxy's own 404 has none
_NO_BULK = frozenset({400, 404, 405, 412, 501})


class Deleter:
    """Deletes objects of one container."""

    def __init__(self, wire: Wire, container: str) -> None:
        self._wire = wire
        self._container = container
        self._batch: int | None = None

    def delete(self, keys: Iterable[str]) -> bool:
        """Delete the objects, and return whether some were not there; the first key that fails raises."""
        some_absent = False
        rest = iter(keys)
        while batch := list(islice(rest, self._batch_size())):
            if len(batch) == 1 or self._batch == 1:
                some_absent |= self._each(batch)
            else:
                some_absent |= self._many(batch)
        return some_absent

    def _batch_size(self) -> int:
        if self._batch is None:
            what = "could not ask what Swift offers"
            try:
                limit = self._wire.call(what, _bulk_limit)
            except (ValueError, LookupError) as error:
                raise not_swift(what) from error
            self._batch = max(1, min(BATCH, limit))
        return self._batch

    def _each(self, keys: list[str]) -> bool:
        some_absent = False
        for key in keys:
            some_absent |= self._one(key)
        return some_absent

    def _one(self, key: str) -> bool:
        what = f'could not delete "{key}"'
        answer: dict[str, Any] = {}

        def request(client: Any, where: dict[str, Any]) -> None:
            client.delete_object(**where, container=self._container, name=key, response_dict=answer)

        try:
            self._wire.call(what, request)
        except NotFound:
            if TRANSACTION not in answer["headers"]:
                raise not_swift(what) from None
            return True
        if answer["status"] != NO_CONTENT:
            raise not_swift(what)
        return False

    def _many(self, keys: list[str]) -> bool:
        body = "\n".join(quote(f"/{self._container}/{key}") for key in keys).encode()

        def request(client: Any, where: dict[str, Any]) -> dict[str, Any] | None:
            try:
                _, said = client.post_account(**where, headers=HEADERS, query_string="bulk-delete", data=body)
            except client.ClientException as error:
                if error.http_status in _NO_BULK:
                    return None
                raise
            return _checked(client, said)

        report = self._wire.call("could not delete objects", request)
        if report is None:  # of these keys alone: the next ones may meet Swift again, and not somebody's page
            return self._each(keys)
        if report["Number Deleted"] + report["Number Not Found"] != len(keys):
            raise Misconfigured("could not delete objects: Swift did not account for all of them", detail=f"{report}.")
        return bool(report["Number Not Found"])


def _bulk_limit(client: Any, where: dict[str, Any]) -> int:
    """Return how many objects one request may delete; 1 where there is no bulk delete, or /info is hidden."""
    _, http = where["http_conn"]
    info = urlsplit(where["url"])._replace(path="/info")
    try:
        offered = client.get_capabilities((info, http))
    except client.ClientException:
        return 1
    return int(offered.get("bulk_delete", {}).get("max_deletes_per_request", 1))


def _checked(client: Any, said: bytes) -> dict[str, Any] | None:
    """
    Return the report of a bulk delete, None where the answer is none.

    A key that failed raises as a request for it alone would have, so that a refused token is renewed and an outage
    is repeated.
    """
    try:
        report: dict[str, Any] = json.loads(said)
        answers = [status for _, status in report["Errors"]] or [report["Response Status"]]
    except (ValueError, KeyError, TypeError):
        return None
    for status in answers:
        number, _, reason = status.partition(" ")
        if not number.startswith("2") and number != "404":
            text = report["Response Body"] or str(report["Errors"][:3])
            raise client.ClientException(
                "bulk delete failed", http_status=int(number), http_reason=reason, http_response_content=text
            )
    return report
