"""Each login to Azure, from the service that gives a token to objects in Azurite, which takes only good ones."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from lab import azurite
from lab.azure_logins import Tokens, authority, managed_identity, shared_access
from lab.azurite import ACCOUNT, KEY, AzuriteNode
from lab.certificates import Authority
from lab.faultproxy import Head
from lab.faults import Answer
from lab.web import Web
from tests.plugins.buckets import Buckets
from wal_e.config import load
from wal_e.errors import Denied, Misconfigured, StoreError, Unavailable
from wal_e.store.api import Body, Store, read_object
from wal_e.store.registry import driver_for
from wal_e.store.retry import Clock, Retrying, RetryPolicy
from wal_e.store.url import ArchiveUrl
from wal_e.units import MIB

IDENTITY = "/metadata/identity/oauth2/token"


def open_container(container: str, variables: dict[str, str]) -> Store:
    driver = driver_for("wabs")
    return driver.open(ArchiveUrl("wabs", container, ""), load(driver.options(), environ=variables))


def works(store: Store) -> None:
    """Every verb, with several clients in obstore."""
    store.put("base/a%b+c", Body.of(b"x"), create_only=True)
    store.put("base/big", Body.of(bytes(20 * MIB)))
    assert read_object(store, "base/a%b+c") == b"x"
    assert read_object(store, "base/big", start=1, length=2) == b"\0\0"
    assert [info.key for info in store.list("base/")] == ["base/a%b+c", "base/big"]
    store.delete(["base/a%b+c"])
    store.delete(["base/a%b+c", "base/big"])
    assert list(store.list("base/")) == []


def verbs(store: Store) -> dict[str, Callable[[], object]]:
    return {
        "get": lambda: read_object(store, "k"),
        "head": lambda: store.head("k"),
        "list": lambda: list(store.list("k")),
        "put": lambda: store.put("n", Body.of(b"x")),
        "delete": lambda: store.delete(["n"]),
    }


def again_and_again(verb: Callable[[], object]) -> None:
    """Until it raises: obstore asks for a new token at most ten times a second."""
    while True:
        verb()


@pytest.mark.slow
def test_a_connection_string(azure_buckets: Buckets, container_name: Callable[[], str]) -> None:
    container = azure_buckets.create(container_name())
    address = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};BlobEndpoint={azure_buckets.info.url}/{ACCOUNT}"
    signature = shared_access(container, "racwdl", timedelta(hours=1))
    for key in (f"AccountKey={KEY}", f"SharedAccessSignature={signature}"):
        works(open_container(container, {"AZURE_STORAGE_CONNECTION_STRING": f"{address};{key};"}))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rights", "may"),
    [
        ("racwdl", {"get", "head", "list", "put", "delete"}),
        ("rl", {"get", "head", "list"}),
        ("acw", {"put"}),
        ("rwl", {"get", "head", "list", "put"}),
    ],
)
def test_a_shared_access_signature_allows_its_rights_and_no_more(
    rights: str, may: set[str], azure_buckets: Buckets, container_name: Callable[[], str]
) -> None:
    container = azure_buckets.create(container_name())
    own = azure_buckets.info.environment()
    for key in ("k", "n"):
        open_container(container, own).put(key, Body.of(b"x"))
    shared = own | {"WABS_ACCESS_KEY": ""}
    sas = shared_access(container, rights, timedelta(hours=1))
    for name, verb in verbs(open_container(container, shared | {"WABS_SAS_TOKEN": f"?{sas}"})).items():
        if name in may:
            verb()
            continue
        with pytest.raises(Denied) as caught:
            verb()
        assert "sig=" not in f"{caught.value} {caught.value.detail} {caught.value.hint}"
        assert caught.value.hint
    ended = shared_access(container, "racwdl", timedelta(hours=-1))
    for verb in verbs(open_container(container, shared | {"WABS_SAS_TOKEN": ended})).values():
        with pytest.raises(Denied):
            verb()


@dataclass(frozen=True)
class Trusting:
    """An Azurite with TLS, which takes tokens, and whose authority signs the login services' certificates, too."""

    node: AzuriteNode
    authority: Authority

    def create(self, name: str) -> str:
        return azurite.create_container(self.node.info, name, str(self.authority.file))

    def environment(self) -> dict[str, str]:
        return self.node.info.environment() | {"WABS_ACCESS_KEY": "", "WALE_WABS_CACERT": str(self.authority.file)}


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trusting]:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    node = AzuriteNode(tmp_path_factory.mktemp("azurite") / "node", authority.issue("127.0.0.1"))
    with node:
        yield Trusting(node, authority)


