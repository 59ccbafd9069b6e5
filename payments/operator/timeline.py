"""Everything about one credit, one event or one batch, as an operator reads it. Reads only.

The timeline of a credit has every fact that we know of it, as a sentence, in the order in which it was recorded. Tax
ids are masked, in the bank's words and in the bytes of events too.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, and_, or_, select

from payments.credit import owed_centavos
from payments.ledger.lineages import GENERATIONS_MAX
from payments.note import Note
from payments.operator.actions import Action, action_from, plain_text
from payments.operator.invoices import InvoiceLine, invoice_lines
from payments.operator.lists import (
    AttentionLine,
    BatchLine,
    CreditLine,
    EventLine,
    TransferLine,
    attention_lines,
    batch_lines,
    credit_lines,
    is_about,
    masked_note,
    transfer_lines,
)
from payments.storage.database import Database
from payments.storage.schema import (
    actions,
    attentions,
    bank_transfers,
    credits,
    inbox_events,
    invoice_batches,
    invoices,
    reversals,
    transfer_history,
    transfers,
)
from payments.tax_id import mask_tax_ids
from payments.transfer import LOST_STATUSES, BankStatus, external_id_for

# A credit has some six events and a few dozen facts. One that was stuck for months has an attempt an hour: only the
# last of them are shown.
EVENTS_MAX = 100
FACTS_MAX = 500


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One fact of a credit's timeline.

    ``kind`` is event, credit, reversal, transfer, attempt, bank_report, action or attention; ``title`` and
    ``detail`` are notes; ``ids`` are worth copying, by their kind; ``tone`` is neutral, good, waiting, bad.
    ``is_folded``: it says nothing that another entry does not say, or was ignored; pages fold it away.
    """

    at: datetime
    kind: str
    title: Note
    detail: Note | None
    ids: dict[str, str]
    tone: str
    is_folded: bool = False


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event whole: its bytes, and the signature that was verified over them.

    Tax ids in ``body`` are masked, so ``sha256`` (hexadecimal) is of the bytes as received. ``digital_signature`` is
    None when reconciliation fetched the event.
    """

    line: EventLine
    digital_signature: str | None
    body: bytes
    sha256: str


@dataclass(frozen=True, slots=True)
class CreditTimeline:
    """Everything that is known of one credit; ``entries`` in the order in which it happened.

    ``payer_end_to_end_id`` is that of the Pix by which the invoice was paid, where the bank reports it. Of our own
    transfers the bank reports none: their id at the bank is in ``transfers``.
    """

    credit: CreditLine
    payer_end_to_end_id: str | None
    owed_centavos: int
    transfers: Sequence[TransferLine]
    events: Sequence[StoredEvent]
    entries: Sequence[TimelineEntry]
    attentions: Sequence[AttentionLine]
    actions: Sequence[Action]


@dataclass(frozen=True, slots=True)
class BatchInvoices:
    """One batch and its invoices."""

    batch: BatchLine
    invoices: Sequence[InvoiceLine]


def read_credit(database: Database, invoice_id: str) -> CreditTimeline | None:
    """The timeline of one credit; None when this invoice has not been credited."""
    with database.reading() as connection:
        row = connection.execute(
            select(credits).where(credits.c.invoice_id == plain_text(invoice_id))
        ).one_or_none()
        return None if row is None else _read_credit(connection, row)


def read_stored_event(database: Database, event_id: str) -> StoredEvent | None:
    """One event whole; None when there is none."""
    with database.reading() as connection:
        row = connection.execute(
            select(inbox_events).where(inbox_events.c.event_id == plain_text(event_id))
        ).one_or_none()
        return None if row is None else _stored(row)


def read_batch(database: Database, batch_id: int) -> BatchInvoices | None:
    """One batch with its invoices; None when there is none."""
    if not 0 < batch_id < 2**63:  # what a column holds
        return None
    with database.reading() as connection:
        row = connection.execute(
            select(invoice_batches).where(invoice_batches.c.id == batch_id)
        ).one_or_none()
        if row is None:
            return None
        [line] = batch_lines(connection, [row])
        rows = connection.execute(
            select(invoices).where(invoices.c.batch_id == batch_id).order_by(invoices.c.position)
        ).all()
        return BatchInvoices(line, invoice_lines(connection, rows))


# --- below: one credit ---


def _read_credit(connection: Connection, row: Any) -> CreditTimeline:
    def rows(query: Any) -> Sequence[Any]:
        return connection.execute(query).all()

    lineage = rows(
        select(transfers).where(transfers.c.credit_number == row.number).order_by(transfers.c.generation)
    )
    reported = rows(select(bank_transfers).where(bank_transfers.c.credit_number == row.number))
    subjects = [row.invoice_id, *(each.bank_transfer_id for each in reported)]
    events = rows(
        select(inbox_events)
        .where(is_about(subjects, row.event_id))
        .order_by(inbox_events.c.received_at)
        .limit(EVENTS_MAX)
    )
    reversed_ = rows(select(reversals).where(reversals.c.invoice_id == row.invoice_id))
    remaining = min((each.remaining_centavos for each in reversed_), default=None)
    is_forwarded = row.disposition == "forward"
    event_ids = [each.event_id for each in events]
    raised = rows(
        select(attentions)
        .where(or_(attentions.c.invoice_id == row.invoice_id, attentions.c.subject.in_(event_ids)))
        .order_by(attentions.c.id)
    )
    external_ids = [external_id_for(row.invoice_id, each) for each in range(1, GENERATIONS_MAX + 1)]
    done = [
        action_from(each)
        for each in rows(
            _actions_about([row.invoice_id, *external_ids, *event_ids], [str(each.id) for each in raised])
        )
    ]
    [credit] = credit_lines(connection, [row])
    history = _read_history(connection, lineage)
    first, reissues = lineage[:1], lineage[1:]
    # In the order in which one leads to the other, which sorting keeps among those of one moment.
    found = [
        *map(_event_entry, events),
        _credit_entry(row),
        *map(_reversal_entry, reversed_),
        *map(_transfer_entry, first),
        *map(_action_entry, done),
        *_attempt_entries(history, lineage),
        *(_report_entry(each, lineage, history) for each in reported),
        *map(_transfer_entry, reissues),
        *(entry for each in raised for entry in _attention_entries(each)),
    ]
    return CreditTimeline(
        credit=credit,
        payer_end_to_end_id=connection.execute(
            select(invoices.c.payer_end_to_end_id).where(invoices.c.bank_invoice_id == row.invoice_id)
        ).scalar(),
        owed_centavos=owed_centavos(row.net_centavos, row.fee_centavos, remaining) if is_forwarded else 0,
        transfers=transfer_lines(connection, lineage),
        events=[_stored(each) for each in events],
        entries=sorted(found, key=lambda entry: entry.at),
        attentions=attention_lines(connection, raised),
        actions=done,
    )


def _actions_about(subjects: Sequence[str], attention_ids: Sequence[str]) -> Any:
    """What operators did to these, and to these attentions, which are subjects by their number."""
    return (
        select(actions)
        .where(
            actions.c.subject.in_([*subjects, *attention_ids]),
            or_(
                actions.c.subject.in_(subjects),
                and_(actions.c.kind == "resolve", actions.c.subject.in_(attention_ids)),
            ),
        )
        .order_by(actions.c.id)
    )


def _event_entry(row: Any) -> TimelineEntry:
    name = ".".join(part for part in (row.subscription, row.log_type) if part) or "?"
    code = "event_received" if row.source == "webhook" else "event_fetched"
    return TimelineEntry(
        at=row.received_at,
        kind="event",
        title=Note(code, {"name": name, "outcome": row.outcome}),
        detail=masked_note(row.reason),
        ids={"event": row.event_id},
        tone="bad" if row.outcome in _KEPT_OUTCOMES else "neutral",
        # What follows from the others has an entry of its own.
        is_folded=row.outcome not in _KEPT_OUTCOMES,
    )


_KEPT_OUTCOMES = ("unreadable", "second_credit")


def _credit_entry(row: Any) -> TimelineEntry:
    amounts = {name: row._mapping[name] for name in ("gross_centavos", "fee_centavos", "net_centavos")}
    return TimelineEntry(
        at=row.recorded_at,
        kind="credit",
        title=Note("credited", {**amounts, "disposition": row.disposition}),
        detail=Note("credited_at", {"at": row.credited_at.isoformat()}),
        ids={"invoice": row.invoice_id, "log": row.log_id, "event": row.event_id},
        tone="good",
    )


def _reversal_entry(row: Any) -> TimelineEntry:
    return TimelineEntry(
        at=row.recorded_at,
        kind="reversal",
        title=Note("credit_reversed", {"centavos": row.remaining_centavos}),
        detail=Note("reversed_at", {"at": row.reversed_at.isoformat()}),
        ids={"log": row.log_id},
        tone="bad",
    )


def _transfer_entry(row: Any) -> TimelineEntry:
    code = "transfer_queued" if row.generation == 1 else "replacement_queued"
    return TimelineEntry(
        at=row.created_at,
        kind="transfer",
        title=Note(code, {"centavos": row.amount_centavos, "number": row.generation - 1}),
        detail=None,
        ids={"external_id": row.external_id},
        tone="neutral",
    )


# How an attempt ended, and its tone; then its beginning needs no line of its own. The other facts are neutral.
_ENDS = {
    "sent": "waiting",
    "found": "waiting",
    "unclear": "waiting",
    "released": "waiting",
    "failed": "bad",
    "dead": "bad",
    "settled": "good",
}
_SHOWN_BY_ACTIONS = frozenset({"retried", "abandoned", "expedited"})


def _read_history(connection: Connection, lineage: Sequence[Any]) -> list[Any]:
    """What happened to these transfers, oldest first."""
    newest_first = connection.execute(
        select(transfer_history)
        .where(transfer_history.c.transfer_id.in_([row.id for row in lineage]))
        .order_by(transfer_history.c.id.desc())
        .limit(FACTS_MAX)
    )
    return list(reversed(newest_first.all()))


def _attempt_entries(history: Sequence[Any], lineage: Sequence[Any]) -> Iterator[TimelineEntry]:
    external_ids = {row.id: row.external_id for row in lineage}
    last_end = {row.transfer_id: row.id for row in history if row.fact in _ENDS}
    for row in history:
        if row.fact in _SHOWN_BY_ACTIONS:
            continue
        yield TimelineEntry(
            at=row.at,
            kind="attempt",
            title=Note(f"fact_{row.fact}", {"attempt": row.attempt}),
            detail=masked_note(row.detail),
            ids={"external_id": external_ids[row.transfer_id]},
            tone=_ENDS.get(row.fact, "neutral"),
            is_folded=row.fact == "claimed" and last_end.get(row.transfer_id, 0) > row.id,
        )


def _report_entry(row: Any, lineage: Sequence[Any], history: Sequence[Any]) -> TimelineEntry:
    """What the bank last said of one of its transfers; folded where the history of ours says it."""
    ours = next((each.id for each in lineage if each.bank_transfer_id == row.bank_transfer_id), None)
    if row.status == BankStatus.SUCCESS:
        tone, said_by = "good", {"settled"}
    elif row.status in LOST_STATUSES:
        tone, said_by = "bad", {"failed"}
    else:
        tone, said_by = "waiting", {"sent", "found"}
    errors = [mask_tax_ids(each) for each in json.loads(row.errors or "[]")]
    return TimelineEntry(
        at=row.seen_at,
        kind="bank_report",
        title=Note("transfer_reported", {"centavos": row.amount_centavos, "status": row.status}),
        detail=Note("bank_says", {"words": errors}) if errors else None,
        ids={"bank_transfer": row.bank_transfer_id, "external_id": row.external_id},
        tone=tone,
        is_folded=any(each.transfer_id == ours and each.fact in said_by for each in history),
    )


def _action_entry(action: Action) -> TimelineEntry:
    return TimelineEntry(
        at=action.at,
        kind="action",
        title=Note("action_done", {"who": action.who, "action": action.kind, "why": action.result.stored}),
        detail=Note("quoted", {"text": action.reason}),
        ids={"subject": action.subject},
        tone="neutral",
    )


def _attention_entries(row: Any) -> Iterator[TimelineEntry]:
    ids, values = {"attention": str(row.id)}, {"kind": row.kind}
    detail = masked_note(row.detail)
    is_said = row.kind == "transfer_dead"  # by the transfer's own history, and by what ended it
    yield TimelineEntry(row.raised_at, "attention", Note("item_opened", values), detail, ids, "bad", is_said)
    if row.resolved_at is not None:
        title = Note("item_resolved", values)
        yield TimelineEntry(row.resolved_at, "attention", title, None, ids, "good", is_said)


def _stored(row: Any) -> StoredEvent:
    body = bytes(row.body)
    return StoredEvent(
        line=EventLine.of(row),
        digital_signature=row.digital_signature,
        body=mask_tax_ids(body.decode("utf-8", "replace")).encode(),
        sha256=sha256(body).hexdigest(),
    )
