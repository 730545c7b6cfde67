"""Who signs: a key, the instance's profile, a web identity's role, a process, or a container's agent; decided here."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from wal_e.config import Origin, Settings
from wal_e.errors import Misconfigured
from wal_e.store.api import PATIENCE
from wal_e.store.drivers.s3.keys import Keys
from wal_e.store.drivers.s3.options import (
    ACCESS_KEY_ID,
    CONTAINER_PATH,
    CONTAINER_URL,
    INSTANCE_PROFILE,
    METADATA,
    PROCESS,
    REGION,
    ROLE,
    SECRET_KEY,
    SESSION_TOKEN,
    STS_ENDPOINT,
    TOKEN_FILE,
)
from wal_e.store.drivers.s3.profile import home

METADATA_URL: Final = "http://169.254.169.254"
CONTAINER_URL_ECS: Final = "http://169.254.170.2"
# Hosts that a container's agent may have without TLS: loopback, and where ECS and EKS have theirs. As AWS's tools.
_AGENTS: Final = re.compile(r"localhost|127\.\d+\.\d+\.\d+|::1|169\.254\.170\.(2|23)|fd00:ec2::23")


@dataclass(frozen=True, slots=True, repr=False)
class Login:
    """`fetch` gives the keys; `who` is asked for them at `address`, both empty where nobody is, over a network."""

    fetch: Callable[[], Keys]
    who: str = ""
    address: str = ""


def find_login(settings: Settings, patience: float = PATIENCE) -> Login:
    """
    Return what gives the keys that are set, or fetches them; it waits `patience` seconds at most for each answer.

    Raises `Misconfigured` where none are set, or settings contradict.
    """
    key, secret = settings[ACCESS_KEY_ID], settings[SECRET_KEY]
    if settings[INSTANCE_PROFILE] and (key or secret):
        raise Misconfigured(
            "both an access key and the instance's profile are set",
            hint="Unset AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_INSTANCE_PROFILE.",
        )
    if bool(key) != bool(secret):
        missing = SECRET_KEY if key else ACCESS_KEY_ID
        raise Misconfigured("half of the access key is missing", hint=f"Set {missing.variables[0]}.")
    if key and settings.source(ACCESS_KEY_ID).origin is not Origin.PROFILE:
        keys = Keys(key, secret, settings[SESSION_TOKEN] or None)
        return Login(lambda: keys)
    return _fetching(settings, patience)


def _fetching(settings: Settings, patience: float) -> Login:
    from wal_e.store.drivers.s3 import fetch  # noqa: PLC0415 - costs 40 ms, which keys that are set need not

    if settings[INSTANCE_PROFILE]:
        address = settings[METADATA] or METADATA_URL
        return Login(partial(fetch.instance_keys, address, patience), fetch.INSTANCE, address)
    if settings[ACCESS_KEY_ID]:
        return Login(partial(fetch.keys_in_file, settings))
    if settings[PROCESS]:
        return Login(partial(fetch.process_keys, settings[PROCESS], patience))
    if settings[TOKEN_FILE] and settings[ROLE]:
        address = settings[STS_ENDPOINT] or _sts(settings[REGION])
        return Login(partial(fetch.role_keys, address, settings, patience), fetch.STS, address)
    if settings[CONTAINER_PATH] or settings[CONTAINER_URL]:
        address = _container(settings)
        host = urlsplit(address)._replace(path="", query="").geturl()  # who knows the path gets the keys
        return Login(partial(fetch.container_keys, address, settings, patience), fetch.AGENT, host)
    raise Misconfigured(
        "no credentials for S3 are set",
        detail=f"Nor does the profile in use hold any, in AWS's own files; ~ is {home()}.",
        hint="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or AWS_INSTANCE_PROFILE=true on an "
        "instance of AWS.",
    )


def _container(settings: Settings) -> str:
    """Return where the agent is; raises `Misconfigured` where the token would go over the net in the clear."""
    if settings[CONTAINER_PATH]:
        return f"{CONTAINER_URL_ECS}/{settings[CONTAINER_PATH].lstrip('/')}"
    url = settings[CONTAINER_URL] or ""
    parts = urlsplit(url)
    if parts.scheme != "https" and _AGENTS.fullmatch(parts.hostname or "") is None:
        hint = "Use https, or an address of this host: AWS_CONTAINER_CREDENTIALS_FULL_URI."
        raise Misconfigured(f'credentials are not asked for without TLS from "{parts.hostname}"', hint=hint)
    return url


def _sts(region: str) -> str:
    if not region:
        raise Misconfigured(
            "no region is set for the Security Token Service", hint="Set AWS_REGION, or AWS_ENDPOINT_URL_STS."
        )
    return f"https://sts.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")
