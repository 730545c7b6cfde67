"""AWS's own files: which profile counts, what beats what, and that nothing is guessed where they ask for more."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from lab.account import give_to_server
from lab.seaweed import KEY, SECRET
from tests.plugins.buckets import Buckets
from tests.plugins.cli import WalECli
from wal_e.config import Settings, load
from wal_e.errors import Misconfigured, UsageError
from wal_e.store.drivers.s3.fetch import container_keys, role_keys
from wal_e.store.drivers.s3.keys import Keys
from wal_e.store.drivers.s3.logins import find_login
from wal_e.store.drivers.s3.options import ACCESS_KEY_ID, CA_BUNDLE, ENDPOINT, OPTIONS, REGION, ROLE, TOKEN_FILE
from wal_e.store.registry import driver_for

CREDENTIALS = """\
# written by hand
[default]
aws_access_key_id = AKIADEFAULT
aws_secret_access_key = default/secret=
[other]
aws_access_key_id=AKIAOTHER
aws_secret_access_key=other
aws_session_token=token
"""
CONFIG = """\
[default]
region = eu-north-1
[profile other]
region = eu-west-1
endpoint_url = https://other.example
ca_bundle = /etc/other.pem
s3 =
    max_concurrent_requests = 20
[profile web]
role_arn = arn:web
web_identity_token_file = /web/token
role_session_name = main
[profile both]
aws_access_key_id = AKIACONFIG
aws_secret_access_key = config
[profile two words]
region = r-2
[profile "quoted"]
region = r-3
[profile served]
services = mine
endpoint_url = https://all.example
[services mine]
s3 =
  endpoint_url = https://s3.example
dynamodb =
  endpoint_url = https://dynamodb.example
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with both files; it is that of the user who runs us, as for AWS's tools."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text(CREDENTIALS)
    (tmp_path / ".aws/config").write_text(CONFIG)
    return tmp_path


def complete(variables: dict[str, str]) -> Settings:
    return driver_for("s3").complete(load(OPTIONS, environ=variables))


def keys(settings: Settings) -> Keys:
    return find_login(settings).fetch()


def asks(settings: Settings) -> object:
    """Who would be asked."""
    fetch = find_login(settings).fetch
    assert isinstance(fetch, partial)
    return fetch.func


def test_the_default_profile_counts_where_none_is_named() -> None:
    settings = complete({})
    found = keys(settings)
    assert (found.key, found.secret, found.token) == ("AKIADEFAULT", "default/secret=", None)
    assert settings[REGION] == "eu-north-1"
    assert str(settings.source(REGION)) == 'region of the profile "default" in "~/.aws/config"'
    assert str(settings.source(ACCESS_KEY_ID)) == 'aws_access_key_id of the profile "default" in "~/.aws/credentials"'
    assert "default/secret" not in repr(settings)


@pytest.mark.parametrize("variable", ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"])
def test_a_profile_by_name(variable: str) -> None:
    settings = complete({variable: "other"})
    found = keys(settings)
    assert (found.key, found.secret, found.token) == ("AKIAOTHER", "other", "token")
    assert settings[REGION] == "eu-west-1"
    assert settings[ENDPOINT] is not None
    assert settings[ENDPOINT].host == "other.example"
    assert settings[CA_BUNDLE] == "/etc/other.pem"


@pytest.mark.parametrize(("name", "region"), [("two words", "r-2"), ("quoted", "r-3")])
def test_names_of_profiles(name: str, region: str) -> None:
    assert complete({"AWS_PROFILE": name})[REGION] == region


def test_aws_profile_beats_the_older_variable() -> None:
    assert complete({"AWS_PROFILE": "web", "AWS_DEFAULT_PROFILE": "other"})[ROLE] == "arn:web"


def test_an_endpoint_for_s3_beats_that_of_all_services() -> None:
    endpoint = complete({"AWS_PROFILE": "served"})[ENDPOINT]
    assert endpoint is not None
    assert endpoint.host == "s3.example"


def test_the_credentials_file_beats_the_config_file(home: Path) -> None:
    assert keys(complete({"AWS_PROFILE": "both"})).key == "AKIACONFIG"
    with (home / ".aws/credentials").open("a") as file:
        file.write("[both]\naws_access_key_id = AKIAFIRST\naws_secret_access_key = first\n")
    assert keys(complete({"AWS_PROFILE": "both"})).key == "AKIAFIRST"


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({"AWS_ACCESS_KEY_ID": "AKIAENV", "AWS_SECRET_ACCESS_KEY": "env"}, Keys("AKIAENV", "env")),
        (
            {"AWS_ACCESS_KEY_ID": "AKIAENV", "AWS_SECRET_ACCESS_KEY": "env", "AWS_SESSION_TOKEN": "t"},
            Keys("AKIAENV", "env", "t"),
        ),
    ],
)
def test_keys_in_the_environment_beat_the_files_and_nothing_is_mixed(variables: dict[str, str], wanted: Keys) -> None:
    settings = complete(variables | {"AWS_PROFILE": "other", "AWS_REGION": "mine"})
    assert keys(settings) == wanted
    assert settings[REGION] == "mine"
    assert settings[CA_BUNDLE] == "/etc/other.pem"


