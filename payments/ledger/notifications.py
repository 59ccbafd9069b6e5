"""Which matters for a person were told to the notification hook. One public function, one transaction.

A matter is claimed with a lease before it is posted, so that of several processes one posts it. What was posted
and not recorded, because the process died in between, is posted again when the lease is over: at least once.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, or_, select, update

from payments.storage.database import Database
from payments.storage.schema import attentions


@dataclass(frozen=True, slots=True)
class Notice:
    """One open matter that this process alone may post until its lease ends. ``attempt`` counts from 1."""

    attention_id: int
    kind: str
    subject: str
    detail: str
    raised_at: datetime
    attempt: int


def claim_notice(database: Database, lease_seconds: float, now: datetime) -> Notice | None:
    """Claim the oldest open matter that is due to be told, or return None. It is claimed for ``lease_seconds``."""
    with database.reading() as connection:
        if connection.execute(_DUE, {"moment": now}).first() is None:
            return None  # nearly always; it takes no write lock
    with database.transaction() as connection:
        row = connection.execute(_DUE, {"moment": now}).first()
        if row is None:
            return None
        claimed = connection.execute(
            update(attentions)
            .where(
                attentions.c.id == row.id,
                # Another process of a PostgreSQL ledger may have been quicker.
                attentions.c.notify_attempts == row.notify_attempts,
                attentions.c.notified_at.is_(None),
                attentions.c.resolved_at.is_(None),
            )
            .values(
                notify_attempts=row.notify_attempts + 1,
                notify_after=now + timedelta(seconds=lease_seconds),
            )
        )
        if not claimed.rowcount:
            return None
        return Notice(row.id, row.kind, row.subject, row.detail, row.raised_at, row.notify_attempts + 1)


def record_delivered(database: Database, notice: Notice, now: datetime) -> bool:
    """Record that the hook took it, whoever has claimed it meanwhile. False when that was recorded already."""
    with database.transaction() as connection:
        recorded = connection.execute(
            update(attentions)
            .where(attentions.c.id == notice.attention_id, attentions.c.notified_at.is_(None))
            .values(notified_at=now)
        )
        return bool(recorded.rowcount)


def record_undelivered(database: Database, notice: Notice, next_at: datetime) -> bool:
    """Record that the hook did not take it, and try again at ``next_at``. False when the claim was lost."""
    with database.transaction() as connection:
        recorded = connection.execute(
            update(attentions)
            .where(
                attentions.c.id == notice.attention_id,
                attentions.c.notify_attempts == notice.attempt,
                attentions.c.notified_at.is_(None),
            )
            .values(notify_after=next_at)
        )
        return bool(recorded.rowcount)


_DUE = (
    select(
        attentions.c.id,
        attentions.c.kind,
        attentions.c.subject,
        attentions.c.detail,
        attentions.c.raised_at,
        attentions.c.notify_attempts,
    )
    .where(
        attentions.c.resolved_at.is_(None),
        attentions.c.notified_at.is_(None),
        or_(
            attentions.c.notify_after.is_(None),
            attentions.c.notify_after <= bindparam("moment", type_=attentions.c.notify_after.type),
        ),
    )
    .order_by(attentions.c.id)
    .limit(1)
)
