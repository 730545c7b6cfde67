"""Before there is an archive: which addresses drivers name, and what answers to the making of a bucket mean."""

from collections.abc import Mapping

import pytest

from tests.store.pages import served
from wal_e.config import load
from wal_e.errors import Denied, Misconfigured, StoreError, Unavailable, UsageError
from wal_e.store.endpoint import Endpoint
from wal_e.store.registry import driver_for
from wal_e.store.url import parse_url

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
REGION = {"AWS_REGION": "eu-central-1"}
ROLE = {"AWS_ROLE_ARN": "arn:x", "AWS_WEB_IDENTITY_TOKEN_FILE": "/token"}
APPLICATION = {"AZURE_CLIENT_ID": "i", "AZURE_CLIENT_SECRET": "s", "AZURE_TENANT_ID": "t"}
ACCOUNT = {"WABS_ACCOUNT_NAME": "me"}
NO_BUCKET = 404, "<Error><Code>NoSuchBucket</Code><Message>no</Message></Error>"
NO_CONTAINER = 404, "<Error><Code>ContainerNotFound</Code><Message>no</Message></Error>"


@pytest.mark.parametrize(
    ("address", "variables", "expected"),
    [
        ("s3://b", KEYS | REGION, "https://b.s3.eu-central-1.amazonaws.com"),
        ("s3://a.b", KEYS | REGION, "https://s3.eu-central-1.amazonaws.com"),
        ("s3://b", KEYS | REGION | {"WALE_S3_ADDRESSING": "path"}, "https://s3.eu-central-1.amazonaws.com"),
        ("s3://b", KEYS | {"WALE_S3_ENDPOINT": "https+path://host:9000"}, "https://host:9000"),
        ("s3://b", KEYS | {"WALE_S3_ENDPOINT": "http+subdomain://host:9000"}, "http://b.host:9000"),
        ("s3://b", REGION | {"AWS_INSTANCE_PROFILE": "true"}, "http://169.254.169.254"),
        ("s3://b", REGION | ROLE, "https://sts.eu-central-1.amazonaws.com"),
        ("s3://b", REGION | {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/keys"}, "http://169.254.170.2"),
        ("wabs://c", ACCOUNT | {"WABS_ACCESS_KEY": "aw=="}, "https://me.blob.core.windows.net"),
        ("wabs://c", ACCOUNT | {"WABS_SAS_TOKEN": "sig=x", "WABS_ENDPOINT": "http://host/me"}, "http://host/me"),
        ("wabs://c", ACCOUNT, "http://169.254.169.254"),
        ("wabs://c", ACCOUNT | APPLICATION, "https://login.microsoftonline.com"),
        ("gs://b", {"STORAGE_EMULATOR_HOST": "http://host:1"}, "http://host:1"),
    ],
)
def test_the_address_that_is_looked_at_first(address: str, variables: Mapping[str, str], expected: str) -> None:
    driver = driver_for(address.partition(":")[0])
    found = driver.endpoints(parse_url(address), load(driver.options(), environ=variables))
    assert found is not None
    first = next(found)
    assert isinstance(first, Endpoint)
    assert first.url == expected
    found.close()


def created(address: str, variables: Mapping[str, str]) -> bool:
    driver = driver_for(address.partition(":")[0])
    return driver.create_container(parse_url(address), load(driver.options(), environ=variables))


@pytest.mark.parametrize(
    ("host", "region", "body"),
    [
        ("s3.eu-central-1.amazonaws.com", "eu-central-1", "<LocationConstraint>eu-central-1</LocationConstraint>"),
        ("s3.us-east-1.amazonaws.com", "us-east-1", ""),
        ("s3.example.invalid", "eu-central-1", ""),
    ],
)
def test_a_bucket_of_amazon_is_made_in_the_region_that_is_set(
    monkeypatch: pytest.MonkeyPatch, host: str, region: str, body: str
) -> None:
    with served(lambda method, _path: (200, "") if method == "PUT" else NO_BUCKET) as seen:
        monkeypatch.setenv("http_proxy", seen.url)
        monkeypatch.delenv("no_proxy", raising=False)
        variables = KEYS | {"AWS_ENDPOINT_URL": f"http://{host}", "AWS_REGION": region}
        assert created("s3://bucket/main", variables)
    ((_, path, sent),) = [request for request in seen.requests if request[0] == "PUT"]
    assert path.startswith(f"http://{host}/bucket?X-Amz-")
    assert f"%2F{region}%2Fs3%2F" in path
    assert (body in sent) is True
    assert bool(sent) is bool(body)


def refusal(status: int, code: str) -> tuple[int, str]:
    return status, f"<Error><Code>{code}</Code><Message>no</Message></Error>"


@pytest.mark.parametrize(
    ("address", "answer", "expected"),
    [
        ("s3://b", refusal(409, "BucketAlreadyOwnedByYou"), False),
        ("s3://b", refusal(409, "BucketAlreadyExists"), Denied),
        ("s3://b", refusal(403, "AccessDenied"), Denied),
        ("s3://b", refusal(400, "InvalidBucketName"), Misconfigured),
        ("s3://b", refusal(503, "SlowDown"), StoreError),
        ("s3://b", (301, ""), Misconfigured),
        ("wabs://c", refusal(409, "ContainerAlreadyExists"), False),
        ("wabs://c", refusal(409, "ContainerBeingDeleted"), Misconfigured),
        ("wabs://c", refusal(403, "AuthorizationPermissionMismatch"), Denied),
        ("wabs://c", refusal(500, "InternalError"), Unavailable),
    ],
)
def test_what_an_answer_to_the_making_means(
    address: str, answer: tuple[int, str], expected: bool | type[StoreError]
) -> None:
    absent = NO_BUCKET if address.startswith("s3:") else NO_CONTAINER
    with served(lambda method, _path: answer if method == "PUT" else absent) as seen:
        variables = KEYS | {"AWS_ENDPOINT_URL": seen.url}
        variables |= ACCOUNT | {"WABS_ENDPOINT": f"{seen.url}/me", "WABS_SAS_TOKEN": "sv=1&sig=sIgNaTuRe"}
        if isinstance(expected, bool):
            assert created(address, variables) is expected
            return
        with pytest.raises(expected) as caught:
            created(address, variables)
    error = caught.value
    assert not isinstance(error, Denied) or error.hint
    assert "X-Amz" not in f"{error} {error.detail} {error.hint}"
    assert "sIgNaTuRe" not in f"{error} {error.detail} {error.hint}"


def test_nothing_is_made_where_nobody_can_tell_what_is_there() -> None:
    with served(lambda *_: refusal(403, "AccessDenied")) as seen:
        assert not created("s3://b/main", KEYS | {"AWS_ENDPOINT_URL": seen.url})
    assert {method for method, *_ in seen.requests} == {"GET"}


def test_an_endpoint_that_is_the_buckets_own_makes_none() -> None:
    with served(lambda *_: NO_BUCKET) as seen, pytest.raises(StoreError) as caught:
        created("s3://localhost", KEYS | {"WALE_S3_ENDPOINT": seen.url.replace("http:", "http+virtualhost:")})
    assert "WALE_S3_ENDPOINT" in (caught.value.hint or "")


def test_a_bucket_of_google_needs_a_project() -> None:
    absent = 404, '{"error": {"message": "The specified bucket does not exist.", "errors": [{"reason": "notFound"}]}}'
    with served(lambda *_: absent) as seen, pytest.raises(UsageError) as caught:
        created("gs://b", {"STORAGE_EMULATOR_HOST": seen.url})
    assert "GOOGLE_CLOUD_PROJECT" in (caught.value.hint or "")
