"""Looking one id up, whatever it names: an operator copies it from a log, the web bank or a statement. Reads only."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, select

from payments.money import format_brl
from payments.operator.actions import plain_text
from payments.operator.list_rows import transfers_of
from payments.storage.database import Database
from payments.storage.schema import (
    bank_transfers,
    credits,
    inbox_events,
    invoice_batches,
    made_no_credit,
    planned_invoices,
    reversals,
    transfers,
)
from payments.transfer import read_external_id

# The longest id that a column holds; more was not copied from us or from the bank.
_LENGTH_MAX = 96

# One id names a few things at most; an invoice may have many events.
_EVENTS_MAX = 10


@dataclass(frozen=True, slots=True)
class Found:
    """A search's hit: ``kind`` is credit, transfer, event, batch; ``id`` is what its page takes.

    That of a transfer is the invoice id of its credit, whose story it is part of; that of a batch its number.
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
    queries: list[Select[Any]] = [
        select(credits.c.invoice_id).where(credits.c.invoice_id == wanted),
        select(credits.c.invoice_id).where(credits.c.log_id == log_id),
        select(credits.c.invoice_id)
        .join(reversals, reversals.c.invoice_id == credits.c.invoice_id)
        .where(reversals.c.log_id == log_id),
    ]
    for invoice_id in _distinct(connection, queries):
        row = connection.execute(select(credits).where(credits.c.invoice_id == invoice_id)).one()
        transfer = transfers_of(connection, [invoice_id]).get(invoice_id)
        state = transfer.state if transfer else row.disposition
        yield Found("credit", invoice_id, f"{format_brl(row.gross_centavos)} credited, {state}")


def _transfers(connection: Connection, wanted: str) -> Iterator[Found]:
    if reading := read_external_id(wanted):
        ours = (
            select(transfers)
            .join(credits, credits.c.number == transfers.c.credit_number)
            .where(credits.c.invoice_id == reading[0], transfers.c.external_id == wanted)
        )
        yield from _found(connection, ours)
    # The bank's: one that a transfer of ours carries as its own, or a twin, or another deployment's.
    for seen in connection.execute(
        select(bank_transfers, credits.c.invoice_id)
        .join(credits, credits.c.number == bank_transfers.c.credit_number)
        .where(bank_transfers.c.bank_transfer_id == wanted)
    ).all():
        carrying = select(transfers).where(
            transfers.c.credit_number == seen.credit_number, transfers.c.bank_transfer_id == wanted
        )
        yield from _found(connection, carrying)
        yield Found("transfer", seen.invoice_id, f"{seen.external_id} at the bank, {seen.status}")


def _found(connection: Connection, query: Select[Any]) -> Iterator[Found]:
    for row in connection.execute(query):
        title = f"{row.external_id}, {format_brl(row.amount_centavos)}, {row.state}"
        yield Found("transfer", row.invoice_id, title)


def _batches(connection: Connection, wanted: str) -> Iterator[Found]:
    queries: list[Select[Any]] = [
        select(invoice_batches.c.id).where(invoice_batches.c.tag == wanted),
        select(planned_invoices.c.batch_id).where(planned_invoices.c.tag == wanted),
        select(planned_invoices.c.batch_id).where(planned_invoices.c.bank_invoice_id == wanted),
    ]
    for batch_id in _distinct(connection, queries):
        row = connection.execute(select(invoice_batches).where(invoice_batches.c.id == batch_id)).one()
        slot = "issued by hand" if row.slot is None else f"slot {row.slot + 1}"
        yield Found("batch", str(batch_id), f"batch {row.tag}, {slot}, {row.state}")


def _events(connection: Connection, wanted: str) -> Iterator[Found]:
    columns = (
        inbox_events.c.event_id,
        inbox_events.c.subscription,
        inbox_events.c.log_type,
        inbox_events.c.outcome,
    )
    for row in (
        *connection.execute(select(*columns).where(inbox_events.c.event_id == wanted)),
        *connection.execute(
            select(*columns)
            .join(credits, credits.c.event_id == inbox_events.c.event_id)
            .where(credits.c.invoice_id == wanted)
        ),
        *connection.execute(
            select(*columns).where(inbox_events.c.subject == wanted, made_no_credit).limit(_EVENTS_MAX)
        ),
    ):
        yield Found("event", row.event_id, f"{row.subscription} {row.log_type}: {row.outcome}")


def _distinct(connection: Connection, queries: Sequence[Select[Any]]) -> list[Any]:
    return list(dict.fromkeys(found for query in queries for found in connection.execute(query).scalars()))
