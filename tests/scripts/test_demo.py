"""The demo: a day in a copy of the checkout, and that it leaves nothing behind, however it ends."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from payments.policy import ForwardingPolicy
from payments.storage.database import Database
from scripts import demo
from scripts.demo_view import compare
from tests.emulated import EmulatedBank
from tests.payments.builders import NOW, at_bank
from tests.payments.conftest import Books
from tests.running import ROOT, Running, plain_environment, wait_until

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

    def start(self, *switches: str, **settings: str) -> Running:
        """Start the demo as ``scripts/demo`` does."""
        output = self.folder / "demo.txt"
        environment = plain_environment(**settings) | {"PYTHONPATH": ".", "MARK": str(self.folder)}
        with output.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "scripts/demo.py", *switches],
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

    def assert_nothing_is_left(self) -> None:
        """No process, and no folder."""
        with suppress(AssertionError):
            wait_until(lambda: not self.processes(), "every process has ended", seconds=20)
        assert self.processes() == []
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


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_the_demo_asks_its_own_processes_past_a_proxy(
    emulator: EmulatedBank, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A proxy that the rest of this machine needs, and that does not answer now."""
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert demo._ask(f"{emulator.url}/emulator/statement?details=false")["exact"]
    assert demo._is_ready(f"{emulator.url}/emulator/health")


@pytest.mark.parametrize(("fee", "forwarded"), [(0, 500), (499, 1), (500, 0), (100_000, 0)])
def test_a_day_whose_fee_leaves_nothing_to_forward_is_exact(
    database: Database, policy: ForwardingPolicy, emulator: EmulatedBank, fee: int, forwarded: int
) -> None:
    """Nothing was owed, so nothing is missing; the view says of how many credits."""
    books = Books(database, policy, NOW)
    books.credit(amount=500, fee=fee)
    if forwarded:
        books.send("A")
        books.news(at_bank("A", "success", forwarded))
    banks = demo._ask(f"{emulator.url}/emulator/statement?details=false")
    lines, _ = compare(books.statement, {**banks, "nothing_to_forward": [] if forwarded else ["1"]})
    [claim] = [line for line in lines if "every credit forwarded exactly once" in line]
    assert claim.startswith(("✓", "ok")), claim
    assert any("nothing to forward" in line for line in lines) == (not forwarded)


def test_a_wrong_switch_ends_with_2_and_starts_nothing(
    call: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    """The usage, before a folder is made."""
    for switches in (["--seconds", "5"], ["--seconds", "soon"], ["--seed", "x"], ["--fast"]):
        ended = call("scripts.demo", *switches, environment=plain_environment())
        assert ended.returncode == 2, switches
        assert ended.stderr.startswith("usage: scripts/demo")
    assert list(tmp_path.iterdir()) == []
