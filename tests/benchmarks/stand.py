"""The test stand: the bank, the web process of a checkout or a yardstick as real processes, and what they take.

All of it lives in one folder and ends with the ``with`` block. What cannot start raises CannotMeasure.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.benchmarks.bank import Plan, Seen

ROOT = Path(__file__).resolve().parents[2]
OPERATOR_TOKEN = "a-token-of-the-benchmarks-0123456789"
_START_SECONDS = 30.0
_END_SECONDS = 20.0
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


# Everything that is asked is on this machine, whatever http_proxy says.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class CannotMeasure(Exception):
    """Something that the measurement needs is missing or does not start; the text says what."""


class Stand:
    """Starts and ends the processes of one measurement in ``folder``; ``checkout`` is whose web process it starts."""

    def __init__(self, folder: Path, checkout: Path = ROOT) -> None:
        self.folder = folder
        self.checkout = checkout
        self._started: list[subprocess.Popen[str]] = []
        key = ec.generate_private_key(ec.SECP256K1())
        self._key = key.private_numbers().private_value.to_bytes(32, "big")
        self._public_key_file = folder / "bank-public-key.pem"
        self._public_key_file.write_bytes(
            key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
        self._project_key_file = folder / "project-key.pem"
        self._project_key_file.write_bytes(
            ec.generate_private_key(ec.SECP256K1()).private_bytes(
                Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
            )
        )

    def __enter__(self) -> "Stand":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        for process in reversed(self._started):  # the bank last, so that calls under way are answered
            end(process)

    def start_bank(self) -> subprocess.Popen[str]:
        """Start the bank; it is the first to start."""
        self.bank_port = free_port()
        command = (
            "-m",
            "tests.benchmarks.bank",
            str(self.bank_port),
            self._key.hex(),
            str(self._public_key_file),
        )
        process = self._start(command, ROOT, {})
        self._wait_for(process, self.bank_port, "/run", "the bank")
        return process

    def start_web(self, database_url: str, workers: int = 1) -> tuple[subprocess.Popen[str], int]:
        """Start ``python -m webhooks`` of the checkout; the process and its port, once it is ready."""
        port = free_port()
        environment = {**self._project, "DATABASE_URL": database_url, "PORT": str(port)}
        process = self._start(("-m", "webhooks", "--workers", str(workers)), self.checkout, environment)
        self._wait_for(process, port, "/health/ready", "the web process")
        return process, port

    def start_emulator(self) -> subprocess.Popen[str]:
        """Start ``python -m emulator`` of the checkout; the process, once it is ready."""
        port = free_port()
        command = ("-m", "emulator", "--port", str(port), "--data", str(self.folder / "emulator"))
        process = self._start(command, self.checkout, {})
        self._wait_for(process, port, "/emulator/health/ready", "the emulator")
        return process

    def start_yardstick(self, name: str, workers: int) -> tuple[subprocess.Popen[str], int]:
        """Start a yardstick under uvicorn as it comes; the process and its port."""
        port = free_port()
        command = (
            *("-m", "uvicorn", f"tests.benchmarks.yardsticks:{name}", "--factory", "--workers", str(workers)),
            *("--port", str(port), "--no-access-log", "--log-level", "warning"),
        )
        process = self._start(command, ROOT, self._project)
        self._wait_for(process, port, "/", name)
        return process, port

    def statement(self, database_url: str) -> dict[str, Any]:
        """What ``scripts/run_job statement --json`` of the checkout prints."""
        ran = subprocess.run(
            [self.checkout / "scripts" / "run_job", "statement", "--json"],
            cwd=self.folder,
            env={**os.environ, "DATABASE_URL": database_url},
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode not in (0, 1):
            raise CannotMeasure(f"run_job statement ended with {ran.returncode}: {ran.stderr.strip()[-300:]}")
        printed: dict[str, Any] = json.loads(ran.stdout)
        return printed

    def begin(self, plan: Plan) -> None:
        """Have the bank begin a run."""
        self._ask_bank(msgspec.json.encode(plan))

    def seen(self) -> Seen:
        """How far it is."""
        return msgspec.json.decode(self._ask_bank(None), type=Seen)

    def _ask_bank(self, body: bytes | None) -> bytes:
        with DIRECT.open(f"http://127.0.0.1:{self.bank_port}/run", body, timeout=60) as answer:
            return bytes(answer.read())

    @property
    def _project(self) -> dict[str, str]:
        return {
            "STARKBANK_PROJECT_ID": "5656565656565656",
            "STARKBANK_PRIVATE_KEY_PATH": str(self._project_key_file),
            "STARKBANK_API_URL": f"http://127.0.0.1:{self.bank_port}",
            "OPERATOR_TOKEN": OPERATOR_TOKEN,
            "BENCH_FOLDER": str(self.folder),
        }

    def _start(
        self, command: tuple[str, ...], checkout: Path, environment: Mapping[str, str]
    ) -> subprocess.Popen[str]:
        # Output goes to a file, as in a real deployment.
        with (self.folder / f"{len(self._started)}.log").open("w") as output:
            process = subprocess.Popen(
                [python_of(checkout), *command],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(checkout), **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self._started.append(process)
        return process

    def _wait_for(self, process: subprocess.Popen[str], port: int, path: str, name: str) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise CannotMeasure(f"{name} ended with status {process.returncode}: {self._last_words()}")
            try:
                DIRECT.open(f"http://127.0.0.1:{port}{path}", timeout=5).close()
                return
            except urllib.error.HTTPError as error:
                if error.code == 404:
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise CannotMeasure(f"{name} was not ready within {_START_SECONDS:g} s: {self._last_words()}")

    def _last_words(self) -> str:
        words = (self.folder / f"{len(self._started) - 1}.log").read_text(errors="replace").split("\n")
        return next((line for line in reversed(words) if line.strip()), "it said nothing")[-300:]


class Usage:
    """Processor time and memory of a process and all below it, from now on. Linux only."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._began = self._cpu_seconds()

    def cpu_seconds(self) -> float:
        """Seconds of processor since it was made."""
        return self._cpu_seconds() - self._began

    def largest_mb(self) -> float:
        """What the largest of the processes has in memory."""
        return max(_status(pid, "VmRSS:") for pid in _tree(self._pid)) / 1024

    def open_files(self) -> int:
        """File descriptors of all of them."""
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in _tree(self._pid))

    def _cpu_seconds(self) -> float:
        ticks = 0
        for pid in _tree(self._pid):
            fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / _CLOCK_TICKS


