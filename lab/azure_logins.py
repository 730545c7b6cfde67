"""
The services of Azure that give tokens to identities, and signatures that share a container.

They refuse what the real ones refuse: an instance's service without its header, unknown identities, secrets and tokens.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlencode, urlsplit

from lab.azurite import ACCOUNT, API_VERSION, KEY
from lab.faultproxy import Head
from lab.faults import Answer

RESOURCE = "https://storage.azure.com"
ISSUER = "https://sts.windows.net/lab/"


@dataclass
class Tokens:
    """Tokens that Azurite takes until they end; `claimed` is the life that their receiver is told of."""

    life: timedelta = timedelta(hours=1)
    claimed: timedelta | None = None
    given: int = 0

    def give(self) -> dict[str, str | int]:
        """Return what a service answers with a token."""
        self.given += 1
        now = datetime.now(UTC)
        ends = int((now + self.life).timestamp())
        claims = {"aud": RESOURCE, "iss": ISSUER, "iat": ends - 7200, "nbf": ends - 7200, "exp": ends, "n": self.given}
        parts = ({"alg": "none", "typ": "JWT"}, claims)
        token = ".".join([*(_encoded(json.dumps(part).encode()) for part in parts), _encoded(b"unsigned")])
        life = self.claimed or self.life
        return {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": int(life.total_seconds()),
            "expires_on": str(int((now + life).timestamp())),
        }


def managed_identity(tokens: Tokens, client: str = "") -> Callable[[Head, str], Answer]:
    """Answer as an instance's metadata service does."""

    def answer(head: Head, _body: str) -> Answer:
        url = urlsplit(head.path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path != "/metadata/identity/oauth2/token":
            return Answer(404)
        if head.headers.get("metadata") != "true" or asked.get("resource", "").rstrip("/") != RESOURCE:
            return _refusal(400, "invalid_request")
        if not asked.get("api-version") or asked.get("client_id", "") != client:
            return _refusal(400, "invalid_request")
        return Answer(200, body=json.dumps(tokens.give()).encode())

    return answer


def authority(
    tokens: Tokens, tenant: str, client: str, *, secret: str = "", assertion: Callable[[], str] = lambda: ""
) -> Callable[[Head, str], Answer]:
    """Answer as the login service does to applications that show a secret or another service's token."""

    def answer(head: Head, body: str) -> Answer:
        asked = {name: values[0] for name, values in parse_qs(body).items()}
        if head.method != "POST" or head.path != f"/{tenant}/oauth2/v2.0/token":
            return _refusal(404, "invalid_tenant")
        if asked.get("scope") != f"{RESOURCE}/.default" or asked.get("grant_type") != "client_credentials":
            return _refusal(400, "invalid_scope")
        shown = asked.get("client_secret") == secret if secret else asked.get("client_assertion") == assertion()
        if asked.get("client_id") != client or not shown:
            return _refusal(401, "invalid_client", "AADSTS7000215: Refused.")
        return Answer(200, body=json.dumps(tokens.give()).encode())

    return answer


def shared_access(container: str, rights: str, ends: timedelta) -> str:
    """Return a signature with the account's key for a container: `rights` in the order of racwdl."""
    until = (datetime.now(UTC) + ends).strftime("%Y-%m-%dT%H:%M:%SZ")
    resource = f"/blob/{ACCOUNT}/{container}"
    # Rights, start, end, resource, identifier, address, protocol, version, kind, snapshot, encryption, five headers.
    fields = [rights, "", until, resource, "", "", "", API_VERSION, "c", "", "", *[""] * 5]
    digest = hmac.new(base64.b64decode(KEY), "\n".join(fields).encode(), hashlib.sha256).digest()
    shown = {"sv": API_VERSION, "sr": "c", "sp": rights, "se": until, "sig": base64.b64encode(digest).decode()}
    return urlencode(shown)


def _refusal(status: int, code: str, said: str = "Refused.") -> Answer:
    return Answer(status, body=json.dumps({"error": code, "error_description": said}).encode())


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
