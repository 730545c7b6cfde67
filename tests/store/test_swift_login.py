"""How a login is chosen: no network, only what is set."""

import pytest

from tests.store.settings import options_of, settings_of
from wal_e.errors import Denied, Misconfigured, UsageError
from wal_e.store.drivers.swift.auth import auth_version
from wal_e.store.drivers.swift.login import SessionLogin, TokenLogin, open_login
from wal_e.store.drivers.swift.options import OPTIONS, SwiftOptions

USER = {"SWIFT_USER": "u", "SWIFT_PASSWORD": "p"}


@pytest.mark.parametrize(
    ("variables", "version"),
    [
        ({"SWIFT_AUTHURL": "http://k:5000/v3"}, "3"),
        ({"SWIFT_AUTHURL": "http://k:5000/v3/"}, "3"),
        ({"SWIFT_AUTHURL": "http://k:5000/v2.0"}, "2"),
        ({"SWIFT_AUTHURL": "http://k/auth/v1.0"}, "1"),
        ({"SWIFT_AUTHURL": "http://k:5000"}, "2"),
        ({"SWIFT_AUTHURL": "http://k:5000", "SWIFT_TENANT": "t"}, "2"),
        ({"SWIFT_AUTHURL": "http://k:5000", "SWIFT_PROJECT_NAME": "t"}, "3"),
        ({"SWIFT_AUTHURL": "http://k:5000", "OS_USER_DOMAIN_NAME": "Default"}, "3"),
        ({"SWIFT_AUTHURL": "http://k:5000", "SWIFT_APPLICATION_CREDENTIAL_ID": "x"}, "3"),
        ({"SWIFT_AUTHURL": "http://k:5000", "SWIFT_AUTH_VERSION": "3"}, "3"),
        ({"SWIFT_AUTHURL": "http://k:5000", "SWIFT_AUTH_VERSION": "v3"}, "3"),
        ({"SWIFT_AUTHURL": "http://k:5000", "SWIFT_AUTH_VERSION": "3.0"}, "3"),
        ({"SWIFT_AUTHURL": "http://k:5000", "SWIFT_AUTH_VERSION": "v2.0"}, "2"),
        ({"SWIFT_AUTHURL": "http://k/auth", "SWIFT_AUTH_VERSION": "1.0"}, "1"),
        ({"OS_AUTH_URL": "http://k:5000", "OS_IDENTITY_API_VERSION": "3"}, "3"),
    ],
)
def test_the_auth_version(variables: dict[str, str], version: str) -> None:
    assert auth_version(options_of(variables)) == version


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "no address to log in at is set for Swift"),
        (USER, "no address to log in at is set for Swift"),
        (USER | {"SWIFT_AUTHURL": "http://k:5000/v2.0"}, "No tenant specified"),
        (USER | {"SWIFT_AUTHURL": "http://k:5000"}, "No tenant specified"),
        (USER | {"SWIFT_AUTHURL": "http://k:5000/v3"}, "No project name or project id specified."),
        ({"SWIFT_AUTHURL": "http://k/auth/v1.0", "SWIFT_PASSWORD": "p"}, "no user is set for Swift"),
        ({"SWIFT_AUTHURL": "http://k/auth/v1.0", "SWIFT_USER": "u"}, "no password is set for Swift"),
        ({"SWIFT_AUTHURL": "http://k/v3", "SWIFT_USER": "u", "SWIFT_TENANT": "t"}, "no password is set for Swift"),
        (USER | {"SWIFT_AUTHURL": "http://k", "SWIFT_AUTH_VERSION": "4"}, 'there is no auth version "4"'),
        (
            USER | {"SWIFT_AUTHURL": "http://k/v3", "SWIFT_AUTH_VERSION": "2"},
            "auth version 2 does not fit the address http://k/v3",
        ),
        (
            {"SWIFT_AUTHURL": "http://k", "SWIFT_APPLICATION_CREDENTIAL_ID": "x"},
            "the application credential has no secret",
        ),
    ],
)
def test_what_is_missing_is_said_before_any_request(variables: dict[str, str], message: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        open_login(options_of(variables))
    assert caught.value.message == message
    assert caught.value.hint


@pytest.mark.parametrize(
    "variables",
    [
        USER | {"SWIFT_AUTHURL": "http://k/auth/v1.0"},
        USER | {"SWIFT_AUTHURL": "http://k:5000/v2.0", "SWIFT_TENANT": "t"},
        USER | {"SWIFT_AUTHURL": "http://k:5000/v2.0", "SWIFT_USER": "t:u"},
        USER | {"SWIFT_AUTHURL": "http://k:5000/v3", "SWIFT_TENANT": "t"},
        USER | {"SWIFT_AUTHURL": "http://k:5000/v3", "SWIFT_TENANT_ID": "t"},
        {"SWIFT_AUTHURL": "http://k:5000/v3", "SWIFT_AUTH_TOKEN": "x", "SWIFT_PROJECT_NAME": "t"},
        {"OS_CLOUD": "lab"},
    ],
)
def test_what_is_enough_asks_the_network_nothing_yet(variables: dict[str, str]) -> None:
    assert isinstance(open_login(options_of(variables)), SessionLogin)


def test_a_storage_url_with_a_token_needs_no_login_and_has_no_second_token() -> None:
    login = open_login(options_of({"SWIFT_STORAGE_URL": "http://s/v1/AUTH_a/", "SWIFT_AUTH_TOKEN": "x"} | USER))
    assert isinstance(login, TokenLogin)
    assert (login.access().storage_url, login.access().token) == ("http://s/v1/AUTH_a", "x")
    with pytest.raises(Denied) as caught:
        login.renew(login.access())
    assert "SWIFT_AUTH_TOKEN" in (caught.value.hint or "")


def test_swift_names_win_over_openstack_names_and_empty_ones_do_not_count() -> None:
    both = {"SWIFT_USER": "a", "OS_USERNAME": "b", "SWIFT_PASSWORD": "", "OS_PASSWORD": "c"}
    options = options_of(both)
    assert (options.user, options.password) == ("a", "c")


@pytest.mark.parametrize(("text", "meant"), [("1", True), ("True", True), ("yes", True), ("0", False), ("", False)])
def test_insecure_is_a_yes_or_no(text: str, meant: bool) -> None:
    assert options_of({"SWIFT_INSECURE": text}).insecure is meant


def test_a_misspelt_insecure_is_an_error() -> None:
    with pytest.raises(UsageError, match="SWIFT_INSECURE"):
        options_of({"SWIFT_INSECURE": "ture"})


def test_every_setting_has_one_row_and_every_secret_is_marked() -> None:
    fields = [option.name.removeprefix("swift-").replace("-", "_") for option in OPTIONS]
    assert sorted(fields) == sorted(SwiftOptions.__dataclass_fields__)
    assert "hush" not in repr(settings_of({"SWIFT_PASSWORD": "hush", "SWIFT_AUTH_TOKEN": "hush"}))
    secrets = {option.name for option in OPTIONS if option.secret}
    assert secrets == {"swift-password", "swift-auth-token", "swift-application-credential-secret"}
