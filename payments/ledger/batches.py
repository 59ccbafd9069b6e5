"""The issuing window and its batches of invoices. One public function, one transaction.

The window is one stored row and each of its slots has at most one batch, so neither a restart nor a second
worker can repeat a slot. A batch is stored whole before anything is sent, because the bank has no idempotency
key for invoices: after an unclear answer only the stored tags say what to look for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, insert, or_, select, update

from payments.errors import LedgerUnavailable
from payments.invoice import BankInvoice, InvoiceOrder, Payer, order_invoices
from payments.ledger.attention import AttentionKind, raise_attention, resolve_attention
from payments.ledger.invoices import payer_columns, record_at_bank, tags_as_json
from payments.ledger.pauses import is_paused
from payments.storage.database import Database, insert_new, repeated_on_conflict
from payments.storage.schema import invoice_batches, invoices, issuing_windows

# A slot is late once a tenth of its interval has passed: 18 minutes of 3 hours. A worker that was up is never that
# slow; one that was down is rarely that quick.
LATE_SHARE = 10


@dataclass(frozen=True, slots=True)
class IssuingWindow:
    """The stored window: slot 0 begins when it is opened, each next one ``interval`` later."""

    token: str
    opened_at: datetime
    interval: timedelta
    slots: int

    def begins_at(self, slot: int) -> datetime:
        """When a slot (0 to slots - 1) begins."""
        return self.opened_at + slot * self.interval

    def batch_tag(self, slot: int) -> str:
        """The tag that all invoices of a slot's batch carry, and no others in the world."""
        return f"repasse-{self.token}-slot-{slot + 1}"

    def is_late(self, slot: int, now: datetime) -> bool:
        """True once so much of a slot has passed that its batch, if it is not issued yet, is late."""
        return now - self.begins_at(slot) > self.interval / LATE_SHARE


class SlotState(StrEnum):
    """Where one slot of the window is."""

    COMING = "coming"  # it has no batch yet, and is not late
    PLANNED = "planned"
    ISSUING = "issuing"
    OVERDUE = "overdue"  # it is late and its batch is not issued, however far that is
    ISSUED = "issued"
    SKIPPED = "skipped"


def slot_state(window: IssuingWindow, slot: int, batch_state: str | None, now: datetime) -> SlotState:
    """Where a slot is, given the state of its batch (None: it has none)."""
    if batch_state in (SlotState.ISSUED, SlotState.SKIPPED):
        return SlotState(batch_state)
    if window.is_late(slot, now):
        return SlotState.OVERDUE
    return SlotState.COMING if batch_state is None else SlotState(batch_state)


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot of the window, counted from 0. ``is_late``: issued late, or overdue now."""

    slot: int
    begins_at: datetime
    state: SlotState
    is_late: bool
    planned_invoices: int
    issued_invoices: int


@dataclass(frozen=True, slots=True)
class BatchClaim:
    """The sole right to issue one batch, until the lease ends. ``missing`` are the orders not known to be issued."""

    batch_id: int
    slot: int | None
    tag: str
    attempt: int
    late: bool
    lease_expires_at: datetime
    missing: tuple[InvoiceOrder, ...]


def open_window(
    database: Database, interval_seconds: float, slots: int, token: str, now: datetime
) -> IssuingWindow:
    """Open the window now, or return the one that is open already, with the interval and slots it was opened with.

    ``token``: a few random lower-case letters and digits that keep this window's tags apart from all others.
    """
    with database.transaction() as connection:
        insert_new(
            connection,
            issuing_windows,
            [
                {
                    "id": 1,
                    "token": token,
                    "opened_at": now,
                    "interval_seconds": interval_seconds,
                    "slots": slots,
                }
            ],
            "id",
        )
        return _window(connection.execute(select(issuing_windows)).one())


def read_window(database: Database) -> IssuingWindow | None:
    """The window, or None when no worker has started yet."""
    with database.reading() as connection:
        row = connection.execute(select(issuing_windows)).one_or_none()
    return None if row is None else _window(row)


@repeated_on_conflict
def plan_batch(
    database: Database,
    tag: str,
    slot: int | None,
    plan: Sequence[tuple[Payer, int]],
    due_at: datetime,
    *,
    late: bool,
    now: datetime,
    tax_id_key: bytes = b"",
) -> bool:
    """Store a batch, ready to be claimed: payers and amounts in centavos. One that was requested becomes planned.

    ``tax_id_key`` is the policy's; without it the payers cannot be found by their tax ids.

    False when its slot or tag has one already, or an operator has paused issuing.
    """
    orders = order_invoices(tag, list(plan))
    with database.transaction() as connection:
        if is_paused(connection, "issuing"):
            return False
        batch_id = _plan_requested(connection, tag, now)
        if batch_id is None:
            new = insert_new(
                connection,
                invoice_batches,
                [_batch_row(tag, slot, "planned", due_at, late=late, now=now)],
                "id",
            )
            if not new:
                return False
            [batch_id] = new
        connection.execute(
            insert(invoices),
            [
                {
                    "batch_id": batch_id,
                    "position": position,
                    "tag": order.tag,
                    "state": "planned",
                    "amount_centavos": order.amount_centavos,
                    **payer_columns(order.payer.name, order.payer.tax_id, tax_id_key),
                    "payer_tax_id_to_issue": order.payer.tax_id,
                    "tags": tags_as_json(order.tags),
                    "recorded_at": now,
                }
                for position, order in enumerate(orders, start=1)
            ],
        )
        return True


def _plan_requested(connection: Connection, tag: str, now: datetime) -> int | None:
    return connection.execute(
        update(invoice_batches)
        .where(invoice_batches.c.tag == tag, invoice_batches.c.state == "requested")
        .values(state="planned", planned_at=now, next_at=now)
        .returning(invoice_batches.c.id)
    ).scalar_one_or_none()


def request_batch(connection: Connection, tag: str, now: datetime) -> None:
    """Ask the worker for a batch outside the window, under a tag that no other has. In the caller's transaction."""
    connection.execute(
        insert(invoice_batches).values(_batch_row(tag, None, "requested", now, late=False, now=now))
    )


