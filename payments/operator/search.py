"""One box for what an operator has in hand: a payer, a tax id, an amount, a day, an id or the start of one. Reads only.

An id is looked up in an index; a name, an amount or a tag is compared with every invoice, of which a hundred thousand
take some 20 ms each.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, and_, or_, select

from payments.invoice import end_to_end_id
from payments.money import parse_brl
from payments.operator.actions import plain_text
from payments.operator.filters import Filter, has_gross_or_net, is_of_payer
from payments.operator.invoices import invoice_lines
from payments.operator.lists import EVENTS, credit_lines, transfer_lines
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
from payments.tax_id import read_tax_id
from payments.transfer import read_external_id

# Longer text was not copied from us or from the bank, and is no name.
_LENGTH_MAX = 128

# One id names a few things at most; a name or an amount may have thousands, which the lists have.
FOUND_MAX = 20
_EVENTS_MAX = 10

# The start of an id is looked for from so many digits on.
_PREFIX_LENGTH_MIN = 4


@dataclass(frozen=True, slots=True)
class Found:
    """A search's hit: ``kind`` is credit, invoice, transfer, event or batch; ``id`` is what its page takes.

    An invoice that was credited is a credit. The id of a transfer is the invoice id of its credit, whose timeline it is
    part of; that of a batch its number. ``name`` is what it is known by: a payer or else the invoice's id, an
    external_id or else the bank's id, a tag, an event's type. ``state`` is as the page of its kind shows it; the
    payer's tax id is masked.
    """

    kind: str
    id: str
    name: str
    state: str | None = None
    amount_centavos: int | None = None
    payer_tax_id: str | None = None
    at: datetime | None = None


def search(database: Database, text: str, tax_id_key: bytes = b"") -> list[Found]:
    """What an operator's words name, exactly or by their start: at most 20 of a kind, the newest first.

    Credits come first. Empty when nothing is meant by them; days are not looked for here (day_in).
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
        hits += [] if hits else _starting_with(connection, wanted)
        hits += _of_invoices(connection, wanted, tax_id_key)
    order = ("credit", "invoice", "transfer", "batch", "event")
    by_id: dict[tuple[str, str, str], Found] = {}
    for hit in hits:
        by_id.setdefault((hit.kind, hit.id, "" if hit.kind in ("credit", "invoice") else hit.name), hit)
    return sorted(by_id.values(), key=lambda hit: order.index(hit.kind))


# --- what a text means ---


def centavos_in(text: str) -> int | None:
    """Read an amount as it is written in Brazil or in English: ``R$ 1.234,56``, ``1234.56``, ``10``; else None."""
    text = text.strip().upper()
    if found := re.fullmatch(r"(R\$\s?)?([0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,12})\.([0-9]{2})", text, re.ASCII):
        return int(found[2].replace(",", "")) * 100 + int(found[3])
    try:
        return parse_brl(text)
    except ValueError:
        return None


