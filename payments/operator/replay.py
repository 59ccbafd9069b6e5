"""Reading stored events again: their bytes are kept, so an event that an older program could not read is not lost.

Effects are recorded through the inbox's own functions, which know what they have recorded before: replaying an event
that had its effect changes nothing. Today's settings decide only about events that had none; a credit that was
recorded as not ours stays so, since it may have been forwarded by other means meanwhile.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, exists, func, select, tuple_

from payments.errors import ActionRefused
from payments.event import Event, read_event, read_log
from payments.ledger.inbox import Receipt, record_stored
from payments.ledger.lineages import Unit, open_unit
from payments.note import note
from payments.operator.actions import Action, Operator, plain_text, write_action
from payments.policy import ForwardingPolicy
from payments.storage.database import Database
from payments.storage.schema import attentions, inbox_events

# How many events share a transaction: few enough that the webhook, which waits for it, is not kept waiting.
EVENTS_PER_TRANSACTION = 100


def replay_event(
    database: Database, event_id: str, by: Operator, policy: ForwardingPolicy, now: datetime
) -> tuple[Action, Receipt]:
    """Read a stored event's bytes again with this program's readers, and record what follows from it.

    Harmless for what was recorded before. Refused for an unknown event.
    """
    event_id = plain_text(event_id)
    with open_unit(database, policy, now) as unit:
        row = unit.connection.execute(
            select(inbox_events).where(inbox_events.c.event_id == event_id).with_for_update()
        ).one_or_none()
        if row is None:
            raise ActionRefused(note("no_event", id=event_id))
        receipt = _replay(unit, row)
        result = (
            note("replayed_same", outcome=receipt.outcome)
            if receipt.outcome == row.outcome
            else note("replayed", before=row.outcome, now=receipt.outcome)
        )
        return write_action(unit.connection, "replay", event_id, result, by, now), receipt


def replay_since(
    database: Database, since: datetime, by: Operator, policy: ForwardingPolicy, now: datetime
) -> tuple[Action, Sequence[Receipt]]:
    """Replay every event received since then, oldest first; in groups of 100, each its own transaction.

    The action is recorded at the end; a replay that was interrupted may simply be repeated.
    Returns receipts of the events from which something new followed.
    """
    replayed = 0
    new: list[Receipt] = []
    after = (since, "")
    key = (inbox_events.c.received_at, inbox_events.c.event_id)
    while True:
        with open_unit(database, policy, now) as unit:
            rows = unit.connection.execute(
                select(inbox_events)
                .where(
                    tuple_(*key) > tuple_(*after, types=[column.type for column in key]),
                    inbox_events.c.received_at <= now,
                )
                .order_by(*key)
                .limit(EVENTS_PER_TRANSACTION)
                .with_for_update()
            ).all()
            for row in rows:
                receipt = _replay(unit, row)
                replayed += 1
                if receipt.outcome != row.outcome and receipt.is_new:
                    new.append(receipt)
            if len(rows) < EVENTS_PER_TRANSACTION:
                result = note("replayed_many", number=replayed, new=len(new))
                subject = f"since {since:%Y-%m-%dT%H:%M:%SZ}"
                return write_action(unit.connection, "replay", subject, result, by, now), new
            after = (rows[-1].received_at, rows[-1].event_id)


def _replay(unit: Unit, row: Any) -> Receipt:
    newest = unit.connection.execute(select(func.max(attentions.c.id))).scalar() or 0
    receipt = record_stored(unit, _read_again(row), row.outcome)
    # An attention that a person has resolved is not opened again by the same words.
    earlier = attentions.alias("earlier")
    unit.connection.execute(
        delete(attentions).where(
            attentions.c.id > newest,
            attentions.c.resolved_at.is_(None),
            exists().where(
                earlier.c.subject == attentions.c.subject,
                earlier.c.kind == attentions.c.kind,
                earlier.c.detail == attentions.c.detail,
                earlier.c.resolved_at.is_not(None),
            ),
        )
    )
    return receipt


def _read_again(row: Any) -> Event:
    """The stored bytes as today's readers see them, under the id that the inbox knows them by."""
    came_as_log = row.event_id.startswith(f"{row.subscription}-log-") or (
        # nothing but its subscription could be read, which only the list of logs gives without the bytes
        row.event_id.startswith("unreadable-") and row.subscription != ""
    )
    body = bytes(row.body)
    event = read_log(row.subscription, body) if came_as_log else read_event(body)
    return event._replace(event_id=row.event_id)
