"""Invoices as an operator looks for them: the list, one invoice with all that is known of it, and what is missing.

Those of other systems are among them, as far as the bank reported them. Reads only; tax ids are stored masked.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, literal_column, or_, select

from payments.invoice import ISSUED_TAG, InvoiceState
from payments.language import Language
from payments.money import format_brl
from payments.note import Note
from payments.operator.actions import plain_text
from payments.operator.filters import Filter, is_of_payer
from payments.operator.lists import (
    EVENTS,
    CreditLine,
    EventLine,
    Line,
    Listing,
    TransferLine,
    credit_lines,
    current_transfers,
    is_about,
    masked_note,
)
from payments.storage.database import Database
from payments.storage.schema import (
    credits,
    inbox_events,
    invoice_batches,
    invoices,
    is_not_credited,
    reconciliations,
)

# An invoice has some three events; one that the bank changed again and again has more.
EVENTS_MAX = 100


@dataclass(frozen=True, slots=True)
class InvoiceLine(Line):
    """One invoice. ``batch_id`` and ``tag`` are None of another system's; ``bank_invoice_id`` until it is issued.

    ``became`` is its state, or that of its transfer once it was credited.
    """

    id: int
    batch_id: int | None
    tag: str | None
    bank_invoice_id: str | None
    state: str
    amount_centavos: int
    payer_name: str | None
    payer_tax_id: str | None
    recorded_at: datetime
    issued_at: datetime | None
    due_at: datetime | None
    paid_at: datetime | None
    became: str

    @property
    def key(self) -> str:
        """What its page is found by: the bank's id, or our tag while there is none."""
        return self.bank_invoice_id or self.tag or ""


@dataclass(frozen=True, slots=True)
class InvoicePage:
    """One invoice, and everything that is known of it. ``reconciled_at``: when reconciliation last heard everything.

    ``reported_at`` is the bank's own time of its last report.
    """

    invoice: InvoiceLine
    batch_tag: str | None
    batch_state: str | None
    batch_reason: Note | None
    tags: Sequence[str]
    link: str | None
    payer_end_to_end_id: str | None
    reported_at: datetime | None
    events: Sequence[EventLine]
    credit: CreditLine | None
    transfer: TransferLine | None
    reconciled_at: datetime | None


def read_invoice(database: Database, key: str) -> InvoicePage | None:
    """One invoice by its id at the bank, or by our tag; None when there is none."""
    wanted = plain_text(key)
    with database.reading() as connection:
        rows = connection.execute(
            select(invoices).where(or_(invoices.c.bank_invoice_id == wanted, invoices.c.tag == wanted))
        ).all()
        return _read_page(connection, rows[0]) if rows else None


def batch_id_of(database: Database, text: str) -> int | None:
    """The batch of this tag or number; None when there is none."""
    wanted = plain_text(text)
    number = int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < 19 else 0
    with database.reading() as connection:
        return connection.execute(
            select(invoice_batches.c.id).where(
                or_(invoice_batches.c.tag == wanted, invoice_batches.c.id == number)
            )
        ).scalar()


def invoice_lines(connection: Connection, rows: Sequence[Any]) -> list[InvoiceLine]:
    """Lines from rows of invoices, each with what became of it."""
    bank_ids = [row.bank_invoice_id for row in rows if row.state == InvoiceState.CREDITED]
    numbers = {}
    if bank_ids:
        found = select(credits.c.invoice_id, credits.c.number).where(credits.c.invoice_id.in_(bank_ids))
        numbers = {row.invoice_id: row.number for row in connection.execute(found)}
    current = current_transfers(connection, list(numbers.values()))
    lines = []
    for row in rows:
        transfer = current.get(numbers.get(row.bank_invoice_id, 0))
        lines.append(InvoiceLine.of(row, became=transfer.shown_state if transfer else row.state))
    return lines


# --- the list ---


def _invoices_where(where: Filter, state: str | None) -> list[Any]:
    """A filter's days are those on which they were planned, or first reported."""
    return [
        *where.is_within(invoices.c.recorded_at),
        *where.has_amount(invoices.c.amount_centavos),
        *([] if where.payer is None else [is_of_payer(where.payer, where.tax_id_key)]),
        *([] if where.batch_id is None else [invoices.c.batch_id == where.batch_id]),
        # as the partial index says it
        *([] if state is None else [invoices.c.state == literal_column(f"'{state}'")]),
        *([] if state in (None, InvoiceState.CREDITED) else [is_not_credited]),
    ]


def _count_invoices(connection: Connection, where: Filter) -> dict[str, int]:
    narrowed = _invoices_where(where, None)
    # Nearly all are credited: they are what the few others leave of all, which an index alone can count.
    total = connection.execute(select(func.count()).select_from(invoices).where(*narrowed)).scalar_one()
    rows = connection.execute(
        select(invoices.c.state, func.count().label("number"))
        .where(is_not_credited, *narrowed)
        .group_by(invoices.c.state)
    )
    others = {row.state: row.number for row in rows}
    return others | {InvoiceState.CREDITED: total - sum(others.values())}


