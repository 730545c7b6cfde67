"""
Azure Blob Storage: its options, and how they become obstore's.

Azure is not told a checksum of what is sent (obstore has no way to), so on the way in only TLS guards it; on the way
back the checksum that was stored along does.
"""

from functools import partial
from typing import Any, Final

from wal_e.config import AnyOption, Option, Settings, parse_text
from wal_e.errors import Misconfigured, UsageError
from wal_e.store.api import PATIENCE, Capabilities, Store
from wal_e.store.drivers.azure_login import failed_login
from wal_e.store.drivers.endpoint import parse_address, read_certificates
from wal_e.store.drivers.fresh_login import FreshLogin
from wal_e.store.drivers.object_clients import import_obstore
from wal_e.store.drivers.object_errors import Service
from wal_e.store.drivers.object_store import MAX_OBJECT, Kind, ObjectStore, open_object_store
from wal_e.store.url import ArchiveUrl

GROUP: Final = "Azure Blob Storage"
BATCH: Final = 256  # a blob batch takes no more
LIST_PAGE: Final = 5_000


def _text(name: str, variables: tuple[str, ...], help_text: str, *, secret: bool = False) -> Option[str]:
    return Option(name, variables, help_text, "", parse_text, secret=secret, group=GROUP)


def parse_connection(text: str) -> dict[str, str]:
    """Reads a connection string, `AccountName=...;AccountKey=...`, into its parts; keys in lower case."""
    parts = [part.partition("=") for part in text.split(";") if part.strip()]
    if not parts or not all(equals for _, equals, _ in parts):
        raise UsageError("it is not a connection string", hint="It looks like AccountName=...;AccountKey=...")
    return {name.strip().lower(): value.strip() for name, _, value in parts}


ACCOUNT: Final = Option(
    "wabs-account-name",
    ("WABS_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"),
    "storage account",
    "",
    parse_text,
    group=GROUP,
    short="a",
)
ACCESS_KEY: Final = _text(
    "wabs-access-key",
    ("WABS_ACCESS_KEY", "AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_KEY"),
    "key of the account",
    secret=True,
)
SAS_TOKEN: Final = _text(
    "wabs-sas-token", ("WABS_SAS_TOKEN", "AZURE_STORAGE_SAS_TOKEN"), "shared access signature", secret=True
)
CONNECTION: Final[Option[dict[str, str] | None]] = Option(
    "wabs-connection-string",
    ("AZURE_STORAGE_CONNECTION_STRING",),
    "account, key or signature, and endpoint in one text; what is set by itself beats it",
    None,
    parse_connection,
    secret=True,
    group=GROUP,
)
ENDPOINT: Final[Option[str | None]] = Option(
    "wabs-endpoint",
    ("WABS_ENDPOINT", "AZURE_STORAGE_ENDPOINT"),
    "address of the account's blob service, if not https://ACCOUNT.blob.core.windows.net",
    None,
    parse_address,
    metavar="URL",
    group=GROUP,
)
CLIENT_ID: Final = _text("azure-client-id", ("AZURE_CLIENT_ID",), "application, or user-assigned managed identity")
CLIENT_SECRET: Final = _text("azure-client-secret", ("AZURE_CLIENT_SECRET",), "secret of the application", secret=True)
TENANT_ID: Final = _text("azure-tenant-id", ("AZURE_TENANT_ID",), "tenant of the application")
TOKEN_FILE: Final = _text(
    "azure-federated-token-file", ("AZURE_FEDERATED_TOKEN_FILE",), "file with a workload identity's token"
)
AUTHORITY: Final[Option[str | None]] = Option(
    "azure-authority-host",
    ("AZURE_AUTHORITY_HOST",),
    "login service, if not the public cloud's",
    None,
    parse_address,
    metavar="URL",
    group=GROUP,
)
IDENTITY_ENDPOINT: Final[Option[str | None]] = Option(
    "azure-identity-endpoint",
    ("AZURE_MSI_ENDPOINT", "IDENTITY_ENDPOINT"),
    "service that gives the tokens of a managed identity, if elsewhere",
    None,
    parse_address,
    metavar="URL",
    group=GROUP,
)
CACERT: Final = Option(
    "wabs-cacert",
    ("WALE_WABS_CACERT",),
    "file with certificates of authorities to trust, besides the system's",
    "",
    parse_text,
    metavar="FILE",
    group=GROUP,
)
OPTIONS: Final[tuple[AnyOption, ...]] = (
    ACCOUNT,
    ACCESS_KEY,
    SAS_TOKEN,
    CONNECTION,
    ENDPOINT,
    CLIENT_ID,
    CLIENT_SECRET,
    TENANT_ID,
    TOKEN_FILE,
    AUTHORITY,
    IDENTITY_ENDPOINT,
    CACERT,
)
_IDENTITY: Final[dict[str, AnyOption]] = {
    "client_id": CLIENT_ID,
    "client_secret": CLIENT_SECRET,
    "tenant_id": TENANT_ID,
    "federated_token_file": TOKEN_FILE,
    "authority_host": AUTHORITY,
    "msi_endpoint": IDENTITY_ENDPOINT,
}


