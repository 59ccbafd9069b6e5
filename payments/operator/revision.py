"""Whether anything that an operator sees has changed, at the price of a few index look-ups. Reads only."""

from collections.abc import Hashable

from sqlalchemy import func, select

from payments.storage.database import Database
from payments.storage.schema import (
    actions,
    attentions,
    inbox_events,
    invoice_batches,
    reconciliations,
    transfer_history,
)

# Each of these grows, or moves on, with every fact; signs of life of processes do not count.
_MARK = select(
    select(func.max(inbox_events.c.received_at)).scalar_subquery().label("inbox"),
    select(func.max(transfer_history.c.id)).scalar_subquery().label("transfers"),
    select(func.max(attentions.c.id)).scalar_subquery().label("attentions"),
    select(func.count(attentions.c.id))
    .where(attentions.c.resolved_at.is_(None))
    .scalar_subquery()
    .label("open_attentions"),
    select(func.max(actions.c.id)).scalar_subquery().label("acts"),
    select(func.max(reconciliations.c.id)).scalar_subquery().label("reconciliations"),
    # Some eight rows a day.
    select(func.count() + func.sum(invoice_batches.c.attempt))
    .select_from(invoice_batches)
    .scalar_subquery()
    .label("batches"),
    select(func.max(invoice_batches.c.issued_at)).scalar_subquery().label("issued"),
)


def read_mark(database: Database) -> Hashable:
    """Something that differs whenever the books have changed. Raises LedgerUnavailable."""
    with database.reading() as connection:
        return tuple(str(value) for value in connection.execute(_MARK).one())
