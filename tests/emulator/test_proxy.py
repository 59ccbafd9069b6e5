"""The HTTPS proxy and its authority: for the bank's hosts, and for no other."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shlex
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from cryptography import x509

from emulator.__main__ import main
from emulator.protocol.keys import BadKeyFile
from emulator.proxy.authority import HOSTS, open_authority
from tests.emulator.conftest import NOW, Process


def test_the_authority_is_kept_and_the_leaf_is_for_both_hosts(tmp_path: Path) -> None:
    """The authority stays the same, and each leaf names both host names."""
    first, leaf_path = open_authority(tmp_path, NOW)
    before = first.read_bytes()
    again, leaf_path = open_authority(tmp_path, NOW)
    assert (again, again.read_bytes()) == (first, before)
    leaf = x509.load_pem_x509_certificate(leaf_path.read_bytes())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert tuple(names.get_values_for_type(x509.DNSName)) == HOSTS
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "ca-key.pem", leaf_path)} == {0o600}


def test_the_authority_can_vouch_for_no_other_domain(tmp_path: Path) -> None:
    """The certificate limits itself to the bank's domain."""
    path, _ = open_authority(tmp_path, NOW)
    authority = x509.load_pem_x509_certificate(path.read_bytes())
    limits = authority.extensions.get_extension_for_class(x509.NameConstraints)
    assert limits.critical
    assert limits.value.permitted_subtrees == [x509.DNSName("starkbank.com")]


@pytest.mark.parametrize("broken", ["ca.pem", "ca-key.pem"])
def test_a_broken_file_of_the_authority_is_named(tmp_path: Path, broken: str) -> None:
    """Either broken file ends with a message that says what to remove."""
    open_authority(tmp_path, NOW)
    (tmp_path / broken).write_text("nonsense")
    with pytest.raises(BadKeyFile, match="remove both"):
        open_authority(tmp_path, NOW)


@pytest.fixture
def proxied(start_emulator: Callable[..., Process], tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a running proxy, and the certificate of its authority."""
    process = start_emulator("--proxy-port", "0", data=tmp_path / "bank")
    assert "PRIVATE KEY" not in process.printed
    yield proxy_of(process), tmp_path / "bank/ca.pem"
    assert process.stop() == 0


def proxy_of(process: Process) -> str:
    """The address of the proxy, from what the process printed."""
    line = next(line for line in process.printed.splitlines() if "HTTPS proxy" in line)
    return line.split(" on ")[1].split(";")[0]


def ask(address: str, first_line: str, end: bytes | None = None) -> str:
    """What the proxy answers to one line, up to `end` or until it closes the connection."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(f"{first_line}\r\nHost: x\r\n\r\n".encode())
        answer = b""
        while (end is None or not answer.endswith(end)) and (data := connection.recv(4096)):
            answer += data
    return answer.decode()


@pytest.mark.process
def test_a_client_reaches_the_emulator_under_the_banks_own_names(proxied: tuple[str, Path]) -> None:
    """CONNECT and TLS under both names lead to this bank."""
    address, authority = proxied
    with requests.Session() as session:
        session.trust_env = False
        for host in HOSTS:
            answer = session.get(
                f"https://{host}/v2/public-key", proxies={"https": address}, verify=str(authority), timeout=20
            )
            assert answer.headers["x-emulator"] == "repasse"
            assert answer.json()["publicKeys"]


@pytest.mark.process
def test_what_a_client_needs_is_in_a_private_file_and_no_key_is_printed(proxied: tuple[str, Path]) -> None:
    """sdk.env has mode 0600 and every variable in both cases."""
    address, authority = proxied
    path = authority.with_name("sdk.env")
    assert path.stat().st_mode & 0o777 == 0o600
    pairs = dict(line.split("=", 1) for line in shlex.split(path.read_text()))
    for name in ("http_proxy", "https_proxy"):
        assert pairs[name] == pairs[name.upper()] == address
    assert pairs["no_proxy"] == pairs["NO_PROXY"] == "127.0.0.1,localhost"
    assert {pairs[name] for name in ("REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE")} == {
        str(authority)
    }
    for user in ("SANDBOX", "SANDBOX_ORGANIZATION"):
        assert pairs[f"{user}_ID"].isdigit()
        assert pairs[f"{user}_PRIVATE_KEY"].startswith("-----BEGIN EC PRIVATE KEY-----\n")


@pytest.mark.process
def test_the_proxy_leads_nowhere_else(proxied: tuple[str, Path]) -> None:
    """Every other host and port is refused with advice."""
    address, _ = proxied
    for target in (
        "example.com:443",
        "sandbox.api.starkbank.com:80",
        "127.0.0.1:443",
        "sandbox.api.starkinfra.com:443",
    ):
        assert ask(address, f"CONNECT {target} HTTP/1.1").startswith("HTTP/1.1 403 ")
    for target in ("http://example.com/", "https://example.com/", "/v2/public-key"):
        refusal = ask(address, f"GET {target} HTTP/1.1")
        assert refusal.startswith("HTTP/1.1 403 ")
        assert "--pass-other-hosts" in refusal
        assert "python -m emulator run" in refusal
    assert ask(address, "nonsense") == ""


class Connection:
    """One connection to the proxy, for requests as an old axios writes them: with the whole URL in the first line."""

    def __init__(self, address: str) -> None:
        host, port = address.removeprefix("http://").split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=20)

    def ask(self, method: str, url: str, body: bytes = b"") -> tuple[int, bytes]:
        """The status and the body of the answer."""
        host = urlsplit(url).netloc
        head = f"{method} {url} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
        self._socket.sendall(head.encode() + body)
        response = http.client.HTTPResponse(self._socket, method=method)
        response.begin()
        return response.status, response.read()

    def close(self) -> None:
        self._socket.close()


