"""The sender's side of transfers: claimed, then recorded as sent, unclear, given back or refused.

One public function, one transaction. Whoever claimed a row records with the attempt it was claimed with; if that is
no longer the row's, nothing changes. What a look-up shows is recorded in lookups.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, bindparam, case, func, literal_column, select, update

from payments.ledger import totals
from payments.ledger.attention import AttentionKind, raise_attention, resolve_attention
from payments.ledger.generations import destination_of
from payments.ledger.lineages import lock_lineage
from payments.ledger.outcomes import apply_sighting, bury
from payments.ledger.pauses import is_paused
from payments.ledger.sightings import sight, sight_new
from payments.ledger.state_changes import count_move, guarded_update, write_history
from payments.policy import ForwardingPolicy
from payments.storage.database import Database, repeated_on_conflict
from payments.storage.prepared import Prepared, Row
from payments.storage.schema import transfers
from payments.transfer import (
    BankStatus,
    BankTransfer,
    Destination,
    TransferOrder,
    TransferState,
    lineage_for,
    retry_delay,
)

# After so many claims without a conclusive answer a person should know; the machine goes on trying.
STUCK_AFTER_ATTEMPTS = 10

# At least one in so many of a call is one whose lease ran out, if there are any.
EXPIRED_SHARE = 4


@dataclass(frozen=True, slots=True)
class Claim:
    """The sole right to act on one transfer, until the lease ends. Amount in centavos."""

    transfer_id: int
    invoice_id: str
    generation: int
    external_id: str
    amount_centavos: int
    destination: Destination
    attempt: int
    calls: int
    call_tag: str
    lease_expires_at: datetime

    @property
    def is_fresh(self) -> bool:
        """True when nothing of this lineage can be at the bank yet; else the bank must be asked first."""
        return self.attempt == 1 and self.generation == 1

    @property
    def look_up_tag(self) -> str:
        """The tag that shows all that the bank may have: of the one call ever made, or of the lineage.

        The call's tag answers for a hundred transfers at once. If that did not settle the matter, the lineage's
        shows more: another deployment on the same account may have sent this credit too.
        """
        if self.generation == 1 and self.calls == 1 and self.attempt == 2:
            return self.call_tag
        return lineage_for(self.invoice_id)

    @property
    def order(self) -> TransferOrder:
        """What is to be sent."""
        return TransferOrder(
            self.external_id,
            lineage_for(self.invoice_id),
            self.amount_centavos,
            self.destination,
            self.call_tag,
        )


@repeated_on_conflict
def claim(database: Database, call_tag: str, lease_seconds: float, limit: int, now: datetime) -> list[Claim]:
    """Claim up to ``limit`` transfers that are due: pending ones, and those whose lease ran out.

    Fresh ones are marked as part of the call ``call_tag`` before it is made, so that a crash is looked up by it.
    None while an operator has paused forwarding.
    """
    with database.transaction() as connection:
        pending, expired = _due_ids(connection, limit, now)
        if not (pending or expired) or is_paused(connection, "forwarding"):
            return []
        lease_expires_at = now + timedelta(seconds=lease_seconds)
        rows = [
            _CLAIM.run(connection, {"id_": each, "new_call_tag": call_tag, "lease": lease_expires_at}).one()
            for each in (*pending, *expired)
        ]
        for row in rows[: len(pending)]:
            count_move(connection, TransferState.PENDING, row.amount_centavos, row)
        write_history(connection, [(row, "claimed", None) for row in rows], now)
        destinations_ = {id_: destination_of(connection, id_) for id_ in {row.destination_id for row in rows}}
        return [
            _to_claim(row, destinations_[row.destination_id])
            # in the order in which all lock lineages, see inbox.lock_order
            for row in sorted(rows, key=lambda row: str(row.invoice_id))
        ]


def next_due_at(database: Database) -> datetime | None:
    """When the next transfer falls due or the next lease ends; None when nothing waits, or forwarding is paused."""
    with database.reading() as connection:
        moments = _NEXT_MOMENTS.run(connection, {}).one()
        due_at: datetime | None = min((moment for moment in moments if moment is not None), default=None)
        # A moment that has passed would be asked for again and again while nothing may be claimed.
        return None if due_at is None or is_paused(connection, "forwarding") else due_at


@repeated_on_conflict
def record_sent(
    database: Database,
    claims: Sequence[Claim],
    accepted: dict[str, BankTransfer],
    policy: ForwardingPolicy,
    now: datetime,
) -> int:
    """Record that the bank accepted these claims, by external_id. Returns how many were still ours to record."""
    facts = []
    with database.transaction() as connection:
        numbers = [_lock_credit(connection, claim) for claim in claims]
        # Nearly always the first that we hear of them; else what we heard earlier may go further than "accepted".
        seen = [(accepted[claim.external_id], number) for claim, number in zip(claims, numbers, strict=True)]
        are_new = sight_new(connection, seen, now) == len(claims)
        for claim, (there, number) in zip(claims, seen, strict=True):
            if not are_new:
                sight(connection, there, number, None, now)
            row = move_claimed(connection, claim, TransferState.SENT, bank_transfer_id=there.id, sent_at=now)
            if row is not None:
                facts.append((row, "sent", f"the bank's id is {there.id}"))
                totals.add(connection, "sent", 1, row.amount_centavos, now)
                if not are_new or there.status != BankStatus.CREATED:
                    apply_sighting(connection, row, policy, now)
            if claim.attempt >= STUCK_AFTER_ATTEMPTS:
                resolve_attention(connection, AttentionKind.TRANSFER_STUCK, claim.external_id, now)
        write_history(connection, facts, now)
        resolve_attention(connection, AttentionKind.BANK_REFUSES_US, "transfers", now)
    return len(facts)


@repeated_on_conflict
def record_unclear(database: Database, claims: Sequence[Claim], reason: str, now: datetime) -> None:
    """Note that we do not know what became of a call. The rows stay claimed until their lease ends."""
    with database.transaction() as connection:
        for claim in claims:
            row = move_claimed(
                connection,
                claim,
                TransferState.SENDING,
                reason=reason,
                lease_expires_at=claim.lease_expires_at,
            )
            if row is not None:
                write_history(connection, [(row, "unclear", reason)], now)
                _raise_if_stuck(connection, row, reason, now)


@repeated_on_conflict
def release(
    database: Database,
    claims: Sequence[Claim],
    reason: str,
    policy: ForwardingPolicy,
    now: datetime,
    wait_seconds: float | None = None,
    caller_refused: bool = False,
    at_once: bool = False,
) -> None:
    """Give claims back, to be tried again after the usual delay (or ``wait_seconds``, if that is longer).

    ``at_once``: nothing was tried, for want of time; they are due now, before those that came later.
    """
    with database.transaction() as connection:
        for claim in claims:
            give_back(connection, claim, reason, policy, now, wait_seconds, at_once)
        if caller_refused:
            raise_attention(connection, AttentionKind.BANK_REFUSES_US, "transfers", reason, now)


@repeated_on_conflict
def refuse(database: Database, claim: Claim, reason: str, now: datetime) -> None:
    """Record that the bank will not take this transfer as it is: dead, for a person to decide."""
    with database.transaction() as connection:
        row = move_claimed(connection, claim, TransferState.DEAD, reason=reason)
        if row is not None:
            bury(connection, row, reason, now)


# --- inside the transaction of whoever holds a claim ---


def move_claimed(connection: Connection, claim: Claim, state: TransferState, **values: Any) -> Row | None:
    """Move a row that we hold. None when the claim was lost: its lease ran out, or an event overtook us."""
    new = {"state": state, "lease_expires_at": None} | values
    guard = {"id_": claim.transfer_id, "external_id_": claim.external_id, "attempt_": claim.attempt}
    update_ = guarded_update(tuple(new), (TransferState.SENDING,))
    row = update_.run(connection, guard | new).one_or_none()
    if row is not None:
        count_move(connection, TransferState.SENDING, row.amount_centavos, row)
    return row


def give_back(
    connection: Connection,
    claim: Claim,
    reason: str,
    policy: ForwardingPolicy,
    now: datetime,
    wait_seconds: float | None = None,
    at_once: bool = False,
) -> None:
    """Make one claim pending again; release() for a caller with a transaction of its own."""
    delay = retry_delay(claim.attempt, policy.retry_base_seconds, policy.retry_max_seconds)
    wait = timedelta(0) if at_once else max(delay, timedelta(seconds=wait_seconds or 0))
    row = move_claimed(connection, claim, TransferState.PENDING, reason=reason, due_at=now + wait)
    if row is not None:
        write_history(connection, [(row, "released", reason)], now)
        _raise_if_stuck(connection, row, reason, now)


# --- below: the parts of the above ---


def _lock_credit(connection: Connection, claim: Claim) -> int | None:
    """Lock a claim's lineage; returns its credit's number, None when a failover has lost it."""
    credit = lock_lineage(connection, claim.invoice_id)
    return None if credit is None else int(credit.number)


def _raise_if_stuck(connection: Connection, row: Row, reason: str, now: datetime) -> None:
    if row.attempt >= STUCK_AFTER_ATTEMPTS:
        raise_attention(
            connection,
            AttentionKind.TRANSFER_STUCK,
            row.external_id,
            f"no conclusive answer after {row.attempt} attempts, and still trying: {reason}",
            now,
            row.invoice_id,
        )


def _due_ids(connection: Connection, limit: int, now: datetime) -> tuple[list[int], list[int]]:
    """The pending ones that are due, and those whose lease ran out."""
    # A share for those whose lease ran out, so that a steady stream of new ones starves nobody; the rest for the
    # new, which cost no look-up; and what is left over for the others again.
    expired = _EXPIRED.run(connection, {"now": now, "limit": limit}).scalars()
    share = max(1, limit // EXPIRED_SHARE)
    pending = _DUE.run(connection, {"now": now, "limit": limit - min(share, len(expired))}).scalars()
    return pending, expired[: limit - len(pending)]


def _to_claim(row: Row, destination: Destination) -> Claim:
    return Claim(
        transfer_id=row.id,
        invoice_id=row.invoice_id,
        generation=row.generation,
        external_id=row.external_id,
        amount_centavos=row.amount_centavos,
        destination=destination,
        attempt=row.attempt,
        calls=row.calls,
        call_tag=row.call_tag or "",
        lease_expires_at=row.lease_expires_at,
    )


# --- the statements ---

_DUE = Prepared(
    select(transfers.c.id)
    .where(
        transfers.c.state == literal_column(f"'{TransferState.PENDING}'"),
        transfers.c.due_at <= bindparam("now"),
    )
    .order_by(transfers.c.due_at)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_EXPIRED = Prepared(
    select(transfers.c.id)
    .where(
        transfers.c.state == literal_column(f"'{TransferState.SENDING}'"),
        transfers.c.lease_expires_at <= bindparam("now"),
    )
    .order_by(transfers.c.lease_expires_at)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_FRESH = and_(transfers.c.attempt == 0, transfers.c.generation == 1)
_ID = bindparam("id_", type_=transfers.c.id.type)
_CLAIM = Prepared(
    update(transfers)
    .where(transfers.c.id == _ID)
    .values(
        state=TransferState.SENDING,
        attempt=transfers.c.attempt + 1,
        lease_expires_at=bindparam("lease"),
        call_tag=case(
            (_FRESH, bindparam("new_call_tag", type_=transfers.c.call_tag.type)),
            else_=transfers.c.call_tag,
        ),
        calls=case((_FRESH, 1), else_=transfers.c.calls),
    )
    .returning(*transfers.c)
)
_NEXT_MOMENTS = Prepared(
    select(
        select(func.min(transfers.c.due_at))
        .where(transfers.c.state == literal_column(f"'{TransferState.PENDING}'"))
        .scalar_subquery(),
        select(func.min(transfers.c.lease_expires_at))
        .where(transfers.c.state == literal_column(f"'{TransferState.SENDING}'"))
        .scalar_subquery(),
    )
)