@pytest.mark.parametrize(
    "signer",
    [
        {"AWS_ACCESS_KEY_ID": "AKIAENV", "AWS_SECRET_ACCESS_KEY": "env"},
        {"AWS_INSTANCE_PROFILE": "true"},
        {"AWS_ROLE_ARN": "arn:env", "AWS_WEB_IDENTITY_TOKEN_FILE": "/env", "AWS_ENDPOINT_URL_STS": "https://sts"},
        {"WALE_AWS_CREDENTIAL_PROCESS": "print-keys"},
    ],
    ids=lambda signer: next(iter(signer)),
)
@pytest.mark.parametrize("place", [{"AWS_REGION": "mine"}, {"WALE_S3_ENDPOINT": "https+path://mine:9000"}])
@pytest.mark.parametrize(
    "config",
    [
        "nonsense",
        "[default]\nendpoint_url = http://elsewhere\nregion = other\nca_bundle = /gone",
        "[default]\nsso_session = x",
    ],
)
def test_who_has_set_all_that_is_needed_does_not_notice_the_files(
    signer: dict[str, str], place: dict[str, str], config: str, home: Path
) -> None:
    """As the original needed it: somebody's ~/.aws must neither stop archiving nor move the archive elsewhere."""
    (home / ".aws/config").write_text(config)
    (home / ".aws/credentials").write_bytes(b"\xff\xfe")
    settings = complete(signer | place)
    find_login(settings)
    assert (settings[REGION], settings[ENDPOINT] is None) == (place.get("AWS_REGION", ""), "AWS_REGION" in place)
    assert not settings[CA_BUNDLE]


def test_a_web_identity_whose_service_is_not_known_gets_the_region_of_the_files() -> None:
    role = {"AWS_ROLE_ARN": "arn:env", "AWS_WEB_IDENTITY_TOKEN_FILE": "/env"}
    settings = complete(role | {"WALE_S3_ENDPOINT": "https://mine"})
    assert find_login(settings).address == "https://sts.eu-north-1.amazonaws.com"


@pytest.mark.parametrize("named", ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"])
def test_a_file_that_is_named_is_read_even_where_all_is_set(named: str, home: Path) -> None:
    (home / "named").write_text("[default]\nca_bundle = /etc/named.pem\n")
    keys_and_place = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "mine"}
    assert complete(keys_and_place | {named: str(home / "named")})[CA_BUNDLE] == "/etc/named.pem"


def test_half_a_key_in_the_environment_is_not_completed_from_a_file() -> None:
    with pytest.raises(Misconfigured, match="half of the access key"):
        find_login(complete({"AWS_ACCESS_KEY_ID": "AKIAENV"}))


def test_a_token_alone_in_the_environment_does_not_join_a_key_from_a_file() -> None:
    assert keys(complete({"AWS_SESSION_TOKEN": "stale"})).token is None


