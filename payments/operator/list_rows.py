"""What one row of an operator's list says. Tax ids are masked here, so that no page or command can show one."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, select

from payments.ledger.attention import AttentionKind
from payments.storage.schema import credits, inbox_events, transfers
from payments.tax_id import mask_tax_ids
from payments.transfer import LIVE_STATES, TransferState, read_external_id

Item = TypeVar("Item")

# As inbox.py writes it.
_SECOND_CREDIT = re.compile(r"log \S+ credits invoice (\S+) with ")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some rows, newest first. ``next`` continues after them; None at the end.

    A filtered list looks at a bounded number of rows: a page may be short, or empty, and still have a ``next``.
    """

    items: Sequence[Item]
    next: str | None


@dataclass(frozen=True, slots=True)
class TransferLine:
    """One transfer in a list. ``reason`` is why it is where it is, in the bank's words or ours, or None."""

    external_id: str
    invoice_id: str
    generation: int
    amount_centavos: int
    state: str
    attempt: int
    bank_transfer_id: str | None
    reason: str | None
    created_at: datetime
    due_at: datetime | None  # of a pending one
    sent_at: datetime | None
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class CreditLine:
    """One credit in a list, with its live transfer, or the newest if none lives (None when it has none)."""

    invoice_id: str
    gross_centavos: int
    fee_centavos: int
    net_centavos: int
    disposition: str
    recorded_at: datetime
    transfer_state: str | None
    external_id: str | None


@dataclass(frozen=True, slots=True)
class EventLine:
    """One event of the inbox in a list."""

    event_id: str
    source: str
    subscription: str
    log_type: str
    subject: str | None
    outcome: str
    reason: str | None
    received_at: datetime


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """One planned invoice. ``became``: planned, at_bank, credited, or the state of its transfer. Tax id masked."""

    tag: str
    amount_centavos: int
    payer_name: str
    payer_tax_id: str
    bank_invoice_id: str | None
    became: str


@dataclass(frozen=True, slots=True)
class BatchLine:
    """One batch. ``slot`` counts from 0; None when it was issued by hand."""

    id: int
    slot: int | None
    tag: str
    state: str
    late: bool
    due_at: datetime
    issued_at: datetime | None
    attempt: int
    reason: str | None
    planned_invoices: int
    issued_invoices: int
    credited_invoices: int


@dataclass(frozen=True, slots=True)
class AttentionLine:
    """One matter that waits for a person, or waited. ``invoice_id`` where it is about a credit of ours."""

    id: int
    kind: str
    subject: str
    detail: str
    raised_at: datetime
    resolved_at: datetime | None
    invoice_id: str | None


def transfer_line(row: Any) -> TransferLine:
    """A line from a row of transfers."""
    return TransferLine(
        external_id=row.external_id,
        invoice_id=row.invoice_id,
        generation=row.generation,
        amount_centavos=row.amount_centavos,
        state=row.state,
        attempt=row.attempt,
        bank_transfer_id=row.bank_transfer_id,
        reason=masked(row.reason),
        created_at=row.created_at,
        due_at=row.due_at if row.state == TransferState.PENDING else None,
        sent_at=row.sent_at,
        settled_at=row.settled_at,
    )


def credit_line(row: Any, transfer: TransferLine | None) -> CreditLine:
    """A line from a row of credits and the transfer that stands for it."""
    return CreditLine(
        invoice_id=row.invoice_id,
        gross_centavos=row.gross_centavos,
        fee_centavos=row.fee_centavos,
        net_centavos=row.net_centavos,
        disposition=row.disposition,
        recorded_at=row.recorded_at,
        transfer_state=transfer.state if transfer else None,
        external_id=transfer.external_id if transfer else None,
    )


def event_line(row: Any) -> EventLine:
    """A line from a row of the inbox."""
    return EventLine(
        event_id=row.event_id,
        source=row.source,
        subscription=row.subscription,
        log_type=row.log_type,
        subject=row.subject,
        outcome=row.outcome,
        reason=masked(row.reason),
        received_at=row.received_at,
    )


def attention_lines(connection: Connection, rows: Sequence[Any]) -> list[AttentionLine]:
    """Lines from rows of attentions, each with the credit that it is about."""
    invoices = _invoices_of(connection, [row.subject for row in rows])
    return [
        AttentionLine(
            id=row.id,
            kind=row.kind,
            subject=row.subject,
            detail=masked(row.detail) or "",
            raised_at=row.raised_at,
            resolved_at=row.resolved_at,
            invoice_id=invoices.get(row.subject) or _credited_twice(row),
        )
        for row in rows
    ]


def transfers_of(connection: Connection, invoice_ids: Sequence[str]) -> Mapping[str, TransferLine]:
    """For each of these invoices the transfer that stands for it: the live one, or else the newest."""
    if not invoice_ids:
        return {}
    rows = connection.execute(
        select(transfers)
        .join(credits, credits.c.number == transfers.c.credit_number)
        .where(credits.c.invoice_id.in_(invoice_ids))
        .order_by(transfers.c.generation)
    ).all()
    newest = {row.invoice_id: row for row in rows}
    live = {row.invoice_id: row for row in rows if row.state in LIVE_STATES}
    return {invoice_id: transfer_line(row) for invoice_id, row in (newest | live).items()}


def masked(text: str | None) -> str | None:
    """A text from outside, or None, without tax ids."""
    return None if text is None else mask_tax_ids(text)


def _credited_twice(matter: Any) -> str | None:
    """The invoice of a second credit: the credit's row has the first log's id, so only our own words name it."""
    said = _SECOND_CREDIT.match(matter.detail) if matter.kind == AttentionKind.SECOND_CREDIT else None
    return said[1] if said else None


def _invoices_of(connection: Connection, subjects: Sequence[str]) -> dict[str, str]:
    """The credit that each subject (an invoice, a transfer of ours, a log or an event) is about, where there is one."""
    if not subjects:
        return {}
    found: dict[str, str] = {}
    owners = {reading[0] for reading in map(read_external_id, subjects) if reading}
    for name, query in (
        ("event_id", select(inbox_events.c.event_id, credits.c.invoice_id)
            .join(credits, credits.c.invoice_id == inbox_events.c.subject)
            .where(inbox_events.c.event_id.in_(subjects))),
        ("log_id", select(credits.c.log_id, credits.c.invoice_id).where(credits.c.log_id.in_(subjects))),
        ("external_id", select(transfers.c.external_id, credits.c.invoice_id)
            .join(credits, credits.c.number == transfers.c.credit_number)
            .where(credits.c.invoice_id.in_(owners), transfers.c.external_id.in_(subjects))),
        ("invoice_id", select(credits.c.invoice_id).where(credits.c.invoice_id.in_(subjects))),
    ):  # fmt: skip
        for row in connection.execute(query):
            found[getattr(row, name)] = row.invoice_id
    return found
