"""The whole story of one credit, one event, one batch, as an operator reads it. Reads only.

Everything that the books know of one credit is told in the order in which it happened, each fact as a sentence.
Tax ids are masked, in the bank's words and in the bytes of events too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, and_, or_, select

from payments.credit import Credit
from payments.ledger.inbox import Outcome
from payments.ledger.lineages import GENERATIONS_MAX
from payments.money import format_brl
from payments.operator.actions import Act, act_from, plain_text
from payments.operator.list_rows import (
    AttentionLine,
    BatchLine,
    CreditLine,
    EventLine,
    InvoiceLine,
    TransferLine,
    attention_lines,
    credit_line,
    event_line,
    masked,
    transfer_line,
    transfers_of,
)
from payments.operator.lists import batch_lines
from payments.operator.replay import read_again
from payments.storage.database import Database
from payments.storage.schema import (
    actions,
    attentions,
    bank_transfers,
    credits,
    inbox_events,
    invoice_batches,
    made_no_credit,
    planned_invoices,
    reversals,
    transfer_history,
    transfers,
)
from payments.tax_id import mask_tax_id, mask_tax_ids
from payments.transfer import LOST_STATUSES, BankStatus, external_id_for

# A credit has some six events and a few dozen facts. One that was stuck for months has an attempt an hour: the last
# of them are told.
EVENTS_MAX = 100
FACTS_MAX = 500


@dataclass(frozen=True, slots=True)
class StoryEntry:
    """One fact of a credit's story. ``kind`` is event, credit, reversal, transfer, attempt, sighting, act, attention.

    ``title`` is a sentence; ``detail`` may hold the bank's words; ``ids`` are worth copying, by label.
    """

    at: datetime
    kind: str
    title: str
    detail: str | None
    ids: dict[str, str]
    tone: str  # neutral, good, waiting, bad


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event whole: its bytes, and the signature that was verified over them.

    Tax ids in ``body`` are masked, so ``sha256`` (hexadecimal) is that of the very
    bytes as received. ``digital_signature`` is None when reconciliation fetched the event.
    """

    line: EventLine
    digital_signature: str | None
    body: bytes
    sha256: str


@dataclass(frozen=True, slots=True)
class CreditStory:
    """Everything that is known of one credit; ``entries`` in the order in which it happened."""

    credit: CreditLine
    owed_centavos: int
    transfers: Sequence[TransferLine]
    events: Sequence[StoredEvent]
    entries: Sequence[StoryEntry]
    attentions: Sequence[AttentionLine]
    acts: Sequence[Act]


@dataclass(frozen=True, slots=True)
class BatchStory:
    """One batch and its invoices."""

    batch: BatchLine
    invoices: Sequence[InvoiceLine]


def read_credit(database: Database, invoice_id: str) -> CreditStory | None:
    """The whole story of one credit; None when there is none."""
    with database.reading() as connection:
        row = connection.execute(
            select(credits).where(credits.c.invoice_id == plain_text(invoice_id))
        ).one_or_none()
        return None if row is None else _read_credit(connection, row)


def read_event(database: Database, event_id: str) -> StoredEvent | None:
    """One event whole; None when there is none."""
    with database.reading() as connection:
        row = connection.execute(
            select(inbox_events).where(inbox_events.c.event_id == plain_text(event_id))
        ).one_or_none()
        return None if row is None else _stored(row)


def read_batch(database: Database, batch_id: int) -> BatchStory | None:
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
        return BatchStory(line, _invoice_lines(connection, batch_id))


# --- below: one credit ---


