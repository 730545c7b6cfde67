"""
`wal-e check` where it gets no further than the way to S3, Azure or Google: one finding that fails, and soon.

The services here are pages of HTTP in this process; tests/e2e/test_check_buckets.py has the real ones.
"""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from lab.processes import free_ports
from tests.cli.conftest import Shell
from tests.maintain.test_checkup_network import certificate
from tests.store.pages import served

SOON = 10.0  # seconds
PROXIES = [f"{name}_proxy" for name in ("http", "https", "all", "no", "HTTP", "HTTPS", "ALL", "NO")]
Setting = Callable[[str], dict[str, str]]
"""Given the address of a service, the variables that name it."""


def s3(url: str) -> dict[str, str]:
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    return {"WALE_S3_PREFIX": "s3://bucket/main", "AWS_ENDPOINT_URL": url, **keys}


def azure(url: str) -> dict[str, str]:
    account = {"WABS_ACCOUNT_NAME": "me", "WABS_ACCESS_KEY": "c2VjcmV0"}
    return {"WALE_WABS_PREFIX": "wabs://bucket/main", "WABS_ENDPOINT": f"{url}/me", **account}


def google(url: str) -> dict[str, str]:
    return {"WALE_GS_PREFIX": "gs://bucket/main", "STORAGE_EMULATOR_HOST": url}


SETTINGS = {"s3": s3, "azure": azure, "google": google}


@pytest.fixture(params=SETTINGS)
def setting(request: pytest.FixtureRequest) -> Setting:
    return SETTINGS[request.param]


@dataclass
class Check:
    """Runs `wal-e check` with variables; the result is what did not go well, by name, with its text."""

    wal_e: Shell
    monkeypatch: pytest.MonkeyPatch

    def __call__(self, variables: dict[str, str], *words: str) -> dict[str, str]:
        for name in PROXIES:
            self.monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            self.monkeypatch.setenv(name, value)
        begun = time.monotonic()
        code, out, _ = self.wal_e("check", "--no-postgres", "--json", *words)
        assert time.monotonic() - begun < SOON
        found = json.loads(out)["findings"]
        bad = {one["name"]: f"{one['seen']} {one['hint']}" for one in found if one["verdict"] in {"failed", "warning"}}
        assert code == any(one["verdict"] == "failed" for one in found)
        assert all(one["hint"] for one in found if one["name"] in bad)
        assert "c2VjcmV0" not in out
        return bad


@pytest.fixture
def check(wal_e: Shell, monkeypatch: pytest.MonkeyPatch) -> Check:
    return Check(wal_e, monkeypatch)


@contextmanager
def page(
    status: int = 200, text: str = "<html>It works!</html>", *, ahead: timedelta = timedelta(), pem: Path | None = None
) -> Iterator[str]:
    """The address of a web server that answers all requests alike; see `served`."""
    with served(lambda _method, _path: (status, text), ahead=ahead, pem=pem) as found:
        yield found.url


