"""Every variable of S3 ends in the configuration that obstore is given, and bad ones are told with a hint."""

from pathlib import Path

import pytest

from wal_e.config import Settings, load
from wal_e.errors import Misconfigured, UsageError
from wal_e.store.drivers.s3 import driver as s3
from wal_e.store.drivers.s3.driver import (
    OPTIONS,
    STORAGE_CLASSES,
    Endpoint,
    client_options,
    parse_endpoint,
    s3_config,
)
from wal_e.store.url import ArchiveUrl

KEYS = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret"}
AWS = KEYS | {"AWS_REGION": "eu-west-1"}
SAFE = {"checksum_algorithm": "SHA256", "conditional_put": "etag", "skip_signature": False, "unsigned_payload": False}


def settings(variables: dict[str, str]) -> Settings:
    return load(OPTIONS, environ=variables)


def config(variables: dict[str, str], bucket: str = "bucket") -> dict[str, object]:
    return s3_config(bucket, settings(variables))


def test_the_shortest_working_set() -> None:
    assert config(AWS) == SAFE | {
        "access_key_id": "AKIA",
        "secret_access_key": "secret",
        "region": "eu-west-1",
        "virtual_hosted_style_request": True,
    }


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({"AWS_SESSION_TOKEN": "t"}, {"session_token": "t"}),
        ({"AWS_SECURITY_TOKEN": "old"}, {"session_token": "old"}),
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
        ({"AWS_ROLE_ARN": "arn:r"}, {"role_arn": "arn:r"}),
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/t"}, {"web_identity_token_file": "/t"}),
        ({"AWS_ROLE_SESSION_NAME": "n"}, {"role_session_name": "n"}),
        ({"AWS_ENDPOINT_URL_STS": "https://sts"}, {"aws_endpoint_url_sts": "https://sts"}),
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://m"}, {"metadata_endpoint": "http://m"}),
        (
            {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/x"},
            {"container_credentials_relative_uri": "/v2/x"},
        ),
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
    ],
)
def test_missing_and_contradicting_settings(variables: dict[str, str], message: str) -> None:
    with pytest.raises(Misconfigured, match=message) as caught:
        config(variables)
    assert caught.value.hint


@pytest.mark.parametrize(
    "variables",
    [
        {"AWS_INSTANCE_PROFILE": "1", "AWS_REGION": "r"},
        {"AWS_ROLE_ARN": "r", "AWS_WEB_IDENTITY_TOKEN_FILE": "/f", "AWS_REGION": "r"},
        {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2", "AWS_REGION": "r"},
    ],
)
def test_credentials_that_obstore_fetches_need_no_key(variables: dict[str, str]) -> None:
    assert "access_key_id" not in config(variables)


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
