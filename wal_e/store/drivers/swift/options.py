"""What a user can set about Swift, under the names that the original, WAL-G and the OpenStack tools read."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from wal_e.config import AnyOption, Option, Settings, parse_bool, parse_text

GROUP: Final = "OpenStack Swift"


def parse_interface(text: str) -> str:
    """Reads `publicURL`, and `public`, which is the same to newer tools of OpenStack."""
    return text.removesuffix("URL")


def _text(
    name: str,
    variables: tuple[str, ...],
    help_text: str,
    *,
    parse: Callable[[str], str] = parse_text,
    secret: bool = False,
) -> Option[str]:
    return Option(f"swift-{name}", variables, help_text, "", parse, secret=secret, group=GROUP)


INSECURE: Final = Option(
    "swift-insecure",
    ("SWIFT_INSECURE", "OS_INSECURE"),
    "believe any certificate",
    default=False,
    parse=parse_bool,
    group=GROUP,
    switch=True,
)

# By the field of `SwiftOptions` that each one fills.
TEXTS: Final = {
    "auth_url": _text("auth-url", ("SWIFT_AUTHURL", "OS_AUTH_URL"), "address of Keystone, or of auth v1"),
    "user": _text("user", ("SWIFT_USER", "OS_USERNAME"), "user, or tenant:user where no tenant is set"),
    "password": _text("password", ("SWIFT_PASSWORD", "OS_PASSWORD"), "password, or the key of auth v1", secret=True),
    "tenant": _text(
        "tenant", ("SWIFT_TENANT", "OS_TENANT_NAME"), "tenant of v2.0; the project of v3 where none is set"
    ),
    "tenant_id": _text("tenant-id", ("SWIFT_TENANT_ID", "OS_TENANT_ID"), "tenant, by id"),
    "region": _text("region", ("SWIFT_REGION", "OS_REGION_NAME"), "region; the first of the catalog where none is set"),
    "endpoint_type": _text(
        "endpoint-type",
        ("SWIFT_ENDPOINT_TYPE", "OS_ENDPOINT_TYPE", "OS_INTERFACE"),
        "publicURL, internalURL or adminURL; publicURL where none is set",
        parse=parse_interface,
    ),
    "auth_version": _text(
        "auth-version",
        ("SWIFT_AUTH_VERSION", "OS_IDENTITY_API_VERSION"),
        "1, 2 or 3; else what the address ends in, else 3 where a project or a domain is set, else 2",
    ),
    "user_id": _text("user-id", ("SWIFT_USER_ID", "OS_USER_ID"), "user, by id"),
    "user_domain_id": _text(
        "user-domain-id", ("SWIFT_USER_DOMAIN_ID", "OS_USER_DOMAIN_ID"), "domain of the user, by id"
    ),
    "user_domain_name": _text(
        "user-domain-name", ("SWIFT_USER_DOMAIN_NAME", "OS_USER_DOMAIN_NAME"), "domain of the user"
    ),
    "project_id": _text("project-id", ("SWIFT_PROJECT_ID", "OS_PROJECT_ID"), "project of v3, by id"),
    "project_name": _text("project-name", ("SWIFT_PROJECT_NAME", "OS_PROJECT_NAME"), "project of v3"),
    "project_domain_id": _text(
        "project-domain-id", ("SWIFT_PROJECT_DOMAIN_ID", "OS_PROJECT_DOMAIN_ID"), "domain of the project, by id"
    ),
    "project_domain_name": _text(
        "project-domain-name", ("SWIFT_PROJECT_DOMAIN_NAME", "OS_PROJECT_DOMAIN_NAME"), "domain of the project"
    ),
    "cacert": _text("cacert", ("SWIFT_CACERT", "OS_CACERT"), "file with the certificate of the authority to trust"),
    "storage_url": _text(
        "storage-url", ("SWIFT_STORAGE_URL", "OS_STORAGE_URL"), "address of the account, in place of the catalog's"
    ),
    "auth_token": _text(
        "auth-token", ("SWIFT_AUTH_TOKEN", "OS_AUTH_TOKEN"), "a token that was issued already", secret=True
    ),
    "application_credential_id": _text(
        "application-credential-id",
        ("SWIFT_APPLICATION_CREDENTIAL_ID", "OS_APPLICATION_CREDENTIAL_ID"),
        "application credential of v3",
    ),
    "application_credential_secret": _text(
        "application-credential-secret",
        ("SWIFT_APPLICATION_CREDENTIAL_SECRET", "OS_APPLICATION_CREDENTIAL_SECRET"),
        "secret of the application credential",
        secret=True,
    ),
    "service_type": _text(
        "service-type", ("SWIFT_SERVICE_TYPE", "OS_SERVICE_TYPE"), "type in the catalog; object-store where none is set"
    ),
    "cloud": _text("cloud", ("OS_CLOUD",), "a cloud of clouds.yaml, for where no address is set"),
    "clouds_file": _text(
        "clouds-file", ("OS_CLIENT_CONFIG_FILE",), "the clouds.yaml to read, in place of the usual places"
    ),
}
OPTIONS: Final[tuple[AnyOption, ...]] = (*TEXTS.values(), INSECURE)


@dataclass(frozen=True, slots=True)
class SwiftOptions:
    """The settings of one Swift archive; an empty text means that it is not set."""

    auth_url: str = ""
    user: str = ""
    password: str = ""
    tenant: str = ""
    tenant_id: str = ""
    region: str = ""
    endpoint_type: str = ""
    auth_version: str = ""
    user_id: str = ""
    user_domain_id: str = ""
    user_domain_name: str = ""
    project_id: str = ""
    project_name: str = ""
    project_domain_id: str = ""
    project_domain_name: str = ""
    cacert: str = ""
    insecure: bool = False
    storage_url: str = ""
    auth_token: str = ""
    application_credential_id: str = ""
    application_credential_secret: str = ""
    service_type: str = ""
    cloud: str = ""
    clouds_file: str = ""

    @classmethod
    def of(cls, settings: Settings) -> "SwiftOptions":
        """Return what the user has set."""
        texts: dict[str, Any] = {field: settings[option] for field, option in TEXTS.items()}
        return cls(**texts, insecure=settings[INSECURE])

    def but(self, **changes: Any) -> "SwiftOptions":
        """Return the settings with some of them changed."""
        return replace(self, **changes)
