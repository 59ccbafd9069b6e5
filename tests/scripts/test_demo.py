"""The demo and scripts/dev in a copy of the checkout, and that they leave nothing running, however they end."""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from rich.console import Console

from payments.ledger.batches import read_window
from payments.policy import ForwardingPolicy
from payments.storage.database import Database, open_database
from scripts.demo_view import PICTURES, Record, load, picture, print_end, read_side
from tests.emulated import EmulatedBank
from tests.payments.builders import NOW, at_bank
from tests.payments.conftest import Books
from tests.running import ROOT, ProcessError, Runner, Running, free_port, plain_environment, wait_until

pytestmark = [pytest.mark.process, pytest.mark.timeout(170)]

# Settings that would lead to a real account, if the demo read them.
POISON = """\
STARKBANK_ENVIRONMENT=production
STARKBANK_PROJECT_ID=1111111111111111
STARKBANK_PRIVATE_KEY=poison
DATABASE_URL=sqlite:////proc/poison.db
INVOICES_PER_BATCH_MIN=99
"""


class Checkout:
    """A copy of the program with a ``.env`` of its own, in which the demo is started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for package in ("payments", "webhooks", "worker", "repasse", "emulator", "scripts"):
            shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / ".env").write_text(POISON)
        self.demo: Running | None = None

    def start(self, *switches: str, script: str = "demo", **settings: str) -> Running:
        """Start the demo as ``scripts/demo`` does, or another script."""
        output = self.folder / f"{script}.txt"
        environment = plain_environment(**settings) | {"PYTHONPATH": ".", "MARK": str(self.folder)}
        with output.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, f"scripts/{script}.py", *switches],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self.demo = Running(process, output)
        return self.demo

    def processes(self) -> list[str]:
        """The command lines of everything that runs with this checkout's mark, the demo itself too."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if f"MARK={self.folder}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except (OSError, ValueError):
                continue  # no process, or gone by now
        return found

    def assert_nothing_runs(self) -> None:
        """No process is left."""
        with suppress(ProcessError):
            wait_until(lambda: not self.processes(), "every process has ended", seconds=20)
        assert self.processes() == []

    def assert_nothing_is_left(self) -> None:
        """No process, and no folder."""
        self.assert_nothing_runs()
        assert list((self.folder / "data").iterdir()) == []


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    """A copy of the checkout; its processes are killed should any be left."""
    if not Path("/proc/self/environ").exists():
        pytest.skip("needs /proc to see which processes are left")
    made = Checkout(tmp_path)
    yield made
    if made.demo is not None:
        made.demo.kill()
    for entry in Path("/proc").iterdir():
        try:
            if f"MARK={tmp_path}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
        except (OSError, ValueError):
            continue


@pytest.mark.long
def test_the_demo_ends_with_both_statements_agreeing_and_leaves_nothing(checkout: Checkout) -> None:
    """A whole day, exact to the centavo; settings of the environment and of a .env are not for it."""
    demo = checkout.start(
        "--seconds", "25", "--seed", "7", "--fee", "25", STARKBANK_PROJECT_ID="2222222222222222"
    )
    assert demo.process.wait(120) == 0, demo.said
    assert "8 batches issued" in demo.said
    assert "every credit forwarded exactly once, at amount minus fee" in demo.said
    assert "NO " not in demo.said
    assert "✗" not in demo.said
    for slot in range(1, 9):
        assert f"slot {slot} issued" in demo.said
    checkout.assert_nothing_is_left()


@pytest.mark.parametrize(
    ("signals", "when"),
    [
        pytest.param([signal.SIGINT], "slot 1 issued", marks=pytest.mark.long),
        pytest.param([signal.SIGINT, signal.SIGINT, signal.SIGTERM], "slot 1 issued", marks=pytest.mark.long),
        ([signal.SIGHUP], "starting the bank"),
    ],
)
def test_a_demo_that_is_interrupted_leaves_nothing(
    checkout: Checkout, signals: list[signal.Signals], when: str
) -> None:
    """Ctrl-C in the middle, once or again and again, or a terminal that is closed during the start."""
    demo = checkout.start("--seconds", "60")
    demo.wait_for(when)
    if when == "starting the bank":
        wait_until(lambda: len(checkout.processes()) >= 2, "a child was started")
    for number in signals:
        demo.process.send_signal(number)
        wait_until(lambda: "interrupted" in demo.said or demo.process.poll() is None, "it has heard")
    assert demo.process.wait(60) == 130
    assert "interrupted" in demo.said
    assert "Traceback" not in demo.said
    checkout.assert_nothing_is_left()


