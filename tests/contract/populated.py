"""A populated emulator behind its HTTPS proxy, as a process: what clients in any language are pointed at."""

import contextlib
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.running import Runner, plain_environment


@dataclass
class Populated:
    """Where it listens, and the environment that points a client at it and at nothing else."""

    url: str
    environment: dict[str, str]
    # Empty without --tls-port.
    tls_url: str = ""

    def ask(self, method: str, path: str, **body: Any) -> Any:
        """Call the management face."""
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(method, f"{self.url}/emulator/{path}", json=body, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextlib.contextmanager
def populated_emulator(folder: Path, *switches: str) -> Iterator[Populated]:
    """Start it, and stop it at the end; its books must balance then."""
    runner = Runner(folder)
    data = folder / "bank"
    try:
        running = runner.start(
            *("-m", "emulator", "--port", "0", "--proxy-port", "0", "--data", str(data), "--seed", "1"),
            *("--populate", "--paid-share", "0", *switches),
            environment=plain_environment(),
        )
        running.wait_for("emulator ready on ")
        url = running.said.rpartition("emulator ready on ")[2].strip()
        # The file is for a shell, and so is read as one would.
        pairs = dict(line.split("=", 1) for line in shlex.split((data / "sdk.env").read_text()))
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        tls_url = running.said.partition("# TLS for the bank's host names on ")[2].partition(";")[0]
        populated = Populated(url, {**kept, **pairs, "TZ": "UTC"}, tls_url)
        yield populated
        statement = populated.ask("GET", "statement?details=false")
        assert statement["balanced"], statement
        assert "Traceback" not in running.said, running.said
    finally:
        runner.kill_all()
