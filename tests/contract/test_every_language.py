"""A signed request from each language's HTTP library reaches the emulator the way its SDK would.

The SDKs of these languages are on no registry that a test may rely on; `emulator/docs/sdks.md` says when each was
tried by hand. What a test can hold is their transport: the library, its proxy setting and its trust.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ellipticcurve import Ecdsa, PrivateKey

from tests.contract.populated import Populated, populated_emulator

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]

CLIENTS = Path(__file__).with_name("clients")
# Not ASCII, so that a library that changes the bytes breaks the signature.
BODY = json.dumps(
    {"invoices": [{"amount": 4_000, "name": "João Araújo", "taxId": "012.345.678-90"}]}, ensure_ascii=False
)


@pytest.fixture(scope="module")
def populated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Populated, Path]]:
    """An emulator with all its ways in, and its folder."""
    folder = tmp_path_factory.mktemp("languages")
    with populated_emulator(folder, "--tls-port", "0") as running:
        yield running, folder


@pytest.mark.parametrize(
    ("needs", "command"),
    [
        (("curl", "awk"), ["sh", "client.sh"]),
        (("ruby",), ["ruby", "client.rb"]),
        (("php",), ["php", "client.php"]),
        (("go",), ["go", "run", "client.go"]),
        (("java", "javac", "keytool"), ["java", "-Dhttps.proxyHost=127.0.0.1", "Client.java"]),
        (("elixir",), ["elixir", "client.exs"]),
    ],
    ids=lambda value: value[0],
)
def test_a_signed_request_reaches_the_emulator(
    populated: tuple[Populated, Path], needs: tuple[str, ...], command: list[str]
) -> None:
    """It is answered 200 with the invoice, after the client's own check of the certificate."""
    for program in needs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    running, folder = populated
    if command[0] == "java":
        command = [*command[:2], *java_settings(running, folder), command[2]]
    ended = subprocess.run(
        command,
        cwd=CLIENTS,
        env={**running.environment, **signed(running, folder), "LC_ALL": "C.UTF-8", "GO111MODULE": "off"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    status, answer = ended.stdout.split("\n", 1)
    assert status == "200", answer
    assert json.loads(answer)["invoices"][0]["name"] == "João Araújo"


def signed(running: Populated, folder: Path) -> dict[str, str]:
    """The body and the headers that sign it, as environment variables, and the address of the TLS port."""
    access_id, access_time = f"project/{running.environment['SANDBOX_ID']}", "1795233431"
    key = PrivateKey.fromPem(running.environment["SANDBOX_PRIVATE_KEY"])
    return {
        "BODY": BODY,
        "ACCESS_ID": access_id,
        "ACCESS_TIME": access_time,
        "ACCESS_SIGNATURE": Ecdsa.sign(f"{access_id}:{access_time}:{BODY}", key).toBase64(),
        "TLS_URL": running.tls_url,
        # Go builds in a cache; elsewhere it would need a home folder that may be written.
        "GOCACHE": str(folder / "go-cache"),
    }


def java_settings(running: Populated, folder: Path) -> list[str]:
    """Java reads no variables: the proxy and a store with the authority are given as properties."""
    store = folder / "trust.p12"
    authority = ["-alias", "emulator", "-file", str(folder / "bank/ca.pem")]
    written = ["-keystore", str(store), "-storepass", "changeit"]
    subprocess.run(
        ["keytool", "-importcert", "-noprompt", *authority, *written],
        check=True,
        capture_output=True,
        timeout=60,
    )
    port = running.environment["https_proxy"].rpartition(":")[2]
    trust = f"-Djavax.net.ssl.trustStore={store}"
    return [f"-Dhttps.proxyPort={port}", trust, "-Djavax.net.ssl.trustStorePassword=changeit"]
