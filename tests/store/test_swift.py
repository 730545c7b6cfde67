"""The Swift driver against real servers: every way to log in, all that goes wrong, and the names with a slash."""

import bisect
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from lab.chaosproxy import ChaosProxy, Fault
from lab.keystone import KeystoneInfo
from lab.swift import SwiftInfo, SwiftNode, request
from lab.swift_conf import SwiftOptions as NodeOptions
from tests.store.settings import options_of, settings_of
from wal_e.errors import Denied, Exists, Misconfigured, NotFound, ShortRead, Throttled, Unavailable
from wal_e.store.api import Body, Store, read_object
from wal_e.store.checksum import XXH3, Checksum
from wal_e.store.drivers.swift.driver import MAX_OBJECT, SwiftStore
from wal_e.store.drivers.swift.options import SwiftOptions
from wal_e.store.retry import Clock
from wal_e.store.stack import StackOptions, build_stack, open_store

pytestmark = pytest.mark.slow
BIG = bytes(range(256)) * 4096 * 9
NO_WAIT = Clock(wait=lambda _: None)


def names(store: Store) -> list[str]:
    return [info.key for info in store.list()]


def works(store: Store) -> bool:
    store.put("a/k", Body.of(b"12345"))
    found = read_object(store, "a/k") == b"12345" and names(store) == ["a/k"]
    store.delete(["a/k"])
    store.close()
    return found


# Logging in


def test_auth_v1(swift_tempauth: SwiftInfo, swift_container: str) -> None:
    assert works(SwiftStore(options_of(swift_tempauth.environment()), swift_container))


LOGINS: dict[str, Callable[[KeystoneInfo], dict[str, str]]] = {
    "v3": lambda cloud: cloud.environment(3),
    "v2": lambda cloud: cloud.environment(2),
    "v3 without version in the address": lambda cloud: cloud.environment(3) | {"SWIFT_AUTHURL": cloud.url},
    "v2 without version in the address": lambda cloud: (
        cloud.environment(2) | {"SWIFT_AUTHURL": cloud.v2_url.removesuffix("/v2.0")}
    ),
    "v2 tenant:user": lambda cloud: cloud.environment(2) | {"SWIFT_TENANT": "", "SWIFT_USER": "demo:demo"},
    "v3 tenant:user": lambda cloud: {
        "SWIFT_AUTHURL": cloud.v3_url,
        "SWIFT_USER": "demo:demo",
        "SWIFT_PASSWORD": cloud.password,
        "SWIFT_AUTH_VERSION": "3",
    },
    "v3 ids": lambda cloud: {
        "SWIFT_AUTHURL": cloud.v3_url,
        "SWIFT_USER_ID": cloud.user_id,
        "SWIFT_PASSWORD": cloud.password,
        "SWIFT_PROJECT_ID": cloud.project_id,
    },
    "v3 tenant names, no domains": lambda cloud: {
        "SWIFT_AUTHURL": cloud.v3_url,
        "SWIFT_USER": cloud.user,
        "SWIFT_PASSWORD": cloud.password,
        "SWIFT_TENANT": cloud.project,
    },
    "v3 domain ids": lambda cloud: {
        "SWIFT_AUTHURL": cloud.v3_url,
        "SWIFT_USER": cloud.user,
        "SWIFT_PASSWORD": cloud.password,
        "SWIFT_PROJECT_NAME": cloud.project,
        "SWIFT_USER_DOMAIN_ID": "default",
        "SWIFT_PROJECT_DOMAIN_ID": "default",
    },
    "application credential": lambda cloud: {
        "SWIFT_AUTHURL": cloud.v3_url,
        "SWIFT_APPLICATION_CREDENTIAL_ID": cloud.application_credential_id,
        "SWIFT_APPLICATION_CREDENTIAL_SECRET": cloud.application_credential_secret,
    },
    "OS_ names": lambda cloud: cloud.openstack_environment(),
    "OS_ names, internal": lambda cloud: cloud.openstack_environment() | {"OS_INTERFACE": "internal"},
    "internalURL": lambda cloud: cloud.environment(3) | {"SWIFT_ENDPOINT_TYPE": "internalURL"},
    "token and project": lambda cloud: {
        "SWIFT_AUTHURL": cloud.v3_url,
        "SWIFT_AUTH_TOKEN": cloud.authenticate()[1],
        "SWIFT_PROJECT_NAME": cloud.project,
    },
    "storage URL and token": lambda cloud: dict(
        zip(("SWIFT_STORAGE_URL", "SWIFT_AUTH_TOKEN"), cloud.authenticate(), strict=True)
    ),
    "storage URL of our own": lambda cloud: cloud.environment(3) | {"SWIFT_STORAGE_URL": cloud.authenticate()[0]},
}


