"""
An emulator of Google Cloud Storage's JSON API, as far as WAL-E speaks it: `python -m lab.gcs PORT DIRECTORY`.

There is no emulator by Google that can be installed from a package index, and the others ignore paging or
`ifGenerationMatch`. This one keeps names as flat texts, so that a name may begin with a slash, answers in pages, checks
MD5 sums, and creates atomically. It keeps bytes in files, and what it knows about them in memory.

Who sends no token may do everything. `/token/PERMISSIONS` gives tokens to anybody who asks as a service account does;
with one, only these permissions count, with commas between them.
"""

import base64
import hashlib
import json
import re
import sys
import threading
from bisect import bisect_left, insort
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from lab.bucket import BucketInfo, BucketServer
from lab.place import PROJECT
from lab.swift import request

LIST_PAGE = 1000
_OBJECT = re.compile(r"(?:/upload)?/storage/v1/b/([^/]+)/o(?:/(.+))?")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass
class Stored:
    """One object."""

    path: Path
    size: int
    md5: str  # base64, as Google writes it
    updated: str
    storage_class: str

    def about(self, name: str) -> dict[str, str]:
        """Return the resource that describes it."""
        facts = {"kind": "storage#object", "name": name, "size": str(self.size), "md5Hash": self.md5}
        return facts | {"updated": self.updated, "storageClass": self.storage_class}


@dataclass
class Bucket:
    """The objects of one bucket, their names in order."""

    objects: dict[str, Stored] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)


