"""Credentials that are fetched: from an instance's metadata, a managed identity, a service account."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from wal_e.config import load
from wal_e.errors import Denied, NotFound
from wal_e.store.api import Store
from wal_e.store.registry import driver_for
from wal_e.store.url import parse_url

KEYS = {"AccessKeyId": "ASIA1", "SecretAccessKey": "s", "Token": "session-1", "Expiration": "2099-01-01T00:00:00Z"}
ROLE = "/latest/meta-data/iam/security-credentials"
ABSENT = "<Error><Code>NoSuchKey</Code><Message>no</Message></Error>"


class Seen:
    """The requests that a service got: method, path, headers and body."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], str]] = []
        self.url = ""

    def with_path(self, text: str) -> list[tuple[str, str, dict[str, str], str]]:
        return [request for request in self.requests if text in request[1]]


Answer = Callable[[str, str, dict[str, str]], tuple[int, str]]


@contextmanager
def service(answer: Answer) -> Iterator[Seen]:
    """Both the service that gives credentials and the store that wants them."""
    seen = Seen()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def reply(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0))).decode()
            seen.requests.append((self.command, self.path, headers, body))
            status, text = answer(self.command, self.path, headers)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def do_GET(self) -> None:
            self.reply()

        def do_PUT(self) -> None:
            self.reply()

        def do_POST(self) -> None:
            self.reply()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        seen.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield seen
        server.shutdown()
        thread.join()


def opened(scheme: str, variables: dict[str, str]) -> Store:
    driver = driver_for(scheme)
    return driver.open(parse_url(f"{scheme}://bucket"), load(driver.options(), environ=variables))


def test_an_instances_profile_gives_the_keys_of_s3() -> None:
    def answer(method: str, path: str, _headers: dict[str, str]) -> tuple[int, str]:
        if path == "/latest/api/token" and method == "PUT":
            return 200, "metadata-token"
        if path.rstrip("/") == ROLE:
            return 200, "backup"
        return (200, json.dumps(KEYS)) if path == f"{ROLE}/backup" else (404, ABSENT)

    with service(answer) as seen:
        variables = {"AWS_INSTANCE_PROFILE": "true", "AWS_EC2_METADATA_SERVICE_ENDPOINT": seen.url}
        store = opened("s3", variables | {"AWS_ENDPOINT_URL": seen.url, "AWS_REGION": "eu-west-1"})
        for _ in range(2):
            with pytest.raises(NotFound):
                b"".join(store.get("k"))
        assert len(seen.with_path("/latest/api/token")) == 1  # kept until they end
        _, _, headers, _ = seen.with_path("/bucket/k")[0]
    assert headers["x-amz-security-token"] == "session-1"
    assert "Credential=ASIA1/" in headers["authorization"]
    assert "/eu-west-1/s3/" in headers["authorization"]


def test_a_managed_identity_gives_the_token_of_azure() -> None:
    token = json.dumps({"access_token": "azure-1", "expires_on": "4070908800", "expires_in": "3600", "token_type": "B"})
    absent = "<Error><Code>BlobNotFound</Code><Message>no</Message></Error>"
    with service(lambda _m, path, _h: (404, absent) if path.startswith("/account") else (200, token)) as seen:
        variables = {
            "WABS_ACCOUNT_NAME": "account",
            "WABS_ENDPOINT": f"{seen.url}/account",
            "IDENTITY_ENDPOINT": f"{seen.url}/identity",
            "AZURE_CLIENT_ID": "me",
        }
        with pytest.raises(NotFound):
            b"".join(opened("wabs", variables).get("k"))
        assert "client_id=me" in seen.with_path("/identity")[0][1]
        assert seen.with_path("/account/bucket/k")[0][2]["authorization"] == "Bearer azure-1"


@pytest.fixture(scope="module")
def service_account_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    kinds = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(*kinds).decode()


def google(url: str, key: str, folder: Path) -> Store:
    about = {"type": "service_account", "client_email": "backup@x", "private_key": key, "token_uri": f"{url}/token"}
    (folder / "account.json").write_text(json.dumps(about))
    variables = {"GOOGLE_APPLICATION_CREDENTIALS": str(folder / "account.json"), "WALE_GS_ENDPOINT": url}
    return opened("gs", variables)


def test_a_service_account_logs_in_to_google_and_a_refused_token_is_renewed_once(
    service_account_key: str, tmp_path: Path
) -> None:
    made: list[int] = []

    def answer(_method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
        if path == "/token":
            made.append(1)
            return 200, json.dumps({"access_token": f"google-{len(made)}", "expires_in": 3600})
        good = headers["authorization"] == "Bearer google-2"
        return (200, json.dumps({"items": []})) if good else (401, "{}")

    with service(answer) as seen:
        store = google(seen.url, service_account_key, tmp_path)
        assert list(store.list()) == []
        assert list(store.list()) == []
        assertion = parse_qs(seen.with_path("/token")[0][3])
        store.close()
    assert len(made) == 2
    assert assertion["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]


def test_a_token_that_google_goes_on_refusing_is_denied(service_account_key: str, tmp_path: Path) -> None:
    token = json.dumps({"access_token": "t", "expires_in": 3600})
    with service(lambda _m, path, _h: (200, token) if path == "/token" else (401, "{}")) as seen:
        store = google(seen.url, service_account_key, tmp_path)
        with pytest.raises(Denied) as caught:
            list(store.list())
        store.close()
    assert caught.value.hint


def test_a_login_that_google_refuses_is_denied(service_account_key: str, tmp_path: Path) -> None:
    with service(lambda _m, _p, _h: (400, json.dumps({"error": "invalid_grant"}))) as seen:
        store = google(seen.url, service_account_key, tmp_path)
        with pytest.raises(Denied, match="the login to Google was refused") as caught:
            store.head("k")
        store.close()
    assert caught.value.hint
