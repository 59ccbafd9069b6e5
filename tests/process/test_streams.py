"""Standard output and error closed, or on a full disk: processes go on, and a command says that no one can read it."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import requests

from tests.emulated import EmulatedBank
from tests.running import Runner, free_port, plain_environment, wait_until

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full"),
]

# As a shell would start it.
REDIRECTIONS = (">/dev/full 2>/dev/full", "<&- >&- 2>&-")


@pytest.fixture
def environment(emulator: EmulatedBank, database_url: str) -> dict[str, str]:
    """Settings that lead to the emulator."""
    return plain_environment(
        **emulator.environment,
        DATABASE_URL=database_url,
        PORT=str(free_port()),
    )


def shell(redirection: str, words: str) -> list[str]:
    return ["sh", "-c", f"exec {sys.executable} {words} {redirection}"]


@pytest.mark.parametrize(
    ("command", "redirection"),
    [
        *(("job statement", each) for each in (">&-", ">&- 2>&-", ">/dev/full 2>/dev/full")),
        *((each, ">/dev/full") for each in ("job audit", "db verify", "--help")),
    ],
)
def test_a_command_whose_output_is_lost_ends_with_1(
    command: str, redirection: str, environment: dict[str, str], tmp_path: Path
) -> None:
    """With one line on standard error, where that can be written."""
    words = shell(redirection, f"-m repasse {command}")
    ended = subprocess.run(
        words, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True, check=False
    )
    assert ended.returncode == 1
    lines = ended.stderr.splitlines()
    assert len(lines) == (0 if "2>" in redirection else 1)
    assert all(line.startswith("repasse: the output cannot be written: ") for line in lines)


def test_a_refusal_keeps_its_status_where_no_one_can_read_it(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Wrong arguments, wrong settings, and a process that cannot start."""
    wrong = {**environment, "DATABASE_URL": "nonsense"}
    for words, settings, redirection in (
        ("-m repasse job pay", environment, "2>&-"),
        ("-m repasse job statement", wrong, "2>/dev/full"),
        ("-m worker", wrong, "2>&-"),
        ("-m worker", wrong, "2>/dev/full"),
        ("-m webhooks", wrong, "2>&-"),
    ):
        ended = subprocess.run(shell(redirection, words), cwd=tmp_path, env=settings, check=False)
        assert ended.returncode == 2, (words, redirection)


@pytest.mark.parametrize("redirection", REDIRECTIONS)
def test_processes_go_on_and_end_cleanly(
    redirection: str, emulator: EmulatedBank, environment: dict[str, str], database_url: str, runner: Runner
) -> None:
    """The web process serves, the worker issues; what they print is not written into the database."""
    file = database_url.removeprefix("sqlite:///")
    started = {
        name: subprocess.Popen(shell(redirection, f"-m {name}"), cwd=runner.folder, env=environment)
        for name in ("webhooks", "worker")
    }
    try:
        wait_until(lambda: _is_ready(environment["PORT"]), "the web process serves")
        wait_until(lambda: emulator.requests("POST", "invoice"), "the worker has issued a batch")
        assert [each.poll() for each in started.values()] == [None, None]
        for process in started.values():
            process.send_signal(signal.SIGTERM)
        assert [process.wait(60) for process in started.values()] == [0, 0]
    finally:
        for process in started.values():
            process.kill()
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _is_ready(port: str) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/health/ready", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False
