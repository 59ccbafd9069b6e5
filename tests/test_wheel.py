"""repasse as it is installed: one command that does the whole job, from a folder that has nothing of the checkout."""

import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.emulated import EmulatorProcess
from tests.running import ROOT, Runner, free_port, plain_environment, wait_until
from tests.wheels import build, install

pytestmark = pytest.mark.process


def test_an_installed_repasse_issues_forwards_and_settles(
    runner: Runner, start_emulator_process: Callable[..., EmulatorProcess], tmp_path: Path
) -> None:
    """The wheel and what it declares to need, and nothing of ours beside it: web, worker, the operator's commands."""
    wheel = build(ROOT, tmp_path / "wheels")
    assert_whole(wheel)
    python = install(wheel, tmp_path / "environment")
    command = str(python.parent / "repasse")
    emulator = start_emulator_process("--speed", "600", "--paid-share", "1", "--fee", "7")
    settings = plain_environment(
        **emulator.environment,
        PORT=str(free_port()),
        RECONCILE_INTERVAL_SECONDS="1",
        OPERATOR_LANGUAGE="en",
    )
    del settings["PYTHONPATH"]
    folder = tmp_path / "elsewhere"
    folder.mkdir()

    def repasse(*arguments: str) -> str:
        ended = subprocess.run(
            [command, *arguments], cwd=folder, env=settings, capture_output=True, text=True, check=False
        )
        assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout + ended.stderr
        return ended.stdout

    assert repasse("migrate") == "sqlite:///data/repasse.db: migrated to version v1\n"
    started = Runner(folder, python=str(python))
    try:
        web, worker = (started.start(command, name, environment=settings) for name in ("web", "worker"))
        web.wait_for("web.started")
        worker.wait_for("worker.started")
        repasse("webhook", "register", f"http://127.0.0.1:{settings['PORT']}/webhooks/starkbank")
        wait_until(lambda: " settled" in repasse("job", "statement"), "a credit is forwarded", pause=0.3)
        assert repasse("db", "verify").startswith("sound")
        assert (web.stop(), worker.stop()) == (0, 0)
    finally:
        started.stop_all()
    assert emulator.statement()["paid_twice"] == []
    assert [each.name for each in folder.iterdir() if each.suffix != ".log"] == ["data"]


def assert_whole(wheel: Path) -> None:
    """Every file of our packages is in it, and nothing else of the repository."""
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    there = {
        path.relative_to(ROOT).as_posix()
        for folder in ("repasse", "payments", "webhooks", "worker")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == there
