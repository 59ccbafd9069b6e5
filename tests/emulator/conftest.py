"""What the emulator's tests stand on: a bank on virtual time, signed calls in process, and real processes."""

from __future__ import annotations

import base64
import http.server
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import coincurve
import pytest
import requests
import starkbank
import starkcore.utils.rest
from starkcore.utils.cache import cache as SDK_CACHE
from starlette.testclient import TestClient

from emulator.__main__ import main
from emulator.app import create_app
from emulator.behaviour.bank import Bank
from emulator.behaviour.events import Delivery
from emulator.books.preset import Preset
from emulator.clock import Clock
from emulator.protocol import credentials as emulator_credentials
from emulator.protocol.credentials import Credentials
from emulator.protocol.keys import private_from_pem

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)

INVOICE = {"amount": 48_712, "name": "Marina Tavares", "taxId": "529.982.247-25"}
TRANSFER = {
    "amount": 1_000,
    "name": "Stark Bank S.A.",
    "taxId": "20.018.183/0001-80",
    "bankCode": "20018183",
    "branchCode": "0001",
    "accountNumber": "6341320293482496",
    "accountType": "payment",
}
TAGGED_TRANSFER = {**TRANSFER, "externalId": "one", "tags": ["one"]}


@dataclass
class Day:
    """A bank on virtual time, with everything it wanted to deliver."""

    bank: Bank
    now: datetime
    deliveries: list[Delivery] = field(default_factory=list)
    answer: Callable[[Delivery], tuple[str | None, str]] = lambda delivery: (None, "")

    def deliver(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        code, message = self.answer(delivery)
        self.bank.events.record(delivery, self.now, code, message)

    def run(self, **duration: float) -> None:
        """Let time pass, one due thing after the other."""
        end = self.now + timedelta(**duration)
        while (at := self.bank.next_at()) is not None and at <= end:
            self.now = max(self.now, at)
            self.bank.step(self.now)
        self.now = end

    def invoice(self, **changes: Any) -> dict[str, Any]:
        return self.bank.create_invoices([{**INVOICE, **changes}], self.now)[0]

    def transfer(self, **changes: Any) -> dict[str, Any]:
        return self.bank.create_transfers([{**TRANSFER, **changes}], self.now)[0]

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(delivery.body)["event"] for delivery in self.deliveries]

    def logs(self, kind: str, entity_id: str) -> list[dict[str, Any]]:
        book: Any = self.bank.invoices if kind == "invoice" else self.bank.transfers
        return list(book.logs.having(f"{kind}Id", entity_id))

    def log_types(self, kind: str, entity_id: str) -> list[str]:
        return [log["type"] for log in self.logs(kind, entity_id)]


@pytest.fixture
def make_day() -> Callable[..., Day]:
    """Makes a bank on virtual time; keyword arguments are those of `Preset`, and seed and opening balance."""

    def make(seed: int = 1, opening: int = 0, **habits: Any) -> Day:
        bank = Bank(seed=seed, opened_at=NOW, preset=Preset(**habits), opening_balance_centavos=opening)
        day = Day(bank, NOW)
        bank.events.deliver = day.deliver
        return day

    return make


@pytest.fixture
def day(make_day: Callable[..., Day]) -> Day:
    """A bank where every invoice gets paid, with one webhook for everything."""
    made = make_day(paid_share=1.0)
    made.bank.register_webhook("http://receiver.test/hook", ["invoice", "transfer"], NOW)
    return made


@dataclass
class Signed:
    """Signed calls to the application, in process."""

    client: TestClient
    bank: Bank
    clock: Clock
    credentials: Credentials
    key: coincurve.PrivateKey
    project_id: str = "5656565656565656"

    def headers(
        self, body: bytes = b"", access_time: str = "1795233431.362302", access_id: str = ""
    ) -> dict[str, str]:
        access_id = access_id or f"project/{self.project_id}"
        signature = self.key.sign(f"{access_id}:{access_time}:".encode() + body)
        return {
            "Access-Id": access_id,
            "Access-Time": access_time,
            "Access-Signature": base64.b64encode(signature).decode(),
        }

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        response = self.client.request(method, path, content=raw, headers=self.headers(raw))
        return response.status_code, response.json()

    def get(self, path: str) -> Any:
        status, answer = self.call("GET", path)
        assert status == 200, answer
        return answer

    def code(self, method: str, path: str, body: Any = None) -> str:
        """The code of the only error of a refused call."""
        status, answer = self.call(method, path, body)
        assert status == 400, answer
        (error,) = answer["errors"]
        assert error["message"]
        return str(error["code"])

    def ask(self, method: str, path: str, **body: Any) -> Any:
        """The answer of a call of /emulator/<path>."""
        response = self.client.request(method, f"/emulator/{path}", json=body if method != "GET" else None)
        assert response.status_code == 200, response.text
        return response.json()

    def refused(self, method: str, path: str, **body: Any) -> str:
        """What is wrong with a call of /emulator/<path>."""
        response = self.client.request(method, f"/emulator/{path}", json=body)
        assert response.status_code == 400, response.text
        return str(response.json()["errors"][0]["message"])

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.bank.step(self.clock.now())


