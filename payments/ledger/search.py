"""Looking one id up, whatever it names: an operator copies it from a log, the web bank or a statement. Reads only."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, or_, select

from payments.ledger.acts import plain_text
from payments.ledger.database import Database
from payments.ledger.lines import transfers_of
from payments.ledger.tables import (
    bank_transfers,
    credits,
    inbox_events,
    invoice_batches,
    planned_invoices,
    reversals,
    transfers,
)
from payments.money import format_brl
from payments.transfer import lineage_for

# The longest id that a column holds; more was not copied from us or from the bank.
_LENGTH_MAX = 96

# What a reissue's external_id ends in.
_REISSUE = re.compile(r"-r[0-9]+\Z")

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
    for row in connection.execute(
        select(transfers).where(
            or_(transfers.c.external_id == wanted, transfers.c.bank_transfer_id == wanted)
        )
    ):
        title = f"{row.external_id}, {format_brl(row.amount_centavos)}, {row.state}"
        yield Found("transfer", row.invoice_id, title)
    # One of the bank's that no transfer of ours carries as its own: a twin, or another deployment's.
    for seen in connection.execute(
        select(bank_transfers).where(bank_transfers.c.bank_transfer_id == wanted)
    ).all():
        invoice_id = _invoice_of(connection, seen.external_id)
        if invoice_id is not None:
            yield Found("transfer", invoice_id, f"{seen.external_id} at the bank, {seen.status}")


def _invoice_of(connection: Connection, external_id: str) -> str | None:
    """The credit of ours whose lineage an external_id belongs to; its reissue need not be in our books."""
    invoice_id = external_id.removeprefix(lineage_for(""))
    candidates = [invoice_id, _REISSUE.sub("", invoice_id)]
    return connection.execute(
        select(credits.c.invoice_id).where(credits.c.invoice_id.in_(candidates)).limit(1)
    ).scalar()


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
        *connection.execute(select(*columns).where(inbox_events.c.subject == wanted).limit(_EVENTS_MAX)),
    ):
        yield Found("event", row.event_id, f"{row.subscription} {row.log_type}: {row.outcome}")


def _distinct(connection: Connection, queries: Sequence[Select[Any]]) -> list[Any]:
    return list(dict.fromkeys(found for query in queries for found in connection.execute(query).scalars()))