def _read_credit(connection: Connection, row: Any) -> CreditStory:
    lineage = connection.execute(
        select(transfers).where(transfers.c.credit_number == row.number).order_by(transfers.c.generation)
    ).all()
    external_ids = [external_id_for(row.invoice_id, each) for each in range(1, GENERATIONS_MAX + 1)]
    seen = connection.execute(
        select(bank_transfers).where(bank_transfers.c.credit_number == row.number)
    ).all()
    bank_ids = [each.bank_transfer_id for each in seen]
    events = connection.execute(
        select(inbox_events)
        .where(
            or_(
                and_(inbox_events.c.subject.in_([row.invoice_id, *bank_ids]), made_no_credit),
                inbox_events.c.event_id == row.event_id,
            )
        )
        .order_by(inbox_events.c.received_at)
        .limit(EVENTS_MAX)
    ).all()
    reversed_ = connection.execute(
        select(reversals).where(reversals.c.invoice_id == row.invoice_id).order_by(reversals.c.recorded_at)
    ).all()
    subjects = [
        *(row.invoice_id, row.log_id, *_second_logs(events), *external_ids),
        *(each.event_id for each in events),
    ]
    matters = attention_lines(
        connection,
        connection.execute(
            select(attentions).where(attentions.c.subject.in_(subjects)).order_by(attentions.c.id)
        ).all(),
    )
    deeds = _acts_about(connection, subjects, [each.id for each in matters])
    standing = transfers_of(connection, [row.invoice_id]).get(row.invoice_id)
    told = [
        *_tell_events(events),
        _tell_credit(row),
        *(_tell_reversal(each) for each in reversed_),
        *(_tell_transfer(each) for each in lineage),
        *_tell_attempts(connection, lineage),
        *(_tell_sighting(each) for each in seen),
        *(_tell_act(each) for each in deeds),
        *_tell_matters(matters),
    ]
    # Sorting keeps the order above among facts of one moment, and attempts keep their own.
    entries = sorted(told, key=lambda entry: entry.at)
    return CreditStory(
        credit=credit_line(row, standing),
        owed_centavos=0,
        transfers=[transfer_line(each) for each in lineage],
        events=[_stored(each) for each in events],
        entries=entries,
        attentions=matters,
        acts=deeds,
    )


def _acts_about(connection: Connection, subjects: Sequence[str], attention_ids: Sequence[int]) -> list[Act]:
    """What operators did about these, and about these matters, which are subjects by their number."""
    rows = connection.execute(
        select(actions)
        .where(
            actions.c.subject.in_([*subjects, *map(str, attention_ids)]),
            or_(
                actions.c.subject.in_(subjects),
                and_(actions.c.kind == "resolve", actions.c.subject.in_(list(map(str, attention_ids)))),
            ),
        )
        .order_by(actions.c.id)
    )
    return [act_from(row) for row in rows]


def _tell_events(rows: Sequence[Any]) -> Iterator[StoryEntry]:
    for row in rows:
        door = "a webhook" if row.source == "webhook" else "reconciliation"
        what = f"{row.subscription} {row.log_type}".strip() or "unknown"
        yield StoryEntry(
            at=row.received_at,
            kind="event",
            title=f"Event {what} came by {door}: {row.outcome.replace('_', ' ')}",
            detail=masked(row.reason),
            ids={"event": row.event_id},
            tone="bad" if row.outcome in ("unreadable", "second_credit") else "neutral",
        )


_DISPOSITIONS = {
    "forward": "to be forwarded",
    "nothing_to_forward": "nothing is left to forward",
    "not_ours": "not to be forwarded: FORWARD_CREDITS said so",
}


def _tell_credit(row: Any) -> StoryEntry:
    return StoryEntry(
        at=row.recorded_at,
        kind="credit",
        title=f"{format_brl(row.gross_centavos)} credited, fee {format_brl(row.fee_centavos)}, net "
        f"{format_brl(row.net_centavos)}: {_DISPOSITIONS[row.disposition]}",
        detail=f"The bank credited it at {_moment(row.credited_at)}",
        ids={"invoice": row.invoice_id, "log": row.log_id},
        tone="good",
    )


def _tell_reversal(row: Any) -> StoryEntry:
    return StoryEntry(
        at=row.recorded_at,
        kind="reversal",
        title=f"The bank reversed the credit: {format_brl(row.remaining_centavos)} remain of it",
        detail=f"Reversed at {_moment(row.reversed_at)}",
        ids={"log": row.log_id},
        tone="bad",
    )


def _tell_transfer(row: Any) -> StoryEntry:
    what = "Transfer" if row.generation == 1 else f"Reissue {row.generation - 1}"
    return StoryEntry(
        at=row.created_at,
        kind="transfer",
        title=f"{what} of {format_brl(row.amount_centavos)} put in line",
        detail=None,
        ids={"external id": row.external_id},
        tone="neutral",
    )


