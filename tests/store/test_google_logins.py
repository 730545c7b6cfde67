"""The login of a service account to Google, whose token is fetched and renewed."""

import json
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from lab.faultproxy import Head
from lab.faults import Answer
from lab.web import Web
from wal_e.config import load
from wal_e.errors import Denied
from wal_e.store.api import PATIENCE, Store
from wal_e.store.registry import driver_for
from wal_e.store.url import parse_url


def document(content: object, status: int = 200) -> Answer:
    return Answer(status, body=json.dumps(content).encode())


@pytest.fixture(scope="module")
def service_account_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    kinds = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(*kinds).decode()


def google(url: str, key: str, folder: Path, patience: float = PATIENCE) -> Store:
    about = {"type": "service_account", "client_email": "backup@x", "private_key": key, "token_uri": f"{url}/token"}
    (folder / "account.json").write_text(json.dumps(about))
    variables = {"GOOGLE_APPLICATION_CREDENTIALS": str(folder / "account.json"), "WALE_GS_ENDPOINT": url}
    driver = driver_for("gs")
    return driver.open(parse_url("gs://bucket"), load(driver.options(), environ=variables), patience)


def test_a_service_account_logs_in_to_google_and_a_refused_token_is_renewed_once(
    service_account_key: str, tmp_path: Path
) -> None:
    made: list[int] = []

    def answer(head: Head, _body: str) -> Answer:
        if head.path == "/token":
            made.append(1)
            return document({"access_token": f"google-{len(made)}", "expires_in": 3600})
        good = head.headers["authorization"] == "Bearer google-2"
        return document({"kind": "storage#objects"}) if good else document({}, 401)

    with Web(answer) as web:
        store = google(web.url, service_account_key, tmp_path)
        assert list(store.list()) == []
        assert list(store.list()) == []
        assertion = parse_qs(web.about("/token")[0].body)
        store.close()
    assert len(made) == 2
    assert assertion["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]


def test_a_token_that_google_goes_on_refusing_is_denied(service_account_key: str, tmp_path: Path) -> None:
    token = document({"access_token": "t", "expires_in": 3600})
    with Web(lambda head, _: token if head.path == "/token" else document({}, 401)) as web:
        store = google(web.url, service_account_key, tmp_path)
        with pytest.raises(Denied) as caught:
            list(store.list())
        store.close()
    assert caught.value.hint


def test_a_login_that_google_refuses_is_denied(service_account_key: str, tmp_path: Path) -> None:
    with Web(lambda _, __: document({"error": "invalid_grant"}, 400)) as web:
        store = google(web.url, service_account_key, tmp_path)
        with pytest.raises(Denied, match="the login to Google was refused") as caught:
            store.head("k")
        store.close()
    assert caught.value.hint