@pytest.mark.process
def test_requests_in_absolute_form_are_answered_as_the_bank_would(proxied: tuple[str, Path]) -> None:
    """Several on one connection, with and without a body, for both host names and with either scheme."""
    with contextlib.closing(Connection(proxied[0])) as connection:
        for origin in (f"https://{HOSTS[0]}", f"http://{HOSTS[0]}", f"https://{HOSTS[1]}:443"):
            status, body = connection.ask("GET", f"{origin}/v2/public-key?limit=1")
            assert (status, len(json.loads(body)["publicKeys"])) == (200, 1)
            status, body = connection.ask("POST", f"{origin}/v2/invoice", b'{"invoices": []}')
            assert status == 400
            assert json.loads(body)["errors"][0]["code"] == "invalidCredentials"


@pytest.mark.process
def test_a_connection_that_goes_on_to_another_host_is_refused_there(proxied: tuple[str, Path]) -> None:
    """Each request is judged by its own URL, not by the first of its connection."""
    with contextlib.closing(Connection(proxied[0])) as connection:
        assert connection.ask("GET", f"https://{HOSTS[0]}/v2/public-key")[0] == 200
        assert connection.ask("GET", "http://127.0.0.1:9/")[0] == 403


@pytest.mark.process
def test_other_hosts_are_passed_through_when_that_was_asked_for(
    start_emulator: Callable[..., Process], tmp_path: Path, receiver: Any
) -> None:
    """With --pass-other-hosts both forms reach the real host, and the bank's hosts are still the emulator."""
    process = start_emulator("--proxy-port", "0", "--pass-other-hosts", data=tmp_path / "bank")
    address = proxy_of(process)
    other = receiver.url.removesuffix("/webhooks/starkbank")
    with contextlib.closing(Connection(address)) as connection:
        assert connection.ask("POST", f"{other}/hook", b"one")[0] == 200
        assert connection.ask("GET", f"https://{HOSTS[0]}/v2/public-key")[0] == 200
        assert connection.ask("POST", f"{other}/hook", b"two")[0] == 200
    assert [receiver.received.get(timeout=20)[0] for _ in range(2)] == [b"one", b"two"]
    opened = ask(address, f"CONNECT {other.removeprefix('http://')} HTTP/1.1", end=b"established\r\n\r\n")
    assert opened.startswith("HTTP/1.1 200 ")
    assert ask(address, "CONNECT 127.0.0.1:1 HTTP/1.1").startswith("HTTP/1.1 502 ")
    bundle = dict(line.split("=", 1) for line in shlex.split((tmp_path / "bank/sdk.env").read_text()))
    assert Path(bundle["SSL_CERT_FILE"]).read_text().count("BEGIN CERTIFICATE") > 1


