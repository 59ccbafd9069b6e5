"""The command against an emulated bank and a database of its own."""

import subprocess
from collections.abc import Callable

import pytest

from payments.event import read_event
from payments.ledger import inbox
from payments.policy import ForwardingPolicy
from payments.storage.database import Database
from tests.emulated import EmulatedBank
from tests.events import invoice_event
from tests.payments.builders import NOW
from tests.running import plain_environment


def credit(database: Database, policy: ForwardingPolicy, *amounts: int) -> None:
    """Credits that wait to be forwarded."""
    bodies = [invoice_event(f"5{number:015d}", amount=each, fee=10) for number, each in enumerate(amounts)]
    inbox.accept(database, [inbox.Arrival(read_event(body)) for body in bodies], "webhook", policy, NOW)


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
