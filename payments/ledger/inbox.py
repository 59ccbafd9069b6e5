"""The inbox: every event once, stored together with all that follows from it, in one transaction.

Both doors lead here, the webhook and reconciliation. Duplicates are recognised by the event's id and by the
invoice's id, never by signature (a signature can be altered and stay valid).
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select, union_all, update

from payments.credit import Credit, Reversal
from payments.event import Event, Fact
from payments.ledger import totals
from payments.ledger.attention import AttentionKind, raise_attention, resolve_attention
from payments.ledger.generations import create_first_transfer, create_first_transfers
from payments.ledger.news import record_news
from payments.ledger.reversals import apply_reversal, owed_centavos, withhold
from payments.money import net_centavos
from payments.policy import ForwardingPolicy
from payments.storage.database import (
    Database,
    NamedLock,
    insert_new,
    lock_for_transaction,
    repeated_on_conflict,
)
from payments.storage.many import InsertMany, SelectAmong
from payments.storage.prepared import Prepared
from payments.storage.schema import credits, inbox_events, made_no_credit, reversals
from payments.transfer import TransferNews, lineage_for


class Outcome(StrEnum):
    """What became of an event."""

    CREDIT = "credit"  # a credit and its pending transfer
    NOTHING_TO_FORWARD = "nothing_to_forward"  # a credit whose net is zero or less
    NOT_OURS = "not_ours"  # a credit that the settings say not to forward
    KNOWN_CREDIT = "known_credit"  # the same log as a credit that we have
    SECOND_CREDIT = "second_credit"  # another credit of an invoice: for a person
    REVERSAL = "reversal"
    TRANSFER_NEWS = "transfer_news"  # about a transfer of ours
    NO_INTEREST = "no_interest"
    UNREADABLE = "unreadable"  # stored whole: for a person
    REPEATED = "repeated"  # this event was in the inbox already


class Arrival(NamedTuple):
    """An event on its way into the inbox. ``digital_signature`` is None when we fetched it ourselves."""

    event: Event
    digital_signature: str | None = None


class Receipt(NamedTuple):
    """What was recorded of an arrival; it is durable once accept() has returned."""

    event_id: str
    outcome: Outcome
    subject: str | None
    net_centavos: int | None = None

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
    in_order = sorted(range(len(arrivals)), key=lambda position: lock_order(arrivals[position].event))
    # Nearly all groups are new, and the constraints tell of those that are not: then it is asked which are known, and
    # at last they are stored one by one. What reconciliation finds has a past more often than not.
    for asks in (False, True, None) if source == "webhook" else (None,):
        try:
            with database.transaction() as connection:
                _keep_credits_and_reversals_apart(connection, [arrival.event.fact for arrival in arrivals])
                receipts = (
                    {}
                    if asks is None
                    else _accept_plain(connection, arrivals, in_order, source, policy, now, asks=asks)
                )
                for position in in_order:
                    if position not in receipts:
                        receipts[position] = _accept_one(connection, arrivals[position], source, policy, now)
            return [receipts[position] for position in range(len(arrivals))]
        except _Overtaken:
            continue  # nothing is left of that try; one by one is never overtaken
    raise AssertionError("_accept_one knows every case")


def known_logs(database: Database, log_ids: Sequence[str]) -> set[str]:
    """Which of these invoice logs have had their effect: as a credit, or as a reversal."""
    with database.reading() as connection:
        return {str(log_id) for log_id in connection.execute(_KNOWN_LOGS, {"ids": log_ids}).scalars()}


def record_stored(
    connection: Connection, event: Event, stored_outcome: str, policy: ForwardingPolicy, now: datetime
) -> Outcome:
    """Record what follows from an event that is in the inbox already, as its bytes are read now.

    Returns what came of it. The inbox's row is rewritten only where nothing had come of it: when it could not be
    read, or was of no interest; once it can be read, its matter is closed. Runs in the caller's transaction.
    """
    _keep_credits_and_reversals_apart(connection, [event.fact])
    expected = _expected_outcome(event, policy)
    outcome = _record_fact(connection, event, policy, expected, now, ask_first=True)
    if stored_outcome in (Outcome.UNREADABLE, Outcome.NO_INTEREST):
        _REREAD.run(
            connection,
            {
                "which": event.event_id,
                "new_subscription": event.subscription[:64],
                "new_log_type": event.log_type[:64],
                "new_subject": event.subject,
                "new_outcome": outcome,
                "new_reason": event.unreadable,
            },
        )
        if outcome != stored_outcome:
            totals.add(connection, f"events.{outcome}", 1, 0, now)
    if event.unreadable is None:
        resolve_attention(connection, AttentionKind.UNREADABLE_EVENT, event.event_id, now)
    return outcome


def _meet_again(connection: Connection, event: Event, policy: ForwardingPolicy, now: datetime) -> Outcome:
    """A repeated event has no second effect. One that could not be read when it first came has its first.

    Only for the same bytes, which a newer program may read: the bank does not change an event, so other bytes under
    its id stay a matter for a person.
    """
    if event.unreadable is not None:
        return Outcome.REPEATED
    stored = _STORED.run(connection, {"event_id": event.event_id}).one()
    if stored.outcome != Outcome.UNREADABLE or bytes(stored.body) != event.body:
        return Outcome.REPEATED
    return record_stored(connection, event, stored.outcome, policy, now)


def _close_unreadable_of(connection: Connection, event: Event, now: datetime) -> None:
    """What an unreadable event would have told has come in another way: its matter is closed."""
    if event.fact is None or event.subject is None:
        return
    same = {"subject": event.subject, "subscription": event.subscription, "log_type": event.log_type}
    for event_id in _UNREADABLE_OF.run(connection, same).scalars():
        resolve_attention(connection, AttentionKind.UNREADABLE_EVENT, event_id, now)


class _Overtaken(Exception):
    """Some of these events, or their credits, are in the books already: since long, or since this very moment."""


def _accept_plain(
    connection: Connection,
    arrivals: Sequence[Arrival],
    in_order: Sequence[int],
    source: str,
    policy: ForwardingPolicy,
    now: datetime,
    asks: bool,
) -> dict[int, Receipt]:
    """Store those that are new and without a past, all at once: credits to be forwarded, and events of no interest.

    Nearly all are. Returns their receipts by position; the others are left to _accept_one, which knows every case.
    Whatever order they came in, the plain ones count as first: events come in any order anyway. Unless it ``asks``
    which are known, it takes them for new. Raises _Overtaken when one was not.
    """
    chosen: dict[str, int] = {}  # position by event id: the first, when one came twice
    credited: dict[str, Credit] = {}  # by event id
    taken: set[str] = set()
    for position in in_order:
        event, fact = arrivals[position].event, arrivals[position].event.fact
        if event.event_id in chosen or event.unreadable is not None:
            continue
        if isinstance(fact, Credit):
            if policy.disposition(fact) != "forward":
                continue
            if taken & {fact.invoice_id, fact.log_id}:
                continue
            taken |= {fact.invoice_id, fact.log_id}
            credited[event.event_id] = fact
        elif fact is not None:
            continue
        chosen[event.event_id] = position
    if not chosen:
        return {}
    if asks:
        for event_id in _KNOWN_EVENTS.run(connection, list(chosen)).scalars():
            del chosen[event_id]
            credited.pop(event_id, None)
    if credited:
        invoice_ids = [fact.invoice_id for fact in credited.values()]
        past = set(_REVERSED.run(connection, invoice_ids).scalars())
        if asks:
            log_ids = [fact.log_id for fact in credited.values()]
            for row in _KNOWN_CREDITS.run(connection, invoice_ids, log_ids):
                past |= {row.invoice_id, row.log_id}
        if past:
            for event_id, fact in list(credited.items()):
                if past & {fact.invoice_id, fact.log_id}:
                    del chosen[event_id], credited[event_id]
    receipts = {}
    for position in chosen.values():
        event = arrivals[position].event
        fact = credited.get(event.event_id)
        receipts[position] = (
            Receipt(event.event_id, Outcome.NO_INTEREST, event.subject)
            if fact is None
            else Receipt(event.event_id, Outcome.CREDIT, event.subject, fact.net_centavos)
        )
    rows = [_inbox_row(arrivals[position], receipt.outcome.value) for position, receipt in receipts.items()]
    if _INSERT_EVENTS.run(connection, rows, source=source, received_at=now) != len(rows):
        raise _Overtaken
    totals.add(connection, f"events.{Outcome.NO_INTEREST}", len(rows) - len(credited), 0, now)
    if credited:
        totals.add(connection, f"events.{Outcome.CREDIT}", len(credited), 0, now)
        _insert_credits(connection, credited, now)
        invoice_ids = [fact.invoice_id for fact in credited.values()]
        net = sum(fact.net_centavos for fact in credited.values())
        if create_first_transfers(connection, invoice_ids, net, policy, now) != len(credited):
            raise _Overtaken
    return receipts


def _insert_credits(connection: Connection, credited: dict[str, Credit], now: datetime) -> None:
    rows = [_credit_row(event_id, fact) for event_id, fact in credited.items()]
    if _insert_credit_rows(connection, rows, "forward", now) != len(rows):
        raise _Overtaken
    _count_credits(connection, list(credited.values()), now)


def _insert_credit_rows(
    connection: Connection, rows: Sequence[tuple[object, ...]], disposition: str, now: datetime
) -> int:
    return _INSERT_CREDITS.run(
        connection, rows, withheld_centavos=0, disposition=disposition, recorded_at=now
    )


def _count_credits(connection: Connection, facts: Sequence[Credit], now: datetime) -> None:
    net = sum(fact.net_centavos for fact in facts)
    totals.add(connection, "credits.gross", len(facts), sum(fact.gross_centavos for fact in facts))
    totals.add(connection, "credits.fee", len(facts), sum(fact.fee_centavos for fact in facts))
    totals.add(connection, "credits.net", len(facts), net)
    totals.add(connection, "credited", len(facts), net, now)


def _inbox_row(arrival: Arrival, outcome: str) -> tuple[object, ...]:
    event = arrival.event
    return (
        *(event.event_id, event.subscription[:64], event.log_type[:64], event.subject),
        *(outcome, event.unreadable, arrival.digital_signature, event.body),
    )


def _credit_row(event_id: str, credit: Credit) -> tuple[object, ...]:
    net = net_centavos(credit.gross_centavos, credit.fee_centavos)
    return (
        *(credit.invoice_id, credit.log_id, event_id, credit.gross_centavos, credit.fee_centavos, net),
        credit.credited_at,
    )


def _accept_one(
    connection: Connection, arrival: Arrival, source: str, policy: ForwardingPolicy, now: datetime
) -> Receipt:
    event = arrival.event
    expected = _expected_outcome(event, policy)
    row = _inbox_row(arrival, expected.value)
    if not _INSERT_EVENTS.run(connection, [row], source=source, received_at=now):
        return Receipt(event.event_id, _meet_again(connection, event, policy, now), event.subject)
    ask_first = source != "webhook"
    outcome = _record_fact(connection, event, policy, expected, now, ask_first)
    if outcome != expected:
        connection.execute(
            update(inbox_events).where(inbox_events.c.event_id == event.event_id).values(outcome=outcome)
        )
    totals.add(connection, f"events.{outcome}", 1, 0, now)
    if source == "reconciliation":
        _close_unreadable_of(connection, event, now)
    net = event.fact.net_centavos if isinstance(event.fact, Credit) else None
    return Receipt(event.event_id, outcome, event.subject, net)


def lock_order(event: Event) -> str:
    """All who lock several lineages do it in this order, or two would wait for each other; claims have it too.

    Within a lineage the order of arrival stays: of two credits of an invoice the first is forwarded.
    """
    match event.fact:
        case Credit() | Reversal():
            return lineage_for(event.fact.invoice_id)
        case TransferNews():
            return event.fact.transfer.external_id
    return event.event_id


def _keep_credits_and_reversals_apart(connection: Connection, facts: Sequence[Fact | None]) -> None:
    """A credit and its reversal may come at the same moment through two processes; neither would see the other.

    So reversals are recorded while nobody records credits. Locked before anything else, so that nobody waits for it
    with something in hand.
    """
    if any(isinstance(fact, Reversal) for fact in facts):
        lock_for_transaction(connection, NamedLock.REVERSALS, shared=False)
    elif any(isinstance(fact, Credit) for fact in facts):
        lock_for_transaction(connection, NamedLock.REVERSALS, shared=True)


def _expected_outcome(event: Event, policy: ForwardingPolicy) -> Outcome:
    if event.unreadable is not None:
        return Outcome.UNREADABLE
    match event.fact:
        case Credit():
            disposition = policy.disposition(event.fact)
            return Outcome.CREDIT if disposition == "forward" else Outcome(disposition)
        case Reversal():
            return Outcome.REVERSAL
        case TransferNews():
            return Outcome.TRANSFER_NEWS
        case None:
            return Outcome.NO_INTEREST


def _record_fact(
    connection: Connection,
    event: Event,
    policy: ForwardingPolicy,
    expected: Outcome,
    now: datetime,
    ask_first: bool,
) -> Outcome:
    match event.fact:
        case Credit() as credit:
            return _record_credit(connection, credit, event.event_id, policy, expected, now, ask_first)
        case Reversal() as reversal:
            _record_reversal(connection, reversal, now)
        case TransferNews() as news:
            if not record_news(connection, news, policy, now):
                return Outcome.NO_INTEREST
        case None if event.unreadable is not None:
            detail = f"signed by the bank but not readable: {event.unreadable}"
            raise_attention(connection, AttentionKind.UNREADABLE_EVENT, event.event_id, detail, now)
    return expected


def _record_credit(
    connection: Connection,
    credit: Credit,
    event_id: str,
    policy: ForwardingPolicy,
    expected: Outcome,
    now: datetime,
    ask_first: bool,
) -> Outcome:
    disposition = policy.disposition(credit)
    if not _insert_credit_rows(connection, [_credit_row(event_id, credit)], disposition, now):
        return _judge_repeated_credit(connection, credit, now)
    _count_credits(connection, [credit], now)
    if disposition != "forward":
        totals.add(connection, "credits.not_forwarded", 1, credit.net_centavos)
    if expected == Outcome.NOTHING_TO_FORWARD:
        detail = f"{credit.gross_centavos} centavos received, {credit.fee_centavos} charged: nothing is left"
        raise_attention(
            connection, AttentionKind.NOTHING_TO_FORWARD, credit.invoice_id, detail, now, credit.invoice_id
        )
    if expected == Outcome.CREDIT:
        _forward(connection, credit, policy, now, ask_first)
    return expected


def _forward(
    connection: Connection, credit: Credit, policy: ForwardingPolicy, now: datetime, ask_first: bool
) -> None:
    # A reversal may have arrived first: events come in any order.
    recorded = _CREDIT.run(connection, {"invoice": credit.invoice_id}).one()
    owed = owed_centavos(connection, recorded)
    if owed < credit.net_centavos:
        withhold(connection, credit.invoice_id, credit.net_centavos - owed)
    if owed > 0:
        create_first_transfer(connection, recorded, owed, policy, now, ask_first)


def _judge_repeated_credit(connection: Connection, credit: Credit, now: datetime) -> Outcome:
    """The same log again (two webhooks, or reconciliation) is harmless; anything else is for a person."""
    known = connection.execute(
        select(credits).where(
            (credits.c.invoice_id == credit.invoice_id) | (credits.c.log_id == credit.log_id)
        )
    ).all()
    said = (credit.invoice_id, credit.log_id, credit.gross_centavos, credit.fee_centavos)
    if any((row.invoice_id, row.log_id, row.gross_centavos, row.fee_centavos) == said for row in known):
        return Outcome.KNOWN_CREDIT
    detail = (
        f"log {credit.log_id} credits invoice {credit.invoice_id} with {credit.gross_centavos} centavos, fee "
        f"{credit.fee_centavos}; log {known[0].log_id} had credited {known[0].gross_centavos}. "
        "Only the first is forwarded"
    )
    raise_attention(connection, AttentionKind.SECOND_CREDIT, credit.log_id, detail, now, credit.invoice_id)
    return Outcome.SECOND_CREDIT


def _record_reversal(connection: Connection, reversal: Reversal, now: datetime) -> None:
    row = {
        "log_id": reversal.log_id,
        "invoice_id": reversal.invoice_id,
        "remaining_centavos": reversal.remaining_centavos,
        "reversed_at": reversal.reversed_at,
        "recorded_at": now,
    }
    if insert_new(connection, reversals, [row], "log_id"):
        apply_reversal(connection, reversal.invoice_id, now)


# --- the statements, built once: building one anew costs three times as much as running it ---

_INSERT_EVENTS = InsertMany(
    inbox_events,
    *("event_id", "subscription", "log_type", "subject", "outcome", "reason", "digital_signature", "body"),
    shared=("source", "received_at"),
)
_INSERT_CREDITS = InsertMany(
    credits,
    *("invoice_id", "log_id", "event_id", "gross_centavos", "fee_centavos", "net_centavos", "credited_at"),
    shared=("withheld_centavos", "disposition", "recorded_at"),
)
_KNOWN_EVENTS = SelectAmong(select(inbox_events.c.event_id), inbox_events.c.event_id)
_REVERSED = SelectAmong(select(reversals.c.invoice_id), reversals.c.invoice_id)
_KNOWN_CREDITS = SelectAmong(
    select(credits.c.invoice_id, credits.c.log_id), credits.c.invoice_id, credits.c.log_id
)
_CREDIT = Prepared(select(credits).where(credits.c.invoice_id == bindparam("invoice")))
_STORED = Prepared(
    select(inbox_events.c.outcome, inbox_events.c.body)
    .where(inbox_events.c.event_id == bindparam("event_id"))
    .with_for_update()
)
_UNREADABLE_OF = Prepared(
    select(inbox_events.c.event_id).where(
        inbox_events.c.subject == bindparam("subject"),
        inbox_events.c.subscription == bindparam("subscription"),
        inbox_events.c.log_type == bindparam("log_type"),
        inbox_events.c.outcome == Outcome.UNREADABLE,
        made_no_credit,
    )
)
_REREAD = Prepared(
    update(inbox_events)
    .where(inbox_events.c.event_id == bindparam("which"))
    .values(
        {
            name: bindparam(f"new_{name}", type_=inbox_events.c[name].type)
            for name in ("subscription", "log_type", "subject", "outcome", "reason")
        }
    )
)
_KNOWN_LOGS = union_all(
    select(credits.c.log_id).where(credits.c.log_id.in_(bindparam("ids", expanding=True))),
    select(reversals.c.log_id).where(reversals.c.log_id.in_(bindparam("ids", expanding=True))),
)
