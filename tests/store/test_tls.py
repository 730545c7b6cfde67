"""TLS with an authority of one's own: with its certificate S3 and Azure work; without it the error says what to do."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lab.certificates import Authority
from lab.faultproxy import FaultProxy
from tests.plugins.buckets import Buckets
from wal_e.config import load
from wal_e.errors import Misconfigured
from wal_e.store.api import Body, Store, read_object
from wal_e.store.registry import driver_for
from wal_e.store.url import ArchiveUrl

VARIABLES = [("s3", "AWS_CA_BUNDLE"), ("s3", "WALE_S3_CACERT"), ("azure", "WALE_WABS_CACERT")]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def opened(buckets: Buckets, bucket: str, url: str, variables: dict[str, str]) -> Store:
    driver = driver_for(buckets.info.scheme)
    environ = buckets.info.at(url).environment() | variables
    return driver.open(ArchiveUrl(driver.scheme, bucket, ""), load(driver.options(), environ=environ))


@pytest.mark.slow
@pytest.mark.parametrize(("service", "variable"), VARIABLES)
def test_an_authority_of_ones_own(
    service: str,
    variable: str,
    authority: Authority,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    container_name: Callable[[], str],
) -> None:
    buckets: Buckets = request.getfixturevalue(f"{service}_buckets")
    bucket = buckets.create(container_name())
    port = int(buckets.info.url.rpartition(":")[2])
    other = Authority(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(other.file.read_bytes() + authority.file.read_bytes())
    with (
        FaultProxy(port, tls=authority.server()) as proxy,
        FaultProxy(port, tls=authority.server("else.example")) as to,
    ):
        for file in (authority.file, both):
            store = opened(buckets, bucket, proxy.url, {variable: str(file)})
            store.put("a/b", Body.of(b"x"))
            assert read_object(store, "a/b") == b"x"
            assert [info.key for info in store.list("a/")] == ["a/b"]
            store.delete(["a/b"])
        served = len(proxy.heads)
        for url, variables, said in (
            (proxy.url, {}, "not one that this host trusts"),
            (proxy.url, {variable: str(other.file)}, "not one that this host trusts"),
            (to.url, {variable: str(authority.file)}, "another name"),
        ):
            store = opened(buckets, bucket, url, variables)
            for verb in (
                lambda store=store: store.put("k", Body.of(b"x")),
                lambda store=store: store.head("k"),
                lambda store=store: list(store.list()),
            ):
                with pytest.raises(Misconfigured, match="no safe connection") as caught:
                    verb()
                assert said in (caught.value.detail or "")
                assert variable.removeprefix("WALE_S3_").removeprefix("AWS_")[:2] in (caught.value.hint or "")
        assert len(proxy.heads) == served
        assert to.heads == []


@pytest.mark.parametrize(("service", "variable"), VARIABLES)
@pytest.mark.parametrize("content", [None, "junk", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_certificates_that_are_none_are_told(service: str, variable: str, content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    driver = driver_for("s3" if service == "s3" else "wabs")
    keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "r", "WABS_ACCOUNT_NAME": "a"}
    settings = load(driver.options(), environ=keys | {variable: str(file), "AWS_CONFIG_FILE": "/dev/null"})
    with pytest.raises(Misconfigured) as caught:
        driver.open(ArchiveUrl(driver.scheme, "bucket", ""), settings)
    assert caught.value.hint
