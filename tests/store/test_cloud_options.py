"""The variables of Azure and Google end in what their drivers use; SDKs are imported only where they are used."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from wal_e.config import Settings, load
from wal_e.errors import Misconfigured, UsageError
from wal_e.store.drivers import azure
from wal_e.store.drivers.azure import azure_config
from wal_e.store.drivers.endpoint import parse_address
from wal_e.store.drivers.gs import driver as gs
from wal_e.store.drivers.s3 import driver as s3
from wal_e.store.registry import DRIVERS, driver_for
from wal_e.store.url import ArchiveUrl, parse_url

KEY = "a2V5"


def azure_settings(variables: dict[str, str]) -> Settings:
    return load(azure.OPTIONS, environ=variables)


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        (
            {"WABS_ACCOUNT_NAME": "acc", "WABS_ACCESS_KEY": KEY},
            {"account_name": "acc", "account_key": KEY, "credential_type": "access_key"},
        ),
        (
            {"AZURE_STORAGE_ACCOUNT": "acc", "AZURE_STORAGE_KEY": KEY},
            {"account_name": "acc", "account_key": KEY, "credential_type": "access_key"},
        ),
        (
            {"WABS_ACCOUNT_NAME": "acc", "WABS_SAS_TOKEN": "?sv=1&sig=x"},
            {"account_name": "acc", "sas_key": "sv=1&sig=x", "credential_type": "sas_token"},
        ),
        (
            {"WABS_ACCOUNT_NAME": "acc", "AZURE_STORAGE_SAS_TOKEN": "sv=1", "WABS_ACCESS_KEY": KEY},
            {"account_name": "acc", "account_key": KEY, "credential_type": "access_key"},
        ),
        (
            {"AZURE_STORAGE_CONNECTION_STRING": "AccountName=acc;AccountKey=a2V5a2U=;EndpointSuffix=core.cn"},
            {
                "account_name": "acc",
                "account_key": "a2V5a2U=",
                "endpoint": "https://acc.blob.core.cn",
                "credential_type": "access_key",
            },
        ),
        (
            {
                "AZURE_STORAGE_CONNECTION_STRING": "BlobEndpoint=http://h:1/acc/;SharedAccessSignature=sv=1&sig=y=",
                "WABS_ACCOUNT_NAME": "own",
            },
            {
                "account_name": "own",
                "sas_key": "sv=1&sig=y=",
                "endpoint": "http://h:1/acc",
                "credential_type": "sas_token",
            },
        ),
        ({"WABS_ACCOUNT_NAME": "acc"}, {"account_name": "acc", "credential_type": "managed_identity"}),
        (
            {"WABS_ACCOUNT_NAME": "acc", "AZURE_CLIENT_ID": "me", "IDENTITY_ENDPOINT": "http://i"},
            {
                "account_name": "acc",
                "client_id": "me",
                "msi_endpoint": "http://i",
                "credential_type": "managed_identity",
            },
        ),
        (
            {
                "WABS_ACCOUNT_NAME": "acc",
                "AZURE_CLIENT_ID": "me",
                "AZURE_TENANT_ID": "t",
                "AZURE_CLIENT_SECRET": "s",
                "AZURE_AUTHORITY_HOST": "https://login",
            },
            {
                "account_name": "acc",
                "client_id": "me",
                "client_secret": "s",
                "tenant_id": "t",
                "authority_host": "https://login",
                "credential_type": "client_secret",
            },
        ),
        (
            {
                "WABS_ACCOUNT_NAME": "acc",
                "AZURE_CLIENT_ID": "me",
                "AZURE_TENANT_ID": "t",
                "AZURE_FEDERATED_TOKEN_FILE": "/f",
            },
            {
                "account_name": "acc",
                "client_id": "me",
                "tenant_id": "t",
                "federated_token_file": "/f",
                "credential_type": "workload_identity",
            },
        ),
        (
            {"WABS_ACCOUNT_NAME": "acc", "WABS_ACCESS_KEY": KEY, "WABS_ENDPOINT": "http://h:1/acc"},
            {
                "account_name": "acc",
                "account_key": KEY,
                "endpoint": "http://h:1/acc",
                "credential_type": "access_key",
            },
        ),
    ],
)
def test_each_variable_of_azure_is_handed_on(variables: dict[str, str], wanted: dict[str, Any]) -> None:
    assert azure_config(azure_settings(variables)) == wanted | {"skip_signature": False}
    driver_for("wabs").open(parse_url("wabs://container"), azure_settings(variables))  # obstore knows all the names


def test_azure_without_an_account_is_misconfigured() -> None:
    with pytest.raises(Misconfigured, match="no storage account") as caught:
        azure_config(azure_settings({"WABS_ACCESS_KEY": KEY}))
    assert caught.value.hint


@pytest.mark.parametrize(
    "variables", [{"WABS_ACCESS_KEY": "not base64!"}, {"WABS_SAS_TOKEN": "nonsense"}, {"WABS_ENDPOINT": "ftp://h"}]
)
def test_bad_values_of_azure_are_told_and_no_secret_with_them(variables: dict[str, str]) -> None:
    with pytest.raises((Misconfigured, UsageError)) as caught:
        driver_for("wabs").open(parse_url("wabs://container/p"), azure_settings({"WABS_ACCOUNT_NAME": "a"} | variables))
    assert caught.value.hint
    assert "not base64!" not in f"{caught.value} {caught.value.detail}"
    assert "nonsense" not in f"{caught.value} {caught.value.detail}"


@pytest.mark.parametrize("text", ["nothing", "", ";"])
def test_a_connection_string_that_is_none_is_told_without_it(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        azure.parse_connection(text)
    assert caught.value.hint


@pytest.mark.parametrize("text", ["h", "ftp://h", "http://", "http://h:x", "http://u@h", "http://h?q", "http://h h"])
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_address(text)
    assert caught.value.hint


def test_an_address_loses_the_slash_at_its_end() -> None:
    assert parse_address(" https://h:1/account/ ") == "https://h:1/account"


@pytest.mark.parametrize("scheme", ["s3", "wabs"])
@pytest.mark.parametrize("name", ["bücket", "a b", "a%b", "a?b", "a:b", "a@b", "[x"])
def test_a_bucket_that_no_service_would_have_is_misconfigured_and_no_panic(scheme: str, name: str) -> None:
    driver = driver_for(scheme)
    variables = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "r", "WABS_ACCOUNT_NAME": "a"}
    with pytest.raises(Misconfigured, match="cannot be the name") as caught:
        driver.open(ArchiveUrl(scheme, name, ""), load(driver.options(), environ=variables))
    assert caught.value.hint


def test_no_option_comes_twice() -> None:
    names = [option.name for driver in DRIVERS for option in driver.options()]
    assert len(names) == len(set(names))


def test_google_without_credentials_says_so_at_the_first_request(tmp_path: Path) -> None:
    variables = {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "absent.json")}
    store = gs.open_driver(parse_url("gs://bucket/p"), load(gs.OPTIONS, environ=variables))
    with pytest.raises(Misconfigured, match="no credentials for Google") as caught:
        store.head("k")
    assert caught.value.hint


@pytest.mark.parametrize(("scheme", "library"), [("s3", "obstore"), ("wabs", "obstore"), ("gs", "google.auth")])
def test_a_missing_library_is_told_with_the_line_that_installs_it(
    scheme: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    driver = driver_for(scheme)
    variables = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "r", "WABS_ACCOUNT_NAME": "a"}
    with pytest.raises(Misconfigured, match="needs a library") as caught:
        driver.open(parse_url(f"{scheme}://bucket/p"), load(driver.options(), environ=variables))
    assert "pip install" in (caught.value.hint or "")


def test_no_sdk_is_imported_before_its_store_is_used() -> None:
    script = (
        "import sys, wal_e.cli.main; from wal_e.cli.parser import all_options; all_options();"
        "from wal_e.store.stack import open_store; from wal_e.config import load;"
        "open_store('memory://m', load((), environ={}));"
        "heavy = ('obstore', 'google.auth', 'requests', 'swiftclient', 'urllib.request', 'configparser', 'subprocess');"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert s3.OPTIONS