@pytest.mark.long
def test_kills_and_a_hostile_bank_cost_no_centavo(checkout: Checkout) -> None:
    """--chaos ends exact after kill -9 with transfers in flight; --open keeps all three up, and Ctrl-C ends them."""
    demo = checkout.start("--chaos", "--open", "--seconds", "40", "--record", "pictures")
    demo.wait_for("Ctrl-C ends it", seconds=150)
    record = load(checkout.folder / "pictures")
    assert record.agrees, demo.said
    assert record.kills
    assert all(kill.in_flight for kill in record.kills)
    assert record.end.faults_struck > 20
    assert (checkout.folder / "pictures" / "demo.svg").read_text("utf-8") == picture(record)
    for kill in record.kills:
        assert kill.line() in demo.said
    assert "every credit forwarded exactly once, at amount minus fee" in demo.said
    demo.wait_for("Next: ")
    assert_addresses_answer(demo.said)
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(60) == 0, demo.said
    assert "Traceback" not in demo.said
    checkout.assert_nothing_is_left()


def test_a_registration_whose_answer_is_lost_is_repeated(emulator: EmulatedBank, runner: Runner) -> None:
    """A hostile bank loses answers from the first call on; the webhook is there once."""
    emulator.fault("drop_answer", "POST webhook", times=2)
    environment = plain_environment(**emulator.environment)
    runner.register_webhook("http://127.0.0.1:8000/webhooks/starkbank", environment)
    assert emulator.ask("GET", "activity")["webhooks"] == 1
    with pytest.raises(ProcessError, match="could not be registered"):
        runner.register_webhook("no address", environment)


def test_the_picture_in_the_readme_is_drawn_from_a_recorded_run() -> None:
    """docs/pictures/demo.svg is what scripts/demo_view.py draws of demo.json, a run that was exact after kills."""
    record = load(PICTURES)
    assert record.agrees
    assert record.kills
    assert (PICTURES / "demo.svg").read_text("utf-8") == picture(record), "run: scripts/demo --chaos --record"


@pytest.mark.parametrize(("fee", "forwarded"), [(0, 500), (499, 1), (500, 0), (100_000, 0)])
def test_a_day_whose_fee_leaves_nothing_to_forward_is_exact(
    database: Database, policy: ForwardingPolicy, fee: int, forwarded: int
) -> None:
    """Nothing was owed, so nothing is missing; a line says how much."""
    books = Books(database, policy, NOW)
    books.credit(amount=500, fee=fee)
    if forwarded:
        books.send("A")
        books.news(at_bank("A", "success", forwarded))
    side = read_side(books.statement)
    printed = Console(file=io.StringIO(), width=100)
    end = replace(load(PICTURES).end, ours=side, bank=side, wrong={})
    print_end(printed, Record("scripts/demo", 1.0, end))
    [claim] = [line for line in printed.file.getvalue().splitlines() if "forwarded exactly once" in line]  # type: ignore[attr-defined]
    assert claim.startswith(("✓", "ok")), claim
    assert ("eaten by the fee" in printed.file.getvalue()) == (fee > 500)  # type: ignore[attr-defined]


def test_dev_keeps_one_folder_and_leaves_every_other_file_alone(checkout: Checkout) -> None:
    """Two starts show the same token and go on in the same window; .env is not touched, and no proxy is asked."""
    nowhere = "http://127.0.0.1:9"
    switches = ("--speed", "3600", "--port", str(free_port()), "--bank-port", str(free_port()))
    tokens, windows = set(), set()
    for _ in range(2):
        dev = checkout.start(*switches, script="dev", http_proxy=nowhere, ALL_PROXY=nowhere)
        dev.wait_for("Ctrl-C ends all three")
        tokens.add(assert_addresses_answer(dev.said))
        database = open_database(f"sqlite:///{checkout.folder / 'data' / 'dev' / 'repasse.db'}")
        try:
            windows.add(wait_until(lambda: read_window(database), "the worker has opened the window"))  # noqa: B023
        finally:
            database.close()
        dev.process.send_signal(signal.SIGINT)
        assert dev.process.wait(60) == 0, dev.said
        assert "Traceback" not in dev.said
        checkout.assert_nothing_runs()
    assert len(tokens) == len(windows) == 1
    assert (checkout.folder / ".env").read_text() == POISON


def assert_addresses_answer(said: str) -> str:
    """The console opens with the token that is printed, and with no other; the bank's page is there. The token."""
    console, token = re.search(r"console +(\S+) +token: (\S+)", said).groups()  # type: ignore[union-attr]
    bank = re.search(r"the bank +(\S+)", said)[1]  # type: ignore[index]
    assert requests.get(console, headers={"Authorization": f"Bearer {token}"}, timeout=20).status_code == 200
    assert requests.get(console, headers={"Authorization": f"Bearer x{token}"}, timeout=20).status_code == 401
    assert requests.get(bank, timeout=20).status_code == 200
    return token


def test_a_wrong_switch_ends_with_2_and_starts_nothing(
    call: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    """The usage, before a folder is made."""
    for switches in (["--seconds", "5"], ["--seconds", "soon"], ["--seed", "x"], ["--fast"]):
        ended = call("scripts.demo", *switches, environment=plain_environment())
        assert ended.returncode == 2, switches
        assert ended.stderr.startswith("usage: scripts/demo")
    assert list(tmp_path.iterdir()) == []
