"""The emulator inside the test's own process, over real sockets: what most tests take for the bank.

Its clock stands still unless a test moves it, and the code under test can be handed the same clock, so that
hours of leases and back-off pass in no time and nothing depends on how fast the machine is.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import requests
import uvicorn

from emulator.app import create_app
from emulator.behaviour.bank import Bank
from emulator.books.preset import Preset
from emulator.clock import Clock, ScaledClock
from emulator.protocol import credentials as emulator_credentials
from emulator.server import Protocol
from tests.running import Runner, plain_environment, wait_until


class Control:
    """The management face of an emulator, wherever it runs."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.trust_env = False

    def ask(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """Call /emulator/<path>."""
        answer = self._session.request(method, f"{self.url}/emulator/{path}", json=body, timeout=20)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def fault(self, name: str, route: str = "*", **options: Any) -> None:
        """Switch a misbehaviour on."""
        self.ask("POST", "faults", name=name, route=route, **options)

    def clear_faults(self) -> None:
        """Switch every misbehaviour off."""
        self.ask("DELETE", "faults")

    def requests(self, method: str, path: str) -> list[dict[str, Any]]:
        """The requests that the bank has received, as /v2/<path>."""
        return [
            each
            for each in self.ask("GET", "requests")["requests"]
            if each["method"] == method and each["path"].replace("//", "/") == f"/v2/{path}"
        ]

    def statement(self) -> dict[str, Any]:
        """The bank's own statement, with every payout."""
        return self.ask("GET", "statement")

    def transfers(self, status: str) -> int:
        """How many transfers have this status."""
        return int(self.statement()["transfers"].get(status, {"count": 0})["count"])

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


class EmulatedBank(Control):
    """A bank in a thread. Nobody pays by themselves unless ``paid_share`` says so."""

    def __init__(self, clock: Clock | ScaledClock, opening: int = 0, **habits: Any) -> None:
        self.clock = clock
        self.credentials, self.private_key_pem = emulator_credentials.in_memory(seed=1)
        self.project_id = self.credentials.project.project_id
        preset = Preset(**{"paid_share": 0.0, **habits})
        self._bank = Bank(seed=1, opened_at=clock.now(), preset=preset, opening_balance_centavos=opening)
        config = uvicorn.Config(
            create_app(self._bank, self.credentials, clock),
            http=Protocol,
            ws="none",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        # With the protocol named, asyncio switches Nagle's delay off: 40 ms a request otherwise.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind(("127.0.0.1", 0))
        listener.listen(256)
        super().__init__(f"http://127.0.0.1:{listener.getsockname()[1]}")
        threading.Thread(target=lambda: asyncio.run(self._server.serve([listener]))).start()
        wait_until(lambda: self._server.started, "the emulator serves")

    @property
    def environment(self) -> dict[str, str]:
        """The settings that lead to it."""
        return {
            "STARKBANK_PROJECT_ID": self.project_id,
            "STARKBANK_PRIVATE_KEY": self.private_key_pem,
            "STARKBANK_API_URL": self.url,
        }

    def advance(self, seconds: float) -> datetime:
        """Let time pass at the bank, and do what fell due; returns the new time."""
        assert isinstance(self.clock, Clock)
        self.clock.advance(seconds)
        self.ask("GET", "health")
        return self.clock.now()

    def pay(self, invoice_id: str) -> None:
        """A payer pays; the money is credited some seconds later, by the bank's clock."""
        self.ask("POST", f"invoices/{invoice_id}/pay")

    def sign(self, body: bytes, forged: bool = False) -> str:
        """The Digital-Signature of these bytes, by the bank's key or a stranger's."""
        return self.credentials.sign(body, str(len(body)), forged=forged)

    def close(self) -> None:
        """Have the thread end: it does within a fifth of a second, which no test waits for."""
        super().close()
        self._server.should_exit = True


class EmulatorProcess(Control):
    """``python -m emulator`` on a free port; what it printed is how others reach it."""

    def __init__(self, runner: Runner, *switches: str) -> None:
        data = runner.folder / "bank"
        self.running = runner.start(
            "-m", "emulator", "--port", "0", "--data", str(data), *switches, environment=plain_environment()
        )
        self.running.wait_for("emulator ready on ")
        lines = (data / "app.env").read_text().splitlines()
        self.environment = dict(line.split("=", 1) for line in lines)
        self.project_id = self.environment["STARKBANK_PROJECT_ID"]
        self.private_key_pem = Path(self.environment["STARKBANK_PRIVATE_KEY_PATH"]).read_text()
        super().__init__(self.environment["STARKBANK_API_URL"])


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals belong to the main thread, which is pytest's
