"""Which attentions were sent as alerts. One public function, one transaction.

An attention is claimed with a lease before it is sent, so that one of several processes sends it. If that process dies
before it records the outcome, another sends the attention again when the lease is over: at least once.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import or_, select, update

from payments.storage.database import Database
from payments.storage.schema import attentions


@dataclass(frozen=True, slots=True)
class Alert:
    """One open attention that only this process may send until its lease ends. ``attempt`` counts from 1."""

    attention_id: int
    kind: str
    subject: str
    detail: str
    raised_at: datetime
    attempt: int


def claim_alert(database: Database, lease_seconds: float, now: datetime) -> Alert | None:
    """Claim the oldest open attention that is due to be sent; None when there is none."""
    due = (
        select(attentions.c.id)
        .where(
            attentions.c.resolved_at.is_(None),
            attentions.c.notified_at.is_(None),
            or_(attentions.c.notify_after.is_(None), attentions.c.notify_after <= now),
        )
        .order_by(attentions.c.id)
        .limit(1)
    )
    with database.reading() as connection:
        if connection.execute(due).first() is None:
            return None  # nearly always, and it takes no write lock
    with database.transaction() as connection:
        row = connection.execute(
            update(attentions)
            .where(attentions.c.id == due.with_for_update(skip_locked=True).scalar_subquery())
            .values(
                notify_attempts=attentions.c.notify_attempts + 1,
                notify_after=now + timedelta(seconds=lease_seconds),
            )
            .returning(attentions)
        ).one_or_none()
    if row is None:
        return None
    return Alert(row.id, row.kind, row.subject, row.detail, row.raised_at, row.notify_attempts)


def record_delivered(database: Database, alert: Alert, now: datetime) -> bool:
    """Record that the alert was taken, even if its lease is over. False when that was recorded already."""
    with database.transaction() as connection:
        recorded = connection.execute(
            update(attentions)
            .where(attentions.c.id == alert.attention_id, attentions.c.notified_at.is_(None))
            .values(notified_at=now)
        )
        return recorded.rowcount == 1


def record_undelivered(database: Database, alert: Alert, next_at: datetime) -> bool:
    """Record that the alert was not taken and is due again at ``next_at``. False when another process claimed it."""
    with database.transaction() as connection:
        recorded = connection.execute(
            update(attentions)
            .where(
                attentions.c.id == alert.attention_id,
                attentions.c.notify_attempts == alert.attempt,
                attentions.c.notified_at.is_(None),
            )
            .values(notify_after=next_at)
        )
        return recorded.rowcount == 1
