"""Every variable of S3 ends in the configuration that obstore is given, and bad ones are told with a hint."""

from functools import partial
from pathlib import Path

import pytest

from wal_e.config import Settings, load
from wal_e.errors import Misconfigured, UsageError
from wal_e.store.drivers.s3 import driver as s3
from wal_e.store.drivers.s3.driver import client_options, s3_config
from wal_e.store.drivers.s3.fetch import container_keys, instance_keys, process_keys, role_keys
from wal_e.store.drivers.s3.keys import Keys
from wal_e.store.drivers.s3.logins import find_login
from wal_e.store.drivers.s3.options import OPTIONS, STORAGE_CLASSES, Endpoint, parse_endpoint
from wal_e.store.url import ArchiveUrl

KEYS = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret"}
AWS = KEYS | {"AWS_REGION": "eu-west-1"}
WEB = {"AWS_ROLE_ARN": "arn:r", "AWS_WEB_IDENTITY_TOKEN_FILE": "/token"}
SAFE = {"checksum_algorithm": "SHA256", "conditional_put": "etag", "skip_signature": False, "unsigned_payload": False}


def settings(variables: dict[str, str]) -> Settings:
    return load(OPTIONS, environ=variables)


def config(variables: dict[str, str], bucket: str = "bucket") -> dict[str, object]:
    return s3_config(bucket, settings(variables))


def test_the_shortest_working_set() -> None:
    assert config(AWS) == SAFE | {"region": "eu-west-1", "virtual_hosted_style_request": True}
    assert find_login(settings(AWS)).fetch() == Keys("AKIA", "secret")


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({"AWS_REGION": "", "AWS_DEFAULT_REGION": "us-west-2"}, {"region": "us-west-2"}),
        ({"WALE_S3_SSE": "aes256"}, {"server_side_encryption": "AES256"}),
        (
            {"WALE_S3_SSE_KMS_KEY_ID": "arn:k"},
            {"server_side_encryption": "aws:kms", "sse_kms_key_id": "arn:k"},
        ),
        (
            {"AWS_SERVER_SIDE_ENCRYPTION": "aws:kms:dsse", "AWS_SSE_KMS_KEY_ID": "k"},
            {"server_side_encryption": "aws:kms:dsse", "sse_kms_key_id": "k"},
        ),
        ({"WALE_S3_ADDRESSING": "path"}, {"virtual_hosted_style_request": False}),
        ({"WALE_S3_REQUESTER_PAYS": "true"}, {"request_payer": True}),
        ({"AWS_REQUEST_PAYER": "requester"}, {"request_payer": True}),
        ({"AWS_REQUEST_PAYER": "false"}, {"request_payer": None}),
    ],
)
def test_each_variable_is_handed_on(variables: dict[str, str], wanted: dict[str, object]) -> None:
    got = config(AWS | variables)
    s3.open_driver(ArchiveUrl("s3", "bucket", ""), settings(AWS | variables))  # obstore knows all the names
    assert {name: got.get(name) for name in wanted} == wanted


@pytest.mark.parametrize(
    ("text", "style", "address"),
    [
        ("http+path://h:8080", "path", "http://h:8080"),
        ("https+path://h", "path", "https://h"),
        ("https+subdomain://h:1", "subdomain", "https://bucket.h:1"),
        ("https+virtualhost://h:1", "virtualhost", "https://bucket:1"),
        ("http+virtualhost://h", "virtualhost", "http://bucket"),
        ("http+path://[::1]:9", "path", "http://[::1]:9"),
        ("https+virtualhost://[::1]:9", "virtualhost", "https://bucket:9"),
        ("https://h/", "", "https://h"),
    ],
)
def test_the_originals_endpoints(text: str, style: str, address: str) -> None:
    endpoint = parse_endpoint(text)
    assert endpoint.style == style
    assert endpoint.address("bucket") == address
    got = config(KEYS | {"WALE_S3_ENDPOINT": text})
    assert got["endpoint"] == got["aws_endpoint_url_s3"] == address
    assert got["virtual_hosted_style_request"] == (style in {"subdomain", "virtualhost"})
    assert got["region"] == "us-east-1"
    assert client_options(settings({"WALE_S3_ENDPOINT": text})) == {"allow_http": text.startswith("http+")}


def test_the_originals_endpoint_beats_those_of_awss_tools() -> None:
    both = {"AWS_ENDPOINT_URL": "https://c", "AWS_ENDPOINT_URL_S3": "https://b"}
    assert config(KEYS | both)["endpoint"] == "https://b"
    assert config(KEYS | both | {"WALE_S3_ENDPOINT": "https+path://a"})["endpoint"] == "https://a"
    assert config(KEYS | {"AWS_ENDPOINT_URL": "https://c", "WALE_S3_ADDRESSING": "subdomain"})["endpoint"] == (
        "https://bucket.c"
    )


@pytest.mark.parametrize(
    "text",
    ["h:80", "ftp://h", "https+other://h", "https+path://u:p@h", "https+path://h/path", "https+path://h?q", "https://"],
)
def test_other_endpoints_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_endpoint(text)
    assert caught.value.hint


