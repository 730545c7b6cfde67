"""The servers of the lab start, work and stop; a fault of the lab shows here first."""

import json
import signal
import socket
import subprocess
import sys
import urllib.error
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import majors
from lab.chaosproxy import ChaosProxy, Fault
from lab.keystone import KeystoneInfo
from lab.place import PROJECT, LabError, enterable
from lab.postgres import Postgres
from lab.processes import Process, free_ports, wait_until
from lab.swift import SwiftInfo, SwiftNode, request
from lab.swift_conf import SwiftOptions
from tests.plugins.postgres import PostgresFactory


@pytest.mark.slow
def test_every_major_starts_answers_and_stops(pg_major: int, postgres_factory: PostgresFactory) -> None:
    cluster = postgres_factory(pg_major, conf={"archive_mode": "on", "archive_command": "true"})
    assert cluster.value("select current_setting('server_version_num')::int / 10000") == pg_major
    assert cluster.value("show data_checksums") == "on"
    cluster.stop()
    assert not cluster.running
    assert "database system is shut down" in cluster.log_text()


@pytest.mark.slow
def test_killed_server_recovers(postgres_factory: PostgresFactory) -> None:
    cluster = postgres_factory(18)
    cluster.sql("create table kept (n int); insert into kept values (7)")
    cluster.kill()
    assert cluster.start().value("select n from kept") == 7
    assert "database system was not properly shut down" in cluster.log_text()


@pytest.mark.slow
def test_segment_size_checksums_and_identity_can_be_chosen(postgres_factory: PostgresFactory) -> None:
    query = "select system_identifier from pg_control_system()"
    small = postgres_factory(16, segment_size_mb=1, checksums=False, unique=True)
    assert small.value("show wal_segment_size") == "1MB"
    assert small.value("show data_checksums") == "off"
    assert small.value(query) != postgres_factory(16, segment_size_mb=1, checksums=False).value(query)


@pytest.mark.slow
def test_restored_directory_starts_with_its_files_as_they_are(
    pg_tmp: Path, postgres_factory: PostgresFactory, restored_factory: Callable[..., Postgres]
) -> None:
    original = postgres_factory(17, name="original", start=False)
    settings = (original.data_directory / "postgresql.conf").read_bytes()
    wrapped = restored_factory(17, original.data_directory, conf={"work_mem": "5MB"}).start()
    assert wrapped.value("show work_mem") == "5MB"
    wrapped.stop()
    assert (pg_tmp / "original" / "postgresql.conf").read_bytes() == settings


@pytest.mark.slow
def test_server_that_cannot_start_says_why(postgres_factory: PostgresFactory) -> None:
    cluster = postgres_factory(15, conf={"no_such_setting": "1"}, start=False)
    with pytest.raises(LabError, match="no_such_setting"):
        cluster.start()
    assert cluster.wait_stopped() != 0


@pytest.mark.slow
@pytest.mark.parametrize("major", [15, 16, 18])
def test_tools_of_complete_majors(major: int, postgres_factory: PostgresFactory) -> None:
    cluster = postgres_factory(major, start=False)
    done = cluster.run_tool("pg_checksums", "--check", "-D", cluster.data_directory)
    assert done.returncode == 0, done.stderr
    assert f"(PostgreSQL) {major}." in cluster.run_tool("pg_verifybackup", "--version").stdout
    assert majors.has_tool("pg_amcheck", major)