# What each fact of a transfer's history says, and its tone. Those that an act tells are left out.
_FACTS = {
    "claimed": ("Attempt {attempt} begins", "neutral"),
    "sent": ("The bank accepted it", "waiting"),
    "found": ("Found at the bank, and adopted", "waiting"),
    "unclear": ("No conclusive answer to attempt {attempt}", "waiting"),
    "released": ("Attempt {attempt} ended without sending; it is tried again", "waiting"),
    "failed": ("It failed at the bank", "bad"),
    "settled": ("Settled: the bank reports success", "good"),
    "dead": ("Dead: only a person may move it", "bad"),
    "stopped": ("Stopped before the bank had it", "neutral"),
    "lowered": ("Its amount was lowered", "neutral"),
}
_TOLD_BY_ACTS = frozenset({"retried", "abandoned", "expedited"})


def _tell_attempts(connection: Connection, lineage: Sequence[Any]) -> Iterator[StoryEntry]:
    external_ids = {row.id: row.external_id for row in lineage}
    rows = connection.execute(
        select(transfer_history)
        .where(transfer_history.c.transfer_id.in_(list(external_ids)))
        .order_by(transfer_history.c.id.desc())
        .limit(FACTS_MAX)
    ).all()
    for row in reversed(rows):
        if row.fact in _TOLD_BY_ACTS:
            continue
        title, tone = _FACTS.get(row.fact, (row.fact.capitalize(), "neutral"))
        yield StoryEntry(
            at=row.at,
            kind="attempt",
            title=title.format(attempt=row.attempt),
            detail=masked(row.detail),
            ids={"external id": external_ids[row.transfer_id]},
            tone=tone,
        )


def _tell_sighting(row: Any) -> StoryEntry:
    tone = "good" if row.status == BankStatus.SUCCESS else "bad" if row.status in LOST_STATUSES else "waiting"
    return StoryEntry(
        at=row.seen_at,
        kind="sighting",
        title=f"The bank shows a transfer of {format_brl(row.amount_centavos)}: {row.status}",
        detail=masked(row.errors) if row.errors not in (None, "[]") else None,
        ids={"bank transfer": row.bank_transfer_id, "external id": row.external_id},
        tone=tone,
    )


def _tell_act(act: Act) -> StoryEntry:
    return StoryEntry(
        at=act.at,
        kind="act",
        title=f"{act.who}: {act.kind}; {act.result}",
        detail=act.reason,
        ids={"subject": act.subject},
        tone="neutral",
    )


def _second_logs(events: Sequence[Any]) -> list[str]:
    """The logs that credited the invoice again; their matters go by these. Such events keep their bytes."""
    facts = [read_again(row).fact for row in events if row.outcome == Outcome.SECOND_CREDIT]
    return [fact.log_id for fact in facts if isinstance(fact, Credit)]


def _tell_matters(matters: Sequence[AttentionLine]) -> Iterator[StoryEntry]:
    for matter in matters:
        name = matter.kind.replace("_", " ")
        ids = {"matter": str(matter.id)}
        yield StoryEntry(matter.raised_at, "attention", f"For a person: {name}", matter.detail, ids, "bad")
        if matter.resolved_at is not None:
            yield StoryEntry(matter.resolved_at, "attention", f"Closed: {name}", None, ids, "good")


def _stored(row: Any) -> StoredEvent:
    body = bytes(row.body)
    return StoredEvent(
        line=event_line(row),
        digital_signature=row.digital_signature,
        body=mask_tax_ids(body.decode("utf-8", "replace")).encode(),
        sha256=sha256(body).hexdigest(),
    )


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


# --- below: one batch ---


def _invoice_lines(connection: Connection, batch_id: int) -> list[InvoiceLine]:
    rows = connection.execute(
        select(planned_invoices, credits.c.invoice_id, credits.c.disposition)
        .outerjoin(credits, credits.c.invoice_id == planned_invoices.c.bank_invoice_id)
        .where(planned_invoices.c.batch_id == batch_id)
        .order_by(planned_invoices.c.position)
    ).all()
    standing = transfers_of(connection, [row.invoice_id for row in rows if row.invoice_id is not None])
    return [
        InvoiceLine(
            tag=row.tag,
            amount_centavos=row.amount_centavos,
            payer_name=row.payer_name,
            payer_tax_id=mask_tax_id(row.payer_tax_id),
            bank_invoice_id=row.bank_invoice_id,
            became=_became(row, standing.get(row.invoice_id)),
        )
        for row in rows
    ]


def _became(row: Any, transfer: TransferLine | None) -> str:
    if row.bank_invoice_id is None:
        return "planned"
    if row.invoice_id is None:
        return "at_bank"
    return transfer.state if transfer else "credited"
