"""Reading stored events again: their bytes are kept, so what an older program could not read is not lost.

Effects are recorded through the inbox's own functions, which know what they have recorded before: a replay of what
had its effect changes nothing. It judges by today's settings only what nothing had come of; a credit that was
recorded as not ours stays so, since somebody else may have forwarded it meanwhile.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, exists, func, select, tuple_

from payments.errors import ActRefused
from payments.event import Event, read_event, read_log
from payments.ledger.inbox import Receipt, record_stored
from payments.ledger.unit import Unit, open_unit
from payments.operator.actions import Act, Operator, plain_text, write_act
from payments.policy import ForwardingPolicy
from payments.storage.database import Database
from payments.storage.schema import attentions, inbox_events

# How many events share a transaction: few enough that the webhook, which waits for it, is not kept waiting.
EVENTS_PER_TRANSACTION = 100


def replay_event(
    database: Database, event_id: str, by: Operator, policy: ForwardingPolicy, now: datetime
) -> tuple[Act, Receipt]:
    """Read a stored event's bytes again with this program's readers, and record what follows from it.

    Harmless for what was recorded before. Refused for an unknown event.
    """
    event_id = plain_text(event_id)
    with open_unit(database, policy, now) as unit:
        row = unit.connection.execute(
            select(inbox_events).where(inbox_events.c.event_id == event_id).with_for_update()
        ).one_or_none()
        if row is None:
            raise ActRefused(f"there is no event {event_id!r} in the inbox")
        receipt = _replay(unit, row)
        result = f"it was {row.outcome}, and is now {receipt.outcome}"
        return write_act(unit.connection, "replay", event_id, result, by, now), receipt


def replay_since(
    database: Database, since: datetime, by: Operator, policy: ForwardingPolicy, now: datetime
) -> tuple[Act, Sequence[Receipt]]:
    """Replay every event received since then, oldest first; in groups of 100, each its own transaction.

    The act is recorded at the end; a replay that was interrupted may simply be repeated.
    Returns receipts of those from which something new followed.
    """
    replayed = 0
    news: list[Receipt] = []
    after = (since, "")
    while True:
        with open_unit(database, policy, now) as unit:
            rows = unit.connection.execute(
                select(inbox_events)
                .where(tuple_(*_RECEIVED) > tuple_(*after), inbox_events.c.received_at <= now)
                .order_by(*_RECEIVED)
                .limit(EVENTS_PER_TRANSACTION)
                .with_for_update()
            ).all()
            for row in rows:
                receipt = _replay(unit, row)
                replayed += 1
                if receipt.outcome != row.outcome and receipt.is_new:
                    news.append(receipt)
            if len(rows) < EVENTS_PER_TRANSACTION:
                result = f"{replayed} events were read again; something new followed from {len(news)}"
                subject = f"since {since:%Y-%m-%dT%H:%M:%SZ}"
                return write_act(unit.connection, "replay", subject, result, by, now), news
            after = (rows[-1].received_at, rows[-1].event_id)


def _replay(unit: Unit, row: Row[Any]) -> Receipt:
    event = read_again(row)
    newest = unit.connection.execute(select(func.max(attentions.c.id))).scalar() or 0
    receipt = record_stored(unit, event, row.outcome)
    # What a person has closed is not opened again by the same words.
    unit.connection.execute(
        delete(attentions).where(
            attentions.c.id > newest,
            attentions.c.resolved_at.is_(None),
            exists().where(
                _earlier.c.subject == attentions.c.subject,
                _earlier.c.kind == attentions.c.kind,
                _earlier.c.detail == attentions.c.detail,
                _earlier.c.resolved_at.is_not(None),
            ),
        )
    )
    return receipt


def read_again(row: Row[Any]) -> Event:
    """The stored bytes as today's readers see them, under the id that the inbox knows them by."""
    came_as_log = row.event_id.startswith(f"{row.subscription}-log-") or (
        # nothing but its subscription could be read, which only the list of logs tells without the bytes
        row.event_id.startswith("unreadable-") and row.subscription != ""
    )
    body = bytes(row.body)
    event = read_log(row.subscription, body) if came_as_log else read_event(body)
    return event._replace(event_id=row.event_id)


_earlier = attentions.alias("earlier")
_RECEIVED = (inbox_events.c.received_at, inbox_events.c.event_id)
