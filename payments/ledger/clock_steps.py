"""What is stored follows the clock when that was set: nothing waits for a moment that had been reached once.

Waits are stored as moments, because every process must see them. When the clock goes back by two hours, a transfer that
was to be tried in five seconds would wait for two hours more. Made due now, it is tried too early at the worst.
"""

from datetime import datetime, timedelta

from sqlalchemy import Column, Table, func, select, update

from payments.ledger.attention import AttentionKind, raise_attention
from payments.note import clock_step
from payments.storage.database import Database, repeated_on_conflict
from payments.storage.schema import attentions, invoice_batches, processes, reconciliations, transfers


@repeated_on_conflict
def follow_clock(
    database: Database, host: str, step_seconds: float, lease_seconds: float, now: datetime
) -> None:
    """Bring what waits back to the clock, which was set by ``step_seconds`` (below 0: back) and shows ``now``.

    May be repeated, and done by several processes. While transfers wait, an attention about ``host`` says so: the times
    of these credits are wrong, and so is how long they seem to have waited. One transaction. Raises LedgerUnavailable.
    """
    # No lease is longer than this; one that is over is looked up at the bank first.
    longest_lease = now + timedelta(seconds=lease_seconds)
    waits: tuple[tuple[Table, Column[datetime], datetime], ...] = (
        (transfers, transfers.c.lease_expires_at, longest_lease),
        (invoice_batches, invoice_batches.c.lease_expires_at, longest_lease),
        (attentions, attentions.c.notify_after, now),
        # One that died would count as alive, and reconciliation as recent, until the clock is there again.
        (processes, processes.c.seen_at, now),
        (reconciliations, reconciliations.c.started_at, now),
        (reconciliations, reconciliations.c.ended_at, now),
    )
    waiting = select(func.count()).where(transfers.c.state.in_(("pending", "sending")))
    with database.transaction() as connection:
        # Only in the state that waits: these columns keep their value afterwards, when it means nothing.
        pending = transfers.c.state == "pending"
        planned = invoice_batches.c.state == "planned"
        connection.execute(update(transfers).where(pending, transfers.c.due_at > now).values(due_at=now))
        connection.execute(
            update(invoice_batches).where(planned, invoice_batches.c.next_at > now).values(next_at=now)
        )
        for table, moment, latest in waits:
            connection.execute(update(table).where(moment > latest).values({moment.name: latest}))
        if connection.execute(waiting).scalar_one():
            detail = clock_step(host, step_seconds)
            raise_attention(connection, AttentionKind.CLOCK_STEPPED, host, detail, now)
