"""What goes wrong with a store of buckets is told in the seam's words, with a hint and without a secret."""

import io
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import seaweed
from lab.chaosproxy import ChaosProxy, Fault
from lab.faultproxy import FaultProxy
from tests.plugins.buckets import Buckets
from wal_e.config import load
from wal_e.errors import (
    ContainerMissing,
    Denied,
    Exists,
    Misconfigured,
    NotFound,
    ShortRead,
    StoreError,
    Throttled,
    Unavailable,
)
from wal_e.store.api import Body, Store, read_object
from wal_e.store.checksum import XXH3, Checksum
from wal_e.store.drivers.object_errors import Service, store_error
from wal_e.store.drivers.object_listing import prefix_floor
from wal_e.store.drivers.object_store import CHECKSUM, ObjectStore
from wal_e.store.registry import driver_for
from wal_e.store.retry import Clock, Retrying, RetryPolicy
from wal_e.store.stack import open_store
from wal_e.store.url import ArchiveUrl

SERVICE = Service("S3", 'bucket "b"', "create it", "check the key", "check the certificate")
ALL = ("s3", "azure", "gs")


def open_bucket(scheme: str, bucket: str, variables: dict[str, str]) -> Store:
    driver = driver_for(scheme)
    return driver.open(ArchiveUrl(scheme, bucket, ""), load(driver.options(), environ=variables))


@pytest.fixture(params=ALL)
def buckets(request: pytest.FixtureRequest) -> Buckets:
    found: Buckets = request.getfixturevalue(f"{request.param}_buckets")
    return found


@pytest.fixture
def bucket(buckets: Buckets, container_name: Callable[[], str]) -> str:
    return buckets.create(container_name())


class Said(Exception):
    """An exception with the text of one of obstore's."""


def answered(status: int, code: str = "", said: str = "") -> Said:
    text = f"<Error><Code>{code}</Code><Message>{said}</Message></Error>" if code else ""
    return Said(f"Generic S3 error: Error performing PUT http://h/b/k in 1ms - status code: {status} X: {text}")


def broken(kind: str, more: str = "") -> Said:
    return Said(
        f"Generic S3 error: Error performing GET - HTTP error\n\nDebug source:\nHttpError {{ kind: {kind}, {more} }}"
    )


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (answered(412, "PreconditionFailed"), Exists),
        (answered(409, "BlobAlreadyExists"), Exists),
        (answered(409, "ConditionalRequestConflict"), Unavailable),
        (answered(409, "OperationAborted"), Unavailable),
        (answered(409, "LeaseAlreadyPresent"), Unavailable),
        (answered(404, "NoSuchKey"), NotFound),
        (answered(404), NotFound),
        (answered(404, "NoSuchBucket"), ContainerMissing),
        (answered(404, "ContainerNotFound"), ContainerMissing),
        (answered(401), Denied),
        (answered(403, "SignatureDoesNotMatch"), Denied),
        (answered(403, "RequestTimeTooSkewed"), Denied),
        (answered(400, "ExpiredToken"), Denied),
        (answered(400, "BadDigest"), ShortRead),
        (answered(400, "XAmzContentSHA256Mismatch"), ShortRead),
        (answered(400, "RequestTimeout"), Unavailable),
        (answered(400, "AuthorizationHeaderMalformed"), Misconfigured),
        (answered(416, "InvalidRange"), ShortRead),
        (answered(429), Throttled),
        (answered(503, "SlowDown"), Throttled),
        (answered(503, "ServerBusy"), Throttled),
        (answered(503), Unavailable),
        (answered(500, "InternalError"), Unavailable),
        (answered(501, "NotImplemented"), Misconfigured),
        (answered(507), Unavailable),
        (Said("DeleteObjects request failed for key k: Access Denied. (code: AccessDenied)"), Denied),
        (Said("Bulk delete request failed for key k: The specified blob does not exist. (code: 404)"), NotFound),
        (
            Said("Bulk delete request failed for key k: The specified container does not exist. (code: 404)"),
            ContainerMissing,
        ),
        (broken("Connect", 'ConnectError("tcp connect error", message: "Connection refused")'), Unavailable),
        (broken("Timeout"), Unavailable),
        (broken("Connect", "InvalidCertificate(UnknownIssuer)"), Misconfigured),
        (broken("Connect", "InvalidMessage(InvalidContentType)"), Misconfigured),
        (
            Said("HTTP error: request or response body error\n\nDebug source:\nkind: Interrupted, IncompleteBody"),
            ShortRead,
        ),
        (Said("HTTP error: request or response body error\n\nDebug source:\nkind: Timeout, TimedOut"), Unavailable),
        (Said("Received redirect without LOCATION"), Misconfigured),
        (Said("Got invalid list response: x"), Unavailable),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, Said) else value.__name__,
)
def test_what_each_answer_means(error: Said, kind: type[StoreError]) -> None:
    assert type(store_error(error, "could not store x", SERVICE)) is kind