@pytest.mark.parametrize("way", LOGINS)
def test_keystone(keystone_swift: KeystoneInfo, container_name: Callable[[], str], way: str) -> None:
    container = keystone_swift.create_container(container_name())
    assert works(SwiftStore(options_of(LOGINS[way](keystone_swift)), container))


@pytest.fixture
def clouds_file(keystone_swift: KeystoneInfo, tmp_path: Path) -> Path:
    auth = {
        "auth_url": keystone_swift.v3_url,
        "username": keystone_swift.user,
        "password": keystone_swift.password,
        "project_name": keystone_swift.project,
        "user_domain_name": "Default",
        "project_domain_name": "Default",
    }
    clouds = {"lab": {"auth": auth, "region_name": "RegionTwo"}, "bad": {"auth": auth | {"password": "wrong"}}}
    path = tmp_path / "clouds.yaml"
    path.write_text(json.dumps({"clouds": clouds}))  # JSON is YAML
    return path


def test_clouds_yaml(keystone_swift: KeystoneInfo, container_name: Callable[[], str], clouds_file: Path) -> None:
    container = keystone_swift.create_container(container_name(), "RegionTwo")
    variables = {"OS_CLOUD": "lab", "OS_CLIENT_CONFIG_FILE": str(clouds_file)}
    assert works(SwiftStore(options_of(variables), container))


@pytest.mark.parametrize(("cloud", "error"), [("bad", Denied), ("absent", Misconfigured)])
def test_clouds_yaml_that_does_not_work(clouds_file: Path, cloud: str, error: type[Denied]) -> None:
    variables = {"OS_CLOUD": cloud, "OS_CLIENT_CONFIG_FILE": str(clouds_file)}
    with pytest.raises(error) as caught:
        SwiftStore(options_of(variables), "c").head("k")
    assert caught.value.hint
    assert "clouds.yaml" in caught.value.hint


def test_regions_hold_separate_data(keystone_swift: KeystoneInfo, container_name: Callable[[], str]) -> None:
    container = container_name()
    stores = []
    for region in ("RegionOne", "RegionTwo"):
        keystone_swift.create_container(container, region)
        stores.append(SwiftStore(options_of(keystone_swift.environment(region=region)), container))
    stores[0].put("one", Body.of(b"1"))
    stores[1].put("two", Body.of(b"2"))
    assert [names(store) for store in stores] == [["one"], ["two"]]
    for store in stores:
        store.close()


# What goes wrong at the door


@pytest.mark.parametrize("version", [2, 3])
def test_a_wrong_password_is_denied_and_the_variables_are_named(keystone_swift: KeystoneInfo, version: int) -> None:
    variables = keystone_swift.environment(version) | {"SWIFT_PASSWORD": "wrong"}
    with pytest.raises(Denied, match="the login to Swift was refused") as caught:
        SwiftStore(options_of(variables), "c").head("k")
    assert "SWIFT_PASSWORD" in (caught.value.hint or "")
    assert "wrong" not in f"{caught.value} {caught.value.detail} {caught.value.hint}"


def test_a_wrong_key_of_auth_v1_is_denied(swift_tempauth: SwiftInfo) -> None:
    with pytest.raises(Denied, match="the login to Swift was refused"):
        SwiftStore(options_of(swift_tempauth.environment() | {"SWIFT_PASSWORD": "wrong"}), "c").head("k")


def test_a_wrong_application_credential_is_denied(keystone_swift: KeystoneInfo) -> None:
    variables = LOGINS["application credential"](keystone_swift) | {"SWIFT_APPLICATION_CREDENTIAL_SECRET": "wrong"}
    with pytest.raises(Denied) as caught:
        SwiftStore(options_of(variables), "c").head("k")
    assert "SWIFT_APPLICATION_CREDENTIAL_SECRET" in (caught.value.hint or "")


