"""What becomes of a transfer that was sent: settled, failed and replaced, or dead; and which have no outcome yet.

Functions that take a Connection run in the caller's transaction, with the lineage locked.
"""

import json
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, exists, literal_column, select

from payments.ledger import totals
from payments.ledger.attention import AttentionKind, raise_attention, resolve_attention
from payments.ledger.generations import create_next_transfer
from payments.ledger.lineages import GENERATIONS_MAX, latest_generation, lock_lineage
from payments.ledger.reversals import owed_centavos, withhold
from payments.ledger.sightings import sighting_of
from payments.ledger.state_changes import RETRIED, has_fact, move, write_history
from payments.policy import ForwardingPolicy
from payments.storage.database import Database
from payments.storage.prepared import Prepared, Row
from payments.storage.schema import attentions, transfers
from payments.transfer import LOST_STATUSES, BankStatus, TransferState, external_id_for, reissue_delay

# A Pix arrives within seconds and a TED on the next bank day: a day without an outcome is worth a look. (A TED of
# a Friday may be raised on Saturday; it closes itself on Monday.)
UNSETTLED_AFTER = timedelta(hours=24)


def in_flight(database: Database, sent_before: datetime, limit: int) -> list[str]:
    """The bank's ids of transfers that were accepted before ``sent_before`` and have no outcome yet."""
    with database.reading() as connection:
        rows = _IN_FLIGHT.run(connection, {"sent_before": sent_before, "limit": limit})
        return [str(bank_id) for bank_id in rows.scalars()]


def raise_unsettled(database: Database, now: datetime) -> int:
    """Raise every transfer that the bank accepted more than UNSETTLED_AFTER ago and has not decided; how many.

    Once for each acceptance: what a person has closed is not raised again.
    """
    with database.transaction() as connection:
        rows = _UNSETTLED.run(connection, {"sent_before": now - UNSETTLED_AFTER, "limit": 100})
        for row in rows:
            raise_attention(
                connection,
                AttentionKind.TRANSFER_UNSETTLED,
                row.external_id,
                f"the bank accepted it as {row.bank_transfer_id} at {row.sent_at:%Y-%m-%d %H:%M} UTC and has not "
                "said since whether it was paid",
                now,
                row.invoice_id,
            )
        return len(rows)


# --- in the caller's transaction ---


def settle(connection: Connection, row: Row, bank_transfer_id: str, now: datetime) -> None:
    """The bank has paid this transfer: final, and nothing of its lineage waits for a person any more."""
    origins = tuple(state for state in TransferState if state != TransferState.SETTLED)
    settled = move(
        connection,
        row,
        origins,
        TransferState.SETTLED,
        bank_transfer_id=bank_transfer_id,
        sent_at=row.sent_at or now,
        settled_at=now,
    )
    write_history(connection, [(settled, "settled", f"the bank's id is {bank_transfer_id}")], now)
    totals.add(connection, "settled", 1, row.amount_centavos, now)
    totals.add_settlement(connection, _waited_seconds(connection, row, now), row.amount_centavos, now)
    _resolve_waiting(connection, row, now)
    for generation in range(1, row.generation + 1):
        external_id = external_id_for(row.invoice_id, generation)
        resolve_attention(connection, AttentionKind.TRANSFER_DEAD, external_id, now)


def fail_and_reissue(
    connection: Connection, row: Row, reason: str, policy: ForwardingPolicy, now: datetime
) -> None:
    """This external_id is spent. Put the next generation in line; it is looked up before it is sent."""
    origins = (TransferState.SENDING, TransferState.SENT)
    # An earlier generation that was found alive and revived may fail after later ones were made and stopped.
    latest = latest_generation(connection, row.credit_number)
    # An operator who retries a dead transfer grants it one replacement beyond REISSUE_MAX, and wants it now. The
    # replacement has no such fact of its own: should it fail too, it is dead.
    was_retried = has_fact(connection, row, RETRIED)
    if latest >= GENERATIONS_MAX or (latest > policy.reissue_max and not was_retried):
        dead = move(connection, row, origins, TransferState.DEAD, reason=reason)
        bury(connection, dead, f"no reissue is left after {latest} transfers, the last failed: {reason}", now)
        return
    failed = move(connection, row, origins, TransferState.FAILED, reason=reason)
    write_history(connection, [(failed, "failed", reason)], now)
    totals.add(connection, "failed", 1, row.amount_centavos, now)
    _resolve_waiting(connection, row, now)
    credit = lock_lineage(connection, row.invoice_id)
    assert credit is not None  # a transfer has its credit
    owed = owed_centavos(connection, credit)
    withhold(connection, row.invoice_id, credit.net_centavos - owed)
    if owed < row.amount_centavos:
        resolve_attention(connection, AttentionKind.REVERSED_AFTER_SENDING, row.invoice_id, now)
    if owed > 0:
        generation = latest + 1
        delay = reissue_delay(generation, policy.retry_base_seconds, policy.retry_max_seconds)
        due_at = now if was_retried else now + delay
        create_next_transfer(connection, credit, generation, owed, policy, now, due_at)


