"""
Before there is an archive in S3: which addresses are spoken to, and making the bucket.

obstore has no call that makes a bucket, but it signs any request: one to the service's own address, the bucket's name
as the path, is CreateBucket.
"""

from collections.abc import Generator
from contextlib import closing
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from wal_e.config import Settings
from wal_e.errors import Denied, Misconfigured
from wal_e.store.drivers.bare_request import BareRequest
from wal_e.store.drivers.object_clients import import_obstore
from wal_e.store.drivers.object_errors import store_error
from wal_e.store.drivers.object_setup import PATIENCE, answer_to, are_credentials_good, is_missing, was_made
from wal_e.store.drivers.s3.driver import (
    FALLBACK_REGION,
    client_options,
    open_driver,
    s3_config,
    service_of,
    signer_of,
)
from wal_e.store.drivers.s3.logins import find_login
from wal_e.store.drivers.s3.options import CA_BUNDLE, ENDPOINT
from wal_e.store.drivers.s3.options import Endpoint as ServiceEndpoint
from wal_e.store.endpoint import Endpoint
from wal_e.store.url import ArchiveUrl

_SIGNED_FOR: Final = timedelta(minutes=5)
_AMAZON: Final = (".amazonaws.com", ".amazonaws.com.cn")
_MINE: Final = "BucketAlreadyOwnedByYou"
_TAKEN: Final = "BucketAlreadyExists"


def endpoints(url: ArchiveUrl, settings: Settings) -> Generator[Endpoint, None, bool]:
    """
    Yield the address of the service that gives credentials, where it is not the user, and that of the bucket.

    Raises `Misconfigured`, and `Denied` where the credentials are refused.
    """
    config = s3_config(url.container, settings)
    besides = settings[CA_BUNDLE] or None
    with closing(open_driver(url, settings, PATIENCE)) as store:
        login = find_login(settings, PATIENCE)
        if login.address:
            yield Endpoint(login.who, login.address, verify=True, besides=besides)
        address = config.get("endpoint") or _amazon(config, url.container)
        yield Endpoint("S3", address, verify=True, besides=besides)
        return are_credentials_good(store, url, address)


def create_container(url: ArchiveUrl, settings: Settings) -> bool:
    """
    Make the bucket where it is missing, and return whether it was.

    Raises `Denied` where the user may not or the name is somebody else's. A bucket that is there is left alone: Amazon
    would say of an own one that it was made, and forget its access lists.
    """
    with closing(open_driver(url, settings, PATIENCE)) as store:
        if not is_missing(store, url):
            return False
    service, config = service_of(url.container), s3_config(url.container, settings)
    what = f'could not create the bucket "{url.container}"'
    root, region = _root(settings[ENDPOINT], config["region"]), config["region"]
    at_amazon = f"{urlsplit(root).hostname}".endswith(_AMAZON)
    body = _located(region) if at_amazon and region != FALLBACK_REGION else b""
    signed = _signed(url.container, config, root, settings)
    kind = {"Content-Type": "application/octet-stream"}
    answer = answer_to(BareRequest("PUT", signed, kind, body, settings[CA_BUNDLE]), what, service)
    if answer.code == _TAKEN:
        hint = "Names are shared by all users of the service: choose another one."
        raise Denied(f"{what}: somebody else has one of this name", detail=answer.detail(service), hint=hint)
    hint = f"Let somebody create it who may (s3:CreateBucket): {service.create_hint}"
    return was_made(answer, what, service, exists=_MINE, hint=hint)


def _signed(bucket: str, config: dict[str, Any], root: str, settings: Settings) -> str:
    """Return the address of the request that makes the bucket, signed."""
    obstore = import_obstore("S3")
    at_root = {
        "endpoint": root,
        "aws_endpoint_url_s3": root,
        "virtual_hosted_style_request": True,  # the bucket is in the address, obstore thinks, and adds the path alone
    }
    signer = signer_of(settings, PATIENCE)
    try:
        store = obstore.store.S3Store(
            bucket, config=config | at_root, client_options=client_options(settings), credential_provider=signer
        )
        return str(obstore.sign(store, "PUT", bucket, _SIGNED_FOR))
    except obstore.exceptions.BaseError as error:
        what = f'could not create the bucket "{bucket}"'
        raise signer.explain(error) or store_error(error, what, service_of(bucket)) from error


def _root(endpoint: ServiceEndpoint | None, region: str) -> str:
    """Return the service's own address, without a bucket."""
    if endpoint is None:
        return f"https://s3.{region}.amazonaws.com"
    if endpoint.style == "virtualhost":
        raise Misconfigured(
            "no bucket can be created at an endpoint that is the bucket's own",
            hint="Set WALE_S3_ENDPOINT to the service's address for this once.",
        )
    return f"{endpoint.scheme}://{endpoint.host}"


def _located(region: str) -> bytes:
    """Return the document that asks for a bucket in a region; us-east-1 has none."""
    return (
        '<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
    ).encode()


def _amazon(config: dict[str, Any], bucket: str) -> str:
    """Return the address that obstore takes for a bucket of Amazon's."""
    host = f"s3.{config['region']}.amazonaws.com"
    return f"https://{bucket}.{host}" if config["virtual_hosted_style_request"] else f"https://{host}"