@pytest.mark.parametrize(
    "variables",
    [{"AWS_INSTANCE_PROFILE": "true"}, {"AWS_ROLE_ARN": "arn:env", "AWS_WEB_IDENTITY_TOKEN_FILE": "/env"}],
)
def test_other_logins_in_the_environment_beat_the_files(variables: dict[str, str]) -> None:
    settings = complete(variables)
    assert not settings[ACCESS_KEY_ID]
    assert settings[REGION] == "eu-north-1"


def test_a_web_identity_of_a_profile() -> None:
    settings = complete({"AWS_PROFILE": "web", "AWS_REGION": "r"})
    assert (settings[ROLE], settings[TOKEN_FILE]) == ("arn:web", "/web/token")
    assert asks(settings) is role_keys


def test_a_container_is_asked_after_the_files(home: Path) -> None:
    agent = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/x"}
    assert keys(complete(agent)).key == "AKIADEFAULT"
    (home / ".aws/credentials").unlink()
    assert asks(complete(agent)) is container_keys


def test_other_files_by_name(home: Path) -> None:
    (home / "mine").write_text("[default]\naws_access_key_id = AKIAMINE\naws_secret_access_key = x\nregion = here\n")
    for name in (str(home / "mine"), "~/mine"):
        settings = complete({"AWS_SHARED_CREDENTIALS_FILE": name, "AWS_CONFIG_FILE": "/dev/null"})
        assert keys(settings).key == "AKIAMINE"
        assert settings[REGION] == "here"


@pytest.mark.parametrize("name", ["absent", "profile other", "services mine", "Other"])
def test_a_profile_that_is_not_there_is_told_even_where_keys_are_set(name: str, home: Path) -> None:
    with pytest.raises(Misconfigured, match=f'no profile "{name}"') as caught:
        complete({"AWS_PROFILE": name, "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"})
    assert str(home) in (caught.value.detail or "")
    assert "AWS_PROFILE" in (caught.value.detail or "")
    assert caught.value.hint


def test_a_profile_that_says_nothing_is_there(home: Path) -> None:
    (home / ".aws/config").write_text("[profile bare]\n")
    assert complete({"AWS_PROFILE": "bare", "AWS_REGION": "r"})[REGION] == "r"


def test_no_files_at_all_are_no_error(home: Path) -> None:
    for name in ("credentials", "config"):
        (home / ".aws" / name).unlink()
    with pytest.raises(Misconfigured, match="no credentials for S3 are set"):
        find_login(complete({}))


@pytest.mark.parametrize(
    "lines",
    [
        "sso_session = corp",
        "sso_start_url = https://corp\nsso_account_id = 1",
        "role_arn = arn:r\nsource_profile = default",
        "role_arn = arn:r\ncredential_source = Ec2InstanceMetadata",
        "role_arn = arn:r",
        "aws_access_key_id = AKIA\naws_secret_access_key = x\nrole_arn = arn:r\nsource_profile = default",
    ],
)
def test_a_login_that_is_not_ours_is_refused_with_what_does_it(lines: str, home: Path) -> None:
    """Not done with the keys that stand beside it: they are somebody else's."""
    (home / ".aws/config").write_text(f"[profile corp]\n{lines}\n")
    with pytest.raises(Misconfigured, match="asks for a login that is not done here") as caught:
        complete({"AWS_PROFILE": "corp"})
    assert "aws configure export-credentials --profile corp --format process" in (caught.value.hint or "")
    own = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    assert keys(complete({"AWS_PROFILE": "corp"} | own)).key == "k"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("aws_secret_access_key = s3cret\n", "line 1"),
        ("[default]\nregion = r\ns3cret\n", "line 3"),
        ("[default]\naws_secret_access_key = a\naws_secret_access_key = s3cret\n", "line 3"),
        ("[default]\n[default]\n", "line 2"),
    ],
)
def test_a_file_that_is_not_understood_names_the_line_and_not_what_it_says(text: str, line: str, home: Path) -> None:
    (home / ".aws/credentials").write_text(text)
    with pytest.raises(Misconfigured, match="credentials") as caught:
        complete({})
    assert line in (caught.value.detail or "")
    assert "s3cret" not in f"{caught.value} {caught.value.detail} {caught.value.hint}"
    assert "AWS_SHARED_CREDENTIALS_FILE" in (caught.value.hint or "")