def authority(directory: Path) -> tuple[Path, Path]:
    """The certificate of an authority, and a key with a certificate of its for localhost in one file."""
    mine, key, theirs = directory / "authority.pem", directory / "authority.key", directory / "server.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "100"]
    commands = (
        [*made, "-subj", "/CN=authority", "-keyout", key, "-out", mine],
        [
            *(*made, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-addext", "basicConstraints=critical,CA:FALSE", "-CA", mine, "-CAkey", key),
            *("-keyout", directory / "server.key", "-out", theirs),
        ],
    )
    for command in commands:
        subprocess.run(command, check=True, capture_output=True)
    theirs.write_text(theirs.read_text() + (directory / "server.key").read_text())
    return mine, theirs


def test_a_name_that_does_not_resolve(check: Check, setting: Setting) -> None:
    found = check(setting("http://two..dots:80"))
    assert list(found) == ["name"]
    assert "resolv.conf" in found["name"]


def test_nobody_at_the_port(check: Check, setting: Setting) -> None:
    (port,) = free_ports(1)
    found = check(setting(f"http://127.0.0.1:{port}"))
    assert list(found) == ["connection"]
    assert f"127.0.0.1:{port}" in found["connection"]


def test_a_proxy_that_is_away(check: Check, setting: Setting) -> None:
    (port,) = free_ports(1)
    found = check(setting("https://store.example.invalid") | {"https_proxy": f"http://user:c2VjcmV0@127.0.0.1:{port}"})
    assert list(found) == ["connection"]
    assert "the proxy at" in found["connection"]


def test_a_certificate_that_nobody_vouches_for(check: Check, setting: Setting, tmp_path: Path) -> None:
    with page(pem=certificate(tmp_path, 100)) as url:
        found = check(setting(url))
    assert list(found) == ["certificate"]
    assert "self-signed certificate" in found["certificate"]


@pytest.mark.parametrize("words", [(), ("--create",)])
def test_a_page_that_is_not_the_service(check: Check, setting: Setting, words: tuple[str, ...]) -> None:
    with page() as url:  # it may be a proxy's for a moment, so requests are repeated
        found = check(setting(url) | {"WALE_STORE_TIMEOUT": "1s"}, *words)
    assert list(found) == ["created" if words else "store"]
    assert "is not one of" in next(iter(found.values()))


def test_a_clock_that_is_twenty_minutes_off(check: Check, setting: Setting) -> None:
    with page(ahead=timedelta(minutes=20)) as url:
        found = check(setting(url), "--create")
    assert list(found) == ["clock"]
    assert " s behind the store" in found["clock"]
    assert "timedatectl" in found["clock"]


def test_a_signature_whose_time_is_refused_behind_a_proxy(check: Check) -> None:
    """Nobody looks behind a proxy before the first request, so the service's own refusal tells of the clock."""
    with page(403, "<Error><Code>RequestTimeTooSkewed</Code><Message>Too large.</Message></Error>") as url:
        found = check(s3("http://store.example.invalid") | {"http_proxy": url})
    assert list(found) == ["credentials"]
    assert "RequestTimeTooSkewed" in found["credentials"]
    assert "timedatectl" in found["credentials"]


@pytest.mark.parametrize(
    ("store", "variable", "code"),
    [(s3, "AWS_CA_BUNDLE", "InvalidAccessKeyId"), (azure, "WALE_WABS_CACERT", "AuthenticationFailed")],
)
def test_the_authority_of_a_private_service_is_trusted_besides_the_system(
    check: Check, tmp_path: Path, store: Callable[[str], dict[str, str]], variable: str, code: str
) -> None:
    trusted, pem = authority(tmp_path)
    with page(403, f"<Error><Code>{code}</Code><Message>No.</Message></Error>", pem=pem) as url:
        found = check(store(url) | {variable: str(trusted)}, "--create")
    assert list(found) == ["credentials"]
    assert code in found["credentials"]
    with page(ahead=timedelta(minutes=-20), pem=pem) as url:
        assert list(check(store(url) | {variable: str(trusted)})) == ["clock"]


@pytest.mark.parametrize(
    ("variables", "what"),
    [
        (
            {"AWS_INSTANCE_PROFILE": "true", "AWS_EC2_METADATA_SERVICE_ENDPOINT": "{closed}"},
            "the instance's metadata service",
        ),
        (
            {"AWS_ROLE_ARN": "arn:x", "AWS_WEB_IDENTITY_TOKEN_FILE": "/t", "AWS_ENDPOINT_URL_STS": "{closed}"},
            "the Security Token Service",
        ),
        ({"IDENTITY_ENDPOINT": "{closed}"}, "the machine's metadata service"),
        (
            {
                "AZURE_CLIENT_ID": "i",
                "AZURE_CLIENT_SECRET": "s",
                "AZURE_TENANT_ID": "t",
                "AZURE_AUTHORITY_HOST": "{closed}",
            },
            "the login service",
        ),
    ],
)
def test_who_gives_credentials_is_looked_at_first(check: Check, variables: dict[str, str], what: str) -> None:
    (port,) = free_ports(1)
    mine = {name: text.format(closed=f"http://127.0.0.1:{port}") for name, text in variables.items()}
    with page() as url:
        store = s3(url) if what.startswith(("the instance", "the Security")) else azure(url)
        absent = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "WABS_ACCESS_KEY"), "")
        found = check({name: text for name, text in store.items() if name not in absent} | mine)
    assert list(found) == ["connection"]
    assert f"{what} at 127.0.0.1:{port}" in found["connection"]


def test_a_secret_that_the_login_service_refuses(check: Check) -> None:
    with page(401, '{"error": "invalid_client"}') as login, page() as url:
        identity = {"AZURE_CLIENT_ID": "i", "AZURE_CLIENT_SECRET": "s", "AZURE_TENANT_ID": "t"}
        variables = azure(url) | identity | {"AZURE_AUTHORITY_HOST": login}
        del variables["WABS_ACCESS_KEY"]
        found = check(variables)
    assert list(found) == ["credentials"]


def test_an_identity_that_cannot_make_a_container_gets_the_line_that_does(check: Check) -> None:
    missing = "<Error><Code>ContainerNotFound</Code><Message>No.</Message></Error>"
    token = '{"access_token": "t", "expires_in": 3600, "expires_on": "4070908800", "token_type": "Bearer"}'
    with page(200, token) as login, page(404, missing) as url:
        variables = azure(url) | {"IDENTITY_ENDPOINT": login}
        del variables["WABS_ACCESS_KEY"]
        found = check(variables, "--create")
    assert list(found) == ["created"]
    assert "az storage container create --name bucket --account-name me --auth-mode login" in found["created"]


def test_an_account_that_google_refuses(check: Check, tmp_path: Path) -> None:
    key, file = tmp_path / "key.pem", tmp_path / "account.json"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    about = {"type": "service_account", "client_email": "backup@x", "private_key": key.read_text()}
    with page(400, '{"error": "invalid_grant"}') as login:
        file.write_text(json.dumps(about | {"token_uri": f"{login}/token"}))
        variables = {"WALE_GS_PREFIX": "gs://bucket/main", "WALE_GS_ENDPOINT": "http://127.0.0.1:9"}
        found = check(variables | {"GOOGLE_APPLICATION_CREDENTIALS": str(file)}, "--create")
    assert list(found) == ["credentials"]
    assert "gcloud auth" in found["credentials"]
    found = check(variables)  # nobody gives tokens any more
    assert list(found) == ["connection"]
    assert "the login service at localhost" in found["connection"]


def test_google_without_credentials(check: Check, tmp_path: Path) -> None:
    broken = tmp_path / "account.json"
    broken.write_text("{}")
    variables = {"WALE_GS_PREFIX": "gs://bucket/main", "WALE_GS_ENDPOINT": "http://127.0.0.1:9"}
    found = check(variables | {"GOOGLE_APPLICATION_CREDENTIALS": str(broken)}, "--create")
    assert list(found) == ["credentials"]
    assert "GOOGLE_APPLICATION_CREDENTIALS" in found["credentials"]