@pytest.fixture
def container(trusting: Trusting, container_name: Callable[[], str]) -> str:
    return trusting.create(container_name())


@pytest.mark.slow
@pytest.mark.parametrize("client", ["", "user-assigned"])
def test_a_managed_identity(trusting: Trusting, container: str, client: str) -> None:
    tokens = Tokens()
    with Web(managed_identity(tokens, client)) as web:
        variables = trusting.environment() | {"IDENTITY_ENDPOINT": f"{web.url}{IDENTITY}"}
        works(open_container(container, variables | {"AZURE_CLIENT_ID": client}))
        assert tokens.given <= 2  # each of two clients has its own
        with pytest.raises(Denied, match="login service gives no token") as caught:
            open_container(container, variables | {"AZURE_CLIENT_ID": "somebody"}).head("k")
        assert "invalid_request" in (caught.value.detail or "")


@pytest.mark.slow
def test_an_application_with_a_secret(trusting: Trusting, container: str) -> None:
    tokens = Tokens()
    with Web(authority(tokens, "tenant", "app", secret="secret-1"), trusting.authority.server()) as web:
        variables = trusting.environment() | {
            "AZURE_AUTHORITY_HOST": web.url,
            "AZURE_TENANT_ID": "tenant",
            "AZURE_CLIENT_ID": "app",
            "AZURE_CLIENT_SECRET": "secret-1",
        }
        works(open_container(container, variables))
        for changed, kind, said in (
            ({"AZURE_CLIENT_SECRET": "secret-2"}, Denied, "401 AADSTS7000215"),
            ({"AZURE_CLIENT_ID": "other"}, Denied, "401 AADSTS7000215"),
            ({"AZURE_TENANT_ID": "other"}, Misconfigured, "404 invalid_tenant"),
        ):
            for verb in verbs(open_container(container, variables | changed)).values():
                with pytest.raises(kind, match="login service gives no token") as caught:
                    verb()
                assert said in (caught.value.detail or "")
                assert "secret-2" not in f"{caught.value} {caught.value.detail}"
        with pytest.raises(Misconfigured, match="no safe connection to Azure's login service") as unsafe:
            open_container(container, variables | {"WALE_WABS_CACERT": ""}).head("k")
        assert "WALE_WABS_CACERT" in (unsafe.value.hint or "")


@pytest.mark.slow
def test_a_workload_identity_whose_token_is_renewed_in_its_file(
    trusting: Trusting, container: str, tmp_path: Path
) -> None:
    tokens, good, file = Tokens(timedelta(seconds=2)), ["identity-1"], tmp_path / "token"
    file.write_text("identity-1")
    answer = authority(tokens, "tenant", "app", assertion=lambda: good[0])
    with Web(answer, trusting.authority.server()) as web:
        variables = trusting.environment() | {
            "AZURE_AUTHORITY_HOST": web.url,
            "AZURE_TENANT_ID": "tenant",
            "AZURE_CLIENT_ID": "app",
            "AZURE_FEDERATED_TOKEN_FILE": str(file),
        }
        store = open_container(container, variables)
        store.put("k", Body.of(b"x"))
        good[0] = "identity-2"
        file.write_text("identity-2")
        before = tokens.given
        while tokens.given == before:
            assert read_object(store, "k") == b"x"
        file.unlink()
        with pytest.raises(Misconfigured, match="token of the workload identity") as caught:
            open_container(container, variables).head("k")
        assert "AZURE_FEDERATED_TOKEN_FILE" in (caught.value.hint or "")


