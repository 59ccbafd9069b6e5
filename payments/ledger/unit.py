"""A unit of work: what the functions inside one transaction of the ledger share, passed from hand to hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from payments.policy import ForwardingPolicy
from payments.storage.database import Database
from payments.transfer import Destination


@dataclass(slots=True)
class Unit:
    """One transaction: its connection, the settings that hold in it, and its moment (UTC).

    ``has_due`` is set when a transfer was made due; other processes are notified once it is committed.
    """

    connection: Connection
    policy: ForwardingPolicy
    now: datetime
    has_due: bool = False
    destinations: dict[int, Destination] = field(default_factory=dict)  # those read so far, by their id
    # Whose each of the bank's transfers is: the invoice that its external_id names, or None; by the bank's id.
    owners: dict[str, str | None] = field(default_factory=dict)


@contextmanager
def open_unit(database: Database, policy: ForwardingPolicy, now: datetime) -> Iterator[Unit]:
    """Run a block as one durable transaction. Raises LedgerUnavailable: then nothing of it is left."""
    with database.transaction() as connection:
        unit = Unit(connection, policy, now)
        yield unit
    if unit.has_due and database.announce is not None:
        database.announce()