@pytest.mark.process
def test_a_client_without_proxy_variables_reaches_the_tls_port(
    start_emulator: Callable[..., Process], tmp_path: Path
) -> None:
    """--tls-port speaks TLS with the certificate for the bank's names; a hosts line leads a client there."""
    process = start_emulator("--tls-port", "0", data=tmp_path / "bank")
    line = next(line for line in process.printed.splitlines() if "TLS for the bank" in line)
    port = int(line.split(" on ")[1].split(";")[0].rpartition(":")[2])
    trusted = ssl.create_default_context(cafile=str(tmp_path / "bank/ca.pem"))
    for host in HOSTS:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
            trusted.wrap_socket(plain, server_hostname=host) as connection,
        ):
            connection.sendall(f"GET /v2/public-key HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            with http.client.HTTPResponse(connection) as response:
                response.begin()
                assert (response.status, response.headers["x-emulator"]) == (200, "repasse")
                response.read()
    assert "http_proxy" not in (tmp_path / "bank/sdk.env").read_text()


@pytest.mark.process
def test_run_sets_the_variables_for_one_command_and_returns_its_status(
    start_emulator: Callable[..., Process], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """`python -m emulator run -- COMMAND` leaves the caller's own environment as it is."""
    start_emulator("--proxy-port", "0", data=tmp_path / "bank")
    before = dict(os.environ)
    data = ["--data", str(tmp_path / "bank")]
    code = "import os, sys; print(os.environ['https_proxy'], *sys.argv[1:]); sys.exit(7)"
    assert main(["run", *data, "--", sys.executable, "-c", code, "--", "-x"]) == 7
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+ -- -x\n", capfd.readouterr().out)
    assert dict(os.environ) == before


@pytest.mark.process
def test_a_client_that_does_not_trust_the_authority_gets_a_clear_error(proxied: tuple[str, Path]) -> None:
    """TLS verification fails on the client's side."""
    address, _ = proxied
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(f"CONNECT {HOSTS[0]}:443 HTTP/1.1\r\n\r\n".encode())
        assert b" 200 " in connection.recv(4096)
        with pytest.raises(ssl.SSLCertVerificationError):
            ssl.create_default_context().wrap_socket(connection, server_hostname=HOSTS[0])


@pytest.mark.process
@pytest.mark.parametrize("fault", ["drop_answer", "cut_body"])
def test_an_answer_that_the_emulator_cuts_is_cut_for_the_client_too(
    start_emulator: Callable[..., Process], tmp_path: Path, fault: str
) -> None:
    """A fault that cuts the connection reaches through the proxy."""
    process = start_emulator("--proxy-port", "0", data=tmp_path / "bank")
    process.post("/emulator/faults", name=fault, times=1)
    proxies = {"https": proxy_of(process)}
    with requests.Session() as session:
        session.trust_env = False
        session.proxies, session.verify = proxies, str(tmp_path / "bank/ca.pem")
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            session.get(f"https://{HOSTS[0]}/v2/public-key", timeout=20)
        assert session.get(f"https://{HOSTS[0]}/v2/public-key", timeout=20).status_code == 200
