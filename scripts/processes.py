"""Real processes, started with the commands that anyone would use, and always stopped.

For the demo, scripts/dev, the simulator's kills and the tests. Nothing here sleeps for luck: each wait is for a
condition, and has a deadline.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[1]
Found = TypeVar("Found")

DAY_SECONDS = 86_400

# Far longer than anything takes, because a loaded machine must fail nothing.
PATIENCE_SECONDS = 60.0

# A hostile bank leaves about one call in ten without an answer, and a registration makes two.
REGISTRATIONS_MAX = 10


class ProcessError(Exception):
    """A process ended by itself, or was not as expected in time; the text says which, with its last lines."""


def wait_until(
    what: Callable[[], Found], meaning: str, seconds: float = PATIENCE_SECONDS, pause: float = 0.01
) -> Found:
    """Return what ``what`` returns once that is true; ProcessError with ``meaning`` at the deadline.

    ``pause``: how many seconds to wait between two looks.
    """
    deadline = time.monotonic() + seconds
    while not (found := what()):
        if time.monotonic() > deadline:
            raise ProcessError(f"waited {seconds:g} s in vain until {meaning}")
        time.sleep(pause)
    return found


def forget_proxies() -> None:
    """From now on ask what is on this machine without the proxy that this machine may need for the rest."""
    for name in [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "all_proxy")]:
        del os.environ[name]


def free_port() -> int:
    """A port that no process listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def plain_environment(**settings: str) -> dict[str, str]:
    """This process's environment with these settings of ours and no others, so that no real account is used."""
    from payments.settings import Settings

    ours = {name.upper() for name in Settings.model_fields}
    kept = {name: value for name, value in os.environ.items() if name.upper() not in ours}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **settings}


def quick_day(seconds: float, bank_timeout_seconds: float) -> dict[str, str]:
    """The settings of a whole day in so many seconds.

    Durations of the day shrink with it. What guards against a slow machine stays in real seconds, only shorter.
    """
    return {
        "INVOICE_WINDOW_SECONDS": f"{seconds:.6f}",  # 16.000 would be refused: it may mean 16,000
        "INVOICE_INTERVAL_SECONDS": f"{seconds / 8:.6f}",
        "RECONCILE_INTERVAL_SECONDS": "1.5",
        "BANK_TIMEOUT_SECONDS": f"{bank_timeout_seconds:g}",
        "TRANSFER_LEASE_SECONDS": f"{bank_timeout_seconds * 8 / 3:g}",  # more than two calls
        "RETRY_BASE_SECONDS": "0.2",
        "RETRY_MAX_SECONDS": "2",
    }


@dataclass
class Running:
    """A process whose output is in a file."""

    process: subprocess.Popen[bytes]
    output: Path
    output_begins_at: int = 0  # bytes; before it is what earlier processes wrote to the same file

    @property
    def said(self) -> str:
        """Everything that it has printed so far."""
        return self.output.read_bytes()[self.output_begins_at :].decode("utf-8", "replace")

    @property
    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self.process.poll() is not None

    def wait_for(self, text: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until it has printed ``text``; ProcessError as soon as it ends before."""

        def has_said() -> bool:
            ended = self.has_ended  # before the output is read, which is complete then
            if text in self.said:
                return True
            if ended:
                raise ProcessError(f"it ended with {self.process.returncode} and had printed:\n{self.said}")
            return False

        wait_until(has_said, f"it prints {text!r}", seconds)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end, and return its exit status."""
        if not self.has_ended:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """End it without asking."""
        if not self.has_ended:
            self.process.kill()
        self.process.wait(PATIENCE_SECONDS)


class Runner:
    """Starts processes in a folder of their own, so that no ``.env`` of the checkout is read."""

    def __init__(self, folder: Path, *, in_own_sessions: bool = False, python: str = sys.executable) -> None:
        """``in_own_sessions``: a Ctrl-C at the terminal reaches the parent alone, which then stops the others."""
        self.folder = folder
        self._in_own_sessions = in_own_sessions
        self._python = python
        self._started: list[Running] = []

    def start(self, *command: str, environment: Mapping[str, str], name: str | None = None) -> Running:
        """Start ``python <command>``; both streams are appended to ``<name>.log``, or to a file with its number."""
        output = self.folder / f"{name or f'{len(self._started)}-{Path(command[-1]).stem}'}.log"
        with output.open("ab") as file:
            begins_at = file.tell()
            process = subprocess.Popen(
                [self._python, *command],
                cwd=self.folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=self._in_own_sessions,
            )
        running = Running(process, output, begins_at)
        self._started.append(running)
        return running

    def run(self, *command: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run ``python <command>`` to its end; both streams as text."""
        return subprocess.run(
            [self._python, *command],
            cwd=self.folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def register_webhook(self, web_url: str, environment: Mapping[str, str]) -> None:
        """Have the bank deliver to this web process. ProcessError with the bank's answer if it refuses."""
        for others in reversed(range(REGISTRATIONS_MAX)):
            registered = self.run("-m", "repasse", "webhook", "register", web_url, environment=environment)
            if registered.returncode == 0:
                return
            # Status 1 is "try again"; what is registered already is not registered twice.
            if registered.returncode != 1 or not others:
                raise ProcessError(f"the webhook could not be registered: {registered.stderr.strip()}")

    def stop_all(self) -> None:
        """Ask every process to end, all together; kill those that have not ended within 10 s."""
        for running in self._started:
            if not running.has_ended:
                running.process.terminate()
        for running in self._started:
            try:
                running.process.wait(10)
            except subprocess.TimeoutExpired:
                running.kill()

    def kill_all(self) -> None:
        """End every process without asking, the last first."""
        for running in reversed(self._started):
            running.kill()