INVOICES = Listing(
    name="invoices",
    query=select(invoices),
    key=(invoices.c.recorded_at, invoices.c.id),
    conditions=_invoices_where,
    line=InvoiceLine,
    lines=invoice_lines,
    choices=tuple(InvoiceState),
    count_choices=_count_invoices,
    amount=invoices.c.amount_centavos,
)


# --- what is missing ---


def explain(found: InvoicePage, language: Language, when: Callable[[datetime | None], str]) -> list[str]:
    """Where an invoice is and what is missing, in sentences; ``when`` writes a time."""
    _ = language.gettext
    invoice = found.invoice
    sentences = [_where_it_is(found, language, when)]
    if invoice.state in (InvoiceState.OPEN, InvoiceState.OVERDUE, InvoiceState.PAID):
        sentences.append(
            _("Reconciliation has not asked the bank yet.")
            if found.reconciled_at is None
            else _("Reconciliation last asked the bank at %(time)s.", time=when(found.reconciled_at))
        )
    if invoice.batch_id is None:
        sentences.append(_("This invoice was issued by another system."))
        if ISSUED_TAG in found.tags:
            sentences.append(
                _(
                    "It carries the tags of repasse: another deployment issued it, or the answer to its batch has not "
                    "come yet."
                )
            )
    return sentences


def _where_it_is(found: InvoicePage, language: Language, when: Callable[[datetime | None], str]) -> str:
    """In one sentence: by the invoice's state; once it was credited, by that of its transfer, or why it has none."""
    _ = language.translations.gettext  # the values come later
    invoice, credit, transfer = found.invoice, found.credit, found.transfer
    about_to_be_forwarded = _("Credited at %(time)s; %(net)s are about to be forwarded.")
    reversed_before = _("Credited at %(time)s, and reversed before it was sent.")
    sentences = {
        "planned": _("Planned at %(time)s, not issued yet."),
        "open": _("Issued at %(time)s, not paid yet."),
        "overdue": _("Issued at %(time)s, due at %(due)s, and not paid."),
        "expired": _("Issued at %(time)s, never paid; it can no longer be paid."),
        "canceled": _("Canceled at %(time)s, not paid."),
        "paid": _("Paid at %(time)s, no credit yet."),
        "credited": _("Credited."),
        # of a credit without a transfer
        "forward": reversed_before,
        "not_ours": _("Credited at %(time)s, and not to be forwarded (FORWARD_CREDITS)."),
        "nothing_to_forward": _("Credited at %(time)s; the fee left nothing to forward."),
        # of its transfer
        "pending": about_to_be_forwarded,
        "sending": about_to_be_forwarded,
        "sent": _("Credited at %(time)s; the transfer of %(net)s was accepted at %(sent)s, not settled yet."),
        "settled": _("Credited at %(time)s; %(net)s settled at %(settled)s."),
        "failed": reversed_before,
        "stopped": reversed_before,
        "dead": _("Credited at %(time)s; the transfer of %(net)s is blocked: manual action required."),
        "abandoned": _("Credited at %(time)s; the transfer of %(net)s was abandoned."),
    }
    if credit is None:
        time = {
            "planned": invoice.recorded_at,
            "canceled": found.reported_at,
            "paid": invoice.paid_at or found.reported_at,
        }.get(invoice.state, invoice.issued_at or found.reported_at)
        return sentences[invoice.state] % {"time": when(time), "due": when(invoice.due_at)}
    if transfer is None:
        return sentences[credit.disposition] % {"time": when(credit.recorded_at)}
    return sentences[transfer.shown_state] % {
        "time": when(credit.recorded_at),
        "net": format_brl(transfer.amount_centavos),
        "sent": when(transfer.sent_at),
        "settled": when(transfer.settled_at),
    }


# --- below: its parts ---


def _read_page(connection: Connection, row: Any) -> InvoicePage:
    credit = connection.execute(
        select(credits).where(credits.c.invoice_id == row.bank_invoice_id)
    ).one_or_none()
    is_its = is_about([row.bank_invoice_id], credit.event_id if credit else None)
    events = EVENTS.query.where(is_its).order_by(inbox_events.c.received_at).limit(EVENTS_MAX)
    batch = connection.execute(
        select(invoice_batches).where(invoice_batches.c.id == row.batch_id)
    ).one_or_none()
    [line] = invoice_lines(connection, [row])
    return InvoicePage(
        invoice=line,
        batch_tag=None if batch is None else batch.tag,
        batch_state=None if batch is None else batch.state,
        batch_reason=None if batch is None else masked_note(batch.reason),
        tags=json.loads(row.tags or "[]"),
        link=row.link,
        payer_end_to_end_id=row.payer_end_to_end_id,
        reported_at=row.reported_at,
        events=EVENTS.lines(connection, connection.execute(events).all()),
        credit=credit_lines(connection, [credit])[0] if credit else None,
        transfer=current_transfers(connection, [credit.number]).get(credit.number) if credit else None,
        reconciled_at=connection.execute(
            select(func.max(reconciliations.c.ended_at)).where(reconciliations.c.failure.is_(None))
        ).scalar(),
    )
