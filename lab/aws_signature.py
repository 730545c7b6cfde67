"""Amazon's Signature Version 4 for S3: the server's side, which checks, and enough of a client's to sign again."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from lab.faultproxy import Head

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<scope>[^,]+), ?SignedHeaders=(?P<names>[^,]+), ?"
    r"Signature=(?P<signature>[0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class Signed:
    """What a request's authorization says: whose key, its scope (date/region/service/aws4_request), which headers."""

    key: str
    scope: str
    names: tuple[str, ...]
    signature: str

    @classmethod
    def of(cls, head: Head) -> "Signed | None":
        """Read it; None where a request is not signed."""
        match = _AUTHORIZATION.fullmatch(head.headers.get("authorization", ""))
        return (
            cls(match["key"], match["scope"], tuple(match["names"].split(";")), match["signature"]) if match else None
        )


def signature(head: Head, secret: str, scope: str, names: Iterable[str]) -> str:
    """Return the signature of a request over the headers with these names; its body's digest is in a header."""
    names = sorted(names)
    url = urlsplit(head.path)
    canonical = "\n".join(
        [
            head.method,
            url.path,
            _query(url.query),
            *(f"{name}:{' '.join(head.headers.get(name, '').split())}" for name in names),
            "",
            ";".join(names),
            head.headers.get("x-amz-content-sha256", ""),
        ]
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", head.headers.get("x-amz-date", ""), scope, digest])
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def sign(head: Head, key: str, secret: str, scope: str) -> Mapping[str, str]:
    """Return a request's headers, signed with another key; those of x-amz and the host are covered."""
    headers = {name: value for name, value in head.headers.items() if name != "authorization"}
    names = sorted(name for name in headers if name == "host" or name.startswith("x-amz-"))
    made = signature(Head(head.method, head.path, headers), secret, scope, names)
    said = f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={';'.join(names)}, Signature={made}"
    return headers | {"authorization": said}


def _query(text: str) -> str:
    pairs = (part.partition("=") for part in text.split("&") if part)
    return "&".join(sorted(f"{_encoded(name)}={_encoded(value)}" for name, _, value in pairs))


def _encoded(text: str) -> str:
    return quote(unquote(text), safe="-_.~")