def test_a_bucket_with_dots_goes_into_the_path_as_no_certificate_fits_it() -> None:
    assert config(AWS, "my.bucket")["virtual_hosted_style_request"] is False


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"AWS_REGION": "r"}, "no credentials for S3 are set"),
        ({"AWS_ACCESS_KEY_ID": "k", "AWS_REGION": "r"}, "half of the access key is missing"),
        ({"AWS_SECRET_ACCESS_KEY": "k", "AWS_REGION": "r"}, "half of the access key is missing"),
        (AWS | {"AWS_INSTANCE_PROFILE": "true"}, "both an access key and the instance's profile are set"),
        (KEYS, "no region of S3 is set"),
        ({"AWS_ROLE_ARN": "r", "AWS_REGION": "r"}, "no credentials for S3 are set"),
        (WEB | {"AWS_ENDPOINT_URL": "https://h"}, "no region is set for the Security Token Service"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://10.0.0.1/x", "AWS_REGION": "r"}, "not asked for without TLS"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169x254.170.2/x", "AWS_REGION": "r"}, "without TLS"),
    ],
)
def test_missing_and_contradicting_settings(variables: dict[str, str], message: str) -> None:
    with pytest.raises(Misconfigured, match=message) as caught:
        s3.open_driver(ArchiveUrl("s3", "bucket", ""), settings(variables))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        (KEYS | {"AWS_SESSION_TOKEN": "t"}, Keys("AKIA", "secret", "t")),
        (KEYS | {"AWS_SECURITY_TOKEN": "old"}, Keys("AKIA", "secret", "old")),
        (KEYS | WEB | {"AWS_REGION": "r"}, Keys("AKIA", "secret")),
    ],
)
def test_keys_that_are_set_sign(variables: dict[str, str], wanted: Keys) -> None:
    assert find_login(settings(variables)).fetch() == wanted


@pytest.mark.parametrize(
    ("variables", "wanted", "address"),
    [
        ({"AWS_INSTANCE_PROFILE": "1"}, instance_keys, "http://169.254.169.254"),
        (WEB | {"AWS_INSTANCE_PROFILE": "1"}, instance_keys, "http://169.254.169.254"),
        (WEB | {"AWS_REGION": "eu-west-1"}, role_keys, "https://sts.eu-west-1.amazonaws.com"),
        (WEB | {"AWS_REGION": "cn-north-1"}, role_keys, "https://sts.cn-north-1.amazonaws.com.cn"),
        (WEB | {"AWS_ENDPOINT_URL_STS": "http://sts:1/"}, role_keys, "http://sts:1"),
        ({"WALE_AWS_CREDENTIAL_PROCESS": "give me"}, process_keys, "give me"),
        (
            {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/x"},
            container_keys,
            "http://169.254.170.2/v2/x",
        ),
        (
            {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/c"},
            container_keys,
            "http://169.254.170.23/v1/c",
        ),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://[::1]:1/c"}, container_keys, "http://[::1]:1/c"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "https://any/c"}, container_keys, "https://any/c"),
    ],
)
def test_who_gives_the_keys_and_where(variables: dict[str, str], wanted: object, address: str) -> None:
    login = find_login(settings(variables))
    assert isinstance(login.fetch, partial)
    assert login.fetch.func is wanted
    assert address in login.fetch.args
    assert bool(login.who) == bool(login.address) == (wanted is not process_keys)
    assert address.startswith(login.address)
    assert "/" not in login.address.partition("://")[2]


@pytest.mark.parametrize(
    "variables",
    [
        {"WALE_S3_STORAGE_CLASS": "COLD"},
        {"WALE_S3_SSE": "rot13"},
        {"AWS_INSTANCE_PROFILE": "maybe"},
        {"WALE_S3_ADDRESSING": "x"},
    ],
)
def test_bad_values_name_their_variable(variables: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=next(iter(variables))) as caught:
        s3.open_driver(ArchiveUrl("s3", "bucket", ""), settings(AWS | variables))
    assert caught.value.hint


@pytest.mark.parametrize("name", STORAGE_CLASSES)
def test_the_storage_class_goes_along_with_every_object(name: str) -> None:
    store = s3.open_driver(ArchiveUrl("s3", "bucket", ""), settings(AWS | {"WALE_S3_STORAGE_CLASS": name.lower()}))
    assert store._kind.attributes == {"Storage-Class": name}


def test_certificates_that_are_none_are_told(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    for prepare in (lambda: None, lambda: file.write_text("junk")):
        prepare()
        with pytest.raises(Misconfigured) as caught:
            s3.open_driver(ArchiveUrl("s3", "bucket", ""), settings(AWS | {"AWS_CA_BUNDLE": str(file)}))
        assert caught.value.hint


def test_creating_is_atomic_where_that_is_known() -> None:
    for variables, atomic in ((AWS, True), (KEYS | {"AWS_ENDPOINT_URL": "https://h"}, False)):
        store = s3.open_driver(ArchiveUrl("s3", "bucket", ""), settings(variables))
        assert store.capabilities.atomic_create is atomic


def test_an_endpoint_without_a_style_is_a_value() -> None:
    assert parse_endpoint("https://h") == Endpoint("https", "h")
