"""Temporary keys of S3, from each service that gives them, to objects in a real store that lets only such keys in."""

import json
import shlex
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from lab.aws_logins import ROLES, Issuer, container_agent, instance_metadata, token_service
from lab.certificates import Authority
from lab.faultproxy import FaultProxy, Head
from lab.faults import Answer
from lab.seaweed import KEY, SECRET
from lab.web import Web
from tests.plugins.buckets import Buckets
from wal_e.config import load
from wal_e.errors import Denied, Misconfigured, StoreError, Unavailable
from wal_e.store.api import Body, Store, read_object
from wal_e.store.drivers.s3 import fetch, logins
from wal_e.store.registry import driver_for
from wal_e.store.retry import Clock, Retrying, RetryPolicy
from wal_e.store.url import ArchiveUrl
from wal_e.units import MIB

ARN = "arn:aws:iam::1:role/backup"


@dataclass(frozen=True)
class Gated:
    """A bucket whose gate knows the issuer's keys alone."""

    issuer: Issuer
    proxy: FaultProxy
    bucket: str

    def open(self, variables: dict[str, str]) -> Store:
        driver = driver_for("s3")
        fixed = {"AWS_ENDPOINT_URL": self.proxy.url, "AWS_REGION": "eu-west-1", "WALE_S3_UNORDERED": "true"}
        return driver.open(ArchiveUrl("s3", self.bucket, ""), load(driver.options(), environ=fixed | variables))


@pytest.fixture
def gated(s3_buckets: Buckets, container_name: Callable[[], str]) -> Iterator[Gated]:
    bucket = s3_buckets.create(container_name())
    issuer = Issuer()
    port = int(s3_buckets.info.url.rpartition(":")[2])
    with FaultProxy(port, guard=issuer.gate(KEY, SECRET)) as proxy:
        yield Gated(issuer, proxy, bucket)


@pytest.fixture(autouse=True)
def nobodys_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


def works(store: Store) -> None:
    """Every verb, with several clients in obstore; the gate checks each signature."""
    big = bytes(20 * MIB)
    store.put("base/a%b+c", Body.of(b"x"), create_only=True)
    store.put("base/big", Body.of(big))
    assert read_object(store, "base/a%b+c") == b"x"
    assert read_object(store, "base/big", start=1, length=2) == b"\0\0"
    assert [info.key for info in store.list("base/")] == ["base/a%b+c", "base/big"]
    store.delete(["base/a%b+c", "base/big"])
    assert list(store.list("base/")) == []


def patient(store: Store) -> Store:
    """With the repeats that every store has, and without their pauses."""
    return Retrying(store, RetryPolicy(deadline=30), clock=Clock(wait=lambda _: None))


def verbs(store: Store) -> tuple[Callable[[], object], ...]:
    return (
        lambda: read_object(store, "k"),
        lambda: store.head("k"),
        lambda: list(store.list("k")),
        lambda: store.put("n", Body.of(b"x"), create_only=True),
        lambda: store.delete(["k"]),
    )


@pytest.mark.slow
def test_an_instances_profile_is_asked_once_for_all_requests(gated: Gated) -> None:
    with Web(instance_metadata(gated.issuer)) as web:
        works(gated.open({"AWS_INSTANCE_PROFILE": "true", "AWS_EC2_METADATA_SERVICE_ENDPOINT": web.url}))
        assert [asked.head.method for asked in web.asked] == ["PUT", "GET", "GET"]
    assert all("/eu-west-1/s3/" in head.headers["authorization"] for head in gated.proxy.heads)


@pytest.mark.slow
def test_keys_that_end_in_mid_run_are_renewed_before(gated: Gated) -> None:
    gated.issuer.life = timedelta(seconds=2)
    with Web(instance_metadata(gated.issuer)) as web:
        store = gated.open({"AWS_INSTANCE_PROFILE": "true", "AWS_EC2_METADATA_SERVICE_ENDPOINT": web.url})
        number = 0
        while len(gated.issuer.issued) < 4:
            number += 1
            store.put(f"n/{number:06}", Body.of(b"x"), create_only=True)
    assert len(list(gated.open({"AWS_ACCESS_KEY_ID": "", **_static(gated)}).list("n/"))) == number


@pytest.mark.slow
def test_keys_that_are_withdrawn_in_mid_run_are_fetched_again(gated: Gated) -> None:
    """By the repeats that every store has: eight requests at once, each of them refused."""
    with Web(instance_metadata(gated.issuer)) as web:
        bare = gated.open({"AWS_INSTANCE_PROFILE": "true", "AWS_EC2_METADATA_SERVICE_ENDPOINT": web.url})
        store = patient(bare)
        store.put("k", Body.of(b"x"))
        for verb in (*verbs(store)[:4], lambda: store.delete(["n"])):
            gated.issuer.end()
            verb()
        assert len(web.about(f"{ROLES}backup")) == 6
        gated.issuer.end()
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(lambda _: read_object(store, "k"), range(8))) == [b"x"] * 8
        assert len(web.about(f"{ROLES}backup")) == 7
        gated.issuer.end()
        gated.issuer.life = timedelta(seconds=-1)
        with pytest.raises(Denied, match="S3 refuses"):
            read_object(store, "k")
        assert len(web.about(f"{ROLES}backup")) == 8


