"""A whole day of the job in accelerated time, in real processes: started, killed, revived, and compared at its end.

The bank's own statement decides. What the settings shrink is the day; what guards against a slow machine (timeouts,
leases) stays in seconds, only shorter than in production.
"""

import subprocess
import time
from pathlib import Path
from typing import Any

from payments.errors import LedgerUnavailable
from payments.operator.statement import Statement, read_statement
from payments.storage.database import open_database
from payments.storage.migrate import revision_of
from tests.emulated import Control
from tests.running import ROOT, Runner, Running, free_port, plain_environment

SETTLE_SECONDS = 120.0


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
        clocks: dict[str, float] | None = None,
    ) -> None:
        """``clocks``: by how many seconds a process's clock is wrong, by the process's name."""
        self.seconds = seconds
        self.running: dict[str, Running] = {}
        self._runner = Runner(folder)
        self.database_file = folder / "repasse.db"
        self._url = database_url or f"sqlite:///{self.database_file}"
        self._clocks = clocks or {}
        self._commands: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {}
        self.control = self._start_bank(seed, switches)
        shared = {**self._app_settings(), **_short(seconds), "DATABASE_URL": self._url, **(settings or {})}
        for number in range(1, webs + 1):
            self._add_web(f"web-{number}", shared, webhooks_each)
        for number in range(1, workers + 1):
            self._commands[f"worker-{number}"] = (("-m", "worker"), plain_environment(**shared))

    @property
    def names(self) -> list[str]:
        """Our processes: web-1, ..., worker-1, ..."""
        return list(self._commands)

    def start(self, *names: str) -> None:
        """Start these of our processes, or all."""
        for name in names or self.names:
            command, environment = self._commands[name]
            if wrong := self._clocks.get(name):
                command = ("-m", "tests.wrong_clock", str(wrong), command[-1])
            self.running[name] = self._runner.start(*command, environment=environment)

    def script(self, name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run one of the scripts to its end, with the settings of our processes."""
        _, environment = self._commands[self.names[-1]]
        return self._runner.run(str(ROOT / "scripts" / f"{name}.py"), *arguments, environment=environment)

    def start_script(self, name: str, *arguments: str) -> Running:
        """Start one of the scripts, and do not wait for its end."""
        _, environment = self._commands[self.names[-1]]
        return self._runner.start(str(ROOT / "scripts" / f"{name}.py"), *arguments, environment=environment)

    def move_to(self, url: str) -> None:
        """Have every process use other books from its next start on."""
        self._url = url
        for _, environment in self._commands.values():
            environment["DATABASE_URL"] = url

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self.running[name].kill()

    def settle(self) -> str | None:
        """Let everything run on until the bank's statement is exact; None then, else what was wrong to the end."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while wrong := self.what_is_wrong():
            if time.monotonic() > deadline:
                return wrong
            time.sleep(0.2)
        return None

    def wait_for_end(self) -> None:
        """Wait until the last slot was issued, some invoices of it may still be paid, then let the bank pay no more."""
        deadline = time.monotonic() + self.seconds + SETTLE_SECONDS
        while self.statement() is None or self._issued() < 8:
            assert time.monotonic() < deadline, f"not all batches were issued: {self.what_is_wrong()}"
            time.sleep(0.1)
        time.sleep(self.seconds / 16)
        self.control.ask("POST", "stop-paying")

    def statement(self) -> Statement | None:
        """Our statement; None while there are no books, or they cannot be read."""
        database = open_database(self._url)
        try:
            return read_statement(database) if revision_of(database) else None
        except LedgerUnavailable:
            return None
        finally:
            database.close()

    def what_is_wrong(self) -> str | None:
        """What keeps the day from being exact, by the bank's books and ours; None when nothing does."""
        ours, bank = self.statement(), self.control.statement()
        if ours is None:
            return "no books that can be read"
        checks = (
            ("the bank's statement is not exact", bank["exact"]),
            ("the bank paid twice", not bank["paid_twice"]),
            ("the bank's books do not balance", bank["balanced"]),
            ("our statement does not balance", ours.balanced),
            ("not 8 batches", ours.batches_issued == 8),
            ("invoices at the bank are not those of our batches", bank["invoice_count"] == ours.invoices),
            ("not 64 to 96 invoices", 64 <= ours.invoices <= 96),
            ("credits differ", ours.credits == bank["credited"]["count"]),
            ("settled differs", ours.settled_centavos == bank["credited"]["net_centavos"]),
        )
        wrong = [text for text, right in checks if not right]
        return f"{'; '.join(wrong)}: {_brief(ours, bank)}" if wrong else None

    def close(self) -> None:
        """End everything."""
        self.control.close()
        self._runner.stop_all()

    def _issued(self) -> int:
        ours = self.statement()
        return ours.batches_issued + ours.batches_skipped if ours else 0

    def _start_bank(self, seed: int, switches: tuple[str, ...]) -> Control:
        bank = self._runner.start(
            *("-m", "emulator", "--port", "0", "--data", "bank", "--seed", str(seed)),
            *("--speed", str(86_400 / self.seconds), *switches),
            environment=plain_environment(),
        )
        bank.wait_for("emulator ready on")
        return Control(self._app_settings()["STARKBANK_API_URL"])

    def _app_settings(self) -> dict[str, str]:
        lines = (self._runner.folder / "bank" / "app.env").read_text("utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))

    def _add_web(self, name: str, shared: dict[str, str], webhooks: int) -> None:
        port = str(free_port())
        environment = plain_environment(**{**shared, "PORT": port})
        self._commands[name] = (("-m", "webhooks"), environment)
        script = str(ROOT / "scripts" / "register_webhook.py")
        for number in range(webhooks):
            url = f"http://127.0.0.1:{port}/webhooks/starkbank{'?again' * number}"
            registered = self._runner.run(script, url, environment=environment)
            assert registered.returncode == 0, registered.stderr


def _short(seconds: float) -> dict[str, str]:
    return {
        "INVOICE_WINDOW_SECONDS": str(seconds),
        "INVOICE_INTERVAL_SECONDS": str(seconds / 8),
        "RECONCILE_INTERVAL_SECONDS": "1.5",
        "BANK_TIMEOUT_SECONDS": "1.5",
        "TRANSFER_LEASE_SECONDS": "4",
        "RETRY_BASE_SECONDS": "0.2",
        "RETRY_MAX_SECONDS": "2",
    }


def _brief(ours: Statement, bank: dict[str, Any]) -> str:
    mine = {name: ours.to_json()[name] for name in ("batches", "invoices", "transfers", "attention")}
    names = ("invoice_count", "forwarded_exactly_once", "unpaid", "in_flight", "paid_twice", "foreign")
    return f"ours {mine}, the bank's { ({name: bank[name] for name in names}) }"
