"""The emulator: what a request costs it, beside the one signature check that every request needs."""

import base64
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from coincurve import PrivateKey, PublicKey
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.benchmarks.stand import ROOT, CannotMeasure

ROUNDS = 5


def measure(folder: Path, calls: int) -> dict[str, float]:
    """Seconds by kind of request, medians; the first is the signature check alone."""
    command = [sys.executable, "-m", "emulator", "--port", "0", "--data", str(folder), "--seed", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    emulator = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        settings = _settings_of(emulator, folder)
        signer = _Signer(settings)
        address = urlsplit(settings["STARKBANK_API_URL"])
        assert address.hostname is not None
        client = http.client.HTTPConnection(address.hostname, address.port)
        client.connect()
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        number = iter(range(10**9))
        rows: list[tuple[str, Callable[[], object]]] = [
            ("check of one signature, alone", signer.check),
            ("GET balance", lambda: _call(client, signer, "GET", "balance", b"")),
            ("POST one transfer", lambda: _call(client, signer, "POST", "transfer", _transfer(next(number)))),
            ("GET transfer by tag", lambda: _call(client, signer, "GET", "transfer?tags=bench-1", b"")),
            ("POST one invoice", lambda: _call(client, signer, "POST", "invoice", _INVOICE)),
        ]
        costs: dict[str, list[float]] = {name: [] for name, _ in rows}
        for _ in range(ROUNDS):
            for name, act in rows:
                began = time.perf_counter()
                for _ in range(calls):
                    act()
                costs[name].append((time.perf_counter() - began) / calls)
        client.close()
        return {name: statistics.median(seconds) for name, seconds in costs.items()}
    finally:
        emulator.terminate()
        emulator.wait(10)


def _settings_of(emulator: subprocess.Popen[str], folder: Path) -> dict[str, str]:
    assert emulator.stdout is not None
    for line in emulator.stdout:
        if "ready on" in line:
            break
    else:
        raise CannotMeasure("the emulator did not start; see what it says above")
    lines = (folder / "app.env").read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


class _Signer:
    """Signs requests as an SDK does, only faster, so that the client costs little of what is measured."""

    def __init__(self, settings: dict[str, str]) -> None:
        pem = Path(settings["STARKBANK_PRIVATE_KEY_PATH"]).read_bytes()
        loaded = load_pem_private_key(pem, None)
        assert isinstance(loaded, EllipticCurvePrivateKey)
        self._key = PrivateKey.from_int(loaded.private_numbers().private_value)
        self._public = PublicKey(self._key.public_key.format())
        self._project = f"project/{settings['STARKBANK_PROJECT_ID']}"
        self._text = f"{self._project}:1795233431.362302:".encode()
        self._signature = self._key.sign(self._text)

    def check(self) -> bool:
        """What the bank must do for every request at least."""
        return self._public.verify(self._signature, self._text)

    def headers(self, body: bytes) -> dict[str, str]:
        """The three headers of a signed request."""
        at = str(time.time())
        signature = self._key.sign(f"{self._project}:{at}:".encode() + body)
        return {
            "Access-Id": self._project,
            "Access-Time": at,
            "Access-Signature": base64.b64encode(signature).decode(),
            "Content-Type": "application/json",
        }


def _call(client: http.client.HTTPConnection, signer: _Signer, method: str, path: str, body: bytes) -> None:
    client.request(method, f"/v2/{path}", body or None, signer.headers(body))
    answer = client.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise CannotMeasure(f"{method} {path} was answered {answer.status}: {text[:200]!r}")


def _transfer(number: int) -> bytes:
    transfer = {
        "amount": 1000,
        "name": "Stark Bank S.A.",
        "taxId": "20.018.183/0001-80",
        "bankCode": "20018183",
        "branchCode": "0001",
        "accountNumber": "6341320293482496",
        "accountType": "payment",
        "externalId": f"bench-{number}",
        "tags": [f"bench-{number}"],
    }
    return json.dumps({"transfers": [transfer]}).encode()


_INVOICE = json.dumps({"invoices": [{"amount": 1000, "name": "Ana", "taxId": "529.982.247-25"}]}).encode()
