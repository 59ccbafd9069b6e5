"""The inbox: every event once, stored together with all that follows from it, in one transaction.

The webhook and reconciliation both lead here. Duplicates are recognised by the event's id and by the invoice's id,
never by signature (a signature can be altered and stay valid). A group of any size takes one way: insert what came and
learn from the database what of it was new; of that, insert the credits and learn which were new; queue their transfers;
then let what concerns known credits take its effect on their lineages.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import bindparam, select, union_all, update

from payments.credit import Credit, Reversal
from payments.event import Event
from payments.invoice import is_ours
from payments.ledger.attention import AttentionKind, raise_attention, resolve_attention
from payments.ledger.bank_reports import apply_report
from payments.ledger.invoices import record_reports
from payments.ledger.lineages import (
    CREDIT_COLUMNS,
    Lineage,
    StoredCredit,
    Unit,
    load_lineages,
    open_unit,
    remaining_centavos,
    save,
)
from payments.note import note
from payments.policy import ForwardingPolicy
from payments.storage.database import (
    Database,
    NamedLock,
    insert_or_skip,
    lock_for_transaction,
    repeated_on_conflict,
)
from payments.storage.schema import credits, inbox_events, made_no_credit, reversals
from payments.transfer import BankReport, read_external_id


class Outcome(StrEnum):
    """What became of an event."""

    CREDIT = "credit"  # a credit and its pending transfer
    NOTHING_TO_FORWARD = "nothing_to_forward"  # a credit whose net is zero or less
    NOT_OURS = "not_ours"  # a credit that the settings say not to forward
    KNOWN_CREDIT = "known_credit"  # the same log as a credit that we have
    SECOND_CREDIT = "second_credit"  # another credit of an invoice: for a person
    REVERSAL = "reversal"
    BANK_REPORT = "bank_report"  # about a transfer of ours
    IGNORED = "ignored"
    UNREADABLE = "unreadable"  # stored whole: for a person
    REPEATED = "repeated"  # this event was in the inbox already


class Arrival(NamedTuple):
    """An event on its way into the inbox. ``digital_signature`` is None when we fetched it ourselves."""

    event: Event
    digital_signature: str | None = None


class Receipt(NamedTuple):
    """What was recorded of an arrival; it is durable once accept() has returned.

    ``settled_after_seconds``: how long its credit had waited, when the event settled one.
    """

    event_id: str
    outcome: Outcome
    subject: str | None
    net_centavos: int | None = None
    settled_after_seconds: float | None = None

    @property
    def is_new(self) -> bool:
        """False when nothing followed from it because we knew it already."""
        return self.outcome not in (Outcome.REPEATED, Outcome.KNOWN_CREDIT)


@repeated_on_conflict
def accept(
    database: Database, arrivals: Sequence[Arrival], source: str, policy: ForwardingPolicy, now: datetime
) -> list[Receipt]:
    """Store the arrivals and their consequences in one durable transaction; receipts are in the same order.

    ``source`` is ``webhook`` or ``reconciliation``. Raises LedgerUnavailable: then nothing was stored.
    """
    with open_unit(database, policy, now) as unit:
        _keep_credits_and_reversals_apart(unit, [arrival.event for arrival in arrivals])
        new = _insert_events(unit, arrivals, source)
        receipts = record_facts(unit, list(new.values()), ask_first=source != "webhook")
        _correct_outcomes(unit, new, receipts)
        if source == "reconciliation":
            _close_unreadable_of(unit, list(new.values()))
        if len(new) < len(arrivals):
            _meet_again(unit, [each.event for each in arrivals if each.event.event_id not in new], receipts)
    answers = []
    for arrival in arrivals:
        # The first arrival of an event has its effect; those that came with it under the same id repeat it.
        event = arrival.event
        receipt = receipts.pop(event.event_id, None)
        answers.append(receipt or Receipt(event.event_id, Outcome.REPEATED, event.subject))
    return answers


def known_logs(database: Database, log_ids: Collection[str]) -> set[str]:
    """Which of these invoice logs have had their effect: as a credit, or as a reversal."""
    query = union_all(
        select(credits.c.log_id).where(credits.c.log_id.in_(log_ids)),
        select(reversals.c.log_id).where(reversals.c.log_id.in_(log_ids)),
    )
    with database.reading() as connection:
        return set(connection.execute(query).scalars())


def record_stored(unit: Unit, event: Event, stored_outcome: str) -> Receipt:
    """Record what follows from an event that is in the inbox already, as its bytes are read now.

    The inbox's row is rewritten only where nothing had come of it: when it could not be read, or was ignored;
    once it can be read, its attention is closed.
    """
    _keep_credits_and_reversals_apart(unit, [event])
    receipt = record_facts(unit, [event], ask_first=True)[event.event_id]
    if stored_outcome in (Outcome.UNREADABLE, Outcome.IGNORED):
        unit.connection.execute(
            update(inbox_events)
            .where(inbox_events.c.event_id == event.event_id)
            .values(
                subscription=event.subscription[:64],
                log_type=event.log_type[:64],
                subject=event.subject,
                outcome=receipt.outcome,
                reason=event.unreadable,
            )
        )
    if event.unreadable is None:
        resolve_attention(unit.connection, AttentionKind.UNREADABLE_EVENT, event.event_id, unit.now)
    return receipt


def record_facts(unit: Unit, events: Sequence[Event], *, ask_first: bool) -> dict[str, Receipt]:
    """Record what follows from events that are in the inbox; receipts by event id.

    ``ask_first``: the bank may know transfers of these credits already, see Lineage.create_first.
    """
    receipts = {
        event.event_id: Receipt(event.event_id, _expected_outcome(event, unit.policy), event.subject)
        for event in events
    }
    for event in events:
        if event.unreadable is not None:
            detail = note("unreadable", words=event.unreadable)
            _raise(unit, AttentionKind.UNREADABLE_EVENT, event.event_id, detail)
    kinds = {type(event.fact) for event in events}
    # Reversals before the credits, which are queued without what was reversed.
    reversed_ids = _record_reversals(unit, events) if Reversal in kinds else set()
    if Credit in kinds:
        receipts |= _record_credits(unit, events, ask_first=ask_first)
    if reversed_ids or BankReport in kinds:
        receipts |= _apply_to_lineages(unit, events, reversed_ids)
    record_reports(unit, [event.invoice for event in events if event.invoice is not None])
    return receipts


# --- below: the inbox's own rows ---


def _insert_events(unit: Unit, arrivals: Sequence[Arrival], source: str) -> dict[str, Event]:
    """Insert the events; returns those that are new, by id, in the order in which they came."""
    first: dict[str, Arrival] = {}
    for arrival in arrivals:
        first.setdefault(arrival.event.event_id, arrival)
    rows = [
        {
            "event_id": event_id,
            "source": source,
            "subscription": arrival.event.subscription[:64],
            "log_type": arrival.event.log_type[:64],
            "subject": arrival.event.subject,
            "outcome": _expected_outcome(arrival.event, unit.policy),
            "reason": arrival.event.unreadable,
            "digital_signature": arrival.digital_signature,
            "body": arrival.event.body,
            "received_at": unit.now,
        }
        # In the order of their ids: two transactions that insert the same events must not wait for each other.
        for event_id, arrival in sorted(first.items())
    ]
    if not rows:
        return {}
    statement = insert_or_skip(inbox_events, unit.connection.dialect.name, "event_id")
    new = set(unit.connection.execute(statement, rows).scalars())
    return {event_id: arrival.event for event_id, arrival in first.items() if event_id in new}


def _expected_outcome(event: Event, policy: ForwardingPolicy) -> Outcome:
    """What becomes of an event, unless the database knows its subject already."""
    if event.unreadable is not None:
        return Outcome.UNREADABLE
    match event.fact:
        case Credit() as credit:
            disposition = credit.disposition(only_issued=policy.only_issued)
            return Outcome.CREDIT if disposition == "forward" else Outcome(disposition)
        case Reversal():
            return Outcome.REVERSAL
        case BankReport():
            return Outcome.BANK_REPORT
        case None:
            return Outcome.IGNORED


def _correct_outcomes(unit: Unit, events: dict[str, Event], receipts: dict[str, Receipt]) -> None:
    """Write the outcomes that differ from the expected ones, with which the rows were inserted."""
    rows = [
        {"_event_id": event_id, "outcome": receipts[event_id].outcome}
        for event_id, event in events.items()
        if receipts[event_id].outcome != _expected_outcome(event, unit.policy)
    ]
    if rows:
        unit.connection.execute(
            update(inbox_events).where(inbox_events.c.event_id == bindparam("_event_id")), rows
        )


def _meet_again(unit: Unit, events: Sequence[Event], receipts: dict[str, Receipt]) -> None:
    """A repeated event has no second effect. One that could not be read when it first came has its first.

    Only for the same bytes, which a newer program may read: the bank does not change an event, so other bytes under its
    id stay with a person.
    """
    readable = {event.event_id: event for event in events if event.unreadable is None}
    if not readable:
        return
    query = (
        select(inbox_events.c.event_id, inbox_events.c.body)
        .where(inbox_events.c.event_id.in_(readable), inbox_events.c.outcome == Outcome.UNREADABLE)
        .with_for_update()
    )
    for row in unit.connection.execute(query).all():
        event = readable[row.event_id]
        if bytes(row.body) == event.body:
            receipts[row.event_id] = record_stored(unit, event, Outcome.UNREADABLE)


def _close_unreadable_of(unit: Unit, events: Sequence[Event]) -> None:
    """What an unreadable event would have reported has come in another way: its attention is closed."""
    reported = {(each.subject, each.subscription, each.log_type) for each in events if each.fact is not None}
    subjects = {subject for subject, _, _ in reported if subject is not None}
    if not subjects:
        return
    query = select(
        inbox_events.c.event_id,
        inbox_events.c.subject,
        inbox_events.c.subscription,
        inbox_events.c.log_type,
    ).where(
        inbox_events.c.subject.in_(subjects), inbox_events.c.outcome == Outcome.UNREADABLE, made_no_credit
    )
    for row in unit.connection.execute(query).all():
        if (row.subject, row.subscription, row.log_type) in reported:
            resolve_attention(unit.connection, AttentionKind.UNREADABLE_EVENT, row.event_id, unit.now)


def _keep_credits_and_reversals_apart(unit: Unit, events: Sequence[Event]) -> None:
    """A credit and its reversal may come at the same moment through two processes; neither would see the other.

    So reversals are recorded while no one records credits. Locked before anything else, so that no one waits for it
    while holding a lineage.
    """
    if any(isinstance(event.fact, Reversal) for event in events):
        lock_for_transaction(unit.connection, NamedLock.REVERSALS, shared=False)
    elif any(isinstance(event.fact, Credit) for event in events):
        lock_for_transaction(unit.connection, NamedLock.REVERSALS, shared=True)


# --- below: what follows from them ---


def _record_reversals(unit: Unit, events: Sequence[Event]) -> set[str]:
    """Insert the reversals; returns the invoice ids of those that are new."""
    rows = [
        {
            "log_id": event.fact.log_id,
            "invoice_id": event.fact.invoice_id,
            "remaining_centavos": event.fact.remaining_centavos,
            "reversed_at": event.fact.reversed_at,
            "recorded_at": unit.now,
        }
        for event in events
        if isinstance(event.fact, Reversal)
    ]
    statement = insert_or_skip(reversals, unit.connection.dialect.name, "invoice_id")
    return set(unit.connection.execute(statement, rows).scalars())


def _record_credits(unit: Unit, events: Sequence[Event], *, ask_first: bool) -> dict[str, Receipt]:
    """Insert the credits, and queue the transfers of those that are new; what came again is judged."""
    facts = {event.event_id: event.fact for event in events if isinstance(event.fact, Credit)}
    rows = [
        {
            "event_id": event_id,
            "invoice_id": credit.invoice_id,
            "log_id": credit.log_id,
            "gross_centavos": credit.gross_centavos,
            "fee_centavos": credit.fee_centavos,
            "net_centavos": credit.net_centavos,
            "withheld_centavos": 0,
            "is_of_ours": is_ours(credit.tags),
            "disposition": credit.disposition(only_issued=unit.policy.only_issued),
            "credited_at": credit.credited_at,
            "recorded_at": unit.now,
        }
        # In the order in which lineages are locked; within one, the first that came is the one that is forwarded.
        for event_id, credit in sorted(facts.items(), key=lambda item: item[1].invoice_id)
    ]
    statement = insert_or_skip(credits, unit.connection.dialect.name, "event_id", *CREDIT_COLUMNS)
    new = {row[0]: StoredCredit(*row[1:]) for row in unit.connection.execute(statement, rows)}
    _forward(
        unit, [credit for credit in new.values() if credit.disposition == "forward"], ask_first=ask_first
    )
    receipts = {}
    for event_id, credit in facts.items():
        if event_id not in new:
            outcome = _judge_repeated_credit(unit, credit)
        elif (disposition := new[event_id].disposition) == "forward":
            outcome = Outcome.CREDIT
        else:
            outcome = Outcome(disposition)
        if outcome == Outcome.NOTHING_TO_FORWARD:
            detail = note(
                "nothing_left", gross_centavos=credit.gross_centavos, fee_centavos=credit.fee_centavos
            )
            _raise(unit, AttentionKind.NOTHING_TO_FORWARD, credit.invoice_id, detail, credit.invoice_id)
        receipts[event_id] = Receipt(event_id, outcome, credit.invoice_id, credit.net_centavos)
    return receipts


def _forward(unit: Unit, new: Sequence[StoredCredit], *, ask_first: bool) -> None:
    """Queue the transfers of new credits. A reversal may have come first: events come in any order."""
    lineages = {credit.invoice_id: Lineage(unit, credit) for credit in new}
    for invoice_id, remaining in remaining_centavos(unit, lineages).items():
        lineages[invoice_id].remaining_centavos = remaining
    for lineage in lineages.values():
        lineage.create_first(ask_first=ask_first)
    save(unit, lineages.values())


def _judge_repeated_credit(unit: Unit, credit: Credit) -> Outcome:
    """The same log again (two webhooks, or reconciliation) is harmless; anything else is for a person."""
    known = unit.connection.execute(
        select(credits).where(
            (credits.c.invoice_id == credit.invoice_id) | (credits.c.log_id == credit.log_id)
        )
    ).all()
    said = (credit.invoice_id, credit.log_id, credit.gross_centavos, credit.fee_centavos)
    if any((row.invoice_id, row.log_id, row.gross_centavos, row.fee_centavos) == said for row in known):
        return Outcome.KNOWN_CREDIT
    detail = note(
        "second_credit",
        log_id=credit.log_id,
        invoice_id=credit.invoice_id,
        gross_centavos=credit.gross_centavos,
        fee_centavos=credit.fee_centavos,
        first_log_id=known[0].log_id,
        first_gross_centavos=known[0].gross_centavos,
    )
    _raise(unit, AttentionKind.SECOND_CREDIT, credit.log_id, detail, known[0].invoice_id)
    return Outcome.SECOND_CREDIT


def _apply_to_lineages(
    unit: Unit, events: Sequence[Event], reversed_ids: Collection[str]
) -> dict[str, Receipt]:
    """Let reversals and the bank's reports take their effect on the lineages that they are about."""
    reports = {event.event_id: event.fact for event in events if isinstance(event.fact, BankReport)}
    readings = {event_id: read_external_id(fact.transfer.external_id) for event_id, fact in reports.items()}
    invoice_ids = {reading[0] for reading in readings.values() if reading} | set(reversed_ids)
    lineages = load_lineages(unit, invoice_ids, [fact.transfer.id for fact in reports.values()])
    receipts = {}
    for event_id, report in reports.items():
        reading = readings[event_id]
        lineage = lineages.get(reading[0]) if reading else None
        if lineage is None:
            receipts[event_id] = Receipt(event_id, Outcome.IGNORED, report.transfer.id)
            continue
        settled_before = lineage.settled_after_seconds
        apply_report(lineage, report)
        settled = lineage.settled_after_seconds if settled_before is None else None
        receipts[event_id] = Receipt(
            event_id, Outcome.BANK_REPORT, report.transfer.id, settled_after_seconds=settled
        )
    for invoice_id in reversed_ids:
        if invoice_id in lineages:
            lineages[invoice_id].apply_reversal()
    save(unit, lineages.values())
    return receipts


def _raise(unit: Unit, kind: AttentionKind, subject: str, detail: str, invoice_id: str | None = None) -> None:
    raise_attention(unit.connection, kind, subject, detail, unit.now, invoice_id)