class Shop:
    """All buckets; every method holds the lock, so a create has one winner."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lock = threading.Lock()
        self.buckets: dict[str, Bucket] = {}
        self.numbers = count(1)

    def store(self, bucket: str, about: dict[str, str], data: bytes, *, create_only: bool) -> tuple[int, object]:
        """Keep an object; returns a status and a document, or a message and a reason."""
        md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        if about.get("md5Hash", md5) != md5:
            return 400, (f"Provided MD5 hash {about['md5Hash']} doesn't match calculated MD5 hash {md5}.", "invalid")
        path = self.directory / str(next(self.numbers))
        path.write_bytes(data)
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        stored = Stored(path, len(data), md5, now, about.get("storageClass", "STANDARD"))
        name = about["name"]
        with self.lock:
            place = self.buckets[bucket]
            if create_only and name in place.objects:
                path.unlink()
                return 412, ("At least one of the pre-conditions you specified did not hold.", "conditionNotMet")
            if name not in place.objects:
                insort(place.names, name)
            place.objects[name] = stored
        return 200, stored.about(name)

    def page(self, bucket: str, query: dict[str, str]) -> dict[str, object]:
        """Return one page of a listing."""
        prefix = query.get("prefix", "")
        begin = max(prefix, query.get("startOffset", ""), query.get("pageToken", ""))
        most = min(LIST_PAGE, int(query.get("maxResults", LIST_PAGE)))
        with self.lock:
            place = self.buckets[bucket]
            first = bisect_left(place.names, begin)
            names = [name for name in place.names[first : first + most + 1] if name.startswith(prefix)]
            items = [place.objects[name].about(name) for name in names[:most]]
        answer: dict[str, object] = {"kind": "storage#objects"}
        if items:  # Google leaves an empty list out
            answer["items"] = items
        return answer | ({"nextPageToken": names[most]} if len(names) > most else {})

    def remove(self, bucket: str, name: str) -> bool:
        """Delete an object, and return whether it was there."""
        with self.lock:
            place = self.buckets[bucket]
            stored = place.objects.pop(name, None)
            if stored is not None:
                place.names.remove(name)
        return stored is not None


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    shop: Shop

    def do_GET(self) -> None:
        """Read an object, what is known about it, or a listing."""
        found = self._place()
        if found is None:
            return
        bucket, name, query = found
        if not self._may("storage.objects.get" if name else "storage.objects.list"):
            return
        if not name:
            self._document(200, self.shop.page(bucket, query))
            return
        stored = self.shop.buckets[bucket].objects.get(name)
        if stored is None and not self._may("storage.objects.list"):  # who may not list does not hear what is absent
            return
        if stored is None:
            self._error(404, f"No such object: {bucket}/{name}", "notFound", plain=query.get("alt") == "media")
        elif query.get("alt") == "media":
            self._bytes(stored)
        else:
            self._document(200, stored.about(name))

    def do_POST(self) -> None:
        """Keep an object, make a bucket, or give a token."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        parts = urlsplit(self.path)
        if parts.path.startswith("/token/"):
            self._document(200, {"access_token": parts.path.removeprefix("/token/"), "expires_in": 3600})
            return
        if parts.path == "/storage/v1/b":
            self._make_bucket(parse_qs(parts.query).get("project", []), json.loads(body)["name"])
            return
        found = self._place()
        if found is None or not self._may("storage.objects.create"):
            return
        about, data = _parts(body, self.headers["Content-Type"])
        create_only = found[2].get("ifGenerationMatch") == "0"
        status, said = self.shop.store(found[0], about, data, create_only=create_only)
        if isinstance(said, tuple):
            self._error(status, *said)
        else:
            self._document(status, said)

    def do_DELETE(self) -> None:
        """Delete an object."""
        found = self._place()
        if found is None or not self._may("storage.objects.delete"):
            return
        bucket, name, _ = found
        if self.shop.remove(bucket, name):
            self.send_response(204)
            self.end_headers()
        else:
            self._error(404, f"No such object: {bucket}/{name}", "notFound")

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _make_bucket(self, projects: list[str], name: str) -> None:
        if not projects:
            self._error(400, "Required parameter: project", "required")
        elif self._may("storage.buckets.create"):
            with self.shop.lock:
                taken = name in self.shop.buckets
                self.shop.buckets.setdefault(name, Bucket())
            if taken:
                said = "Your previous request to create the named bucket succeeded and you already own it."
                self._error(409, said, "conflict")
            else:
                self._document(200, {"kind": "storage#bucket", "name": name})

    def _may(self, permission: str) -> bool:
        """Return whether the token allows it; answers where it does not."""
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        allowed = not kind or permission in unquote(token).split(",")
        if not allowed:
            what = f"Permission '{permission}' denied on resource (or it may not exist)."
            self._error(403, f"lab does not have {permission} access to the resource. {what}", "forbidden")
        return allowed

    def _place(self) -> tuple[str, str, dict[str, str]] | None:
        """Return bucket, object and query; answers and returns None where there is no such bucket."""
        parts = urlsplit(self.path)
        match = _OBJECT.fullmatch(parts.path)
        bucket = unquote(match[1]) if match else ""
        if match is None or bucket not in self.shop.buckets:
            self._error(404, "The specified bucket does not exist.", "notFound")
            return None
        query = {name: texts[0] for name, texts in parse_qs(parts.query).items()}
        return bucket, unquote(match[2] or ""), query

    def _bytes(self, stored: Stored) -> None:
        match = _RANGE.fullmatch(self.headers.get("Range", ""))
        start = int(match[1]) if match else 0
        end = min(stored.size, int(match[2]) + 1) if match and match[2] else stored.size
        if match and start >= stored.size:
            self._error(416, "Request range not satisfiable", "requestedRangeNotSatisfiable", plain=True)
            return
        self.send_response(206 if match else 200)
        if match:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{stored.size}")
        self.send_header("Content-Length", str(end - start))
        self.send_header("X-Goog-Hash", f"md5={stored.md5}")
        self.end_headers()
        with stored.path.open("rb") as file:
            file.seek(start)
            left = end - start
            while left and (piece := file.read(min(left, 1 << 18))):
                self.wfile.write(piece)
                left -= len(piece)

    def _document(self, status: int, document: object) -> None:
        text = json.dumps(document).encode()
        self._answer(status, "application/json; charset=UTF-8", text)

    def _error(self, status: int, message: str, reason: str, *, plain: bool = False) -> None:
        if plain:  # downloads are answered so
            self._answer(status, "text/html; charset=UTF-8", message.encode())
            return
        details = [{"message": message, "domain": "global", "reason": reason}]
        self._document(status, {"error": {"code": status, "message": message, "errors": details}})

    def _answer(self, status: int, kind: str, text: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


class GoogleNode(BucketServer):
    """One emulator in one directory."""

    name = "the emulator of Google Cloud Storage"

    @property
    def info(self) -> BucketInfo:
        """See `BucketServer.info`."""
        url = f"http://127.0.0.1:{self.port}"
        return BucketInfo("gs", url, {"STORAGE_EMULATOR_HOST": url})

    def command(self) -> list[str | Path]:
        """See `BucketServer.command`."""
        program = f"import sys; sys.path.insert(0, {str(PROJECT)!r}); from lab.gcs import main; main(sys.argv[1:])"
        return [sys.executable, "-c", program, str(self.port), self.directory / "data"]


def create_bucket(info: BucketInfo, name: str) -> str:
    """Make a bucket, and return its name."""
    headers = {"Content-Type": "application/json"}
    request("POST", f"{info.url}/storage/v1/b?project=lab", headers, json.dumps({"name": name}).encode()).close()
    return name


def _parts(body: bytes, content_type: str) -> tuple[dict[str, str], bytes]:
    """Return the two parts of a multipart/related upload: what is said about the object, and its bytes."""
    boundary = b"--" + content_type.partition("boundary=")[2].strip('"').encode()
    _, about, rest = body.split(boundary, 2)
    data = rest[: rest.rindex(b"\r\n" + boundary + b"--")]
    return json.loads(about.partition(b"\r\n\r\n")[2]), data.partition(b"\r\n\r\n")[2]


def main(arguments: list[str]) -> None:
    """Serve until ended."""
    Handler.shop = Shop(Path(arguments[1]))
    server = ThreadingHTTPServer(("127.0.0.1", int(arguments[0])), Handler)
    server.daemon_threads = True
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