def test_a_wrong_project_is_denied(keystone_swift: KeystoneInfo) -> None:
    with pytest.raises(Denied):
        SwiftStore(options_of(keystone_swift.environment() | {"SWIFT_PROJECT_NAME": "other"}), "c").head("k")


@pytest.mark.parametrize("version", [2, 3])
def test_a_wrong_region_lists_those_that_there_are(keystone_swift: KeystoneInfo, version: int) -> None:
    with pytest.raises(Misconfigured, match='"Atlantis"') as caught:
        SwiftStore(options_of(keystone_swift.environment(version, "Atlantis")), "c").head("k")
    assert caught.value.detail is not None
    assert "RegionOne, RegionTwo" in caught.value.detail
    assert "SWIFT_REGION" in (caught.value.hint or "")


def test_a_service_that_is_not_in_the_catalog(keystone_swift: KeystoneInfo) -> None:
    with pytest.raises(Misconfigured, match='no "objects" service'):
        SwiftStore(options_of(keystone_swift.environment() | {"SWIFT_SERVICE_TYPE": "objects"}), "c").head("k")


def test_an_address_that_is_no_keystone_is_misconfigured(keystone_swift: KeystoneInfo) -> None:
    for address in (f"{keystone_swift.url}/elsewhere/v3", "ftp://127.0.0.1/v3"):
        with pytest.raises(Misconfigured):
            SwiftStore(options_of(keystone_swift.environment() | {"SWIFT_AUTHURL": address}), "c").head("k")


def test_a_keystone_that_does_not_answer_is_an_outage_h14(keystone_swift: KeystoneInfo) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    variables = keystone_swift.environment() | {"SWIFT_AUTHURL": f"http://127.0.0.1:{port}/v3"}
    with pytest.raises(Unavailable, match="cannot be reached"):
        SwiftStore(options_of(variables), "c").head("k")


def test_a_user_who_may_only_read_is_denied_writing(
    keystone_swift: KeystoneInfo, container_name: Callable[[], str]
) -> None:
    storage_url, token = keystone_swift.authenticate()
    container = keystone_swift.create_container(container_name())
    headers = {"X-Auth-Token": token, "X-Container-Read": f"{keystone_swift.project_id}:*"}
    request("POST", f"{storage_url}/{container}", headers).close()
    SwiftStore(options_of(keystone_swift.environment()), container).put("k", Body.of(b"1"))
    variables = keystone_swift.environment() | {"SWIFT_USER": "reader", "SWIFT_PASSWORD": "readerpw"}
    reader = SwiftStore(options_of(variables), container)
    assert read_object(reader, "k") == b"1"
    assert names(reader) == ["k"]
    for attempt in (
        lambda: reader.put("k2", Body.of(b"2")),
        lambda: reader.put("k2", Body.of(BIG)),
        lambda: reader.delete(["k"]),
        lambda: reader.delete(["k", "k2"]),
    ):
        with pytest.raises(Denied) as caught:
            attempt()
        assert "swift post" in (caught.value.hint or "")
    assert names(reader) == ["k"]


def test_the_container_that_is_missing_is_named(swift_tempauth: SwiftInfo, container_name: Callable[[], str]) -> None:
    store = open_store(f"swift://{container_name()}-absent/db", settings_of(swift_tempauth.environment()))
    with pytest.raises(Misconfigured, match="does not exist") as caught:
        store.head("k")
    assert "swift post" in (caught.value.hint or "")


# Tokens that end


def revoked(cloud: KeystoneInfo, store: SwiftStore) -> None:
    """Return when Swift refuses the token that the store uses."""
    access = store._wire._login.access()
    cloud.revoke(access.token)
    while True:
        try:
            request("HEAD", access.storage_url, {"X-Auth-Token": access.token}).close()
        except OSError as error:
            assert getattr(error, "code", 0) == 401  # noqa: PT017 - the loop's end, not the test's assertion
            return


@pytest.mark.parametrize("size", [5, len(BIG)])
def test_a_token_that_ends_is_renewed_even_while_a_body_is_sent_h44(
    keystone_swift: KeystoneInfo, container_name: Callable[[], str], size: int
) -> None:
    container = keystone_swift.create_container(container_name())
    store = SwiftStore(options_of(keystone_swift.environment()), container)
    for attempt in (
        lambda: store.put("k", Body.of(BIG[:size])),
        lambda: read_object(store, "k"),
        lambda: names(store),
        lambda: store.delete(["k", "l", "m"]),
    ):
        revoked(keystone_swift, store)
        attempt()
    assert names(store) == []
    store.close()