def apply_sighting(connection: Connection, row: Row, policy: ForwardingPolicy, now: datetime) -> None:
    """Catch up with an outcome that was reported before we knew that the transfer was ours."""
    seen = sighting_of(connection, row.bank_transfer_id)
    if seen.status == BankStatus.SUCCESS:
        settle(connection, row, seen.bank_transfer_id, now)
    elif seen.status in LOST_STATUSES:
        reason = "; ".join(json.loads(seen.errors or "[]")) or f"the bank reports {seen.status}"
        fail_and_reissue(connection, row, reason, policy, now)


def kill(connection: Connection, row: Row, reason: str, now: datetime) -> None:
    """Make a transfer dead that the bank cannot be trusted with as it is; a person decides."""
    origins = (TransferState.PENDING, TransferState.SENDING, TransferState.SENT)
    bury(connection, move(connection, row, origins, TransferState.DEAD, reason=reason), reason, now)


def bury(connection: Connection, row: Row, reason: str, now: datetime) -> None:
    """Tell of a transfer that has just become dead: its history, and a matter for a person."""
    write_history(connection, [(row, "dead", reason)], now)
    _resolve_waiting(connection, row, now)
    raise_attention(connection, AttentionKind.TRANSFER_DEAD, row.external_id, reason, now, row.invoice_id)


def stop_for(connection: Connection, row: Row, living: Row, now: datetime) -> None:
    """Withdraw a reissue that the bank does not have, because an earlier transfer turned out to live."""
    origins = (TransferState.PENDING, TransferState.SENDING, TransferState.DEAD)
    reason = f"{living.external_id} lives at the bank"
    stopped = move(connection, row, origins, TransferState.STOPPED, reason=reason)
    write_history(connection, [(stopped, "stopped", reason)], now)
    _resolve_waiting(connection, row, now)
    resolve_attention(connection, AttentionKind.TRANSFER_DEAD, row.external_id, now)


def _resolve_waiting(connection: Connection, row: Row, now: datetime) -> None:
    """It waits for the bank no more, whatever came of it."""
    for kind in (AttentionKind.TRANSFER_STUCK, AttentionKind.TRANSFER_UNSETTLED):
        resolve_attention(connection, kind, row.external_id, now)


def _waited_seconds(connection: Connection, row: Row, now: datetime) -> float:
    """How long ago the credit was recorded that this transfer forwards."""
    began_at = row.created_at
    if row.generation > 1:
        credit = lock_lineage(connection, row.invoice_id)
        assert credit is not None  # a transfer has its credit
        began_at = credit.recorded_at
    return float((now - began_at).total_seconds())


# --- the statements ---

_IN_FLIGHT = Prepared(
    select(transfers.c.bank_transfer_id)
    .where(
        transfers.c.state == literal_column(f"'{TransferState.SENT}'"),
        transfers.c.sent_at <= bindparam("sent_before"),
    )
    .order_by(transfers.c.sent_at)
    .limit(bindparam("limit"))
)
_UNSETTLED = Prepared(
    select(
        transfers.c.external_id,
        transfers.c.invoice_id,
        transfers.c.bank_transfer_id,
        transfers.c.sent_at,
    )
    .where(
        transfers.c.state == literal_column(f"'{TransferState.SENT}'"),
        transfers.c.sent_at <= bindparam("sent_before"),
        ~exists().where(
            attentions.c.subject == transfers.c.external_id,
            attentions.c.kind == literal_column(f"'{AttentionKind.TRANSFER_UNSETTLED}'"),
            attentions.c.raised_at >= transfers.c.sent_at,
        ),
    )
    .order_by(transfers.c.sent_at)
    .limit(bindparam("limit"))
)
