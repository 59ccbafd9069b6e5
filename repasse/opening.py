"""Opens what a command works with: settings, database, operator. Only the job's own work creates a database."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from payments.bank.client import Bank
    from payments.operator.actions import Operator
    from payments.policy import ForwardingPolicy
    from payments.settings import Settings
    from payments.storage.database import Database


@dataclass(frozen=True, slots=True)
class Opened:
    """What an operator's command works with. ``clock`` is corrected by the database's, as in the processes."""

    settings: "Settings"
    database: "Database"
    by: "Operator"
    clock: Callable[[], datetime]

    @property
    def policy(self) -> "ForwardingPolicy":
        """What is forwarded, and to whom."""
        return self.settings.forwarding_policy


def open_to_read() -> "Database":
    """The database, which must be there. Raises RepasseError."""
    from payments.settings import load_settings
    from payments.storage.migrate import refuse_unready

    database = open_named(load_settings(needs_bank=False), must_exist=True)
    refuse_unready(database)
    return database


def open_to_act(who: str, reason: str) -> Opened:
    """The database, which must be there, for a recorded action. Raises RepasseError."""
    from payments.settings import load_settings

    by = _operator(who, reason)
    database = open_to_read()
    return _opened(load_settings(needs_bank=False), database, by)


def open_to_work(who: str, reason: str) -> Opened:
    """The settings for the bank too, and the database, which is made or migrated if need be. Raises RepasseError."""
    from payments.settings import load_settings
    from payments.storage.migrate import migrate

    by = _operator(who, reason)
    settings = load_settings()
    database = open_named(settings)
    migrate(database)
    return _opened(settings, database, by)


def open_named(settings: "Settings", *, must_exist: bool = False) -> "Database":
    """The database that the settings name, closed when the command ends."""
    from payments.storage.database import open_database

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


def read_zone() -> tzinfo:
    """The zone in which people write and read times here. Raises SettingsError."""
    from payments.operator.times import zone_of
    from payments.settings import load_settings

    return zone_of(load_settings(needs_bank=False).time_zone)


def read_tax_id_key() -> bytes:
    """What payers' tax ids are hashed with; empty without TAX_ID_KEY and the bank's key. Raises SettingsError."""
    from payments.settings import load_settings

    return load_settings(needs_bank=False).tax_id_search_key


def now() -> datetime:
    """This machine's time."""
    return datetime.fromtimestamp(time.time(), UTC)


def _operator(who: str, reason: str) -> "Operator":
    from payments.errors import ActionRefused
    from payments.operator.actions import Operator
    from payments.operator.wording import note_text
    from repasse.language import language

    try:
        return Operator(who, reason)
    except ActionRefused as error:  # no name or reason that could be recorded
        raise click.UsageError(note_text(str(error), language)) from None


def _opened(settings: "Settings", database: "Database", by: "Operator") -> Opened:
    from payments.storage.clock import open_clock

    return Opened(settings, database, by, open_clock(database, now))