def test_the_body_is_opened_again_when_the_token_ends_in_the_middle_h44(
    swift_chaos: tuple[ChaosProxy, SwiftInfo], container_name: Callable[[], str]
) -> None:
    _, info = swift_chaos
    opened = []
    body = Body.of(BIG)

    def open_again() -> Any:
        opened.append(1)
        return body.open()

    container = info.create_container(container_name())
    store = SwiftStore(options_of(info.environment()), container)
    good = store._wire._login.access()
    store._wire._login._access = replace(good, token="AUTH_tk_gone")  # type: ignore[attr-defined]
    store._wire._login._account.session.auth.auth_ref.auth_token = "AUTH_tk_gone"  # type: ignore[attr-defined]
    assert store.put("k", Body(len(BIG), open_again)).size == len(BIG)
    assert len(opened) == 3  # for the checksums, for the try that was refused, for the one that was not
    assert read_object(store, "k") == BIG
    store.close()


def test_a_pre_issued_token_that_ends_is_denied(keystone_swift: KeystoneInfo) -> None:
    storage_url, token = keystone_swift.authenticate()
    store = SwiftStore(options_of({"SWIFT_STORAGE_URL": storage_url, "SWIFT_AUTH_TOKEN": token}), "c")
    revoked(keystone_swift, store)
    with pytest.raises(Denied) as caught:
        store.head("k")
    assert "SWIFT_AUTH_TOKEN" in (caught.value.hint or "")


def test_many_threads_that_are_refused_together_log_in_once(
    keystone_swift: KeystoneInfo, container_name: Callable[[], str]
) -> None:
    container = keystone_swift.create_container(container_name())
    store = SwiftStore(options_of(keystone_swift.environment()), container)
    store.put("k", Body.of(b"1"))
    revoked(keystone_swift, store)
    tokens = set()

    def read() -> None:
        read_object(store, "k")
        tokens.add(store._wire._login.access().token)

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tokens) == 1
    store.close()


# Broken connections


def test_an_upload_that_breaks_leaves_nothing_and_is_repeated(
    swift_chaos: tuple[ChaosProxy, SwiftInfo], container_name: Callable[[], str]
) -> None:
    proxy, info = swift_chaos
    container = info.create_container(container_name())
    settings = settings_of(info.environment())
    bare = SwiftStore(SwiftOptions.of(settings), container)
    proxy.set(Fault(reset_after=1_000_000, direction="up", match=b"PUT ", times=1))
    with pytest.raises(Unavailable):
        bare.put("db/k", Body.of(BIG))
    with pytest.raises(NotFound):
        bare.head("db/k")
    proxy.set(Fault(reset_after=1_000_000, direction="up", match=b"PUT ", times=3))
    store = open_store(f"swift://{container}/db", settings, StackOptions(clock=NO_WAIT))
    store.put("k", Body.of(BIG), create_only=True)
    assert read_object(store, "k") == BIG
    store.close()
    bare.close()


def test_a_create_whose_answer_is_lost_is_ours(
    swift_chaos: tuple[ChaosProxy, SwiftInfo], container_name: Callable[[], str]
) -> None:
    proxy, info = swift_chaos
    container = info.create_container(container_name())
    stack = build_stack(f"swift://{container}/db", settings_of(info.environment()), StackOptions(clock=NO_WAIT))
    assert names(stack.store) == []
    proxy.set(Fault(cut_after=0, direction="down", match=b"PUT ", times=1))
    assert stack.store.put("k", Body.of(BIG), create_only=True).size == len(BIG)
    assert stack.meter.usage.put.calls == 2
    stack.store.close()