def test_a_name_that_the_service_does_not_take_leads_to_the_address() -> None:
    error = store_error(answered(400, "InvalidResourceName"), "could not list x", SERVICE)
    assert type(error) is Misconfigured
    assert "the archive's address" in str(error.hint)


def test_a_signed_address_is_not_shown() -> None:
    for text in (
        "Error performing GET https://h/c/b?sv=1&sig=SECRET - status code: 403 Forbidden",
        "Something at https://h/c/b?sv=1&sig=SECRET went wrong",
    ):
        error = store_error(Said(text), "could not read x", SERVICE)
        assert "SECRET" not in f"{error} {error.detail} {error.hint}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fixture", "changed"),
    [
        ("s3", {"AWS_SECRET_ACCESS_KEY": "wrong"}),
        ("s3", {"AWS_ACCESS_KEY_ID": "nobody"}),
        ("azure", {"WABS_ACCESS_KEY": "d3Jvbmc="}),
        ("azure", {"WABS_ACCESS_KEY": "", "WABS_SAS_TOKEN": "sv=2021-08-06&sig=wrong"}),
    ],
)
def test_a_wrong_secret_is_denied_at_every_verb(
    fixture: str, changed: dict[str, str], request: pytest.FixtureRequest, container_name: Callable[[], str]
) -> None:
    buckets: Buckets = request.getfixturevalue(f"{fixture}_buckets")
    store = open_bucket(buckets.info.scheme, buckets.create(container_name()), buckets.info.environment() | changed)
    for verb in (
        lambda: store.put("k", Body.of(b"x")),
        lambda: store.put("k", Body.of(b"x"), create_only=True),
        lambda: b"".join(store.get("k")),
        lambda: store.head("k"),
        lambda: list(store.list()),
        lambda: store.delete(["k"]),
        lambda: store.delete(["k", "l"]),
    ):
        with pytest.raises(Denied) as caught:
            verb()
        assert caught.value.hint


@pytest.mark.slow
def test_who_may_only_read_reads(s3_buckets: Buckets, container_name: Callable[[], str]) -> None:
    bucket = s3_buckets.create(container_name())
    open_bucket("s3", bucket, s3_buckets.info.environment()).put("k", Body.of(b"x"))
    store = open_bucket("s3", bucket, seaweed.reader(s3_buckets.info))
    assert read_object(store, "k") == b"x"
    for verb in (
        lambda: store.put("k", Body.of(b"y")),
        lambda: store.delete(["k"]),
        lambda: store.delete(["k", "l"]),
    ):
        with pytest.raises(Denied):
            verb()
    assert read_object(store, "k") == b"x"


@pytest.mark.slow
def test_nobody_listening_is_unavailable(buckets: Buckets) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        store = open_bucket(buckets.info.scheme, "bucket", buckets.info.at(address).environment())
        for verb in (
            lambda: store.put("k", Body.of(b"x")),
            lambda: store.head("k"),
            lambda: list(store.list()),
            lambda: store.delete(["k"]),
        ):
            with pytest.raises(Unavailable) as caught:
                verb()
            assert caught.value.detail


@pytest.mark.slow
def test_an_endpoint_without_the_account_is_never_an_absent_object_h14(
    azure_buckets: Buckets, container_name: Callable[[], str]
) -> None:
    """Azurite takes the container for the account then, and says 404 to everything."""
    info, name = azure_buckets.info, azure_buckets.create(container_name())
    store = open_bucket("wabs", name, info.environment() | {"WABS_ENDPOINT": info.url})
    for verb in (lambda: list(store.list()), lambda: store.head("f/k"), lambda: read_object(store, "f/k")):
        with pytest.raises(Misconfigured) as caught:
            verb()
        assert "endpoint" in str(caught.value.hint)


