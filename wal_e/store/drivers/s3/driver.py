"""
Amazon S3 and what works alike: its options, and how they become obstore's.

Every byte that is sent is covered by the SHA-256 of a signed request, which the service checks, and which is stored as
the object's checksum. Whether creating is atomic is known of Amazon's own service only: Swift's S3 front lets several
of concurrent create-only puts through.
"""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from wal_e.config import AnyOption, Option, Settings, parse_bool, parse_choice, parse_text
from wal_e.errors import Misconfigured, UsageError
from wal_e.store.api import PATIENCE, Capabilities
from wal_e.store.drivers.endpoint import parse_address
from wal_e.store.drivers.object_errors import Service
from wal_e.store.drivers.object_store import MAX_OBJECT, Kind, ObjectStore, import_obstore, open_object_store
from wal_e.store.url import ArchiveUrl

GROUP: Final = "S3"
BATCH: Final = 1_000  # DeleteObjects takes no more
LIST_PAGE: Final = 1_000
FALLBACK_REGION: Final = "us-east-1"  # what work-alikes expect in a signature, where they have no regions
NO: Final = False
STORAGE_CLASSES: Final = (
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
)
ENCRYPTIONS: Final = ("AES256", "aws:kms", "aws:kms:dsse")
_ENDPOINT = re.compile(
    r"(?P<scheme>https?)(?:\+(?P<style>path|virtualhost|subdomain))?://"
    r"(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?P<port>:[0-9]+)?/?"
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    Where a service is; `style` says where the bucket's name goes.

    With "path" it is the first part of the path, with "subdomain" it stands before the host, with "virtualhost" it is
    the host. An empty style is the service's usual one.
    """

    scheme: str
    host: str
    style: str = ""

    def address(self, bucket: str) -> str:
        """The address that requests for a bucket go to, without the bucket's name where that is in the path."""
        host = self.host
        if self.style == "subdomain":
            host = f"{bucket}.{host}"
        elif self.style == "virtualhost":
            host = bucket + re.sub(r"^.*?(?=:[0-9]+$|$)", "", host)
        return f"{self.scheme}://{host}"


def parse_endpoint(text: str) -> Endpoint:
    """Reads `http+path://host:port` and its kin, as the original wrote them, and `https://host` as AWS's tools do."""
    match = _ENDPOINT.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f'"{text}" is not the endpoint of an S3 service',
            hint="Write it like https://host:port or https+path://host:port (path, virtualhost or subdomain).",
        )
    return Endpoint(match["scheme"], f"{match['host']}{match['port'] or ''}", match["style"] or "")


def _text(name: str, variables: tuple[str, ...], help_text: str, *, secret: bool = False) -> Option[str]:
    return Option(name, variables, help_text, "", parse_text, secret=secret, group=GROUP)


def _address(name: str, variable: str, help_text: str) -> Option[str | None]:
    return Option(name, (variable,), help_text, None, parse_address, metavar="URL", group=GROUP)


def _choice(name: str, variables: tuple[str, ...], choices: tuple[str, ...], help_text: str) -> Option[str | None]:
    return Option(name, variables, help_text, None, parse_choice(*choices), group=GROUP)


