"""What a user can set about S3, under the names that the original, WAL-G and Amazon's own tools read."""

import re
from dataclasses import dataclass
from typing import Final

from wal_e.config import AnyOption, Option, parse_bool, parse_choice, parse_text
from wal_e.errors import UsageError
from wal_e.store.drivers.endpoint import parse_address

GROUP: Final = "S3"
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


def parse_payer(text: str) -> bool:
    """Reads "requester", the word of Amazon's protocol, as true."""
    return text.strip().lower() == "requester" or parse_bool(text)


def _text(name: str, variables: tuple[str, ...], help_text: str, *, secret: bool = False) -> Option[str]:
    return Option(name, variables, help_text, "", parse_text, secret=secret, group=GROUP)


def _file(name: str, variable: str, help_text: str, shown: str | None = None) -> Option[str]:
    return Option(name, (variable,), help_text, "", parse_text, metavar="FILE", group=GROUP, shown=shown)


def _address(name: str, variable: str, help_text: str, *, secret: bool = False) -> Option[str | None]:
    return Option(name, (variable,), help_text, None, parse_address, metavar="URL", secret=secret, group=GROUP)


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
REQUESTER_PAYS: Final[Option[bool]] = Option(
    "s3-requester-pays",
    ("WALE_S3_REQUESTER_PAYS", "AWS_REQUEST_PAYER"),
    "pay for the requests to a bucket of somebody else's, who demands it",
    NO,
    parse_payer,
    group=GROUP,
    switch=True,
)
PROFILE: Final = _text(
    "aws-profile",
    ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"),
    "profile in AWS's own files, for what is not set here; default where none is named",
)
CREDENTIALS_FILE: Final = _file(
    "aws-shared-credentials-file",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS's own file with the keys of profiles",
    "~/.aws/credentials",
)
CONFIG_FILE: Final = _file(
    "aws-config-file", "AWS_CONFIG_FILE", "AWS's own file with the settings of profiles", "~/.aws/config"
)
PROCESS: Final = _text(
    "aws-credential-process",
    ("WALE_AWS_CREDENTIAL_PROCESS",),
    "command that prints credentials as JSON, as credential_process in AWS's own files",
    secret=True,
)
TOKEN_FILE: Final = _file(
    "aws-web-identity-token-file", "AWS_WEB_IDENTITY_TOKEN_FILE", "file with a web identity's token"
)
ROLE: Final = _text("aws-role-arn", ("AWS_ROLE_ARN",), "role that the web identity takes")
SESSION_NAME: Final = _text("aws-role-session-name", ("AWS_ROLE_SESSION_NAME",), "name of that role's session")
STS_ENDPOINT: Final = _address(
    "aws-sts-endpoint", "AWS_ENDPOINT_URL_STS", "service that gives the role's credentials, if not the region's"
)
# Who knows these two gets the keys.
CONTAINER_PATH: Final = _text(
    "aws-container-credentials-relative-uri",
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",),
    "where a container's agent gives credentials (set by ECS)",
    secret=True,
)
CONTAINER_URL: Final = _address(
    "aws-container-credentials-full-uri",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "the same as a whole address (set by EKS)",
    secret=True,
)
CONTAINER_TOKEN: Final = _text(
    "aws-container-authorization-token",
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN",),
    "what is shown to a container's agent",
    secret=True,
)
CONTAINER_TOKEN_FILE: Final = _file(
    "aws-container-authorization-token-file",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "file with what is shown to a container's agent (set by EKS)",
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
    REQUESTER_PAYS,
    PROFILE,
    CREDENTIALS_FILE,
    CONFIG_FILE,
    PROCESS,
    TOKEN_FILE,
    ROLE,
    SESSION_NAME,
    STS_ENDPOINT,
    CONTAINER_PATH,
    CONTAINER_URL,
    CONTAINER_TOKEN,
    CONTAINER_TOKEN_FILE,
    METADATA,
)
