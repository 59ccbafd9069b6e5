"""What the bank reports of invoices, ours and other systems', as columns for people to find. No money moves by it.

Events come in any order: what is known is only ever completed. A credit is final, a payment gives way only to a credit,
and of the other states the one that holds is the one that the bank reported last, by its own time.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, and_, case, delete, func, or_, select, update

from payments.invoice import STATE_OF_STATUS, BankInvoice, InvoiceReport, InvoiceState, searchable
from payments.ledger.lineages import Unit
from payments.storage.database import Insert, insert_into
from payments.storage.schema import invoices
from payments.tax_id import hash_tax_id, mask_tax_id

# The widths of columns. What is longer is no name and no link of the bank's.
_NAME_LENGTH_MAX = 128
_LINK_LENGTH_MAX = 500
_TAGS_MAX = 30


def record_reports(unit: Unit, reports: Sequence[InvoiceReport]) -> None:
    """Record what events report of invoices; one statement, however many they are."""
    if reports:
        # In one order, so that two transactions never wait for each other.
        ordered = sorted(reports, key=lambda report: (report.invoice_id, report.reported_at))
        rows = [_row(report, unit.policy.tax_id_key, unit.now) for report in ordered]
        unit.connection.execute(_upsert(unit.connection.dialect.name), rows)


def record_at_bank(connection: Connection, batch_id: int, invoice: BankInvoice, now: datetime) -> None:
    """Record that the bank has a planned invoice, which is found by its own tag; nothing when that is known.

    An event may have reported it first, as another system's: what that said is taken over.
    """
    planned = connection.execute(
        select(invoices.c.id)
        .where(
            invoices.c.batch_id == batch_id,
            invoices.c.tag.in_(invoice.tags),
            invoices.c.bank_invoice_id.is_(None),
        )
        .with_for_update()
    ).scalar()
    if planned is None:
        return
    report = InvoiceReport(
        invoice_id=invoice.id,
        state=STATE_OF_STATUS.get(invoice.status, InvoiceState.OPEN),
        amount_centavos=invoice.amount_centavos,
        reported_at=now,  # when it was asked for
        tags=invoice.tags,
        issued_at=invoice.created_at,
        due_at=invoice.due_at,
        link=invoice.link,
    )
    # Inserted first, so that an event that comes at this moment waits for us, and then finds ours.
    statement = _upsert(connection.dialect.name).returning(*invoices.c)
    reported = connection.execute(statement, _row(report, b"", now)).one()
    if reported.batch_id is not None:
        return
    connection.execute(delete(invoices).where(invoices.c.id == reported.id))
    connection.execute(update(invoices).where(invoices.c.id == planned).values(_taken_over(reported)))


# --- below: rows ---


def _row(report: InvoiceReport, tax_id_key: bytes, now: datetime) -> dict[str, Any]:
    name, tax_id = report.payer_name, report.payer_tax_id
    return {
        "bank_invoice_id": report.invoice_id,
        "state": report.state,
        "amount_centavos": report.amount_centavos,
        **payer_columns(name, tax_id, tax_id_key),
        "payer_end_to_end_id": report.payer_end_to_end_id,
        "tags": tags_as_json(report.tags[:_TAGS_MAX]),
        "link": report.link if report.link and len(report.link) <= _LINK_LENGTH_MAX else None,
        "recorded_at": now,
        "reported_at": report.reported_at,
        "issued_at": report.issued_at,
        "due_at": report.due_at,
        "paid_at": report.paid_at,
    }


def payer_columns(name: str | None, tax_id: str | None, tax_id_key: bytes) -> dict[str, str | None]:
    """How a payer is shown and found: the tax id masked, and hashed with a key."""
    return {
        "payer_name": None if name is None else name[:_NAME_LENGTH_MAX],
        "payer_search": None if name is None else searchable(name)[:_NAME_LENGTH_MAX],
        "payer_tax_id": None if tax_id is None else mask_tax_id(tax_id),
        "payer_tax_id_hash": None if tax_id is None else hash_tax_id(tax_id_key, tax_id),
    }


def tags_as_json(tags: Sequence[str]) -> str:
    """Tags as they are stored, and searched for between their quotes."""
    return json.dumps(tags, ensure_ascii=False, separators=(",", ":"))


# The order and the payer of ours are what we planned.
_TAKEN_OVER = (
    *("bank_invoice_id", "state", "amount_centavos", "payer_end_to_end_id", "tags", "link"),
    *("reported_at", "issued_at", "due_at", "paid_at"),
)


def _taken_over(reported: Row[Any]) -> dict[str, Any]:
    return {name: getattr(reported, name) for name in _TAKEN_OVER} | {"payer_tax_id_to_issue": None}


@cache
def _upsert(dialect: str) -> Insert:
    statement = insert_into(invoices, dialect)
    new, known = statement.excluded, invoices.c
    is_later = new.reported_at >= known.reported_at
    holds = or_(
        new.state == "credited",
        and_(
            known.state != "credited",
            or_(new.state == "paid", and_(known.state != "paid", is_later)),
        ),
    )
    kept_once_known = (
        *("payer_name", "payer_search", "payer_tax_id", "payer_tax_id_hash", "payer_end_to_end_id"),
        *("link", "issued_at", "paid_at"),
    )
    return statement.on_conflict_do_update(
        index_elements=["bank_invoice_id"],
        set_={
            "state": case((holds, new.state), else_=known.state),
            "amount_centavos": case((holds, new.amount_centavos), else_=known.amount_centavos),
            "due_at": case((is_later, func.coalesce(new.due_at, known.due_at)), else_=known.due_at),
            "tags": case((is_later, new.tags), else_=known.tags),
            "reported_at": case((is_later, new.reported_at), else_=known.reported_at),
            **{name: func.coalesce(known[name], new[name]) for name in kept_once_known},
        },
    )
