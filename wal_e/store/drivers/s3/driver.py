"""
Amazon S3 and what works alike: how its options become obstore's.

Every byte that is sent is covered by the SHA-256 of a signed request, which the service checks, and which is stored as
the object's checksum. Whether creating is atomic is known of Amazon's own service only: Swift's S3 front lets several
of concurrent create-only puts through.
"""

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from wal_e.config import AnyOption, Origin, Settings
from wal_e.errors import Misconfigured
from wal_e.store.api import PATIENCE, Capabilities, Store
from wal_e.store.drivers.endpoint import read_certificates
from wal_e.store.drivers.fresh_login import FreshLogin
from wal_e.store.drivers.object_clients import import_obstore
from wal_e.store.drivers.object_errors import Service
from wal_e.store.drivers.object_store import MAX_OBJECT, Kind, ObjectStore, open_object_store
from wal_e.store.drivers.s3.options import (
    ACCESS_KEY_ID,
    CA_BUNDLE,
    ENCRYPTION,
    ENDPOINT,
    KMS_KEY,
    OPTIONS,
    REGION,
    REQUESTER_PAYS,
    STORAGE_CLASS,
    STYLE,
    UNORDERED,
    Endpoint,
)
from wal_e.store.url import ArchiveUrl

if TYPE_CHECKING:
    from wal_e.store.drivers.s3.keys import Renewing

__all__ = ["OPTIONS", "complete", "open_driver"]

BATCH: Final = 1_000  # DeleteObjects takes no more
LIST_PAGE: Final = 1_000
FALLBACK_REGION: Final = "us-east-1"  # what work-alikes expect in a signature, where they have no regions

# obstore's names of what is handed on as it is.
_PLAIN: Final[dict[str, AnyOption]] = {
    "server_side_encryption": ENCRYPTION,
    "sse_kms_key_id": KMS_KEY,
    "request_payer": REQUESTER_PAYS,
}


def s3_config(bucket: str, settings: Settings) -> dict[str, Any]:
    """
    Return obstore's configuration of a bucket, without whoever signs.

    Raises `Misconfigured` where settings are missing or contradict each other. What obstore would otherwise read from
    the environment by itself, and what decides about safety, is always set.
    """
    config: dict[str, Any] = {name: settings[option] for name, option in _PLAIN.items() if settings[option]}
    config |= _place(bucket, settings)
    if settings[KMS_KEY] and not settings[ENCRYPTION]:
        config["server_side_encryption"] = "aws:kms"
    fixed = {"checksum_algorithm": "SHA256", "conditional_put": "etag", "skip_signature": False}
    return config | fixed | {"unsigned_payload": False}


def _place(bucket: str, settings: Settings) -> dict[str, Any]:
    endpoint, region = settings[ENDPOINT], settings[REGION]
    if endpoint is None:
        if not region:
            raise Misconfigured(
                "no region of S3 is set", hint="Set AWS_REGION, or WALE_S3_ENDPOINT for another service."
            )
        # A certificate for *.s3.amazonaws.com is none for a name with more dots.
        in_host = settings[STYLE] != "path" and "." not in bucket
        return {"region": region, "virtual_hosted_style_request": in_host}
    style = endpoint.style or settings[STYLE] or "path"
    address = Endpoint(endpoint.scheme, endpoint.host, style).address(bucket)
    return {
        "region": region or FALLBACK_REGION,
        "endpoint": address,
        "aws_endpoint_url_s3": address,  # beats `endpoint`, and would come from the environment
        "virtual_hosted_style_request": style != "path",
    }


def client_options(settings: Settings) -> dict[str, Any]:
    """Return obstore's options of the connection; raises `Misconfigured` where the certificates cannot be read."""
    endpoint = settings[ENDPOINT]
    options: dict[str, Any] = {"allow_http": endpoint is not None and endpoint.scheme == "http"}
    if settings[CA_BUNDLE]:
        options["root_certificate"] = read_certificates(settings[CA_BUNDLE], CA_BUNDLE.variables[0])
    return options


def service_of(bucket: str) -> Service:
    """Return how errors about a bucket are worded."""
    return Service(
        label="S3",
        noun=f'bucket "{bucket}"',
        create_hint=f"aws s3 mb s3://{bucket}",
        denied_hint="Check the access key, its secret, the policy, and that the bucket is yours; S3 also refuses to "
        "say that an object is absent to who may not list the bucket.",
        tls_hint="Set AWS_CA_BUNDLE to the file with the authority's certificate, and check the endpoint's address.",
    )


def complete(settings: Settings) -> Settings:
    """Return the settings with what AWS's own files add; see `profile.complete`."""
    from wal_e.store.drivers.s3 import profile  # noqa: PLC0415 - every command reads our options, and few use S3

    return profile.complete(settings)


def signer_of(settings: Settings, patience: float = PATIENCE) -> "Renewing":
    """Return what obstore takes for `credential_provider`; raises `Misconfigured` where nobody is set who signs."""
    from wal_e.store.drivers.s3.keys import Renewing  # noqa: PLC0415 - as above
    from wal_e.store.drivers.s3.logins import find_login  # noqa: PLC0415 - the same

    return Renewing(find_login(settings, patience).fetch)


def open_driver(url: ArchiveUrl, settings: Settings, patience: float = PATIENCE) -> Store:
    """Return the bucket of an address; raises `Misconfigured` where settings are missing or contradict each other."""
    own_key = settings.source(ACCESS_KEY_ID).origin not in {Origin.DEFAULT, Origin.PROFILE}
    open_bucket = partial(_open_bucket, url, settings, patience)
    return open_bucket() if own_key else FreshLogin(open_bucket)


def _open_bucket(url: ArchiveUrl, settings: Settings, patience: float) -> ObjectStore:
    service = service_of(url.container)
    signer = signer_of(settings, patience)
    storage_class = settings[STORAGE_CLASS]
    kind = Kind(
        service,
        Capabilities(atomic_create=settings[ENDPOINT] is None, max_object=MAX_OBJECT, list_page=LIST_PAGE),
        batch=BATCH,
        unordered=settings[UNORDERED],
        vague_listings=True,
        signs_bytes=True,
        attributes={"Storage-Class": storage_class} if storage_class else {},
        failed_login=signer.explain,
    )
    make = partial(
        import_obstore(service.label).store.S3Store,
        url.container,
        config=s3_config(url.container, settings),
        credential_provider=signer,
    )
    return open_object_store(url.container, kind, make, client_options(settings), patience)