def machine_cpu_seconds() -> float:
    """Seconds of processor that the whole machine has spent."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, _read("/proc/stat").split("\n", 1)[0].split()[1:])
    return (user + nice + system + irq + softirq) / _CLOCK_TICKS


def _tree(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        for task in os.listdir(f"/proc/{each}/task"):
            found += map(int, _read(f"/proc/{each}/task/{task}/children").split())
    return found


def _status(pid: int, name: str) -> int:
    return next(
        (int(line.split()[1]) for line in _read(f"/proc/{pid}/status").split("\n") if line.startswith(name)),
        0,
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError as error:
        raise CannotMeasure(f"{path} cannot be read: {error.strerror}") from None


def python_of(checkout: Path) -> str:
    """The interpreter of a checkout's own environment."""
    if checkout == ROOT:
        return sys.executable
    python = checkout / ".venv" / "bin" / "python"
    if not python.exists():
        raise CannotMeasure(f"{checkout} has no .venv; run scripts/setup there first")
    return str(python)


def end(process: subprocess.Popen[str]) -> None:
    """Ask a process to end; make it, when it does not."""
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port that nothing listens on now. Raises CannotMeasure when this machine gives none."""
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port
    except OSError as error:
        raise CannotMeasure(f"cannot bind a port on 127.0.0.1 ({error.strerror})") from None
