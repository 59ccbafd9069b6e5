"""Looking one id up, whatever it names: an operator copies it from a log, the bank or a statement. Reads only."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, or_, select

from payments.money import format_brl
from payments.operator.actions import plain_text
from payments.operator.lists import credit_lines
from payments.storage.database import Database
from payments.storage.schema import (
    bank_transfers,
    credits,
    inbox_events,
    invoice_batches,
    invoices,
    made_no_credit,
    reversals,
    transfers,
)
from payments.transfer import read_external_id

# The longest id that a column holds; longer text was not copied from us or from the bank.
_LENGTH_MAX = 96

# One id names a few things at most; an invoice may have many events.
_EVENTS_MAX = 10


@dataclass(frozen=True, slots=True)
class Found:
    """A search's hit: ``kind`` is credit, transfer, event or batch; ``id`` is what its page takes.

    The id of a transfer is the invoice id of its credit, whose timeline it is part of; that of a batch its number.
    """

    kind: str
    id: str
    title: str


def search(database: Database, text: str) -> list[Found]:
    """Look one id up, exactly: of an invoice, transfer (ours or the bank's), event, log, batch or planned invoice.

    Credits come first. Empty when nothing has that id.
    """
    wanted = plain_text(text)
    if not wanted or len(wanted) > _LENGTH_MAX:
        return []
    with database.reading() as connection:
        hits = [
            *_credits(connection, wanted),
            *_transfers(connection, wanted),
            *_batches(connection, wanted),
            *_events(connection, wanted),
        ]
    return list(dict.fromkeys(hits))


def _credits(connection: Connection, wanted: str) -> Iterator[Found]:
    # Events that reconciliation made up are named after their log.
    log_id = wanted.removeprefix("invoice-log-")
    reversed_ = select(reversals.c.invoice_id).where(reversals.c.log_id == log_id).scalar_subquery()
    rows = connection.execute(
        select(credits).where(
            or_(credits.c.invoice_id == wanted, credits.c.log_id == log_id, credits.c.invoice_id == reversed_)
        )
    ).all()
    for line in credit_lines(connection, rows):
        state = line.transfer_state or line.disposition
        yield Found("credit", line.invoice_id, f"{format_brl(line.gross_centavos)} credited, {state}")


def _transfers(connection: Connection, wanted: str) -> Iterator[Found]:
    ours: list[Any] = []
    if name := read_external_id(wanted):
        ours.append(and_(credits.c.invoice_id == name[0], transfers.c.external_id == wanted))
    # The bank's: one that a transfer of ours is known by, or a twin, or another deployment's.
    reported = connection.execute(
        select(bank_transfers, credits.c.invoice_id)
        .join(credits, credits.c.number == bank_transfers.c.credit_number)
        .where(bank_transfers.c.bank_transfer_id == wanted)
    ).one_or_none()
    if reported is not None:
        ours.append(
            and_(transfers.c.credit_number == reported.credit_number, transfers.c.bank_transfer_id == wanted)
        )
    for condition in ours:
        for row in connection.execute(
            select(transfers).join(credits, credits.c.number == transfers.c.credit_number).where(condition)
        ):
            title = f"{row.external_id}, {format_brl(row.amount_centavos)}, {row.state}"
            yield Found("transfer", row.invoice_id, title)
    if reported is not None:
        yield Found("transfer", reported.invoice_id, f"{reported.external_id} at the bank, {reported.status}")


def _batches(connection: Connection, wanted: str) -> Iterator[Found]:
    of_invoice = select(invoices.c.batch_id).where(
        or_(invoices.c.tag == wanted, invoices.c.bank_invoice_id == wanted)
    )
    for row in connection.execute(
        select(invoice_batches).where(
            or_(invoice_batches.c.tag == wanted, invoice_batches.c.id.in_(of_invoice))
        )
    ):
        slot = "issued by hand" if row.slot is None else f"slot {row.slot + 1}"
        yield Found("batch", str(row.id), f"batch {row.tag}, {slot}, {row.state}")


def _events(connection: Connection, wanted: str) -> Iterator[Found]:
    events = select(
        inbox_events.c.event_id,
        inbox_events.c.subscription,
        inbox_events.c.log_type,
        inbox_events.c.outcome,
    )
    credited = events.join(credits, credits.c.event_id == inbox_events.c.event_id)
    for query in (
        events.where(inbox_events.c.event_id == wanted),
        credited.where(credits.c.invoice_id == wanted),
        events.where(inbox_events.c.subject == wanted, made_no_credit).limit(_EVENTS_MAX),
    ):
        for row in connection.execute(query):
            yield Found("event", row.event_id, f"{row.subscription} {row.log_type}: {row.outcome}")
