"""The auditor's file: every credit of a period with its transfer and times. Reads only.

It is read in pages, each on a snapshot of its own: a reader that is slow, or waits, must not keep the database from
cleaning up. A line is true as of the moment it was read; a month that is over does not change.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select, tuple_

from payments.note import Note
from payments.operator.filters import NO_FILTER, Filter
from payments.operator.lists import CREDITS, Condition, DestinationLine, Line, TransferLine, current_transfers
from payments.storage.database import Database
from payments.storage.schema import credits, invoices, transfers

# How many credits are read together: some milliseconds' worth, some hundred kilobytes.
CREDITS_PER_PAGE = 1000


@dataclass(frozen=True, slots=True)
class AuditLine(Line):
    """One credit, its current transfer (the live one, or else the newest), and when each thing happened.

    Amounts in centavos; None where there is no such thing. ``transfers`` counts all transfers of the credit. The
    payer is as planned, or else as the bank reported it. Tax ids are masked.
    """

    invoice_id: str
    invoice_tag: str | None
    payer_name: str | None
    payer_tax_id: str | None
    log_id: str
    event_id: str
    credited_at: datetime
    recorded_at: datetime
    gross_centavos: int
    fee_centavos: int
    net_centavos: int
    withheld_centavos: int
    recovered_centavos: int
    disposition: str
    transfers: int
    external_id: str | None
    bank_transfer_id: str | None
    transfer_state: str | None
    transfer_centavos: int | None
    transfer_created_at: datetime | None
    transfer_sent_at: datetime | None
    transfer_settled_at: datetime | None
    transfer_reason: Note | None
    destination: DestinationLine | None


def read_audit(
    database: Database, where: Filter = NO_FILTER, state: str | None = None
) -> Iterator[AuditLine]:
    """The credits that a list shows with this filter and state (see lists.CREDITS), but oldest first.

    In constant memory. Raises ValueError for an unknown state.
    """
    conditions = CREDITS.narrowed(where, state)
    key = tuple_(credits.c.recorded_at, credits.c.number)
    after: list[Condition] = []
    while True:
        with database.reading() as connection:
            rows = connection.execute(_page([*conditions, *after])).all()
            current = current_transfers(connection, [row.number for row in rows])
        for row in rows:
            yield _audit_line(row, current.get(row.number))
        if len(rows) < CREDITS_PER_PAGE:
            return
        last = rows[-1]
        types = [credits.c.recorded_at.type, credits.c.number.type]
        after = [key > tuple_(last.recorded_at, last.number, types=types)]


def _page(conditions: Sequence[Condition]) -> Select[Any]:
    made = select(func.count()).where(transfers.c.credit_number == credits.c.number).scalar_subquery()
    return (
        select(
            credits,
            invoices.c.tag.label("invoice_tag"),
            invoices.c.payer_name,
            invoices.c.payer_tax_id,
            made.label("transfers"),
        )
        .outerjoin(invoices, invoices.c.bank_invoice_id == credits.c.invoice_id)
        .where(*conditions)
        .order_by(credits.c.recorded_at, credits.c.number)
        .limit(CREDITS_PER_PAGE)
    )


def _audit_line(row: Any, transfer: TransferLine | None) -> AuditLine:
    return AuditLine.of(
        row,
        external_id=transfer and transfer.external_id,
        bank_transfer_id=transfer and transfer.bank_transfer_id,
        transfer_state=transfer and transfer.shown_state,
        transfer_centavos=transfer and transfer.amount_centavos,
        transfer_created_at=transfer and transfer.created_at,
        transfer_sent_at=transfer and transfer.sent_at,
        transfer_settled_at=transfer and transfer.settled_at,
        transfer_reason=transfer and transfer.reason,
        destination=transfer and transfer.destination,
    )
