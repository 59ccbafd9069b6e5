"""Real processes under load, killed with SIGKILL at random moments, while the bank loses answers and repeats events.

A round is one day in accelerated time. When it is over the kills and faults stop, everything is started once more,
and the bank's own statement must come out exact with nobody's help.
"""

import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from payments.ledger.database import Database, open_database
from payments.ledger.migrate import revision_of
from payments.ledger.statement import Statement, read_statement
from tests.emulated import Control
from tests.running import ROOT, Runner, Running, free_port, plain_environment

WINDOW_SECONDS = 16.0
SETTLE_SECONDS = 120.0

SETTINGS = {
    "INVOICE_WINDOW_SECONDS": str(WINDOW_SECONDS),
    "INVOICE_INTERVAL_SECONDS": str(WINDOW_SECONDS / 8),
    "RECONCILE_INTERVAL_SECONDS": "1.5",
    "BANK_TIMEOUT_SECONDS": "1.5",
    "TRANSFER_LEASE_SECONDS": "4",
    "RETRY_BASE_SECONDS": "0.2",
    "RETRY_MAX_SECONDS": "2",
}

FAULTS: tuple[dict[str, Any], ...] = (
    {"name": "drop_answer", "route": "POST transfer", "rate": 0.2},
    {"name": "drop_answer", "route": "POST invoice", "rate": 0.2},
    {"name": "cut_body", "route": "POST transfer", "rate": 0.1},
    {"name": "error_503", "route": "GET transfer", "rate": 0.2},
    {"name": "empty_page", "route": "GET transfer", "rate": 0.1},
    {"name": "hang", "route": "POST transfer", "rate": 0.05, "seconds": 3},
    {"name": "throttle_429", "route": "*", "rate": 0.03},
    {"name": "duplicate_delivery", "route": "*", "rate": 0.3, "count": 2},
    {"name": "reorder", "route": "*", "rate": 0.3, "seconds": 900},
)


def run_kills(kills: int, seed: int = 0) -> int:
    """Play rounds until so many processes were killed; print each. 0 when every round came out exact, else 1."""
    counts: Counter[str] = Counter()
    failed = 0
    while counts["kills"] < kills:
        with tempfile.TemporaryDirectory() as folder:
            round_ = Round(Path(folder), seed, kills - counts["kills"])
            wrong = round_.play()
        counts.update(round_.counts)
        failed += bool(wrong)
        print(
            f"round {seed}: {round_.counts['kills']} kills, {round_.counts['credits']} credits, "
            f"{wrong or 'exact'}",
            flush=True,
        )
        seed += 1
        counts["rounds"] += 1
    print(f"\n{'rounds':<28}{counts.pop('rounds'):>10,}")
    for name, count in sorted(counts.items()):
        print(f"{name:<28}{count:>10,}")
    print(f"{'rounds not exact':<28}{failed:>10,}")
    return 1 if failed else 0


class Round:
    """One accelerated day with kills. Odd seeds run two web processes and two workers on the same books."""

    def __init__(self, folder: Path, seed: int, most_kills: int) -> None:
        self.counts: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._seed = seed
        self._most_kills = most_kills
        self._runner = Runner(folder)
        self._url = f"sqlite:///{folder / 'repasse.db'}"
        self._commands: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {}
        self._running: dict[str, Running] = {}

    def play(self) -> str | None:
        """Play it; None when all is exact, else what is not."""
        try:
            control = self._start()
            for fault in FAULTS:
                control.ask("POST", "faults", **fault)
            self._kill_for(WINDOW_SECONDS + 2)
            control.clear_faults()
            control.ask("POST", "stop-paying")
            return self._settle(control)
        finally:
            self._runner.stop_all()

    def _start(self) -> Control:
        folder = self._runner.folder
        bank = self._runner.start(
            *("-m", "emulator", "--port", "0", "--data", str(folder / "bank"), "--seed", str(self._seed)),
            *("--speed", str(86_400 / WINDOW_SECONDS), "--paid-share", "1", "--opening-balance", "0"),
            environment=plain_environment(),
        )
        bank.wait_for("emulator ready on")
        app_env = dict(
            line.split("=", 1)
            for line in (folder / "bank" / "app.env").read_text("utf-8").splitlines()
            if "=" in line and not line.startswith("#")
        )
        settings = {**app_env, **SETTINGS, "DATABASE_URL": self._url}
        for number in range(1, 3 if self._seed % 2 else 2):
            port = str(free_port())
            environment = plain_environment(**settings, PORT=port)
            self._commands[f"web-{number}"] = (("-m", "webhooks"), environment)
            self._commands[f"worker-{number}"] = (("-m", "worker"), environment)
            url = f"http://127.0.0.1:{port}/webhooks/starkbank"
            script = str(ROOT / "scripts" / "register_webhook.py")
            registered = self._runner.run(script, url, environment=environment)
            assert registered.returncode == 0, registered.stderr
        for name in self._commands:
            self._revive(name)
        return Control(app_env["STARKBANK_API_URL"])

    def _revive(self, name: str) -> None:
        command, environment = self._commands[name]
        self._running[name] = self._runner.start(*command, environment=environment)

    def _kill_for(self, seconds: float) -> None:
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            # short and long lives: some die while they start, some in the middle of their work
            time.sleep(self._random.choice((0.05, 0.4, 0.8, 1.5, 2.5)) * self._random.random())
            if self.counts["kills"] >= self._most_kills:
                continue
            names = list(self._commands)
            for name in self._random.sample(names, self._random.choice((1, 1, 1, len(names)))):
                self._running[name].kill()
                self.counts["kills"] += 1
                self.counts[f"kills of a {name.partition('-')[0]}"] += 1
                self._revive(name)

    def _settle(self, control: Control) -> str | None:
        database = open_database(self._url)
        deadline = time.monotonic() + SETTLE_SECONDS
        wrong: str | None = "nothing was asked"
        try:
            while wrong and time.monotonic() < deadline:
                time.sleep(0.3)
                wrong = self._what_is_wrong(database, control)
        finally:
            database.close()
        return wrong

    def _what_is_wrong(self, database: Database, control: Control) -> str | None:
        if revision_of(database) is None:
            return "no books yet"
        ours, bank = read_statement(database), control.statement()
        self.counts["credits"] = ours.credits
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


def _brief(ours: Statement, bank: dict[str, Any]) -> str:
    mine = {name: ours.to_json()[name] for name in ("batches", "invoices", "transfers", "attention")}
    names = ("invoice_count", "forwarded_exactly_once", "unpaid", "in_flight", "paid_twice", "foreign")
    return f"ours {mine}, the bank's { ({name: bank[name] for name in names}) }"


if __name__ == "__main__":
    sys.exit(run_kills(int(sys.argv[1]), int(sys.argv[2])))
