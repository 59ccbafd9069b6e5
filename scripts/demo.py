"""The whole 24-hour job in a minute, on this machine alone: bank, web app and worker as real processes.

It starts the emulator, the web app and the worker with the commands that anyone would use, lets a day go by in
accelerated time, shows it as it happens, and lays both sides' statements next to each other. Exit status 0 only
if they agree to the centavo. Everything it starts it stops, on Ctrl-C too.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.demo_view import Progress, View, compare

ROOT = Path(__file__).resolve().parent.parent
DAY_SECONDS = 86_400

# Before the day: three processes start. After it: the last credits are forwarded and settled.
OPENING_SECONDS = 5.0
CLOSING_SECONDS = 6.0
SECONDS_MIN = 20.0

# Ctrl-C, a supervisor, and a terminal that is closed.
_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

EXACT, DIFFERENT, WRONG, INTERRUPTED = 0, 1, 2, 130


class DemoError(Exception):
    """The demo cannot go on; the text says why and where to look."""


@dataclass(slots=True)
class Town:
    """Everything that runs: the data folder, the addresses, the children."""

    folder: Path
    bank_url: str = ""
    web_url: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *command: str) -> None:
        """Start a child in its own session, so that a Ctrl-C reaches us alone, with its output in a file."""
        with _uninterrupted(), (self.folder / f"{name}.log").open("ab") as output:
            self.children[name] = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=self.folder,  # not ROOT: a .env there holds somebody's real account
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop_all(self) -> None:
        """End all children; whoever does not within 10 s is killed."""
        for child in self.children.values():
            if child.poll() is None:
                child.terminate()
        for child in self.children.values():
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def check(self) -> None:
        """Raise DemoError if a child has ended by itself."""
        for name, child in self.children.items():
            if child.poll() is not None:
                raise DemoError(f"{name} ended by itself (status {child.returncode}):\n{self.tail(name)}")

    def tail(self, name: str) -> str:
        """The last lines of a child's output."""
        lines = (self.folder / f"{name}.log").read_text("utf-8", "replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-8:])


def main() -> int:
    """Run the demo; see the module."""
    arguments = _parse()
    for number in _ENDING_SIGNALS:
        signal.signal(number, _interrupt)
    try:
        with _folder(arguments.keep) as folder, ExitStack() as stack:
            town = Town(folder)
            stack.callback(town.stop_all)
            return _run(town, arguments)
    except KeyboardInterrupt:
        print("\ninterrupted: everything that was started is stopped", file=sys.stderr)
        return INTERRUPTED
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return DIFFERENT


def _interrupt(*_: object) -> None:
    """Raise KeyboardInterrupt, once: whoever is impatient must not interrupt the stopping."""
    _ignore_signals()
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    for number in _ENDING_SIGNALS:
        # Not SIG_IGN: Python complains on stderr of a signal that came just before.
        signal.signal(number, lambda *_: None)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let a signal wait: a child that was begun and is not in our list yet would be left behind."""
    heard: list[int] = []
    for number in _ENDING_SIGNALS:
        signal.signal(number, lambda number, _: heard.append(number))
    try:
        yield
    finally:
        for number in _ENDING_SIGNALS:
            signal.signal(number, _interrupt)
    if heard:
        _interrupt()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/demo", description="The whole 24-hour job against the emulator, in real processes."
    )
    parser.add_argument("--seconds", type=_seconds, default=60.0, help="how long the demo takes (default 60)")
    parser.add_argument("--seed", type=int, default=None, help="makes the bank's ids and chances repeat")
    parser.add_argument(
        "--fee", type=int, default=0, help="the bank's fee per credit, in centavos (default 0)"
    )
    parser.add_argument("--keep", action="store_true", help="keep the data folder: database, logs, keys")
    return parser.parse_args()


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from None
    if not SECONDS_MIN <= seconds <= DAY_SECONDS:
        raise argparse.ArgumentTypeError(f"put {SECONDS_MIN:.0f} to {DAY_SECONDS} seconds")
    return seconds


@contextmanager
def _folder(keep: bool) -> Iterator[Path]:
    base = ROOT / "data"
    try:
        base.mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="demo-", dir=base))
    except OSError as error:
        raise DemoError(f"cannot write to {base} ({error.strerror}); change its rights") from None
    try:
        yield folder
    finally:
        if keep:
            print(f"kept: {folder.relative_to(ROOT)} (repasse.db, *.log, bank/)")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _run(town: Town, arguments: argparse.Namespace) -> int:
    began = time.monotonic()
    day_seconds = arguments.seconds - OPENING_SECONDS - CLOSING_SECONDS
    view = View(day_seconds)
    with view:
        view.say("starting the bank, the web app and the worker")
        _start_bank(town, arguments, DAY_SECONDS / day_seconds)
        _start_ours(town, day_seconds)
        ends_at = began + arguments.seconds
        window = _wait_for_window(town)
        while time.time() < window + day_seconds:
            town.check()
            view.show(_progress(town, window, day_seconds))
            time.sleep(0.2)
        # The day is over. The bank pays no more; what was credited is still to be settled on both sides.
        _ask(town.bank_url + "/emulator/stop-paying", {})
        while True:
            town.check()
            progress = _progress(town, window, day_seconds)
            view.show(progress)
            if progress.is_settled or time.monotonic() > ends_at - 1:
                break
            time.sleep(0.1)
        ours, banks = progress.ours, _ask(town.bank_url + "/emulator/statement?details=false")
    lines, agree = compare(ours, banks)
    print("\n".join(lines))
    print(f"\n24 hours in {time.monotonic() - began:.1f} s, in three processes, over real sockets")
    return EXACT if agree else DIFFERENT


def _start_bank(town: Town, arguments: argparse.Namespace, speed: float) -> None:
    town.environment = _plain_environment()
    switches = ["--port", "0", "--data", str(town.folder / "bank"), "--speed", f"{speed:.3f}"]
    switches += ["--fee", str(arguments.fee)]
    if arguments.seed is not None:
        switches += ["--seed", str(arguments.seed)]
    town.start("bank", "emulator", *switches)
    env_file = town.folder / "bank" / "app.env"
    _wait_until(town, "the bank", lambda: "emulator ready on" in town.tail("bank") and env_file.exists())
    for line in env_file.read_text("utf-8").splitlines():
        name, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            town.environment[name.strip()] = value.strip()
    town.bank_url = town.environment["STARKBANK_API_URL"]


def _start_ours(town: Town, day_seconds: float) -> None:
    port = _free_port()
    town.web_url = f"http://127.0.0.1:{port}"
    # Durations of the day shrink with it; those that guard against a slow machine stay in real seconds.
    town.environment |= {
        "DATABASE_URL": f"sqlite:///{town.folder / 'repasse.db'}",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "INVOICE_WINDOW_SECONDS": f"{day_seconds:.3f}",
        "INVOICE_INTERVAL_SECONDS": f"{day_seconds / 8:.6f}",
        "RECONCILE_INTERVAL_SECONDS": "2",
        "BANK_TIMEOUT_SECONDS": "3",
        "TRANSFER_LEASE_SECONDS": "8",
        "RETRY_BASE_SECONDS": "0.2",
        "RETRY_MAX_SECONDS": "2",
    }
    town.start("web", "webhooks")
    _wait_until(town, "the web app", lambda: _is_ready(town.web_url + "/health/ready"))
    registered = subprocess.run(
        [sys.executable, "-m", "repasse", "webhook", "register", f"{town.web_url}/webhooks/starkbank"],
        cwd=town.folder,
        env=town.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if registered.returncode:
        raise DemoError(f"the webhook could not be registered: {registered.stderr.strip()}")
    town.start("worker", "worker")


def _plain_environment() -> dict[str, str]:
    """This process's environment without any setting of ours, so that a real account's key is never used here."""
    from payments.settings import Settings

    ours = {name.upper() for name in Settings.model_fields}
    kept = {name: value for name, value in os.environ.items() if name.upper() not in ours}
    return kept | {"PYTHONPATH": str(ROOT)}


def _wait_for_window(town: Town) -> float:
    from payments.ledger.batches import read_window
    from payments.storage.database import open_database

    database = open_database(town.environment["DATABASE_URL"])
    opened: list[float] = []

    def is_open() -> bool:
        window = read_window(database)
        if window is not None:
            opened.append(window.opened_at.timestamp())
        return bool(opened)

    _wait_until(town, "the worker", is_open)
    database.close()
    return opened[0]


def _progress(town: Town, window: float, day_seconds: float) -> Progress:
    from payments.ledger.batches import read_slots
    from payments.operator.statement import read_statement
    from payments.storage.database import open_database

    database = open_database(town.environment["DATABASE_URL"])
    try:
        return Progress(
            share=min(1.0, (time.time() - window) / day_seconds),
            slots=read_slots(database),
            ours=read_statement(database),
            bank=_ask(town.bank_url + "/emulator/activity"),
            bank_summary=_ask(town.bank_url + "/emulator/statement?details=false"),
        )
    finally:
        database.close()


# What is on this machine is never asked through a proxy, whatever http_proxy says.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _ask(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310
    try:
        with _DIRECT.open(request, timeout=5) as answer:
            result: dict[str, Any] = json.load(answer)
            return result
    except (urllib.error.URLError, TimeoutError) as error:
        raise DemoError(f"{url} does not answer: {error}") from None


def _is_ready(url: str) -> bool:
    try:
        with _DIRECT.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, TimeoutError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until(town: Town, what: str, is_true: Any) -> None:
    limit = time.monotonic() + 30
    while not is_true():
        town.check()
        if time.monotonic() > limit:
            raise DemoError(f"{what} was not ready after 30 s")
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