@pytest.mark.slow
def test_servers_end_with_a_killed_owner() -> None:
    script = (
        "import os; from lab.postgres import Postgres, scratch_directory\n"
        "cluster = Postgres.create(15, scratch_directory('x') / 'data').start()\n"
        "print(cluster.value('select pg_postmaster_start_time() is not null'), "
        "(cluster.data_directory / 'postmaster.pid').read_text().split()[0], cluster.data_directory, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, env=environment, cwd=PROJECT
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    _, pid, directory = done.stdout.split()
    wait_until(lambda: Process.of(int(pid)) is None, "the orphan to end")
    wait_until(lambda: not Path(directory).exists(), "its data to go")


@pytest.mark.slow
def test_swift_stores_and_returns(swift_tempauth: SwiftInfo, swift_container: str) -> None:
    storage_url, token = swift_tempauth.authenticate()
    headers = {"X-Auth-Token": token}
    request("PUT", f"{storage_url}/{swift_container}/a", headers, b"hello").close()
    with request("GET", f"{storage_url}/{swift_container}/a", headers) as answer:
        assert answer.read() == b"hello"


@pytest.mark.slow
def test_swift_keeps_to_its_limit_over_a_restart(pg_tmp: Path) -> None:
    with SwiftNode(pg_tmp / "swift", SwiftOptions(max_file_size=1 << 20)) as node:
        node.info.create_container("kept")
        node.stop()
        storage_url, token = node.start().authenticate()
        with pytest.raises(urllib.error.HTTPError) as caught:
            request("PUT", f"{storage_url}/kept/big", {"X-Auth-Token": token}, bytes((1 << 20) + 1))
        caught.value.close()
        assert caught.value.code == 413


@pytest.mark.slow
@pytest.mark.parametrize("region", ["RegionOne", "RegionTwo"])
def test_keystone_login_reaches_each_region(
    region: str, keystone_swift: KeystoneInfo, container_name: Callable[[], str]
) -> None:
    name = keystone_swift.create_container(container_name(), region)
    other = {"RegionOne": "RegionTwo", "RegionTwo": "RegionOne"}[region]
    storage_url, token = keystone_swift.authenticate(other)
    with pytest.raises(urllib.error.HTTPError) as caught:
        request("GET", f"{storage_url}/{name}", {"X-Auth-Token": token})
    caught.value.close()
    assert caught.value.code == 404


@pytest.mark.slow
@pytest.mark.parametrize(
    ("credentials", "status"),
    [
        ({"tenantName": "demo", "passwordCredentials": {"username": "demo", "password": "demopw"}}, 200),
        ({"RAX-KSKEY:apiKeyCredentials": {"username": "demo", "apiKey": "demopw"}}, 200),
        ({"tenantName": "demo", "passwordCredentials": {"username": "demo", "password": "wrong"}}, 401),
        ({"tenantName": "demo"}, 400),
    ],
)
def test_identity_v2(credentials: dict[str, object], status: int, keystone_swift: KeystoneInfo) -> None:
    body = json.dumps({"auth": credentials}).encode()
    if status != 200:
        with pytest.raises(urllib.error.HTTPError) as caught:
            request("POST", f"{keystone_swift.v2_url}/tokens", {}, body)
        caught.value.close()
        assert caught.value.code == status
        return
    with request("POST", f"{keystone_swift.v2_url}/tokens", {}, body) as answer:
        access = json.load(answer)["access"]
    (stores,) = [service for service in access["serviceCatalog"] if service["type"] == "object-store"]
    assert {"RegionOne", "RegionTwo"} <= {endpoint["region"] for endpoint in stores["endpoints"]}
    with request("GET", stores["endpoints"][0]["publicURL"], {"X-Auth-Token": access["token"]["id"]}) as listing:
        assert listing.status < 300


@pytest.mark.slow
def test_proxy_is_honest_until_told_otherwise(swift_chaos: tuple[ChaosProxy, SwiftInfo], swift_container: str) -> None:
    proxy, swift = swift_chaos
    storage_url, token = swift.authenticate()
    assert storage_url.startswith(proxy.url)
    url, headers = f"{storage_url}/{swift_container}/a", {"X-Auth-Token": token}
    proxy.set(Fault(reset_after=100_000, match=b"PUT ", times=1))
    with pytest.raises(OSError, match=r"reset|Broken pipe|without response"):
        request("PUT", url, headers, bytes(1_000_000))
    with pytest.raises(urllib.error.HTTPError) as caught:
        request("GET", url, headers)
    caught.value.close()
    assert caught.value.code == 404
    request("PUT", url, headers, bytes(1_000_000)).close()
    assert (proxy.tally.faults, proxy.tally.requests >= 4) == (1, True)


@pytest.mark.slow
def test_proxy_cuts_answers(swift_chaos: tuple[ChaosProxy, SwiftInfo], swift_container: str) -> None:
    proxy, swift = swift_chaos
    storage_url, token = swift.authenticate()
    url, headers = f"{storage_url}/{swift_container}/b", {"X-Auth-Token": token}
    request("PUT", url, headers, bytes(500_000)).close()
    proxy.set(Fault(cut_after=200_000, direction="down", match=b"GET "))
    with request("GET", url, headers) as answer, pytest.raises(Exception, match="IncompleteRead"):
        answer.read()
    proxy.set(Fault(refuse=True))
    with pytest.raises(OSError, match=r"reset|without response"):
        request("GET", url, headers)
    proxy.clear()
    with request("GET", url, headers) as answer:
        assert len(answer.read()) == 500_000


def test_proxy_hangs_until_the_client_gives_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ChaosProxy(server.getsockname()[1]) as proxy:
        proxy.set(Fault(hang_after=3, direction="up"))
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            client.sendall(b"12345")
            accepted, _ = server.accept()
            with accepted:
                accepted.settimeout(10)
                assert accepted.recv(10) == b"123"
                accepted.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    accepted.recv(10)
                client.close()
                accepted.settimeout(10)
                assert accepted.recv(10) == b""
    assert proxy.tally.faults == 1


def test_free_ports_are_never_given_twice() -> None:
    assert not set(free_ports(20)) & set(free_ports(20))


def test_a_closed_directory_is_not_enterable(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0)
    assert not enterable(closed)
    closed.chmod(0o700)