ACCESS_KEY_ID: Final = Option(
    "aws-access-key-id", ("AWS_ACCESS_KEY_ID",), "access key", "", parse_text, group=GROUP, short="k"
)
INSTANCE_PROFILE: Final[Option[bool]] = Option(
    "aws-instance-profile",
    ("AWS_INSTANCE_PROFILE",),
    "take the credentials from the instance's profile",
    NO,
    parse_bool,
    group=GROUP,
    switch=True,
)
SECRET_KEY: Final = _text("aws-secret-access-key", ("AWS_SECRET_ACCESS_KEY",), "secret of the access key", secret=True)
SESSION_TOKEN: Final = _text(
    "aws-session-token", ("AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN"), "token of temporary credentials", secret=True
)
REGION: Final = _text("aws-region", ("AWS_REGION", "AWS_DEFAULT_REGION"), "region; needed where no endpoint is set")
ENDPOINT: Final[Option[Endpoint | None]] = Option(
    "s3-endpoint",
    ("WALE_S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "service to use, like https+path://host:port; Amazon's where none is set",
    None,
    parse_endpoint,
    metavar="URL",
    group=GROUP,
)
STYLE: Final = _choice(
    "s3-addressing",
    ("WALE_S3_ADDRESSING",),
    ("path", "subdomain", "virtualhost"),
    "where the bucket's name goes, for an endpoint that does not say; path with an endpoint, else subdomain",
)
UNORDERED: Final[Option[bool]] = Option(
    "s3-unordered",
    ("WALE_S3_UNORDERED",),
    "the service does not list in the order of keys (SeaweedFS): read each listing to its end and sort it",
    NO,
    parse_bool,
    group=GROUP,
    switch=True,
)
STORAGE_CLASS: Final = _choice(
    "s3-storage-class",
    ("WALE_S3_STORAGE_CLASS", "WALG_S3_STORAGE_CLASS"),
    STORAGE_CLASSES,
    "storage class of what is stored",
)
ENCRYPTION: Final = _choice(
    "s3-sse",
    ("WALE_S3_SSE", "WALG_S3_SSE", "AWS_SERVER_SIDE_ENCRYPTION"),
    ENCRYPTIONS,
    "how the service encrypts; the bucket's own setting where none is set",
)
KMS_KEY: Final = _text(
    "s3-sse-kms-key-id",
    ("WALE_S3_SSE_KMS_KEY_ID", "WALG_S3_SSE_KMS_ID", "AWS_SSE_KMS_KEY_ID"),
    "key that the service encrypts with",
)
CA_BUNDLE: Final = _text(
    "s3-cacert",
    ("WALE_S3_CACERT", "WALG_S3_CA_CERT_FILE", "AWS_CA_BUNDLE"),
    "file with certificates of authorities to trust, besides the system's",
)
TOKEN_FILE: Final = _text(
    "aws-web-identity-token-file", ("AWS_WEB_IDENTITY_TOKEN_FILE",), "file with a web identity's token"
)
ROLE: Final = _text("aws-role-arn", ("AWS_ROLE_ARN",), "role that the web identity takes")
SESSION_NAME: Final = _text("aws-role-session-name", ("AWS_ROLE_SESSION_NAME",), "name of that role's session")
STS_ENDPOINT: Final = _address(
    "aws-sts-endpoint", "AWS_ENDPOINT_URL_STS", "service that gives the role's credentials (https), if not Amazon's"
)
CONTAINER_PATH: Final = _text(
    "aws-container-credentials-relative-uri",
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",),
    "where a container's agent gives credentials (set by ECS)",
)
METADATA: Final = _address(
    "aws-metadata-endpoint", "AWS_EC2_METADATA_SERVICE_ENDPOINT", "the instance's metadata service, if elsewhere"
)
OPTIONS: Final[tuple[AnyOption, ...]] = (
    ACCESS_KEY_ID,
    INSTANCE_PROFILE,
    SECRET_KEY,
    SESSION_TOKEN,
    REGION,
    ENDPOINT,
    STYLE,
    UNORDERED,
    STORAGE_CLASS,
    ENCRYPTION,
    KMS_KEY,
    CA_BUNDLE,
    TOKEN_FILE,
    ROLE,
    SESSION_NAME,
    STS_ENDPOINT,
    CONTAINER_PATH,
    METADATA,
)
# obstore's names of what is handed on as it is.
_PLAIN: Final[dict[str, AnyOption]] = {
    "server_side_encryption": ENCRYPTION,
    "sse_kms_key_id": KMS_KEY,
    "web_identity_token_file": TOKEN_FILE,
    "role_arn": ROLE,
    "role_session_name": SESSION_NAME,
    "aws_endpoint_url_sts": STS_ENDPOINT,
    "container_credentials_relative_uri": CONTAINER_PATH,
    "metadata_endpoint": METADATA,
}


def s3_config(bucket: str, settings: Settings) -> dict[str, Any]:
    """
    Return obstore's configuration of a bucket.

    Raises `Misconfigured` where settings are missing or contradict each other. What obstore would otherwise read from
    the environment by itself, and what decides about safety, is always set.
    """
    config: dict[str, Any] = {name: settings[option] for name, option in _PLAIN.items() if settings[option]}
    config |= _credentials(settings) | _place(bucket, settings)
    if settings[KMS_KEY] and not settings[ENCRYPTION]:
        config["server_side_encryption"] = "aws:kms"
    fixed = {"checksum_algorithm": "SHA256", "conditional_put": "etag", "skip_signature": False}
    return config | fixed | {"unsigned_payload": False}


def _credentials(settings: Settings) -> dict[str, str]:
    key, secret = settings[ACCESS_KEY_ID], settings[SECRET_KEY]
    if settings[INSTANCE_PROFILE]:
        if key or secret:
            raise Misconfigured(
                "both an access key and the instance's profile are set",
                hint="Unset AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_INSTANCE_PROFILE.",
            )
        return {}
    if bool(key) != bool(secret):
        missing = SECRET_KEY if key else ACCESS_KEY_ID
        raise Misconfigured("half of the access key is missing", hint=f"Set {missing.variables[0]}.")
    if key:
        token = settings[SESSION_TOKEN]
        return {"access_key_id": key, "secret_access_key": secret} | ({"session_token": token} if token else {})
    if not (settings[TOKEN_FILE] and settings[ROLE]) and not settings[CONTAINER_PATH]:
        raise Misconfigured(
            "no credentials for S3 are set",
            hint="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_INSTANCE_PROFILE=true on an instance of AWS.",
        )
    return {}


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


def read_certificates(path: str, variable: str) -> str:
    """Return the text of a file of certificates; raises `Misconfigured` where there is none."""
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        raise Misconfigured(
            f'the certificates in "{path}" cannot be read', detail=f"{error}.", hint=f"Check {variable}."
        ) from error


def service_of(bucket: str) -> Service:
    """Return how errors about a bucket are worded."""
    return Service(
        label="S3",
        noun=f'bucket "{bucket}"',
        create_hint=f"aws s3 mb s3://{bucket}",
        denied_hint="Check the access key, its secret, the policy, and that the bucket is yours; S3 also refuses to "
        "say that an object is absent to who may not list the bucket.",
        tls_hint="Set AWS_CA_BUNDLE to the file with the authority's certificate, and check the endpoint's scheme.",
    )


def open_driver(url: ArchiveUrl, settings: Settings, patience: float = PATIENCE) -> ObjectStore:
    """Return the bucket of an address; raises `Misconfigured` where settings are missing or contradict each other."""
    service = service_of(url.container)
    config = s3_config(url.container, settings)
    atomic = settings[ENDPOINT] is None
    storage_class = settings[STORAGE_CLASS]
    kind = Kind(
        service,
        Capabilities(atomic_create=atomic, max_object=MAX_OBJECT, list_page=LIST_PAGE),
        batch=BATCH,
        unordered=settings[UNORDERED],
        vague_listings=True,
        signs_bytes=True,
        attributes={"Storage-Class": storage_class} if storage_class else {},
    )
    make = partial(import_obstore(service.label).store.S3Store, url.container, config=config)
    return open_object_store(url.container, kind, make, client_options(settings), patience)