def test_a_file_that_cannot_be_read(home: Path) -> None:
    (home / ".aws/config").write_bytes(b"\xff\xfe")
    with pytest.raises(Misconfigured, match="config") as caught:
        complete({})
    assert "UTF-8" in (caught.value.detail or "")
    with pytest.raises(Misconfigured, match="cannot be used") as caught:
        complete({"AWS_CONFIG_FILE": str(home)})
    assert "directory" in (caught.value.detail or "")


def test_a_value_of_a_profile_that_cannot_be_used_names_its_place(home: Path) -> None:
    (home / ".aws/config").write_text("[default]\nendpoint_url = nonsense\n")
    with pytest.raises(UsageError, match=r'endpoint_url of the profile "default" in "~/.aws/config" cannot be used'):
        complete({})[ENDPOINT]


def test_config_shows_what_a_profile_says_and_who_said_it(home: Path, pg_tmp: Path, wal_e_cli: WalECli) -> None:
    shutil.copytree(home / ".aws", pg_tmp / ".aws")
    give_to_server(pg_tmp / ".aws")
    variables = {"HOME": str(pg_tmp), "WALE_S3_PREFIX": "s3://bucket/path", "AWS_PROFILE": "other"}
    done = wal_e_cli("config", "--json", env=variables)
    shown = {row["name"]: row for row in json.loads(done.stdout)}
    assert shown["aws-region"]["value"] == "eu-west-1"
    assert shown["aws-region"]["origin"] == "profile"
    assert shown["aws-secret-access-key"]["value"] == "***"
    assert '"other"' in shown["aws-secret-access-key"]["set_by"]
    failed = wal_e_cli("config", env=variables | {"AWS_PROFILE": "absent"})
    assert failed.returncode == 1
    assert "s3://bucket/path" in failed.stdout
    assert 'no profile "absent"' in failed.stderr
    looked = wal_e_cli("config", "--from-environment", env=variables | {"AWS_PROFILE": "absent"})
    assert 'no profile "absent"' in looked.stdout


def test_another_users_home_is_told_where_a_profile_is_asked_for(home: Path, pg_tmp: Path, wal_e_cli: WalECli) -> None:
    shutil.copytree(home / ".aws", pg_tmp / ".aws")
    give_to_server(pg_tmp / ".aws")
    (pg_tmp / ".aws").chmod(0)
    variables = {"HOME": str(pg_tmp), "WALE_S3_PREFIX": "s3://bucket/path", "AWS_REGION": "r"}
    named = wal_e_cli("backup-list", env=variables | {"AWS_PROFILE": "other"})
    assert 'no profile "other"' in named.stderr
    assert "which cannot be read" in named.stderr
    assert str(pg_tmp) in named.stderr
    unnamed = wal_e_cli("backup-list", env=variables)
    assert "no credentials for S3 are set" in unnamed.stderr
    assert f"~ is {pg_tmp}." in unnamed.stderr
    in_file = wal_e_cli("backup-list", env=variables | {"AWS_CONFIG_FILE": str(pg_tmp / ".aws/config")})
    assert "Permission denied" in in_file.stderr


@pytest.mark.slow
def test_a_profile_is_all_that_a_command_needs(
    pg_tmp: Path, wal_e_cli: WalECli, s3_buckets: Buckets, container_name: Callable[[], str]
) -> None:
    info, bucket = s3_buckets.info, s3_buckets.create(container_name())
    (pg_tmp / ".aws").mkdir()
    (pg_tmp / ".aws/config").write_text(f"[profile backup]\nregion = eu-west-1\nendpoint_url = {info.url}\n")
    keys = f"aws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
    (pg_tmp / ".aws/credentials").write_text(f"[backup]\n{keys}")
    give_to_server(pg_tmp / ".aws")
    variables = {"HOME": str(pg_tmp), "WALE_S3_PREFIX": f"s3://{bucket}/main", "WALE_S3_UNORDERED": "true"}
    done = wal_e_cli("backup-list", env=variables | {"AWS_PROFILE": "backup"})
    assert done.returncode == 0, done.stderr
