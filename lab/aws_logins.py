"""
The services of Amazon that give temporary keys, and a gate before a store that lets only such keys in.

They refuse what the real ones refuse: an instance's metadata without its token, a container's agent without its
authorization, a web identity that is unknown or has ended, and at the gate unknown keys, wrong signatures, wrong tokens
and keys that have ended or were withdrawn.
"""

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

from lab.aws_signature import Signed, sign, signature
from lab.faultproxy import Guard, Head
from lab.faults import Answer

ROLES = "/latest/meta-data/iam/security-credentials/"
TOKEN = "x-aws-ec2-metadata-token"


@dataclass(frozen=True, slots=True)
class Temporary:
    """Temporary keys."""

    key: str
    secret: str
    token: str
    ends: datetime

    def json(self, field: str = "Token") -> dict[str, str]:
        """Return them as an instance, an agent or a process gives them; `field` holds the token."""
        ends = self.ends.strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"AccessKeyId": self.key, "SecretAccessKey": self.secret, field: self.token, "Expiration": ends}


@dataclass
class Issuer:
    """Gives keys that live for `life`, and knows them at the gate until they end or are withdrawn."""

    life: timedelta = timedelta(hours=1)
    issued: dict[str, Temporary] = field(default_factory=dict)

    def issue(self) -> Temporary:
        """Return new keys."""
        key = f"ASIA{secrets.token_hex(8).upper()}"
        made = Temporary(key, secrets.token_hex(20), secrets.token_urlsafe(40), datetime.now(UTC) + self.life)
        self.issued[key] = made
        return made

    def end(self) -> None:
        """Let all keys that were given end now."""
        now = datetime.now(UTC)
        self.issued = {key: Temporary(key, one.secret, one.token, now) for key, one in self.issued.items()}

    def gate(self, key: str, secret: str) -> Guard:
        """Return a guard that lets in who signs with keys from here, and signs with the store's own key behind it."""

        def guard(head: Head) -> Answer | Mapping[str, str]:
            signed = Signed.of(head)
            found = self.issued.get(signed.key) if signed else None
            if signed is None or found is None:
                return _refusal(403, "InvalidAccessKeyId")
            wrong = _wrong(head, signed, found)
            if wrong is not None:
                return wrong
            headers = {name: value for name, value in head.headers.items() if name != "x-amz-security-token"}
            return sign(Head(head.method, head.path, headers), key, secret, signed.scope)

        return guard


def _wrong(head: Head, signed: Signed, found: Temporary) -> Answer | None:
    if head.headers.get("x-amz-security-token") != found.token or "x-amz-security-token" not in signed.names:
        return _refusal(403, "InvalidToken")
    if datetime.now(UTC) >= found.ends:
        return _refusal(400, "ExpiredToken")
    if signature(head, found.secret, signed.scope, signed.names) != signed.signature:
        return _refusal(403, "SignatureDoesNotMatch")
    return None


def instance_metadata(issuer: Issuer, role: str = "backup") -> Callable[[Head, str], Answer]:
    """Answer as an instance's metadata service does that insists on the second version of its protocol."""
    given: set[str] = set()

    def answer(head: Head, _body: str) -> Answer:
        if head.path == "/latest/api/token":
            if head.method != "PUT" or not head.headers.get(f"{TOKEN}-ttl-seconds", "").isdigit():
                return Answer(400)
            given.add(token := secrets.token_hex(16))
            return Answer(200, body=token.encode())
        if head.headers.get(TOKEN) not in given:
            return Answer(401)
        if head.path == ROLES:
            return Answer(200, body=role.encode())
        if head.path == f"{ROLES}{role}":
            return _document({"Code": "Success", "Type": "AWS-HMAC"} | issuer.issue().json())
        return Answer(404)

    return answer


def container_agent(issuer: Issuer, path: str, authorization: str = "") -> Callable[[Head, str], Answer]:
    """Answer as the agent of ECS and of EKS does."""

    def answer(head: Head, _body: str) -> Answer:
        if not head.path.endswith(path):
            return Answer(404)
        if head.headers.get("authorization", "") != authorization:
            return Answer(401)
        return _document({"RoleArn": "arn:aws:iam::1:role/task"} | issuer.issue().json())

    return answer


def token_service(issuer: Issuer, role: str, identity: Callable[[], str]) -> Callable[[Head, str], Answer]:
    """Answer as the Security Token Service does to who takes a role; `identity` is the token that is good now."""

    def answer(head: Head, body: str) -> Answer:
        asked = {name: values[0] for name, values in parse_qs(body).items()}
        if head.method != "POST" or asked.get("Action") != "AssumeRoleWithWebIdentity" or not asked["RoleSessionName"]:
            return _sts_refusal("InvalidAction")
        if asked["RoleArn"] != role:
            return _sts_refusal("AccessDenied", 403)
        if asked["WebIdentityToken"] != identity():
            return _sts_refusal("ExpiredTokenException")
        keys = issuer.issue().json("SessionToken")
        inner = "".join(f"<{name}>{value}</{name}>" for name, value in keys.items())
        name = "AssumeRoleWithWebIdentity"
        text = f"<{name}Response><{name}Result><Credentials>{inner}</Credentials></{name}Result></{name}Response>"
        return Answer(200, {"Content-Type": "text/xml"}, text.encode())

    return answer


def _document(content: Mapping[str, str]) -> Answer:
    return Answer(200, {"Content-Type": "application/json"}, json.dumps(content).encode())


def _refusal(status: int, code: str) -> Answer:
    return Answer(status, body=f"<Error><Code>{code}</Code><Message>Refused.</Message></Error>".encode())


def _sts_refusal(code: str, status: int = 400) -> Answer:
    return Answer(status, body=f"<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>".encode())
