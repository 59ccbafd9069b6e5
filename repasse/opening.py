"""Opens what a command works with: settings, database, operator. Only the job's own work creates a database.

Settings and the bank are imported when they are needed: help and completion do without these parts of a second.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import cached_property
from typing import TYPE_CHECKING

import click

from payments.errors import ActionRefused
from payments.operator.actions import Operator
from payments.operator.times import zone_of
from payments.operator.wording import note_text
from payments.policy import ForwardingPolicy
from payments.storage.clock import open_clock
from payments.storage.database import Database, open_database
from payments.storage.migrate import migrate, refuse_unready
from repasse.language import language
from repasse.output import Times

if TYPE_CHECKING:
    from payments.bank.client import Bank
    from payments.settings import Settings


@dataclass(frozen=True)
class Opened:
    """What a command works with."""

    settings: "Settings"
    database: Database

    @property
    def policy(self) -> ForwardingPolicy:
        """What is forwarded, and to whom."""
        return self.settings.forwarding_policy

    @property
    def times(self) -> Times:
        """How times are written here."""
        return Times(zone_of(self.settings.time_zone))

    @cached_property
    def clock(self) -> Callable[[], datetime]:
        """The time, corrected by the database's, as in the processes."""
        return open_clock(self.database, now)


def open_to_read() -> Opened:
    """The database, which must be there. Raises RepasseError."""
    settings = read_settings()
    database = open_named(settings, must_exist=True)
    refuse_unready(database)
    return Opened(settings, database)


def open_to_act(who: str, reason: str) -> tuple[Opened, Operator]:
    """The database, which must be there, for a recorded action. Raises RepasseError."""
    by = _operator(who, reason)
    return open_to_read(), by


def open_to_work(who: str, reason: str) -> tuple[Opened, Operator]:
    """The settings for the bank too, and the database, which is made or migrated if need be. Raises RepasseError."""
    by = _operator(who, reason)
    settings = read_settings(needs_bank=True)
    database = open_named(settings)
    migrate(database)
    return Opened(settings, database), by


def open_named(settings: "Settings", *, must_exist: bool = False) -> Database:
    """The database that the settings name, closed when the command ends."""
    address = settings.database_url.get_secret_value()
    database = open_database(address, is_unhurried=True, must_exist=must_exist)
    click.get_current_context().call_on_close(database.close)
    return database


def open_bank(settings: "Settings") -> "Bank":
    """The bank that the settings lead to; its connections are closed when the command ends."""
    from payments.bank import client

    bank = client.open_bank(
        environment=settings.starkbank_environment,
        project_id=settings.starkbank_project_id,
        private_key_pem=settings.private_key_pem,
        api_url=settings.starkbank_api_url,
        timeout_seconds=settings.bank_timeout_seconds,
    )
    click.get_current_context().call_on_close(bank.close)
    return bank


def read_settings(*, needs_bank: bool = False) -> "Settings":
    """The settings, checked; of the bank's only where they are needed. Raises SettingsError."""
    from payments.settings import load_settings

    return load_settings(needs_bank=needs_bank)


def read_zone() -> tzinfo:
    """The zone in which people write times here. Raises SettingsError."""
    return zone_of(read_settings().time_zone)


def now() -> datetime:
    """This machine's time."""
    return datetime.fromtimestamp(time.time(), UTC)


def _operator(who: str, reason: str) -> Operator:
    try:
        return Operator(who, reason)
    except ActionRefused as error:  # no name or reason that could be recorded
        raise click.UsageError(note_text(str(error), language)) from None