@pytest.mark.parametrize("fault", [Fault(reset_after=3_000_000, direction="down"), Fault(cut_after=3_000_000)])
def test_a_download_that_breaks_is_short_and_goes_on_where_it_broke_h15(
    swift_chaos: tuple[ChaosProxy, SwiftInfo], container_name: Callable[[], str], fault: Fault
) -> None:
    proxy, info = swift_chaos
    container = info.create_container(container_name())
    settings = settings_of(info.environment())
    bare = SwiftStore(SwiftOptions.of(settings), container)
    bare.put("db/k", Body.of(BIG))
    once = replace(fault, match=b"GET /v1", direction="down", times=1)
    proxy.set(once)
    with pytest.raises(ShortRead):
        read_object(bare, "db/k")
    proxy.set(once)
    stack = build_stack(f"swift://{container}/db", settings, StackOptions(clock=NO_WAIT))
    assert read_object(stack.store, "k") == BIG
    assert stack.meter.usage.get.calls == 2
    stack.store.close()
    bare.close()


def test_silence_is_an_outage_and_does_not_hang(
    swift_chaos: tuple[ChaosProxy, SwiftInfo], container_name: Callable[[], str]
) -> None:
    proxy, info = swift_chaos
    container = info.create_container(container_name())
    store = SwiftStore(options_of(info.environment()), container, patience=0.5)
    store.put("k", Body.of(BIG))
    for match, request_it in (
        (b"HEAD ", lambda: store.head("k")),
        (b"GET /v1", lambda: read_object(store, "k")),
        (b"PUT ", lambda: store.put("l", Body.of(BIG))),
    ):
        proxy.set(Fault(hang_after=0, direction="down", match=match))
        with pytest.raises(Unavailable):
            request_it()
    proxy.set(Fault(hang_after=2_000_000, direction="down", match=b"GET /v1"))
    with pytest.raises(Unavailable):
        read_object(store, "k")
    proxy.clear()
    assert read_object(store, "k") == BIG
    store.close()


def test_a_swift_that_is_gone_is_an_outage_h14(
    swift_chaos: tuple[ChaosProxy, SwiftInfo], container_name: Callable[[], str]
) -> None:
    proxy, info = swift_chaos
    container = info.create_container(container_name())
    store = SwiftStore(options_of(info.environment()), container)
    store.put("k", Body.of(b"1"))
    proxy.set(Fault(refuse=True))
    store.close()
    for attempt in (
        lambda: read_object(store, "k"),
        lambda: store.head("k"),
        lambda: names(store),
        lambda: store.put("k", Body.of(b"1")),
        lambda: store.delete(["k"]),
        lambda: store.delete(["k", "l"]),
    ):
        with pytest.raises(Unavailable):
            attempt()


# Sizes, pages, bulk


def test_an_object_beyond_the_limit_is_refused_before_it_is_read(swift_tempauth: SwiftInfo) -> None:
    store = SwiftStore(options_of(swift_tempauth.environment()), "c")
    with pytest.raises(Misconfigured, match="5 GiB"):
        store.put("k", Body(MAX_OBJECT + 1, lambda: pytest.fail("read")))


def test_a_smaller_limit_of_the_service_is_clear(tmp_path: Path) -> None:
    with SwiftNode(tmp_path / "swift", NodeOptions(max_file_size=1_048_576)) as node:
        container = node.info.create_container("c")
        store = SwiftStore(options_of(node.info.environment()), container)
        with pytest.raises(Misconfigured, match="too large"):
            store.put("k", Body.of(BIG))
        store.put("k", Body.of(b"small"))
        assert names(store) == ["k"]
        store.close()


def test_listing_and_bulk_delete_past_one_page_h29_h45(swift_tempauth: SwiftInfo, swift_container: str) -> None:
    store = SwiftStore(options_of(swift_tempauth.environment()), swift_container, list_page=7)
    wanted = [f"k/{number:03} ä%/" if number % 10 == 0 else f"k/{number:03}" for number in range(60)]
    for name in wanted:
        store.put(name, Body.of(b""))
    assert names(store) == wanted
    assert [info.key for info in store.list("k/02", after="k/024")] == wanted[25:30]
    store._deleter._batch = 25
    store.delete([*wanted[:55], "absent"])
    assert names(store) == wanted[55:]
    store._deleter._batch = 1
    store.delete(wanted)
    assert names(store) == []
    store.close()