FAILURES: dict[str, tuple[Answer, type[StoreError]]] = {
    **{str(status): (Answer(status), Denied) for status in (400, 401, 403)},
    **{str(status): (Answer(status), Misconfigured) for status in (301, 404, 405)},
    **{str(status): (Answer(status), Unavailable) for status in (408, 429, 500, 503)},
    "S3's own 404": (Answer(404, body=b"<Error><Code>NoSuchKey</Code></Error>"), Misconfigured),
    "a page": (Answer(200, body=b"<html>log in</html>"), Unavailable),
    "no text": (Answer(200, body=b"\xff"), Unavailable),
    "no keys": (Answer(200, body=b'{"Code": "Success"}'), Unavailable),
    "a list": (Answer(200, body=b"[]"), Unavailable),
    "no time": (
        Answer(200, body=b'{"AccessKeyId": "a", "SecretAccessKey": "b", "Expiration": "soon"}'),
        Unavailable,
    ),
    "a failure": (Answer(200, body=b'{"Code": "AssumeRoleUnauthorizedAccess"}'), Denied),
}


@pytest.mark.slow
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failing_login_is_never_an_absent_object_h14(gated: Gated, failure: str) -> None:
    """Neither at the first login nor when keys are to be renewed; a recovery would end there."""
    answer, kind = FAILURES[failure]
    good, broken = instance_metadata(gated.issuer), False

    def metadata(head: Head, body: str) -> Answer:
        return answer if broken and head.path.startswith(ROLES) and head.path != ROLES else good(head, body)

    with Web(metadata) as web:
        variables = {"AWS_INSTANCE_PROFILE": "true", "AWS_EC2_METADATA_SERVICE_ENDPOINT": web.url}
        gated.issuer.life = timedelta(seconds=-1)  # they count as ended at once, and the gate would refuse them
        used = gated.open(variables)
        with pytest.raises(Denied, match="S3 refuses"):
            used.head("k")
        broken = True
        for store in (used, gated.open(variables)):
            for verb in verbs(store):
                with pytest.raises(StoreError, match="instance's metadata service") as caught:
                    verb()
                assert type(caught.value) is kind
                assert caught.value.hint or caught.value.detail


@pytest.mark.slow
def test_a_metadata_service_that_is_away_is_an_outage(gated: Gated) -> None:
    with Web(instance_metadata(gated.issuer)) as web:
        pass
    store = gated.open({"AWS_INSTANCE_PROFILE": "true", "AWS_EC2_METADATA_SERVICE_ENDPOINT": web.url})
    for verb in verbs(store):
        with pytest.raises(Unavailable, match="no answer from the instance's metadata service"):
            verb()


@pytest.mark.slow
@pytest.mark.parametrize("token", ["", "plain", "file"])
def test_a_containers_agent_gives_keys_to_who_shows_its_token(gated: Gated, tmp_path: Path, token: str) -> None:
    file = tmp_path / "token"
    file.write_text("secret-token\n")
    shown = {
        "": {},
        "plain": {"AWS_CONTAINER_AUTHORIZATION_TOKEN": "secret-token"},
        "file": {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(file)},
    }[token]
    with Web(container_agent(gated.issuer, "/v1/credentials", "secret-token" if token else "")) as web:
        variables = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{web.url}/v1/credentials"}
        works(gated.open(variables | shown))
        assert len(web.asked) == 1
        with pytest.raises(Denied, match="agent gives no credentials") as caught:
            gated.open(variables | {"AWS_CONTAINER_AUTHORIZATION_TOKEN": "other-token"}).head("k")
    assert "other-token" not in f"{caught.value} {caught.value.detail} {caught.value.hint}"


