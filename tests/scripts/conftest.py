"""The scripts as a person starts them, against an emulated bank and books of their own."""

import subprocess
from collections.abc import Callable

import pytest

from tests.emulated import EmulatedBank
from tests.running import ROOT, Runner, plain_environment


@pytest.fixture
def environment(emulator: EmulatedBank, database_url: str) -> dict[str, str]:
    """Settings that lead to the emulator."""
    return plain_environment(
        STARKBANK_PROJECT_ID=emulator.project_id,
        STARKBANK_PRIVATE_KEY=emulator.private_key_pem,
        STARKBANK_API_URL=emulator.url,
        DATABASE_URL=database_url,
    )


@pytest.fixture
def script(runner: Runner, environment: dict[str, str]) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run one of the scripts; keyword arguments are settings."""

    def run(name: str, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        path = str(ROOT / "scripts" / f"{name}.py")
        return runner.run(path, *arguments, environment={**environment, **settings})

    return run


@pytest.fixture
def call_script(
    call: Callable[..., "subprocess.CompletedProcess[str]"], environment: dict[str, str]
) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """The same in this process, by the script's main(); keyword arguments are settings."""

    def run(name: str, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        return call(f"scripts.{name}", *arguments, environment={**environment, **settings})

    return run
