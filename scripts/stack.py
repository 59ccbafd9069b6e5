"""The bank, the web process and the worker on this machine: what scripts/demo and scripts/dev start and stop.

Everything is in one folder. No setting of the environment and no ``.env`` is read, so a real account is never used.
"""

import json
import os
import secrets
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from scripts.processes import ProcessError, Runner, Running, free_port, plain_environment, wait_until

# Ctrl-C, a supervisor, and a terminal that is closed.
_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

INTERRUPTED = 130


class Stack:
    """Three processes by name: ``bank``, ``web``, ``worker``. ``settings`` are of the web process and the worker."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self.folder = folder
        self.token = settings.setdefault("OPERATOR_TOKEN", secrets.token_hex(12))
        self.bank_url = self.web_url = ""
        self.environment = plain_environment()
        self._settings = settings
        self._runner = Runner(folder, in_own_sessions=True)
        self._running: dict[str, Running] = {}

    @property
    def database_url(self) -> str:
        """The database of both our processes."""
        return f"sqlite:///{self.folder / 'repasse.db'}"

    def start_bank(self, *switches: str) -> None:
        """Start the emulator, and take from it what an app needs to know. ``switches`` name its port."""
        self._start("bank", "emulator", "--data", str(self.folder / "bank"), *switches)
        self._running["bank"].wait_for("emulator ready on ")
        given = dotenv_values(self.folder / "bank" / "app.env", interpolate=False)
        self.environment |= {name: value for name, value in given.items() if value is not None}
        self.bank_url = self.environment["STARKBANK_API_URL"]
        self.environment |= {"DATABASE_URL": self.database_url, "HOST": "127.0.0.1", **self._settings}

    def start_web(self, port: int | None = None) -> None:
        """Start the web process, on a free port unless one is named; wait until it would accept an event."""
        self.environment |= {"PORT": str(port or free_port())}
        self.web_url = f"http://127.0.0.1:{self.environment['PORT']}"
        self._start("web", "webhooks")
        self._wait_until_ready()
        self._runner.register_webhook(f"{self.web_url}/webhooks/starkbank", self.environment)

    def start_worker(self) -> None:
        """Start the worker."""
        self._start("worker", "worker")

    def kill_web(self) -> None:
        """SIGKILL to the web process: no handler runs, nothing is finished or recorded."""
        self._running["web"].kill()

    def restart_web(self) -> None:
        """Start it again on its port, and wait until it is ready."""
        self._start("web", "webhooks")
        self._wait_until_ready()

    def ask_bank(self, path: str, method: str = "GET") -> dict[str, Any]:
        """Call /emulator/<path>."""
        return ask(f"{self.bank_url}/emulator/{path}", method)

    def check(self) -> None:
        """Raise ProcessError if a process has ended by itself."""
        for name, running in self._running.items():
            if running.has_ended:
                last = "\n".join(f"  {line}" for line in running.said.splitlines()[-8:])
                raise ProcessError(f"{name} ended by itself (status {running.process.returncode}):\n{last}")

    def addresses(self) -> list[str]:
        """Where a person looks, a line each."""
        return [
            f"console   {self.web_url}/console    token: {self.token}",
            f"the bank  {self.bank_url}/emulator/",
            f"logs      {shortest(self.folder)}/web.log, worker.log, bank.log",
        ]

    def wait_for_interruption(self) -> None:
        """Return only by KeyboardInterrupt, or by ProcessError when a process ends by itself."""
        while True:
            self.check()
            time.sleep(0.5)

    def stop(self) -> None:
        """End all of them."""
        self._runner.stop_all()

    def _start(self, name: str, *command: str) -> None:
        with _uninterrupted():
            running = self._runner.start("-m", *command, environment=self.environment, name=name)
            self._running[name] = running

    def _wait_until_ready(self) -> None:
        def is_ready() -> bool:
            self.check()
            try:
                with urllib.request.urlopen(f"{self.web_url}/health/ready", timeout=2) as answer:  # noqa: S310
                    return bool(answer.status == 200)
            except (urllib.error.URLError, OSError):
                return False

        wait_until(is_ready, f"{self.web_url} is ready", pause=0.05)


def hear_endings() -> None:
    """From now on the first ending signal raises KeyboardInterrupt, and later ones change nothing."""
    for number in _ENDING_SIGNALS:
        signal.signal(number, _interrupt)


@contextmanager
def stopped_at_the_end(stack: Stack) -> Iterator[Stack]:
    """Stop it however the block ends; no signal interrupts that."""
    try:
        yield stack
    finally:
        _ignore_signals()
        stack.stop()


def ask(url: str, method: str = "GET") -> dict[str, Any]:
    """The JSON that a URL answers. ProcessError if it does not."""
    data = None if method == "GET" else b"{}"
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            result: dict[str, Any] = json.load(answer)
            return result
    except (urllib.error.URLError, OSError) as error:
        raise ProcessError(f"{url} does not answer: {error}") from None


def shortest(path: Path) -> str:
    """A path as a person would type it from here."""
    return min(str(path), os.path.relpath(path), key=len)


def _interrupt(*_: object) -> None:
    """Raise KeyboardInterrupt, once: an impatient second Ctrl-C must not interrupt the stopping."""
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
    handlers = {
        number: signal.signal(number, lambda number, _: heard.append(number)) for number in _ENDING_SIGNALS
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if heard:
        _interrupt()
