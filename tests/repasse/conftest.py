"""The command against an emulated bank and a database of its own."""

import subprocess
from collections.abc import Callable

import pytest

from tests.emulated import EmulatedBank
from tests.running import plain_environment


@pytest.fixture
def environment(emulator: EmulatedBank, database_url: str) -> dict[str, str]:
    """Settings that lead to the emulator."""
    return plain_environment(
        **emulator.environment,
        DATABASE_URL=database_url,
    )


@pytest.fixture
def repasse(
    call: Callable[..., "subprocess.CompletedProcess[str]"], environment: dict[str, str]
) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run the command in this process, by its main(); keyword arguments are settings."""

    def run(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        return call("repasse.__main__", *arguments, environment={**environment, **settings})

    return run