@pytest.mark.slow
def test_a_server_without_tls_is_misconfigured_not_an_outage(buckets: Buckets) -> None:
    info = buckets.info.at(buckets.info.url.replace("http:", "https:"))
    store = open_bucket(info.scheme, "bucket", info.environment())
    with pytest.raises(Misconfigured) as caught:
        store.head("k")
    assert caught.value.hint


@pytest.mark.slow
def test_a_stream_that_is_cut_is_short_and_goes_on_where_it_stopped_h14(buckets: Buckets, bucket: str) -> None:
    data = bytes(range(256)) * 4096 * 4
    with ChaosProxy(int(buckets.info.url.rpartition(":")[2])) as proxy:
        store = open_bucket(buckets.info.scheme, bucket, buckets.info.at(proxy.url).environment())
        store.put("k", Body.of(data))
        once = Fault(cut_after=2_500_000, direction="down", times=1)
        proxy.set(once)
        with pytest.raises(ShortRead):
            b"".join(store.get("k"))
        proxy.set(once)
        assert read_object(patient(store), "k") == data
        assert proxy.tally.faults == 2


@pytest.mark.slow
def test_a_create_whose_answer_was_lost_is_known_as_ours_h01(buckets: Buckets, bucket: str) -> None:
    with ChaosProxy(int(buckets.info.url.rpartition(":")[2])) as proxy:
        store = open_bucket(buckets.info.scheme, bucket, buckets.info.at(proxy.url).environment())
        assert list(store.list()) == []
        method = b"POST" if buckets.info.scheme == "gs" else b"PUT"
        proxy.set(Fault(cut_after=0, direction="down", match=method, times=1))
        info = patient(store).put("k", Body.of(b"mine"), create_only=True)
        assert proxy.tally.faults == 1
        assert info.size == 4
        proxy.set(Fault(cut_after=0, direction="down", match=method, times=1))
        with pytest.raises(Exists):
            patient(store).put("k", Body.of(b"else"), create_only=True)
        assert read_object(store, "k") == b"mine"


@pytest.mark.slow
@pytest.mark.parametrize("fixture", ["s3", "azure"])
def test_other_bytes_than_were_stored_are_noticed(
    fixture: str, request: pytest.FixtureRequest, container_name: Callable[[], str]
) -> None:
    buckets: Buckets = request.getfixturevalue(f"{fixture}_buckets")
    store = open_bucket(buckets.info.scheme, buckets.create(container_name()), buckets.info.environment())
    assert isinstance(store, ObjectStore)
    lie = Checksum().of([b"other"]).etag.removeprefix(XXH3)
    store._obstore.put(store._reader, "k", b"bytes", attributes={CHECKSUM: lie}, use_multipart=False)
    with pytest.raises(ShortRead, match="its checksum is"):
        b"".join(store.get("k"))
    assert read_object(store, "k", start=1) == b"ytes"  # a range has no checksum


@pytest.mark.slow
def test_google_refuses_other_bytes_than_were_announced(gs_buckets: Buckets, container_name: Callable[[], str]) -> None:
    """As where a file changes between its MD5 and its sending."""
    store = open_bucket("gs", gs_buckets.create(container_name()), gs_buckets.info.environment())
    readings = iter([b"bytes", b"other"])
    with pytest.raises(ShortRead, match="other bytes arrived than were announced"):
        store.put("k", Body(5, lambda: io.BytesIO(next(readings))), create_only=True)
    assert list(store.list()) == []


@pytest.mark.slow
def test_objects_of_other_programs_have_no_checksum_of_ours(
    s3_buckets: Buckets, container_name: Callable[[], str]
) -> None:
    store = open_bucket("s3", s3_buckets.create(container_name()), s3_buckets.info.environment())
    assert isinstance(store, ObjectStore)
    store._obstore.put(store._reader, "wal_005/x.lzo", b"bytes", use_multipart=False)
    assert store.head("wal_005/x.lzo").etag is None
    assert read_object(store, "wal_005/x.lzo") == b"bytes"


@pytest.mark.slow
def test_a_listing_in_another_order_is_refused_unless_that_is_set_h45(
    s3_buckets: Buckets, container_name: Callable[[], str]
) -> None:
    bucket = s3_buckets.create(container_name())
    variables = s3_buckets.info.environment()
    store = open_bucket("s3", bucket, variables)
    for key in ("b-c", "b/d"):
        store.put(key, Body.of(b"x"))
    assert [info.key for info in store.list()] == ["b-c", "b/d"]
    with pytest.raises(Misconfigured, match="order of keys") as caught:
        list(open_bucket("s3", bucket, variables | {"WALE_S3_UNORDERED": "false"}).list())
    assert "WALE_S3_UNORDERED" in (caught.value.hint or "")


