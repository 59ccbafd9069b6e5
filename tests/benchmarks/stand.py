"""The test stand: keys, the quick bank, the web app and its yardsticks as real processes, and loads upon them.

All of it lives in one folder and ends with the ``with`` block. What cannot start raises CannotMeasure.
"""

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

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.benchmarks.load import Order, Seen

ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS = 30.0
_END_SECONDS = 20.0


class CannotMeasure(Exception):
    """Something that the measurement needs is missing or does not start; the text says what."""


class Stand:
    """Starts and ends the processes of one measurement in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[subprocess.Popen[str]] = []
        key = ec.generate_private_key(ec.SECP256K1())
        self.key = key.private_numbers().private_value.to_bytes(32, "big")
        self.public_key_file = folder / "bank-public-key.pem"
        self.public_key_file.write_bytes(
            key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
        self.project_key_file = folder / "project-key.pem"
        self.project_key_file.write_bytes(
            ec.generate_private_key(ec.SECP256K1()).private_bytes(
                Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
            )
        )

    def __enter__(self) -> "Stand":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.end_all()

    def end_all(self) -> None:
        """End whatever still runs."""
        for process in reversed(self._started):
            end(process)
        self._started.clear()

    def start(self, *command: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start ``python <command>``; its output goes to a file in the folder, as in a real deployment."""
        log = self.folder / f"{len(self._started)}-{command[-1].replace('/', '-')[:40]}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self._started.append(process)
        return process

    def start_bank(self, seconds: float) -> int:
        """Start the quick bank, which takes ``seconds`` for a transfer call (below 0: for ever); its port."""
        port = free_port()
        process = self.start(
            "-m", "tests.benchmarks.bank", str(port), str(self.public_key_file), str(seconds)
        )
        self._wait_for(process, port, "/seen", "the quick bank")
        return port

    def start_web(
        self, bank_port: int, database_url: str, workers: int = 1, **settings: str
    ) -> tuple[subprocess.Popen[str], int]:
        """Start ``python -m webhooks``; the process and its port, once it is ready."""
        port = free_port()
        environment = {
            "STARKBANK_PROJECT_ID": "5656565656565656",
            "STARKBANK_PRIVATE_KEY_PATH": str(self.project_key_file),
            "STARKBANK_API_URL": f"http://127.0.0.1:{bank_port}",
            "DATABASE_URL": database_url,
            "PORT": str(port),
            **settings,
        }
        process = self.start("-m", "webhooks", "--workers", str(workers), environment=environment)
        self._wait_for(process, port, "/health/ready", "the web app")
        return process, port

    def start_yardstick(self, name: str) -> tuple[subprocess.Popen[str], int]:
        """Start ``create_plain`` or ``create_sdk`` under the same uvicorn settings as ours."""
        port = free_port()
        process = self.start(
            *("-m", "uvicorn", f"tests.benchmarks.yardsticks:{name}", "--factory"),
            *("--port", str(port), "--no-access-log", "--no-server-header", "--log-level", "warning"),
            environment={
                "BENCH_PUBLIC_KEY": str(self.public_key_file),
                "BENCH_PROJECT_KEY": str(self.project_key_file),
            },
        )
        self._wait_for(process, port, "/", name)
        return process, port

    def prepare_load(self, order: Order) -> "Load":
        """Start the load's process and let it sign its requests."""
        return Load(order)

    def send(self, port: int, count: int, seed: int, **options: float | bool) -> Seen:
        """Send so many events to a port and wait for every answer."""
        order = {"port": port, "key": self.key.hex(), "count": count, "seed": seed, **options}
        return self.prepare_load(msgspec.convert(order, Order)).run()

    def _wait_for(self, process: subprocess.Popen[str], port: int, path: str, name: str) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise CannotMeasure(f"{name} ended with status {process.returncode}: {self._last_words()}")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5).close()
                return
            except urllib.error.HTTPError as error:
                if error.code == 404:
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise CannotMeasure(f"{name} was not ready within {_START_SECONDS:g} s: {self._last_words()}")

    def _last_words(self) -> str:
        newest = max(self.folder.glob("*.log"), key=lambda path: path.stat().st_mtime)
        return newest.read_text(errors="replace")[-500:]


class Load:
    """One load process: signed and ready when made, sent by ``run``."""

    def __init__(self, order: Order) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.load"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._say(msgspec.json.encode(order).decode())
        self._hear()

    def run(self) -> Seen:
        """Send, and return what was seen."""
        self._say("go")
        seen = msgspec.json.decode(self._hear(), type=Seen)
        self._process.communicate()
        return seen

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise CannotMeasure(f"the load ended early, with status {self._process.wait()}")
        return line


def end(process: subprocess.Popen[str]) -> None:
    """Ask a process to end; make it, when it does not."""
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port that nobody listens on now. Raises CannotMeasure when this machine gives none."""
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port
    except OSError as error:
        raise CannotMeasure(f"cannot bind a port on 127.0.0.1 ({error.strerror})") from None
