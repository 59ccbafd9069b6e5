"""A whole day in some seconds, in real processes: the bank, the web app, the worker, started as anyone would."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests

from payments.operator.statement import Statement, read_statement
from payments.storage.database import open_database
from tests.emulated import EmulatorProcess
from tests.running import ROOT, Runner, Running, free_port, plain_environment, wait_until

# Eight slots of two seconds: enough to be stopped in the middle of them.
DAY_SECONDS = 16.0


class Town:
    """Both sides' processes, and what both say of the day."""

    def __init__(self, runner: Runner, bank: EmulatorProcess, **settings: str) -> None:
        self.runner = runner
        self.bank = bank
        self.port = free_port()
        self.environment = plain_environment(**bank.environment) | {
            "DATABASE_URL": f"sqlite:///{runner.folder / 'repasse.db'}",
            "PORT": str(self.port),
            "INVOICE_WINDOW_SECONDS": f"{DAY_SECONDS}",
            "INVOICE_INTERVAL_SECONDS": f"{DAY_SECONDS / 8}",
            "RECONCILE_INTERVAL_SECONDS": "1",
            "BANK_TIMEOUT_SECONDS": "2.5",
            # Whatever a stopped process held is taken up after this long.
            "TRANSFER_LEASE_SECONDS": "6",
            "RETRY_BASE_SECONDS": "0.2",
            "RETRY_MAX_SECONDS": "2",
            **settings,
        }

    @property
    def url(self) -> str:
        """Where the web app listens."""
        return f"http://127.0.0.1:{self.port}"

    def start_web(self, *switches: str) -> Running:
        """Start the web app, and wait until it answers."""
        web = self.runner.start("-m", "webhooks", *switches, environment=self.environment)

        def answers() -> bool:
            assert web.process.poll() is None, web.said
            try:
                return requests.get(f"{self.url}/health/live", timeout=20).status_code == 200
            except requests.ConnectionError:
                return False

        wait_until(answers, "the web app answers")
        return web

    def start_worker(self) -> Running:
        """Start the worker."""
        worker = self.runner.start("-m", "worker", environment=self.environment)
        worker.wait_for("worker.started")
        return worker

    def script(self, name: str, *arguments: str) -> Any:
        """Run one of the scripts to its end."""
        path = str(ROOT / "scripts" / f"{name}.py")
        return self.runner.run(path, *arguments, environment=self.environment)

    def register(self) -> None:
        """Have the bank deliver to the web app."""
        registered = self.script("register_webhook", f"{self.url}/webhooks/starkbank")
        assert registered.returncode == 0, registered.stderr

    def statement(self) -> dict[str, Any]:
        """Ours, as ``run_job statement --json`` prints it."""
        ended = self.script("run_job", "statement", "--json")
        assert ended.returncode == 0, ended.stderr
        found: dict[str, Any] = json.loads(ended.stdout)
        return found

    def books(self) -> Statement:
        """Our statement, read here: a process for each look would take longer than the day."""
        database = open_database(self.environment["DATABASE_URL"])
        try:
            return read_statement(database)
        finally:
            database.close()

    def wait_for_slots(self, number: int) -> None:
        """Wait until so many batches are issued."""
        wait_until(lambda: self.books().batches_issued >= number, f"{number} batches are issued")

    def finish(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Wait until the day is over and everything has settled; both statements."""
        self.wait_for_slots(8)

        def is_over() -> bool:
            theirs = self.bank.statement()
            # Whoever pays does so within 15 minutes of the bank's day.
            return bool(
                theirs["exact"]
                and theirs["credited"]["count"]
                and theirs["invoices"].get("paid", 0) == theirs["credited"]["count"]
                and self._is_settled(theirs["credited"]["count"])
            )

        self.bank.ask("POST", "stop-paying")
        wait_until(is_over, "both sides have settled")
        return self.statement(), self.bank.statement()

    def _is_settled(self, credits: int) -> bool:
        ours = self.books()
        return ours.credits == credits == ours.transfers["settled"]


@pytest.fixture
def build_town(runner: Runner, start_emulator_process: Callable[..., EmulatorProcess]) -> Callable[..., Town]:
    """A town with a running bank, whose day takes as long as our window; keyword arguments are settings."""

    def build(*switches: str, **settings: str) -> Town:
        speed = f"{86_400 / DAY_SECONDS}"
        bank = start_emulator_process("--speed", speed, "--seed", "11", "--fee", "37", *switches)
        return Town(runner, bank, **settings)

    return build


def assert_day_is_exact(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Eight batches, and every credited invoice forwarded once at amount minus fee, on both statements."""
    assert ours["batches"]["issued"] == 8
    assert 64 <= ours["invoices"] <= 96
    assert ours["invoices"] == theirs["invoice_count"]
    assert theirs["exact"]
    assert theirs["balanced"]
    assert ours["balanced"]
    for name in ("count", "gross_centavos", "fee_centavos", "net_centavos"):
        assert ours["credits"][name] == theirs["credited"][name]
    assert ours["credits"]["fee_centavos"] == 37 * ours["credits"]["count"] > 0
    assert ours["transfers"]["settled"] == theirs["forwarded_exactly_once"] == ours["credits"]["count"]
    assert (
        ours["settled_centavos"]
        == theirs["transfers"]["success"]["centavos"]
        == theirs["credited"]["net_centavos"]
    )
    assert theirs["balance_centavos"] == 0
    assert ours["attention"] == 0
