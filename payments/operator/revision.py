"""Whether anything that an operator sees has changed, at the price of a few index look-ups. Reads only."""

from collections.abc import Hashable
from typing import Any

from sqlalchemy import func, select

from payments.operator.processes import UNANSWERED
from payments.storage.database import Database
from payments.storage.schema import (
    actions,
    attentions,
    inbox_events,
    invoice_batches,
    processes,
    reconciliations,
    transfer_history,
)

# Each of these grows, or moves on, with every fact; heartbeats of processes by themselves do not count.
_PARTS: tuple[Any, ...] = (
    select(func.max(inbox_events.c.received_at)),
    select(func.max(transfer_history.c.id)),
    select(func.max(attentions.c.id)),
    select(func.count(attentions.c.id)).where(attentions.c.resolved_at.is_(None)),
    select(func.max(actions.c.id)),
    select(func.max(reconciliations.c.id)),
    # Some eight rows a day.
    select(func.count() + func.sum(invoice_batches.c.attempt)).select_from(invoice_batches),
    select(func.max(invoice_batches.c.issued_at)),
    # Some rows a week: processes that started or ended, and that lost or found the bank.
    select(func.count() + func.count(processes.c.stopped_at)).select_from(processes),
    select(func.count()).select_from(processes).where(processes.c.bank_verdict.in_(UNANSWERED)),
)
_MARK = select(*(part.scalar_subquery() for part in _PARTS))


def read_mark(database: Database) -> Hashable:
    """A value that differs whenever the database has changed. Raises LedgerUnavailable."""
    with database.reading() as connection:
        return tuple(str(value) for value in connection.execute(_MARK).one())