def day_in(text: str, today: date) -> date | None:
    """Read ``02/03/2026``, ``02/03``, ``2026-03-02``, or a word such as ``ontem`` or ``today``; else None."""
    word = unicodedata.normalize("NFKC", text).strip().casefold()
    if word in _DAYS_AGO:
        return today - timedelta(days=_DAYS_AGO[word])
    if found := re.fullmatch(r"([0-9]{1,2})/([0-9]{1,2})(?:/([0-9]{4}))?", word, re.ASCII):
        parts = int(found[3] or today.year), int(found[2]), int(found[1])
    elif found := re.fullmatch(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", word, re.ASCII):
        parts = int(found[1]), int(found[2]), int(found[3])
    else:
        return None
    try:
        day = date(*parts)
    except ValueError:
        return None
    # Near the ends of the calendar a day has no beginning in another zone.
    return day if timedelta(days=2) < day - date.min and date.max - day > timedelta(days=2) else None


_DAYS_AGO = {
    **dict.fromkeys(("hoje", "today"), 0),
    **dict.fromkeys(("ontem", "yesterday"), 1),
    **dict.fromkeys(("anteontem",), 2),
}


# --- below: ids, exactly ---


def _credits(connection: Connection, wanted: str) -> Iterator[Found]:
    # Events that reconciliation made up are named after their log.
    log_id = wanted.removeprefix("invoice-log-")
    reversed_ = select(reversals.c.invoice_id).where(reversals.c.log_id == log_id).scalar_subquery()
    yield from _found_credits(
        connection,
        or_(credits.c.invoice_id == wanted, credits.c.log_id == log_id, credits.c.invoice_id == reversed_),
    )


def _transfers(connection: Connection, wanted: str) -> Iterator[Found]:
    # The bank's: one that a transfer of ours is known by, or a twin, or another deployment's.
    reported = connection.execute(
        select(bank_transfers, credits.c.invoice_id)
        .join(credits, credits.c.number == bank_transfers.c.credit_number)
        .where(bank_transfers.c.bank_transfer_id == wanted)
    ).one_or_none()
    if name := read_external_id(wanted):
        is_it = and_(credits.c.invoice_id == name[0], transfers.c.external_id == wanted)
    elif reported is not None:
        is_it = and_(
            transfers.c.credit_number == reported.credit_number, transfers.c.bank_transfer_id == wanted
        )
    else:
        return
    rows: Sequence[Any] = connection.execute(
        select(transfers).join(credits, credits.c.number == transfers.c.credit_number).where(is_it)
    ).all()
    for line in transfer_lines(connection, rows):
        yield Found(
            "transfer",
            line.invoice_id,
            line.external_id,
            state=line.shown_state,
            amount_centavos=line.amount_centavos,
            at=line.created_at,
        )
    if reported is not None and not rows:
        yield Found(
            "transfer",
            reported.invoice_id,
            wanted,
            amount_centavos=reported.amount_centavos,
            at=reported.seen_at,
        )


def _batches(connection: Connection, wanted: str) -> Iterator[Found]:
    of_invoice = select(invoices.c.batch_id).where(
        or_(invoices.c.tag == wanted, invoices.c.bank_invoice_id == wanted)
    )
    for row in connection.execute(
        select(invoice_batches).where(
            or_(invoice_batches.c.tag == wanted, invoice_batches.c.id.in_(of_invoice))
        )
    ):
        yield Found("batch", str(row.id), row.tag, state=row.state, at=row.due_at)


def _events(connection: Connection, wanted: str) -> Iterator[Found]:
    credited = EVENTS.query.join(credits, credits.c.event_id == inbox_events.c.event_id)
    for query in (
        EVENTS.query.where(inbox_events.c.event_id == wanted),
        credited.where(credits.c.invoice_id == wanted),
        EVENTS.query.where(inbox_events.c.subject == wanted, made_no_credit).limit(_EVENTS_MAX),
    ):
        yield from map(_found_event, connection.execute(query))


def _found_event(row: Any) -> Found:
    name = f"{row.subscription} {row.log_type}"
    return Found("event", row.event_id, name, state=row.outcome, at=row.received_at)


# --- below: the start of an id ---


def _starting_with(connection: Connection, wanted: str) -> Iterator[Found]:
    """Ids of the bank are digits; ours are ``credit-`` and digits."""
    digits = wanted.removeprefix("credit-").removeprefix("invoice-log-")
    if not re.fullmatch(r"[0-9]+", digits, re.ASCII) or len(digits) < _PREFIX_LENGTH_MIN:
        return
    yield from _found_invoices(connection, _begins(invoices.c.bank_invoice_id, digits))
    yield from _found_credits(
        connection, or_(_begins(credits.c.invoice_id, digits), _begins(credits.c.log_id, digits))
    )
    owners = select(bank_transfers.c.credit_number).where(_begins(bank_transfers.c.bank_transfer_id, digits))
    yield from _found_credits(connection, credits.c.number.in_(owners.limit(FOUND_MAX)))
    events = EVENTS.query.where(_begins(inbox_events.c.event_id, digits)).limit(FOUND_MAX)
    yield from map(_found_event, connection.execute(events))


def _begins(column: Column[str], digits: str) -> ColumnElement[bool]:
    """A range of the column's index, in any collation of the database: digits come in their order in all."""
    following = str(int(digits) + 1).rjust(len(digits), "0")
    is_in_range = column >= digits
    if len(following) == len(digits):
        is_in_range = and_(is_in_range, column < following)
    return and_(is_in_range, column.startswith(digits))


# --- below: payers, amounts, tags, Pix ---


def _of_invoices(connection: Connection, wanted: str, tax_id_key: bytes) -> Iterator[Found]:
    yield from _found_invoices(connection, invoices.c.tag == wanted)
    centavos = centavos_in(wanted)
    if read_tax_id(wanted):
        yield from _found_invoices(connection, is_of_payer(wanted, tax_id_key))
    elif centavos is not None:
        where = Filter(amount_centavos=centavos)
        # found in the index by time, which holds the amounts
        newest = [credits.c.recorded_at.desc(), credits.c.number.desc()]
        found = select(credits.c.number).where(*has_gross_or_net(where)).order_by(*newest).limit(FOUND_MAX)
        yield from _found_credits(connection, credits.c.number.in_(found))
        yield from _found_invoices(connection, and_(*where.has_amount(invoices.c.amount_centavos)))
    elif pix := end_to_end_id(wanted):
        yield from _found_invoices(connection, invoices.c.payer_end_to_end_id == pix)
    elif re.search(r"[^\W\d_]{2}", wanted):
        of_payer = _found_invoices(connection, is_of_payer(wanted, tax_id_key))
        yield from of_payer
        if not of_payer and " " not in wanted:
            has_tag = invoices.c.tags.contains(f'"{wanted.lower()}"', autoescape=True)
            yield from _found_invoices(connection, has_tag)


def _found_invoices(connection: Connection, condition: ColumnElement[bool]) -> list[Found]:
    rows = connection.execute(
        # + 0: by comparing every row, and then sorting the few that are found
        select(invoices).where(condition).order_by((invoices.c.id + 0).desc()).limit(FOUND_MAX)
    ).all()
    return [
        Found(
            kind="credit" if line.state == "credited" else "invoice",
            id=line.key,
            name=line.payer_name or line.key,
            state=line.became,
            amount_centavos=line.amount_centavos,
            payer_tax_id=line.payer_tax_id,
            at=line.paid_at or line.issued_at or line.recorded_at,
        )
        for line in invoice_lines(connection, rows)
    ]


def _found_credits(connection: Connection, condition: ColumnElement[bool]) -> list[Found]:
    rows = connection.execute(
        select(credits, invoices.c.payer_name, invoices.c.payer_tax_id)
        .outerjoin(invoices, invoices.c.bank_invoice_id == credits.c.invoice_id)
        .where(condition)
        .order_by((credits.c.number + 0).desc())
        .limit(FOUND_MAX)
    ).all()
    return [
        Found(
            kind="credit",
            id=line.invoice_id,
            name=row.payer_name or line.invoice_id,
            state=line.transfer_state or line.disposition,
            amount_centavos=line.gross_centavos,
            payer_tax_id=row.payer_tax_id,
            at=line.recorded_at,
        )
        for row, line in zip(rows, credit_lines(connection, rows), strict=True)
    ]