def requested_batches(database: Database, since: datetime) -> list[str]:
    """The tags of batches that operators have requested since then and that are not planned yet, oldest first."""
    with database.reading() as connection:
        return list(
            connection.execute(
                select(invoice_batches.c.tag)
                .where(invoice_batches.c.state == "requested", invoice_batches.c.due_at >= since)
                .order_by(invoice_batches.c.id)
            ).scalars()
        )


def skip_slot(database: Database, tag: str, slot: int, due_at: datetime, now: datetime) -> bool:
    """Mark a missed slot as skipped, for good. False when it has a batch already, or issuing is paused."""
    with database.transaction() as connection:
        if is_paused(connection, "issuing"):
            return False
        row = _batch_row(tag, slot, "skipped", due_at, late=True, now=now)
        return bool(insert_new(connection, invoice_batches, [row], "id"))


def taken_slots(database: Database) -> set[int]:
    """The slots that have a batch, in any state."""
    with database.reading() as connection:
        return set(
            connection.execute(
                select(invoice_batches.c.slot).where(invoice_batches.c.slot.is_not(None))
            ).scalars()
        )


def read_slots(database: Database) -> dict[int, tuple[str, int]]:
    """For each slot that has a batch: the batch's state, and how many of its invoices the bank has."""
    with database.reading() as connection:
        return {slot: (row.state, row.issued) for slot, row in _slot_batches(connection).items()}


def slots_in(connection: Connection, now: datetime) -> list[Slot]:
    """Every slot of the window, in order, as a transaction sees it; none before the window is open."""
    row = connection.execute(select(issuing_windows)).one_or_none()
    if row is None:
        return []
    window, batches = _window(row), _slot_batches(connection)
    return [_slot(window, slot, batches.get(slot), now) for slot in range(window.slots)]


@repeated_on_conflict
def claim_batch(database: Database, lease_seconds: float, now: datetime) -> BatchClaim | None:
    """Claim one batch that is due: planned, or claimed before by someone whose lease ran out.

    None when none is, or while an operator has paused issuing.
    """
    due = or_(
        and_(invoice_batches.c.state == "planned", invoice_batches.c.next_at <= now),
        and_(invoice_batches.c.state == "issuing", invoice_batches.c.lease_expires_at <= now),
    )
    with database.transaction() as connection:
        batch_id = connection.execute(
            select(invoice_batches.c.id)
            .where(due)
            .order_by(invoice_batches.c.due_at)
            .limit(1)
            .with_for_update(skip_locked=True)
        ).scalar()
        if batch_id is None or is_paused(connection, "issuing"):
            return None
        row = connection.execute(
            update(invoice_batches)
            .where(invoice_batches.c.id == batch_id)
            .values(
                state="issuing",
                attempt=invoice_batches.c.attempt + 1,
                lease_expires_at=now + timedelta(seconds=lease_seconds),
            )
            .returning(*invoice_batches.c)
        ).one()
        return BatchClaim(
            batch_id=row.id,
            slot=row.slot,
            tag=row.tag,
            attempt=row.attempt,
            late=row.late,
            lease_expires_at=row.lease_expires_at,
            missing=_missing(connection, row),
        )


def next_batch_at(database: Database) -> datetime | None:
    """When the next unfinished batch may be claimed; None when all are finished."""
    with database.reading() as connection:
        return connection.execute(
            select(
                func.min(func.coalesce(invoice_batches.c.lease_expires_at, invoice_batches.c.next_at))
            ).where(invoice_batches.c.state.in_(("planned", "issuing")))
        ).scalar()


