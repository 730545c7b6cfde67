"""The way to an address: proxies, names, connections and certificates, with real sockets on loopback."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lab.processes import free_ports
from wal_e.finding import Finding, Verdict
from wal_e.maintain.checkup.network import look, proxy_for
from wal_e.store.endpoint import Endpoint


def found(url: str, verify: str | bool = False, variables: dict[str, str] | None = None) -> list[Finding]:
    return list(look(Endpoint("the object store", url, verify), variables or {}))


def certificate(directory: Path, days: int) -> Path:
    """A key with its own certificate for localhost, in one file."""
    file = directory / "localhost.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", str(days)]
    files = ["-keyout", file, "-out", directory / "certificate"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, *files],
        check=True,
        capture_output=True,
    )
    file.write_text(file.read_text() + (directory / "certificate").read_text())
    return file


@pytest.fixture
def days() -> int:
    return 100


@pytest.fixture
def trusted(tmp_path: Path, days: int) -> Path:
    return certificate(tmp_path, days)


@pytest.fixture
def tls(trusted: Path) -> Iterator[int]:
    """The port of a server that greets by TLS and hangs up."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trusted)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection = server.accept()[0]
                    with connection, suppress(OSError):
                        context.wrap_socket(connection, server_side=True).close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_certificate_that_is_trusted(tls: int, trusted: Path) -> None:
    findings = found(f"https://localhost:{tls}/v3", str(trusted))
    assert [(one.name, one.verdict) for one in findings] == [
        ("name", Verdict.OK),
        ("connection", Verdict.OK),
        ("certificate", Verdict.OK),
    ]


def test_a_certificate_that_is_not_trusted_and_one_of_another_name(tls: int, trusted: Path) -> None:
    last = found(f"https://localhost:{tls}", True)[-1]
    assert (last.name, last.verdict) == ("certificate", Verdict.FAILED)
    assert "self-signed certificate" in last.seen
    last = found(f"https://127.0.0.1:{tls}", str(trusted))[-1]
    assert (last.name, last.verdict) == ("certificate", Verdict.FAILED)
    assert "127.0.0.1" in last.seen
    assert str(trusted) in (last.hint or "")


def test_certificates_that_nobody_looks_at_are_a_warning(tls: int) -> None:
    last = found(f"https://localhost:{tls}", False)[-1]
    assert (last.name, last.verdict) == ("certificate", Verdict.WARNING)


@pytest.mark.parametrize("days", [3])
def test_a_certificate_that_ends_soon(tls: int, trusted: Path) -> None:
    last = found(f"https://localhost:{tls}", str(trusted))[-1]
    assert (last.name, last.verdict) == ("certificate", Verdict.WARNING)


def test_a_file_of_authorities_that_is_missing_is_told(tls: int) -> None:
    last = found(f"https://localhost:{tls}", "/nonexistent")[-1]
    assert (last.name, last.verdict) == ("certificate", Verdict.FAILED)
    assert "/nonexistent" in (last.hint or "")


def test_plain_http_has_no_certificate(tls: int) -> None:
    assert [one.name for one in found(f"http://127.0.0.1:{tls}")] == ["connection"]


@pytest.mark.parametrize("url", ["https://two..dots/v3", "https://host:port/v3", "https://host:99999/"])
def test_a_name_that_cannot_resolve(url: str) -> None:
    (finding,) = found(url)
    assert (finding.name, finding.verdict) == ("name", Verdict.FAILED)
    assert url.split("/")[2] in finding.seen
    assert "resolv.conf" in (finding.hint or "")


def test_a_password_in_an_address_that_does_not_resolve_is_not_told() -> None:
    for url in ("https://user:secret@two..dots/v3", "https://user:secret@host:port/v3"):
        (finding,) = found(url)
        assert finding.verdict is Verdict.FAILED
        assert "secret" not in repr(finding)


def test_nobody_at_the_port() -> None:
    (port,) = free_ports(1)
    (finding,) = found(f"http://127.0.0.1:{port}")
    assert (finding.name, finding.verdict) == ("connection", Verdict.FAILED)
    assert f"127.0.0.1:{port}" in finding.seen


def test_a_proxy_in_between_is_named_and_looked_at_in_place_of_the_store(tls: int) -> None:
    findings = found("https://store.example/v1", True, {"https_proxy": f"http://user:secret@127.0.0.1:{tls}"})
    assert [(one.name, one.verdict) for one in findings] == [("proxy", Verdict.OK), ("connection", Verdict.OK)]
    assert "https_proxy" in findings[0].seen
    assert "secret" not in repr(findings)
    last = found("https://store.example/v1", True, {"https_proxy": "two..dots"})[-1]
    assert (last.name, last.verdict) == ("name", Verdict.FAILED)
    assert "two..dots" in last.seen
    assert "no_proxy" in (last.hint or "")


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({}, None),
        ({"https_proxy": "p:1"}, "https_proxy"),
        ({"HTTPS_PROXY": "p:1"}, "HTTPS_PROXY"),
        ({"HTTPS_PROXY": "p:1", "https_proxy": "q:1"}, "https_proxy"),
        ({"http_proxy": "p:1"}, None),
        ({"all_proxy": "p:1"}, "all_proxy"),
        ({"https_proxy": ""}, None),
        ({"https_proxy": "p:1", "no_proxy": "store.example"}, None),
        ({"https_proxy": "p:1", "NO_PROXY": "other, .example"}, None),
        ({"https_proxy": "p:1", "no_proxy": "store.example:443"}, None),
        ({"https_proxy": "p:1", "no_proxy": "store.example:80"}, "https_proxy"),
        ({"https_proxy": "p:1", "no_proxy": "restore.example,"}, "https_proxy"),
        ({"https_proxy": "p:1", "no_proxy": "*"}, None),
    ],
)
def test_which_proxy(variables: dict[str, str], name: str | None) -> None:
    chosen = proxy_for("https", "store.example:443", variables)
    assert (chosen and chosen[0]) == name


def test_no_proxy_may_be_a_network() -> None:
    variables = {"https_proxy": "p:1", "no_proxy": "10.1.0.0/16,nonsense/9"}
    assert proxy_for("https", "10.1.2.3:443", variables) is None
    assert proxy_for("https", "10.2.2.3:443", variables) is not None