def quiet_bank() -> Bank:
    """A bank where nobody pays by themselves."""
    return Bank(seed=1, opened_at=NOW, preset=Preset(paid_share=0.0), opening_balance_centavos=100_000)


@pytest.fixture
def signed() -> Iterator[Signed]:
    """The application over a quiet bank."""
    with served(quiet_bank()) as calls:
        yield calls


@contextmanager
def served(bank: Bank) -> Iterator[Signed]:
    """The application over a bank, whose time passes from now on."""
    calls = calls_to(bank)
    with calls.client:
        yield calls


def calls_to(bank: Bank) -> Signed:
    """Calls to a bank whose time passes only in its calls."""
    made, pem = emulator_credentials.in_memory(seed=1)
    clock = Clock(NOW)
    return Signed(
        TestClient(create_app(bank, made, clock)), bank, clock, made, private_from_pem(pem.encode())
    )


class Receiver:
    """A real web server that takes deliveries and answers as told."""

    def __init__(self) -> None:
        self.received: queue.Queue[tuple[bytes, str]] = queue.Queue()
        self.status = 200
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.put((body, self.headers["Digital-Signature"]))
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/webhooks/starkbank"

    def next(self, seconds: float = 20) -> tuple[bytes, str]:
        return self.received.get(timeout=seconds)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@dataclass
class Process:
    """A running `python -m emulator`."""

    process: subprocess.Popen[str]
    url: str
    environment: dict[str, str]
    printed: str

    def get(self, path: str) -> Any:
        return requests.get(self.url + path, timeout=20).json()

    def post(self, path: str, **body: Any) -> Any:
        response = requests.post(self.url + path, json=body, timeout=20)
        assert response.status_code == 200, response.text
        return response.json()

    def wait_for(self, what: Callable[[], Any], seconds: float = 30) -> Any:
        """What `what` returns once it is true."""
        deadline = time.monotonic() + seconds
        while not (found := what()):
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.02)
        return found

    def stop(self) -> int:
        self.process.terminate()
        status = self.process.wait(timeout=20)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return status


def assert_refused_here(line: list[str], words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The command line ends in this process with status 2, nothing on stdout and one line on stderr."""
    try:
        status: Any = main(line)
    except SystemExit as end:
        status = end.code
    out, error = capsys.readouterr()
    assert (status, out, error.count("\n")) == (2, "", 1), error
    assert [word for word in words if word not in error] == [], error


def command(*switches: str) -> list[str]:
    return [sys.executable, "-m", "emulator", *switches]


@pytest.fixture
def start_emulator(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts real emulators on free ports; they are stopped at the end."""
    running: list[Process] = []

    def start(*switches: str, data: Path = tmp_path / "bank") -> Process:
        process = subprocess.Popen(
            command("--port", "0", "--data", str(data), "--log-level", "warning", *switches),
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert process.stdout is not None
        printed = ""
        for line in process.stdout:
            printed += line
            if line.startswith("emulator ready on "):
                break
        assert "emulator ready on " in printed
        pairs = [line.split("=", 1) for line in printed.splitlines() if line.startswith("STARKBANK_")]
        environment = dict(pairs)
        made = Process(process, environment["STARKBANK_API_URL"], environment, printed)
        running.append(made)
        return made

    yield start
    for each in running:
        if each.process.poll() is None:
            each.stop()


@pytest.fixture
def point_sdk_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Process], None]]:
    """Points the untouched official SDK at an emulator, by the five names that it calls."""
    session = requests.Session()
    session.trust_env = False

    def point(process: Process) -> None:
        def verb(method: str) -> Callable[..., requests.Response]:
            def send(url: str, **arguments: Any) -> requests.Response:
                parts = urlsplit(url)
                assert parts.hostname == "sandbox.api.starkbank.com"
                target = parts.path + (f"?{parts.query}" if parts.query else "")
                return session.request(method, process.url + target, **arguments)

            return send

        for name in ("get", "post", "put", "patch", "delete"):
            monkeypatch.setattr(starkcore.utils.rest, name, verb(name))
        key = Path(process.environment["STARKBANK_PRIVATE_KEY_PATH"]).read_text()
        project = starkbank.Project(
            environment="sandbox", id=process.environment["STARKBANK_PROJECT_ID"], private_key=key
        )
        monkeypatch.setattr(starkbank, "user", project)
        # The SDK keeps the bank's key in one slot for the whole process.
        SDK_CACHE.pop("stark-public-key", None)

    yield point
    SDK_CACHE.pop("stark-public-key", None)
    session.close()
