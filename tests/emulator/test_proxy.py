"""The HTTPS proxy and its authority: for the bank's hosts, and for no other."""

from __future__ import annotations

import shlex
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509

from emulator.protocol.keys import BadKeyFile
from emulator.proxy.authority import HOSTS, open_authority
from tests.emulator.conftest import NOW, ROOT, Process, command


def test_the_authority_is_kept_and_the_leaf_is_for_both_hosts(tmp_path: Path) -> None:
    first, leaf_path = open_authority(tmp_path, NOW)
    before = first.read_bytes()
    again, leaf_path = open_authority(tmp_path, NOW)
    assert (again, again.read_bytes()) == (first, before)
    leaf = x509.load_pem_x509_certificate(leaf_path.read_bytes())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert tuple(names.get_values_for_type(x509.DNSName)) == HOSTS
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "ca-key.pem", leaf_path)} == {0o600}


def test_the_authority_can_vouch_for_no_other_domain(tmp_path: Path) -> None:
    path, _ = open_authority(tmp_path, NOW)
    authority = x509.load_pem_x509_certificate(path.read_bytes())
    limits = authority.extensions.get_extension_for_class(x509.NameConstraints)
    assert limits.critical
    assert limits.value.permitted_subtrees == [x509.DNSName("starkbank.com")]


@pytest.mark.parametrize("broken", ["ca.pem", "ca-key.pem"])
def test_a_broken_file_of_the_authority_is_named(tmp_path: Path, broken: str) -> None:
    open_authority(tmp_path, NOW)
    (tmp_path / broken).write_text("nonsense")
    with pytest.raises(BadKeyFile, match="remove both"):
        open_authority(tmp_path, NOW)


@pytest.fixture
def proxied(start_emulator: Callable[..., Process], tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a running proxy, and the certificate of its authority."""
    process = start_emulator("--proxy-port", "0", data=tmp_path / "bank")
    assert "PRIVATE KEY" not in process.printed
    line = next(line for line in process.printed.splitlines() if "HTTPS proxy" in line)
    address = line.split(" on ")[1].split(";")[0]
    yield address, tmp_path / "bank/ca.pem"
    assert process.stop() == 0


def ask(address: str, first_line: str) -> str:
    """What the proxy answers to one line."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(f"{first_line}\r\nHost: x\r\n\r\n".encode())
        answer = b""
        while data := connection.recv(4096):
            answer += data
    return answer.decode()


@pytest.mark.process
def test_a_client_reaches_the_emulator_under_the_banks_own_names(proxied: tuple[str, Path]) -> None:
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
    address, authority = proxied
    path = authority.with_name("sdk.env")
    assert path.stat().st_mode & 0o777 == 0o600
    pairs = dict(line.split("=", 1) for line in shlex.split(path.read_text()))
    assert pairs["HTTPS_PROXY"] == address
    assert {pairs[name] for name in ("REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE")} == {
        str(authority)
    }
    for user in ("SANDBOX", "SANDBOX_ORGANIZATION"):
        assert pairs[f"{user}_ID"].isdigit()
        assert pairs[f"{user}_PRIVATE_KEY"].startswith("-----BEGIN EC PRIVATE KEY-----\n")


@pytest.mark.process
def test_the_proxy_leads_nowhere_else(proxied: tuple[str, Path]) -> None:
    address, _ = proxied
    for target in (
        "example.com:443",
        "sandbox.api.starkbank.com:80",
        "127.0.0.1:443",
        "sandbox.api.starkinfra.com:443",
    ):
        assert ask(address, f"CONNECT {target} HTTP/1.1").startswith("HTTP/1.1 403 ")
    assert ask(address, "GET http://sandbox.api.starkbank.com/ HTTP/1.1").startswith("HTTP/1.1 405 ")
    assert ask(address, "nonsense") == ""


@pytest.mark.process
def test_a_client_that_does_not_trust_the_authority_gets_a_clear_error(proxied: tuple[str, Path]) -> None:
    address, _ = proxied
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(f"CONNECT {HOSTS[0]}:443 HTTP/1.1\r\n\r\n".encode())
        assert b" 200 " in connection.recv(4096)
        with pytest.raises(ssl.SSLCertVerificationError):
            ssl.create_default_context().wrap_socket(connection, server_hostname=HOSTS[0])


@pytest.mark.process
def test_a_busy_proxy_port_ends_the_start_with_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended: Any = subprocess.run(
            command("--port", "0", "--proxy-port", port, "--data", str(tmp_path)),
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=30,
            check=False,
        )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert f"127.0.0.1:{port}" in line
    assert "--proxy-port" in line


@pytest.mark.process
@pytest.mark.parametrize("fault", ["drop_answer", "cut_body"])
def test_an_answer_that_the_emulator_cuts_is_cut_for_the_client_too(
    start_emulator: Callable[..., Process], tmp_path: Path, fault: str
) -> None:
    process = start_emulator("--proxy-port", "0", data=tmp_path / "bank")
    process.post("/emulator/faults", name=fault, times=1)
    address = next(line for line in process.printed.splitlines() if "HTTPS proxy" in line).split(" on ")[1]
    proxies = {"https": address.split(";")[0]}
    with requests.Session() as session:
        session.trust_env = False
        session.proxies, session.verify = proxies, str(tmp_path / "bank/ca.pem")
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            session.get(f"https://{HOSTS[0]}/v2/public-key", timeout=20)
        assert session.get(f"https://{HOSTS[0]}/v2/public-key", timeout=20).status_code == 200