@repeated_on_conflict
def record_issued(
    database: Database, claim: BatchClaim, found: Sequence[BankInvoice], now: datetime
) -> tuple[InvoiceOrder, ...]:
    """Record invoices that the bank has, by their own tags; returns the orders still missing.

    The batch is issued when none is. What the bank has is recorded even when the claim was lost meanwhile.
    """
    with database.transaction() as connection:
        for invoice in found:
            record_at_bank(connection, claim.batch_id, invoice, now)
        row = connection.execute(
            select(invoice_batches).where(_claimed(claim)).with_for_update()
        ).one_or_none()
        if row is None:
            raise LedgerUnavailable(f"batch {claim.tag} is not in the database: a failover has lost it")
        missing = _missing(connection, row)
        if not missing:
            connection.execute(
                update(invoice_batches)
                .where(_claimed(claim), invoice_batches.c.state.in_(("planned", "issuing")))
                .values(state="issued", issued_at=now, lease_expires_at=None, reason=None)
            )
            resolve_attention(connection, AttentionKind.BATCH_REFUSED, claim.tag, now)
        return missing


def record_batch_unclear(database: Database, claim: BatchClaim, reason: str) -> None:
    """Note that we do not know what became of the call; the batch stays claimed until its lease ends."""
    with database.transaction() as connection:
        connection.execute(update(invoice_batches).where(_held(claim)).values(reason=reason))


@repeated_on_conflict
def release_batch(
    database: Database, claim: BatchClaim, reason: str, next_at: datetime, *, refused: bool, now: datetime
) -> None:
    """Give the claim back, to be tried again at ``next_at``. ``refused``: the bank said no; a person should look."""
    with database.transaction() as connection:
        released = connection.execute(
            update(invoice_batches)
            .where(_held(claim))
            .values(state="planned", lease_expires_at=None, next_at=next_at, reason=reason)
        ).rowcount
        if refused and released:  # else someone else holds it, or has issued it
            raise_attention(connection, AttentionKind.BATCH_REFUSED, claim.tag, reason, now)


def _claimed(claim: BatchClaim) -> ColumnElement[bool]:
    # By its tag too: a failover that lost commits may give a number again.
    return and_(invoice_batches.c.id == claim.batch_id, invoice_batches.c.tag == claim.tag)


def _held(claim: BatchClaim) -> ColumnElement[bool]:
    return and_(
        _claimed(claim),
        invoice_batches.c.state == "issuing",
        invoice_batches.c.attempt == claim.attempt,
    )


def _missing(connection: Connection, batch: Row[Any]) -> tuple[InvoiceOrder, ...]:
    rows = connection.execute(
        select(invoices).where(invoices.c.batch_id == batch.id).order_by(invoices.c.position)
    ).all()
    orders = order_invoices(
        batch.tag, [(Payer(row.payer_name, row.payer_tax_id_to_issue), row.amount_centavos) for row in rows]
    )
    return tuple(order for order, row in zip(orders, rows, strict=True) if row.bank_invoice_id is None)


def _window(row: Row[Any]) -> IssuingWindow:
    return IssuingWindow(row.token, row.opened_at, timedelta(seconds=row.interval_seconds), row.slots)


def _slot_batches(connection: Connection) -> dict[int, Row[Any]]:
    rows = connection.execute(
        select(
            invoice_batches.c.slot,
            invoice_batches.c.state,
            invoice_batches.c.late,
            func.count(invoices.c.id).label("planned"),
            func.count(invoices.c.bank_invoice_id).label("issued"),
        )
        .outerjoin(invoices, invoices.c.batch_id == invoice_batches.c.id)
        .where(invoice_batches.c.slot >= 0)  # one that was requested by hand has no slot
        .group_by(invoice_batches.c.slot, invoice_batches.c.state, invoice_batches.c.late)
    )
    return {row.slot: row for row in rows}


def _slot(window: IssuingWindow, slot: int, batch: Row[Any] | None, now: datetime) -> Slot:
    state = slot_state(window, slot, None if batch is None else batch.state, now)
    return Slot(
        slot=slot,
        begins_at=window.begins_at(slot),
        state=state,
        is_late=state == SlotState.OVERDUE
        or (state == SlotState.ISSUED and batch is not None and batch.late),
        planned_invoices=0 if batch is None else batch.planned,
        issued_invoices=0 if batch is None else batch.issued,
    )


def _batch_row(
    tag: str, slot: int | None, state: str, due_at: datetime, *, late: bool, now: datetime
) -> dict[str, Any]:
    return {
        "slot": slot,
        "tag": tag,
        "state": state,
        "attempt": 0,
        "due_at": due_at,
        "next_at": now,
        "late": late,
        "planned_at": now,
    }
