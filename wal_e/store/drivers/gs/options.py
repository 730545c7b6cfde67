"""What a user can set about Google Cloud Storage, under the names that Google's own tools read."""

from typing import Final

from wal_e.config import AnyOption, Option, parse_choice, parse_text
from wal_e.store.drivers.endpoint import parse_address

GROUP: Final = "Google Cloud Storage"

CREDENTIALS: Final = Option(
    "gs-application-credentials",
    ("GOOGLE_APPLICATION_CREDENTIALS",),
    "file with the credentials; where none is set, those of gcloud, then the machine's own",
    "",
    parse_text,
    metavar="FILE",
    group=GROUP,
)
ENDPOINT: Final[Option[str | None]] = Option(
    "gs-endpoint",
    ("WALE_GS_ENDPOINT",),
    "address of the service, if not https://storage.googleapis.com",
    None,
    parse_address,
    metavar="URL",
    group=GROUP,
)
EMULATOR: Final[Option[str | None]] = Option(
    "gs-emulator",
    ("STORAGE_EMULATOR_HOST",),
    "address of an emulator, which is used without credentials",
    None,
    parse_address,
    metavar="URL",
    group=GROUP,
)
STORAGE_CLASS: Final[Option[str | None]] = Option(
    "gs-storage-class",
    ("WALE_GS_STORAGE_CLASS",),
    "storage class of what is stored; the bucket's own where none is set",
    None,
    parse_choice("STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"),
    metavar="CLASS",
    group=GROUP,
)
KMS_KEY: Final = Option(
    "gs-kms-key", ("WALE_GS_KMS_KEY",), "key that the service encrypts with", "", parse_text, group=GROUP
)
PROJECT: Final = Option(
    "gs-project",
    ("GOOGLE_CLOUD_PROJECT",),
    "project in which `check --create` makes the bucket; that of the credentials where none is set",
    "",
    parse_text,
    group=GROUP,
)
LOCATION: Final = Option(
    "gs-location",
    ("WALE_GS_LOCATION",),
    "location of the bucket that `check --create` makes; Google's default (US) where none is set",
    "",
    parse_text,
    group=GROUP,
)
CACERT: Final = Option(
    "gs-cacert",
    ("WALE_GS_CACERT", "REQUESTS_CA_BUNDLE"),
    "file with the certificates of the authorities to trust, in place of the usual ones",
    "",
    parse_text,
    metavar="FILE",
    group=GROUP,
)
ACCESS_KEY_ID: Final = Option(
    "gs-access-key-id",
    ("GS_ACCESS_KEY_ID",),
    "accepted and without effect, as in the original: the credentials are those above",
    "",
    parse_text,
    group=GROUP,
)
OPTIONS: Final[tuple[AnyOption, ...]] = (
    CREDENTIALS,
    ENDPOINT,
    EMULATOR,
    STORAGE_CLASS,
    KMS_KEY,
    PROJECT,
    LOCATION,
    CACERT,
    ACCESS_KEY_ID,
)
