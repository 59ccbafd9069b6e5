"""A whole day of the job in accelerated time, in real processes: started, killed, revived, and compared at its end.

The bank's own statement decides. What the settings shrink is the day; what guards against a slow machine (timeouts,
leases) stays in seconds, only shorter than in production.
"""

import subprocess
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import requests

from payments.errors import LedgerUnavailable
from payments.operator.statement import Statement, read_statement
from payments.storage.database import open_database
from payments.storage.migrate import revision_of
from scripts.processes import (
    ProcessError,
    Runner,
    Running,
    free_port,
    quick_day,
    wait_until,
)
from tests.emulated import EmulatorProcess
from tests.running import plain_environment

SETTLE_SECONDS = 120.0

# How often both statements are compared: more often would slow down what is waited for.
LOOK_SECONDS = 0.2


class Day:
    """The emulator, ``webs`` web processes and ``workers`` workers on one database, in one folder."""

    def __init__(
        self,
        folder: Path,
        seed: int = 0,
        seconds: float = 10.0,
        webs: int = 1,
        workers: int = 1,
        webhooks_each: int = 1,
        settings: dict[str, str] | None = None,
        switches: tuple[str, ...] = (),
        database_url: str | None = None,
        clocks: Mapping[str, float | Path] | None = None,
    ) -> None:
        """``clocks``: by how many seconds a process's clock is wrong, or the file that says so, by its name."""
        self.seconds = seconds
        self.running: dict[str, Running] = {}
        self.runner = Runner(folder)
        self.database_file = folder / "repasse.db"
        self._url = database_url or f"sqlite:///{self.database_file}"
        self._clocks = clocks or {}
        self._commands: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {}
        self.bank = EmulatorProcess(
            self.runner, "--seed", str(seed), "--speed", str(86_400 / seconds), *switches
        )
        shared = {
            **self.bank.environment,
            **quick_day(seconds, bank_timeout_seconds=1.5),
            "DATABASE_URL": self._url,
            **(settings or {}),
        }
        for number in range(1, webs + 1):
            self._add_web(f"web-{number}", shared, webhooks_each)
        for number in range(1, workers + 1):
            self._commands[f"worker-{number}"] = (("-m", "worker"), plain_environment(**shared))

    @property
    def names(self) -> list[str]:
        """Our processes: web-1, ..., worker-1, ..."""
        return list(self._commands)

    def url(self, name: str = "web-1") -> str:
        """Where a web process listens."""
        return f"http://127.0.0.1:{self.environment(name)['PORT']}"

    def environment(self, name: str) -> dict[str, str]:
        """The settings of a process; a change holds from its next start on."""
        return self._commands[name][1]

    def start(self, *names: str) -> None:
        """Start these of our processes, or all."""
        for name in names or self.names:
            command, environment = self._commands[name]
            if wrong := self._clocks.get(name):
                command = ("-m", "tests.wrong_clock", str(wrong), command[-1])
            self.running[name] = self.runner.start(*command, environment=environment)

    def wait_for_start(self, *names: str) -> None:
        """Wait until these of our processes, or all, have started; a web process answers then."""
        for name in names or self.names:
            self.running[name].wait_for(f"{name.partition('-')[0]}.started")
            if name.startswith("web"):
                wait_until(lambda name=name: self._answers(name), f"{name} answers")  # type: ignore[misc]

    def stop(self, *names: str) -> list[int]:
        """End these of our processes, or all, once they have started; their exit statuses."""
        for name in names or self.names:
            self.running[name].wait_for(".started")  # before that a signal ends Python itself
        return [self.running[name].stop() for name in names or self.names]

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self.running[name].kill()

    def said(self, name: str = "") -> str:
        """What the processes whose names begin so have printed since they were started last."""
        return "\n".join(running.said for each, running in self.running.items() if each.startswith(name))

    def assert_all_run(self) -> None:
        """No process has ended by itself."""
        assert all(running.process.poll() is None for running in self.running.values())

    def repasse(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end, with the settings of our processes."""
        return self.runner.run("-m", "repasse", *arguments, environment=self.environment(self.names[-1]))

    def start_repasse(self, *arguments: str) -> Running:
        """Start a command, and do not wait for its end."""
        return self.runner.start("-m", "repasse", *arguments, environment=self.environment(self.names[-1]))

    def move_to(self, url: str) -> None:
        """Have every process use another database from its next start on."""
        self._url = url
        for name in self.names:
            self.environment(name)["DATABASE_URL"] = url

    def statement(self) -> Statement | None:
        """Our statement; None while there is no database, or it cannot be read."""
        database = open_database(self._url)
        try:
            return read_statement(database) if revision_of(database) else None
        except LedgerUnavailable:
            return None
        finally:
            database.close()

    def issued(self) -> int:
        """How many batches were issued; 0 while the database cannot be read."""
        ours = self.statement()
        return ours.batches_issued if ours else 0

    def wait_for_batches(self, number: int) -> None:
        """Wait until so many batches were issued."""
        wait_until(lambda: self.issued() >= number, f"{number} batches are issued", pause=LOOK_SECONDS)

    def wait_for_payouts(self, number: int) -> None:
        """Wait until the bank has paid so many of our transfers."""
        wait_until(lambda: self.bank.transfers("success") >= number, f"{number} transfers are paid")

    def wait_for_end(self) -> None:
        """Wait until the last slot was issued, some invoices of it may still be paid, then let the bank pay no more."""

        def is_over() -> bool:
            ours = self.statement()
            return ours is not None and ours.batches_issued + ours.batches_skipped >= 8

        limit = self.seconds + SETTLE_SECONDS
        wait_until(is_over, "all batches are issued", limit, LOOK_SECONDS)
        enough = self._bank_time() + timedelta(hours=1.5)
        wait_until(lambda: self._bank_time() >= enough, "invoices of the last batch are paid")
        self.bank.ask("POST", "stop-paying")

    def settle(self) -> str | None:
        """Let everything run on until the bank's statement is exact; None then, else what was wrong to the end."""
        try:
            wait_until(lambda: not self.what_is_wrong(), "both sides agree", SETTLE_SECONDS, LOOK_SECONDS)
        except ProcessError:
            return self.what_is_wrong()
        return None

    def assert_ends_exact(self) -> None:
        """The day comes to its end without faults, and both sides agree to the centavo."""
        self.wait_for_end()
        self.bank.clear_faults()
        wrong = self.settle()
        assert wrong is None, wrong

    def what_is_wrong(self) -> str | None:
        """What keeps the day from being exact, by the bank's statement and ours; None when nothing does."""
        ours, bank = self.statement(), self.bank.statement()
        if ours is None:
            return "no database that can be read"
        credited = bank["credited"]
        checks = (
            ("the bank's statement is not exact", bank["exact"]),
            ("the bank paid twice", not bank["paid_twice"]),
            ("the bank's sums do not balance", bank["balanced"]),
            ("our statement does not balance", ours.balanced),
            ("not 8 batches", ours.batches_issued == 8),
            ("invoices at the bank are not those of our batches", bank["invoice_count"] == ours.invoices),
            ("not 64 to 96 invoices", 64 <= ours.invoices <= 96),
            ("credits differ", ours.credits == credited["count"] > 0),
            ("gross differs", ours.gross_centavos == credited["gross_centavos"]),
            ("fees differ", ours.fee_centavos == credited["fee_centavos"]),
            ("not every credit is settled", ours.transfers["settled"] == ours.credits),
            ("not each credit was forwarded once", bank["forwarded_exactly_once"] == ours.credits),
            ("settled differs", ours.settled_centavos == credited["net_centavos"]),
            ("money is left in the account", bank["balance_centavos"] == 0),
        )
        wrong = [text for text, right in checks if not right]
        return f"{'; '.join(wrong)}: {_brief(ours, bank)}" if wrong else None

    def close(self) -> None:
        """End everything."""
        self.bank.close()
        self.runner.kill_all()

    def _bank_time(self) -> datetime:
        return datetime.fromisoformat(self.bank.ask("GET", "health")["emulated_now"])

    def _answers(self, name: str) -> bool:
        try:
            return requests.get(f"{self.url(name)}/health/live", timeout=20).status_code == 200
        except requests.ConnectionError:
            return False

    def _add_web(self, name: str, shared: dict[str, str], webhooks: int) -> None:
        environment = plain_environment(**{**shared, "PORT": str(free_port())})
        self._commands[name] = (("-m", "webhooks"), environment)
        for number in range(webhooks):
            url = f"{self.url(name)}/webhooks/starkbank{'?again' * number}"
            self.runner.register_webhook(url, environment)


def _brief(ours: Statement, bank: dict[str, Any]) -> str:
    mine = {name: ours.to_json()[name] for name in ("batches", "invoices", "transfers", "attention")}
    names = ("invoice_count", "forwarded_exactly_once", "unpaid", "in_flight", "paid_twice", "foreign")
    return f"ours {mine}, the bank's { ({name: bank[name] for name in names}) }"