@pytest.mark.slow
def test_a_listing_has_as_many_pages_as_it_needs(s3_buckets: Buckets, container_name: Callable[[], str]) -> None:
    store = open_bucket("s3", s3_buckets.create(container_name()), s3_buckets.info.environment())
    names = [f"n/{number:04}" for number in range(1_003)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: store.put(name, Body.of(b"x")), names))
    assert [info.key for info in store.list("n/")] == names
    assert [info.key for info in store.list("n/0", after="n/0997")] == ["n/0998", "n/0999"]
    assert [info.key for info in store.list("n/100")] == names[1_000:]
    store.delete(names)
    assert list(store.list()) == []


@pytest.mark.slow
def test_the_original_archives_of_google_begin_with_a_slash(
    gs_buckets: Buckets, container_name: Callable[[], str]
) -> None:
    bucket = gs_buckets.create(container_name())
    bare = open_bucket("gs", bucket, gs_buckets.info.environment())
    bare.put("/main/wal_005/a", Body.of(b"old"))
    settings = load(driver_for("gs").options(), environ=gs_buckets.info.environment())
    archive = open_store(f"gs://{bucket}/main", settings)
    assert read_object(archive, "wal_005/a") == b"old"
    archive.put("wal_005/b", Body.of(b"new"))
    assert [info.key for info in archive.list()] == ["wal_005/a", "wal_005/b"]
    assert [info.key for info in bare.list()] == ["/main/wal_005/a", "/main/wal_005/b"]


@pytest.mark.slow
@pytest.mark.parametrize(("fixture", "scheme"), [("s3", "s3"), ("azure", "wabs")])
def test_the_original_archives_of_s3_and_azure_do_not(
    fixture: str, scheme: str, request: pytest.FixtureRequest, container_name: Callable[[], str]
) -> None:
    buckets: Buckets = request.getfixturevalue(f"{fixture}_buckets")
    bucket = buckets.create(container_name())
    open_bucket(buckets.info.scheme, bucket, buckets.info.environment()).put("main/wal_005/a", Body.of(b"old"))
    settings = load(driver_for(scheme).options(), environ=buckets.info.environment())
    assert read_object(open_store(f"{scheme}://{bucket}/main", settings), "wal_005/a") == b"old"


LETTERS = "%+-./09:=@AZ_az~"


@given(st.text(LETTERS, max_size=6), st.text(LETTERS, max_size=6))
def test_no_key_of_a_prefix_is_before_its_floor(prefix: str, more: str) -> None:
    prefix = prefix.lstrip("/")
    folder, _, rest = prefix.rpartition("/")
    floor = prefix_floor(folder, rest)
    assert floor <= prefix + more
    assert not floor.startswith("/")


def patient(store: Store) -> Store:
    return Retrying(store, RetryPolicy(deadline=30), clock=Clock(wait=lambda _: None))


@pytest.mark.slow
@pytest.mark.parametrize("style", ["", "+subdomain", "+virtualhost"])
def test_the_bucket_stands_in_the_host_where_that_is_asked_for(
    style: str, s3_buckets: Buckets, container_name: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through an HTTP proxy, which alone knows where the host is: the signature covers what is asked of it."""
    bucket = s3_buckets.create(container_name())
    host = f"{bucket}.{seaweed.DOMAIN}" if style else seaweed.DOMAIN
    variables = s3_buckets.info.environment() | {"WALE_S3_ENDPOINT": f"http{style}://{seaweed.DOMAIN}"}
    if style == "+virtualhost":  # the bucket's name is the host
        bucket = host
    with FaultProxy(urlsplit(s3_buckets.info.url).port or 80) as proxy:
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", proxy.url)
        store = open_bucket("s3", bucket, variables)
        store.put("db/k", Body.of(b"bytes"), create_only=True)
        assert read_object(store, "db/k", start=1) == b"ytes"
        assert [info.key for info in store.list("db/")] == ["db/k"]
        store.delete(["db/k"])
        assert all(f" http://{host}/" in request for request in proxy.requests), proxy.requests
