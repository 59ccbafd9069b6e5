"""Real processes for tests: started with the commands that anyone would use, always stopped.

Nothing here sleeps for luck: whoever waits, waits for a condition, with a deadline that fails the test.
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
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[1]
Found = TypeVar("Found")

# Far longer than anything takes, because a loaded machine must fail no test.
PATIENCE_SECONDS = 60.0


def wait_until(
    what: Callable[[], Found], meaning: str, seconds: float = PATIENCE_SECONDS, pause: float = 0.01
) -> Found:
    """Return what ``what`` returns once that is true; fail with ``meaning`` at the deadline.

    ``pause``: how many seconds to wait between two looks.
    """
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain until {meaning}"
        time.sleep(pause)
    return found


def forget_proxies() -> None:
    """Ask what is on this machine, which is all that tests ask, without the proxy that this machine may need."""
    for name in [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "all_proxy")]:
        del os.environ[name]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def plain_environment(**settings: str) -> dict[str, str]:
    """This process's environment with these settings of ours and no others; people's words are English."""
    from payments.settings import Settings

    ours = {name.upper() for name in Settings.model_fields}
    kept = {name: value for name, value in os.environ.items() if name.upper() not in ours}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "OPERATOR_LANGUAGE": "en", **settings}


@dataclass
class Running:
    """A process whose output is in a file."""

    process: subprocess.Popen[bytes]
    output: Path

    @property
    def said(self) -> str:
        """Everything that it has printed so far."""
        return self.output.read_text("utf-8", "replace")

    def wait_for(self, text: str) -> None:
        """Wait until it has printed ``text``; fail at once when it ends before."""

        def has_said() -> bool:
            ended = self.process.poll() is not None
            if text in self.said:
                return True
            assert not ended, f"it ended with {self.process.returncode} and had said:\n{self.said}"
            return False

        wait_until(has_said, f"it says {text!r}")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end, and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """End it without asking."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE_SECONDS)


class Runner:
    """Starts processes in a folder of their own, so that no ``.env`` of the checkout is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[Running] = []

    def start(self, *command: str, environment: Mapping[str, str]) -> Running:
        """Start ``python <command>``; its output goes to one file, both streams."""
        return self.start_program(sys.executable, *command, environment=environment)

    def start_program(self, *command: str | Path, environment: Mapping[str, str]) -> Running:
        """Start any program in the same way."""
        output = self.folder / f"{len(self._started)}-{Path(command[-1]).stem}.log"
        with output.open("wb") as file:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        running = Running(process, output)
        self._started.append(running)
        return running

    def run(self, *command: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run ``python <command>`` to its end; both streams as text."""
        return subprocess.run(
            [sys.executable, *command],
            cwd=self.folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def stop_all(self) -> None:
        """Leave nothing behind, whatever a test did."""
        for running in reversed(self._started):
            running.kill()


def the_one_line(ended: "subprocess.CompletedProcess[Any]") -> str:
    """The only line on standard error of a start that was refused: status 2, nothing else said."""
    assert ended.returncode == 2, f"{ended.returncode}: {ended.stdout}{ended.stderr}"
    lines = ended.stderr.splitlines()
    assert len(lines) == 1, ended.stderr
    assert "Traceback" not in ended.stdout
    return str(lines[0])