@pytest.mark.slow
def test_a_task_of_ecs_asks_the_agent_at_its_fixed_address(gated: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    assert logins.CONTAINER_URL_ECS == "http://169.254.170.2"
    with Web(container_agent(gated.issuer, "/v2/credentials/abc")) as web:
        monkeypatch.setattr(logins, "CONTAINER_URL_ECS", web.url)
        works(gated.open({"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/abc"}))


@pytest.mark.slow
def test_a_web_identity_takes_its_role_and_again_with_a_new_token(gated: Gated, tmp_path: Path) -> None:
    authority, file = Authority(tmp_path / "tls"), tmp_path / "identity"
    file.write_text("identity-1\n")
    good = ["identity-1"]
    with Web(token_service(gated.issuer, ARN, lambda: good[0]), authority.server()) as web:
        variables = {
            "AWS_ROLE_ARN": ARN,
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(file),
            "AWS_ENDPOINT_URL_STS": web.url,
            "AWS_CA_BUNDLE": str(authority.file),
        }
        gated.issuer.life = timedelta(seconds=-1)
        store = gated.open(variables)
        with pytest.raises(Denied, match="S3 refuses"):
            store.head("k")
        gated.issuer.life = timedelta(hours=1)
        good[0] = "identity-2"
        with pytest.raises(Denied, match="Security Token Service gives no credentials") as caught:
            store.head("k")
        assert "ExpiredTokenException" in (caught.value.detail or "")
        file.write_text("identity-2\n")
        works(gated.open(variables))
        for changed in ({"AWS_CA_BUNDLE": ""}, {"AWS_ENDPOINT_URL_STS": web.url.replace("127.0.0.1", "localhost")}):
            with pytest.raises(Misconfigured, match="no safe connection to the Security Token Service") as refused:
                gated.open(variables | changed).head("k")
            assert "AWS_CA_BUNDLE" in (refused.value.hint or "")
        with pytest.raises(Denied, match="gives no credentials"):
            gated.open(variables | {"AWS_ROLE_ARN": "arn:other"}).head("k")
        file.unlink()
        with pytest.raises(Misconfigured, match="the token in") as missing:
            gated.open(variables).head("k")
        assert "AWS_WEB_IDENTITY_TOKEN_FILE" in (missing.value.hint or "")


@pytest.mark.slow
def test_the_token_of_temporary_keys_is_signed_and_sent(gated: Gated) -> None:
    variables = _static(gated)
    works(gated.open(variables))
    for changed in ({"AWS_SESSION_TOKEN": ""}, {"AWS_SESSION_TOKEN": "other"}, {"AWS_SECRET_ACCESS_KEY": "other"}):
        for verb in verbs(gated.open(variables | changed)):
            with pytest.raises(Denied):
                verb()
    gated.issuer.end()
    for verb in verbs(gated.open(variables)):
        with pytest.raises(Denied) as caught:
            verb()
        assert "ExpiredToken" in (caught.value.detail or "")


def _static(gated: Gated) -> dict[str, str]:
    keys = gated.issuer.issue()
    return {"AWS_ACCESS_KEY_ID": keys.key, "AWS_SECRET_ACCESS_KEY": keys.secret, "AWS_SESSION_TOKEN": keys.token}


def _credentials(gated: Gated, file: Path) -> None:
    names = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": ""}
    lines = (f"{name.lower()} = {text}\n" for name, text in (names | _static(gated)).items())
    file.write_text("[main]\n" + "".join(lines))


@pytest.mark.slow
def test_keys_that_another_program_renews_in_the_file_are_read_again(gated: Gated, tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    _credentials(gated, file)
    store = patient(
        gated.open({"AWS_PROFILE": "main", "AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_SESSION_TOKEN": "no"})
    )
    works(store)
    gated.issuer.end()
    _credentials(gated, file)
    works(store)
    gated.issuer.end()
    for verb in verbs(store):
        with pytest.raises(Denied):
            verb()
    _credentials(gated, file)
    other = patient(gated.open({"AWS_PROFILE": "main", "AWS_SHARED_CREDENTIALS_FILE": str(file)}))
    works(other)
    gated.issuer.end()
    file.write_text("[main]\nregion = eu-west-1\n")
    with pytest.raises(Misconfigured, match="no longer in the files"):
        other.head("k")


def _process(tmp_path: Path, program: str) -> dict[str, str]:
    (tmp_path / ".aws").mkdir(exist_ok=True)
    command = shlex.join([sys.executable, "-c", program])
    (tmp_path / ".aws/config").write_text(f"[profile main]\ncredential_process = {command}\n")
    return {"AWS_PROFILE": "main"}


@pytest.mark.slow
def test_a_process_gives_keys_and_is_run_again_before_they_end(gated: Gated, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    gated.issuer.life = timedelta(seconds=-1)
    file.write_text(json.dumps({"Version": 1} | gated.issuer.issue().json("SessionToken")))
    store = gated.open(_process(tmp_path, f"print(open({str(file)!r}).read())"))
    with pytest.raises(Denied, match="S3 refuses"):
        store.head("k")
    gated.issuer.life = timedelta(hours=1)
    file.write_text(json.dumps({"Version": 1} | gated.issuer.issue().json("SessionToken")))
    works(store)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import sys; print('secret-1'); sys.exit(3)", "gives no credentials"),
        ("print('secret-1')", "holds no credentials"),
        ("import signal; signal.pause()", "did not end within"),
    ],
)
def test_a_process_that_gives_no_keys(program: str, message: str) -> None:
    with pytest.raises(Unavailable, match=message) as caught:
        fetch.process_keys(shlex.join([sys.executable, "-c", program]), 0.3 if "pause" in program else 60)
    assert caught.value.hint
    assert "secret-1" not in f"{caught.value} {caught.value.detail}"


@pytest.mark.parametrize("command", ["/nowhere/program --key secret-1", "'secret-1", "", str(Path(__file__))])
def test_a_process_that_cannot_be_run(command: str) -> None:
    with pytest.raises(Misconfigured, match="cannot be run") as caught:
        fetch.process_keys(command, 60)
    assert caught.value.hint
    assert "secret-1" not in f"{caught.value} {caught.value.detail}"
