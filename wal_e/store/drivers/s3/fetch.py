"""
Keys from those who give them: an instance, a container's agent, a web identity's role, a process, a file.

These are requests of ours and not of obstore's: in its errors a 404 of the service that gives credentials looks like
that of an object, and an outage must never pass for the end of the archive (H14).
"""

import json
import re
import shlex
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

from wal_e.config import Option, Settings
from wal_e.errors import Denied, Misconfigured, Unavailable
from wal_e.store.drivers.bare_request import BareRequest
from wal_e.store.drivers.s3.ask import Question, ask, no_credentials
from wal_e.store.drivers.s3.keys import Keys
from wal_e.store.drivers.s3.options import (
    CA_BUNDLE,
    CONTAINER_TOKEN,
    CONTAINER_TOKEN_FILE,
    ROLE,
    SESSION_NAME,
    TOKEN_FILE,
)
from wal_e.store.drivers.s3.profile import read_profile

INSTANCE: Final = "the instance's metadata service"
AGENT: Final = "the container's agent"
STS: Final = "the Security Token Service"
_ROLES: Final = "/latest/meta-data/iam/security-credentials/"
_LIFE: Final = "21600"  # of an instance's token in seconds, the most that it gives
TIMEOUT: Final = 10.0  # seconds for each wait, where the caller is as patient
PROCESS_TIMEOUT: Final = 60.0  # seconds
_NAMES: Final = ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
_RESULT: Final = {name: re.compile(rf"<{name}>\s*([^<\s]+)\s*</{name}>") for name in _NAMES}


def instance_keys(address: str, patience: float) -> Keys:
    """Ask an instance's metadata, by the protocol's second version: a token, the role's name, its keys."""
    hint = "Give the instance a role with an instance profile; from within a container its hop limit has to be 2."
    life = {"X-aws-ec2-metadata-token-ttl-seconds": _LIFE}
    wait = min(TIMEOUT, patience)
    first = BareRequest("PUT", f"{address}/latest/api/token", life, direct=True, patience=wait)
    token = {"X-aws-ec2-metadata-token": ask(Question(INSTANCE, hint, first)).strip()}
    roles = replace(first, method="GET", url=f"{address}{_ROLES}", headers=token)
    role = quote(ask(Question(INSTANCE, hint, roles)).strip().partition("\n")[0])
    keys = replace(roles, url=f"{address}{_ROLES}{role}")
    return parse_keys(INSTANCE, ask(Question(INSTANCE, hint, keys)), "Token", hint)


def container_keys(url: str, settings: Settings, patience: float) -> Keys:
    """Ask the agent of a container of ECS or EKS; a token in a file is read again each time, as it is renewed there."""
    hint = "Check the role of the task or the pod, and the variables AWS_CONTAINER_*, which the platform sets."
    in_file = settings[CONTAINER_TOKEN_FILE]
    token = _read(in_file, CONTAINER_TOKEN_FILE) if in_file else settings[CONTAINER_TOKEN]
    headers = {"Authorization": token} if token else {}
    request = BareRequest("GET", url, headers, direct=True, patience=min(TIMEOUT, patience))
    return parse_keys(AGENT, ask(Question(AGENT, hint, request)), "Token", hint)


def role_keys(url: str, settings: Settings, patience: float) -> Keys:
    """Take a role with a web identity's token, which is read again each time; by Amazon's Security Token Service."""
    hint = "Check AWS_ROLE_ARN, whom the role trusts, and that the token in AWS_WEB_IDENTITY_TOKEN_FILE is renewed."
    asked = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": settings[ROLE],
        "RoleSessionName": settings[SESSION_NAME] or "wal-e",
        "WebIdentityToken": _read(settings[TOKEN_FILE], TOKEN_FILE),
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    request = BareRequest(
        "POST", url, headers, urlencode(asked).encode(), settings[CA_BUNDLE], patience=min(TIMEOUT, patience)
    )
    text = ask(Question(STS, hint, request))
    found = {name: match[1] for name, pattern in _RESULT.items() if (match := pattern.search(text))}
    try:
        until = parse_time(found["Expiration"])
        return Keys(found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"], until)
    except (KeyError, ValueError):
        raise no_credentials(STS, "Check AWS_ENDPOINT_URL_STS.") from None


def process_keys(command: str, patience: float) -> Keys:
    """
    Run a command that prints keys, without a shell; what it says on stderr goes where ours goes.

    Where it fails it may be for an outage, which cannot be told from a refusal: that is `Unavailable`.
    """
    who = "the process for credentials"
    hint = "Run the command of credential_process by hand, as the same user."
    seconds = min(PROCESS_TIMEOUT, patience)
    try:
        words = shlex.split(command)
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=seconds, check=False)
    except (OSError, ValueError, IndexError) as error:
        reason = getattr(error, "strerror", None) or "its command line is not understood"
        raise Misconfigured(f"{who} cannot be run", detail=f"{reason[:1].upper()}{reason[1:]}.", hint=hint) from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{who} did not end within {seconds:.0f} s", hint=hint) from None
    if done.returncode:
        raise Unavailable(f"{who} gives no credentials", detail=f"Its exit code was {done.returncode}.", hint=hint)
    return parse_keys(who, done.stdout.decode("utf-8", "replace"), "SessionToken", hint)


def keys_in_file(settings: Settings) -> Keys:
    """Read the keys of the profile in AWS's own files, where other programs may renew them."""
    said = {key: text for key, (text, _) in read_profile(settings).items()}
    if not said.get("aws_access_key_id") or not said.get("aws_secret_access_key"):
        raise Misconfigured("the access key is no longer in the files of AWS's tools", hint="See ~/.aws/credentials.")
    return Keys(said["aws_access_key_id"], said["aws_secret_access_key"], said.get("aws_session_token"))


def parse_keys(who: str, text: str, token_name: str, hint: str) -> Keys:
    """Reads the JSON that an instance, a container's agent or a process gives; raises `Denied` and `Unavailable`."""
    try:
        document = json.loads(text)
        if document.get("Code", "Success") != "Success":
            raise Denied(f"{who} gives no credentials", detail=f"It says: {str(document['Code'])[:80]}.", hint=hint)
        key, secret = str(document["AccessKeyId"]), str(document["SecretAccessKey"])
        return Keys(key, secret, document.get(token_name) or None, parse_time(document.get("Expiration")))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise no_credentials(who, hint) from None


def parse_time(text: str | None) -> datetime | None:
    """Reads a time of Amazon's, which is UTC; raises ValueError."""
    if not text:
        return None
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _read(path: str, option: Option[str]) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "It is not text"
        raise Misconfigured(
            f'the token in "{path}" cannot be read', detail=f"{reason}.", hint=f"Check {option.variables[0]}."
        ) from None