def azure_config(settings: Settings) -> dict[str, Any]:
    """
    Return obstore's configuration of an account.

    A key beats a signature, and both an identity; where none is set, the machine's managed identity is asked. Raises
    `Misconfigured` where no account is set.
    """
    said = settings[CONNECTION] or {}
    account = settings[ACCOUNT] or said.get("accountname", "")
    if not account:
        raise Misconfigured("no storage account of Azure is set", hint="Set WABS_ACCOUNT_NAME.")
    config: dict[str, Any] = {"account_name": account, "skip_signature": False}
    endpoint = _endpoint(account, settings, said)
    if endpoint:
        config["endpoint"] = endpoint
    key = settings[ACCESS_KEY] or said.get("accountkey", "")
    signature = (settings[SAS_TOKEN] or said.get("sharedaccesssignature", "")).lstrip("?")
    if key:
        return config | {"account_key": key, "credential_type": "access_key"}
    if signature:
        return config | {"sas_key": signature, "credential_type": "sas_token"}
    identity = {name: settings[option] for name, option in _IDENTITY.items() if settings[option]}
    return config | identity | {"credential_type": _identity_type(identity)}


def _identity_type(identity: dict[str, object]) -> str:
    if "client_secret" in identity:
        return "client_secret"
    return "workload_identity" if "federated_token_file" in identity else "managed_identity"


def _endpoint(account: str, settings: Settings, said: dict[str, str]) -> str:
    own = settings[ENDPOINT] or said.get("blobendpoint", "").rstrip("/")
    suffix = said.get("endpointsuffix")
    if own or not suffix:
        return own
    return f"{said.get('defaultendpointsprotocol', 'https')}://{account}.blob.{suffix}"


def service_of(container: str) -> Service:
    """Return how errors about a container are worded."""
    return Service(
        label="Azure",
        noun=f'container "{container}"',
        create_hint=f"az storage container create --name {container}",
        denied_hint="Check the key or the signature, which may have ended, and the role of the identity: Storage Blob "
        "Data Contributor.",
        tls_hint="Set WALE_WABS_CACERT to the file with the authority's certificate, and check the endpoint's address.",
    )


def open_driver(url: ArchiveUrl, settings: Settings, patience: float = PATIENCE) -> Store:
    """Return the container of an address; raises `Misconfigured` where settings are missing or cannot be used."""
    config = azure_config(settings)
    open_container = partial(_open_container, url.container, config, settings, patience)
    own_secret = config["credential_type"] in {"access_key", "sas_token"}
    return open_container() if own_secret else FreshLogin(open_container)


def _open_container(container: str, config: dict[str, Any], settings: Settings, patience: float) -> ObjectStore:
    service = service_of(container)
    kind = Kind(
        service,
        Capabilities(atomic_create=True, max_object=MAX_OBJECT, list_page=LIST_PAGE),
        batch=BATCH,
        failed_login=partial(failed_login, service=service),
    )
    options: dict[str, Any] = {"allow_http": config.get("endpoint", "").startswith("http://")}
    if settings[CACERT]:
        options["root_certificate"] = read_certificates(settings[CACERT], CACERT.variables[0])
    make = partial(import_obstore(service.label).store.AzureStore, container, config=config)
    return open_object_store(container, kind, make, options, patience)