@pytest.mark.slow
def test_tokens_that_end_in_mid_run_are_renewed_before(trusting: Trusting, container: str) -> None:
    tokens = Tokens(timedelta(seconds=2))
    with Web(managed_identity(tokens)) as web:
        store = open_container(container, trusting.environment() | {"IDENTITY_ENDPOINT": f"{web.url}{IDENTITY}"})
        number = 0
        while tokens.given < 4:
            number += 1
            store.put(f"n/{number:06}", Body.of(b"x"), create_only=True)
        assert len(list(store.list("n/"))) == number


@pytest.mark.slow
def test_a_token_that_is_refused_before_its_time_is_renewed(trusting: Trusting, container: str) -> None:
    tokens = Tokens(timedelta(seconds=2), claimed=timedelta(hours=1))
    with Web(managed_identity(tokens)) as web:
        bare = open_container(container, trusting.environment() | {"IDENTITY_ENDPOINT": f"{web.url}{IDENTITY}"})
        store = Retrying(bare, RetryPolicy(deadline=30), clock=Clock(wait=lambda _: None))
        store.put("k", Body.of(b"x"))
        while tokens.given < 2:
            assert read_object(store, "k") == b"x"
        while tokens.given < 3:
            assert store.head("k").size == 1


@pytest.mark.slow
def test_a_token_that_the_store_refuses_is_denied(trusting: Trusting, container: str) -> None:
    tokens = Tokens(timedelta(seconds=-5), claimed=timedelta(hours=1))
    with Web(managed_identity(tokens)) as web:
        store = open_container(container, trusting.environment() | {"IDENTITY_ENDPOINT": f"{web.url}{IDENTITY}"})
        for verb in verbs(store).values():
            with pytest.raises(Denied, match="Azure refuses") as caught:
                verb()
            assert caught.value.hint


FAILURES: dict[str, tuple[Answer, type[StoreError]]] = {
    **{str(status): (Answer(status), Denied) for status in (400, 401, 403)},
    **{str(status): (Answer(status), Misconfigured) for status in (302, 404, 405)},
    **{str(status): (Answer(status), Unavailable) for status in (408, 410, 429, 500, 503)},
    "a blob's 404": (Answer(404, body=b"<Error><Code>BlobNotFound</Code></Error>"), Misconfigured),
    "a page": (Answer(200, body=b"<html>log in</html>"), Unavailable),
    "no token": (Answer(200, body=b"{}"), Unavailable),
}


@pytest.mark.slow
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failing_login_is_never_an_absent_object_h14(trusting: Trusting, container: str, failure: str) -> None:
    """Neither at the first login nor when a token is to be renewed; a recovery would end there."""
    answer, kind = FAILURES[failure]
    tokens = Tokens(timedelta(seconds=2))
    good, broken = managed_identity(tokens), False

    def identity(head: Head, body: str) -> Answer:
        return answer if broken else good(head, body)

    with Web(identity) as web:
        variables = trusting.environment() | {"IDENTITY_ENDPOINT": f"{web.url}{IDENTITY}"}
        used = open_container(container, variables)
        used.put("k", Body.of(b"x"))
        broken = True
        for store in (open_container(container, variables), used):
            for name, verb in verbs(store).items():
                with pytest.raises(StoreError, match=r"login service|log in") as caught:
                    again_and_again(verb)
                assert type(caught.value) is kind, name
                assert caught.value.hint or caught.value.detail


@pytest.mark.slow
def test_a_login_service_that_is_away_is_an_outage(trusting: Trusting, container: str) -> None:
    with Web(managed_identity(Tokens())) as web:
        pass
    store = open_container(container, trusting.environment() | {"IDENTITY_ENDPOINT": f"{web.url}{IDENTITY}"})
    for verb in verbs(store).values():
        with pytest.raises(Unavailable, match="no answer from Azure's login service"):
            verb()