def test_the_original_s_spelling_is_read_and_kept(swift_tempauth: SwiftInfo, swift_container: str) -> None:
    settings = settings_of(swift_tempauth.environment())
    bare = SwiftStore(SwiftOptions.of(settings), swift_container)
    bare.put("/db/wal_005/a.lzo", Body.of(b"old"))
    store = open_store(f"swift://{swift_container}/db", settings)
    assert read_object(store, "wal_005/a.lzo") == b"old"
    store.put("wal_005/b.zst", Body.of(b"new"), create_only=True)
    assert names(bare) == ["/db/wal_005/a.lzo", "/db/wal_005/b.zst"]
    bare.put("db/wal_005/c.zst", Body.of(b"other"))
    both = open_store(f"swift://{swift_container}/db", settings)
    assert names(both) == ["wal_005/a.lzo", "wal_005/b.zst", "wal_005/c.zst"]
    with pytest.raises(Exists):
        both.put("wal_005/a.lzo", Body.of(b"again"), create_only=True)
    both.delete(["wal_005/a.lzo", "wal_005/b.zst", "wal_005/c.zst"])
    assert names(bare) == []
    for opened in (store, both, bare):
        opened.close()


# Answers that our Swift does not give by itself


class Scripted(BaseHTTPRequestHandler):
    """Answers every request as `script` says: status, headers, body."""

    protocol_version = "HTTP/1.1"
    script: Callable[[str, str], tuple[int, dict[str, str], bytes]]

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, headers, body = type(self).script(self.command, self.path)
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = answer  # noqa: N815 - the names that http.server calls

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def scripted() -> Iterator[tuple[type[Scripted], SwiftStore]]:
    handler = type("Handler", (Scripted,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        storage_url = f"http://127.0.0.1:{server.server_port}/v1/AUTH_a"
        store = SwiftStore(SwiftOptions(storage_url=storage_url, auth_token="x"), "c")
        yield handler, store
        store.close()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "headers", "error", "wait"),
    [
        (429, {"Retry-After": "7"}, Throttled, 7),
        (429, {}, Throttled, None),
        (498, {"Retry-After": "7"}, Throttled, 7),
        (503, {"Retry-After": "3"}, Throttled, 3),
        (503, {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, Throttled, 0),
        (503, {"Retry-After": "soon"}, Unavailable, None),
        (503, {}, Unavailable, None),
        (500, {}, Unavailable, None),
        (502, {}, Unavailable, None),
        (504, {}, Unavailable, None),
        (408, {}, Unavailable, None),
        (507, {}, Unavailable, None),
        (400, {}, Misconfigured, None),
        (413, {}, Misconfigured, None),
        (403, {}, Denied, None),
        (401, {}, Denied, None),
        (422, {}, ShortRead, None),
    ],
)
def test_statuses(
    scripted: tuple[type[Scripted], SwiftStore],
    status: int,
    headers: dict[str, str],
    error: type[Unavailable],
    wait: float | None,
) -> None:
    handler, store = scripted
    handler.script = lambda _verb, _path: (status, headers, b"<html><p>Because</p></html>")
    for attempt in (
        lambda: store.put("k", Body.of(b"1")),
        lambda: read_object(store, "k"),
        lambda: store.head("k"),
        lambda: names(store),
        lambda: store.delete(["k"]),
    ):
        with pytest.raises(error) as caught:
            attempt()
        assert type(caught.value) is error
        assert caught.value.message.islower() or "could not" in caught.value.message
        if isinstance(caught.value, Throttled):
            assert caught.value.retry_after == wait


GOOD = {"Etag": "5d41402abc4b2a76b9719d911017c592", "Last-Modified": "Mon, 23 Nov 2026 10:00:00 GMT"}


@pytest.mark.parametrize(
    ("status", "headers", "start", "length"),
    [
        (200, GOOD | {"Etag": "0" * 32}, 0, None),  # bytes differ from the etag
        (200, GOOD, 1, 3),  # the range was ignored
        (206, GOOD | {"Content-Range": "bytes 0-4/5"}, 1, 5),  # another range
        (206, GOOD | {"Content-Range": "bytes 1-5/9"}, 1, 9),  # a shorter range
        (206, GOOD | {"Content-Range": "bytes 0-8/9"}, 0, 9),  # fewer bytes than the range it names
    ],
)
def test_bytes_that_are_not_those_asked_for_are_a_short_read_h20(
    scripted: tuple[type[Scripted], SwiftStore],
    status: int,
    headers: dict[str, str],
    start: int,
    length: int | None,
) -> None:
    handler, store = scripted
    handler.script = lambda _verb, _path: (status, headers, b"hello")
    with pytest.raises(ShortRead):
        b"".join(store.get("k", start=start, length=length))


@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize("headers", [{}, {"Last-Modified": GOOD["Last-Modified"]}, {"Etag": ""}])
def test_a_page_of_somebody_else_is_an_outage_h20(
    scripted: tuple[type[Scripted], SwiftStore], status: int, headers: dict[str, str]
) -> None:
    handler, store = scripted
    handler.script = lambda _verb, _path: (status, headers | {"Content-Type": "text/html"}, b"<html>Log in.</html>")
    for attempt in (
        lambda: store.put("k", Body.of(b"1")),
        lambda: read_object(store, "k"),
        lambda: store.head("k"),
        lambda: names(store),
        lambda: store.delete(["k"]),
    ):
        with pytest.raises(Unavailable, match="not one of Swift's"):
            attempt()
    store._deleter._batch = 1
    with pytest.raises(Unavailable, match="not one of Swift's"):
        store.delete(["k"])


LISTED = {"Content-Type": "application/json", "X-Container-Object-Count": "1"}


def test_more_names_than_two_full_pages_come_all_and_once_h45(scripted: tuple[type[Scripted], SwiftStore]) -> None:
    handler, store = scripted
    wanted = [f"k{number:05}" for number in range(25_000)]
    limits = []

    def script(_verb: str, path: str) -> tuple[int, dict[str, str], bytes]:
        query = parse_qs(urlsplit(path).query)
        after = query.get("marker", [""])[0]
        limits.append(int(query.get("limit", ["10000"])[0]))
        entry = {"bytes": 1, "hash": "0" * 32, "last_modified": "2026-11-23T10:00:00.123456"}
        start = bisect.bisect_right(wanted, after)
        page = [entry | {"name": name} for name in wanted[start : start + limits[-1]]]
        return 200, LISTED, json.dumps(page).encode()

    handler.script = script
    assert names(store) == wanted
    assert limits == [100, 10_000, 10_000, 10_000, 10_000]


def test_a_service_with_smaller_pages_is_listed_in_those(scripted: tuple[type[Scripted], SwiftStore]) -> None:
    handler, store = scripted

    def script(_verb: str, path: str) -> tuple[int, dict[str, str], bytes]:
        query = parse_qs(urlsplit(path).query)
        if "limit" in query:
            return 412, {}, b"Maximum limit is 500"
        entry = {"name": "k", "bytes": 1, "hash": "0" * 32, "last_modified": "2026-11-23T10:00:00.000000"}
        return 200, LISTED, json.dumps([] if "marker" in query else [entry]).encode()

    handler.script = script
    assert names(store) == ["k"]


def test_certificates_are_checked_against_the_file_or_not_at_all(
    scripted: tuple[type[Scripted], SwiftStore], tmp_path: Path
) -> None:
    handler, _ = scripted
    handler.script = lambda _verb, _path: (200, GOOD, b"hello")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names_of_it = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run([*command, *names_of_it], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        options = SwiftOptions(storage_url=f"https://127.0.0.1:{server.server_port}/v1/AUTH_a", auth_token="x")
        with pytest.raises(Misconfigured, match="certificate is not trusted") as caught:
            SwiftStore(options, "c").head("k")
        assert "SWIFT_CACERT" in (caught.value.hint or "")
        for trusting in (options.but(cacert=str(certificate)), options.but(insecure=True)):
            store = SwiftStore(trusting, "c")
            assert read_object(store, "k") == b"hello"
            store.close()
        server.shutdown()
        thread.join()


def test_another_etag_in_the_answer_to_a_put_is_a_short_read(scripted: tuple[type[Scripted], SwiftStore]) -> None:
    handler, store = scripted
    handler.script = lambda _verb, _path: (201, GOOD | {"Etag": "0" * 32}, b"")
    with pytest.raises(ShortRead, match="other bytes"):
        store.put("k", Body.of(b"hello"))


@pytest.mark.parametrize("stored", [Checksum().of([b"hello"]), Checksum().of([b"other"])])
def test_our_own_checksum_is_looked_at_in_place_of_the_md5(
    scripted: tuple[type[Scripted], SwiftStore], stored: Checksum
) -> None:
    """The MD5 here is wrong, and nobody takes it: it is another read of the bytes, at thirty times the cost."""
    handler, store = scripted
    headers = GOOD | {"Etag": "0" * 32, "X-Object-Meta-Xxh3": stored.etag.removeprefix(XXH3)}
    handler.script = lambda _verb, _path: (200, headers, b"hello")
    assert store.head("k").etag == stored.etag
    if stored.etag == Checksum().of([b"hello"]).etag:
        assert read_object(store, "k") == b"hello"
    else:
        with pytest.raises(ShortRead, match="its checksum is"):
            read_object(store, "k")


def test_the_etag_of_an_object_of_segments_is_not_an_md5(scripted: tuple[type[Scripted], SwiftStore]) -> None:
    handler, store = scripted
    headers = GOOD | {"Etag": f'"{"0" * 32}"', "X-Static-Large-Object": "True"}
    handler.script = lambda _verb, _path: (200, headers, b"hello")
    assert read_object(store, "k") == b"hello"
    assert store.head("k").etag is None


def bulk_report(errors: list[list[str]], deleted: int, absent: int = 0, status: str = "200 OK") -> bytes:
    report = {"Errors": errors, "Number Deleted": deleted, "Number Not Found": absent, "Response Status": status}
    return json.dumps(report | {"Response Body": ""}).encode()


@pytest.mark.parametrize(
    ("report", "error"),
    [
        (bulk_report([["/c/b", "403 Forbidden"]], 1, status="400 Bad Request"), Denied),
        (bulk_report([["/c/b", "503 Service Unavailable"]], 1, status="400 Bad Request"), Unavailable),
        (bulk_report([], 0, status="502 Bad Gateway"), Unavailable),
        (bulk_report([], 1), Misconfigured),
    ],
)
def test_each_key_s_answer_of_a_bulk_delete_counts_h29(
    scripted: tuple[type[Scripted], SwiftStore], report: bytes, error: type[Denied]
) -> None:
    handler, store = scripted
    info = json.dumps({"bulk_delete": {"max_deletes_per_request": 100}}).encode()
    kind = {"Content-Type": "application/json"}
    handler.script = lambda verb, _path: (200, kind, info if verb == "GET" else report)
    with pytest.raises(error):
        store.delete(["a", "b"])


@pytest.mark.parametrize("info", [404, 200])
@pytest.mark.parametrize("bulk", [404, 405, 204])
def test_without_bulk_delete_each_key_is_deleted(
    scripted: tuple[type[Scripted], SwiftStore], info: int, bulk: int
) -> None:
    handler, store = scripted
    asked = []
    offered = json.dumps({"bulk_delete": {"max_deletes_per_request": 100}}).encode()

    def script(verb: str, path: str) -> tuple[int, dict[str, str], bytes]:
        asked.append(f"{verb} {path}")
        match verb:
            case "GET":
                return info, {"Content-Type": "application/json"}, offered
            case "POST":
                return bulk, {}, b""
        return 204, {}, b""

    handler.script = script
    store.delete(["a", "b"])
    store.delete(["c", "d"])
    deletes = [line for line in asked if line.startswith("DELETE")]
    assert deletes == [f"DELETE /v1/AUTH_a/c/{key}" for key in "abcd"]
    assert len([line for line in asked if line.startswith("GET")]) == 1
    assert len([line for line in asked if line.startswith("POST")]) == (2 if info == 200 else 0)


@pytest.mark.parametrize("page", [(404, b""), (200, b"<html>Please log in.</html>")])
def test_a_page_of_somebody_elses_does_not_turn_bulk_delete_off(
    scripted: tuple[type[Scripted], SwiftStore], page: tuple[int, bytes]
) -> None:
    handler, store = scripted
    asked: list[str] = []
    offered = json.dumps({"bulk_delete": {"max_deletes_per_request": 100}}).encode()

    def script(verb: str, _path: str) -> tuple[int, dict[str, str], bytes]:
        asked.append(verb)
        match verb:
            case "GET":
                return 200, {"Content-Type": "application/json"}, offered
            case "POST" if asked.count("POST") == 1:
                return page[0], {}, page[1]
            case "POST":
                return 200, {"Content-Type": "application/json"}, bulk_report([], 2)
        return 204, {}, b""

    handler.script = script
    for keys in (["a", "b"], ["c", "d"]):
        store.delete(keys)
    assert asked == ["GET", "POST", "DELETE", "DELETE", "POST"]
