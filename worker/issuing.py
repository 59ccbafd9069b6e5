"""Issuing: gives each slot of the window its batch of invoices, once.

A batch is planned and stored before it is sent. The bank has no idempotency key for invoices, so after a lost answer we
wait for the lease to end, ask for the invoices with the batch's tag, and create only what is missing. The window itself
is a stored row: a restart neither begins it again nor repeats or loses a slot.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Literal, Protocol

import structlog

from payments.errors import BankError, NotSent, Rejected, Throttled
from payments.invoice import BankInvoice, InvoiceOrder, Payer
from payments.ledger import batches
from payments.ledger.batches import BatchClaim, IssuingWindow
from payments.ledger.pauses import paused
from payments.note import note, note_of
from payments.storage.database import Database
from payments.transfer import retry_delay
from worker.payers import random_amounts, random_payers

log = structlog.get_logger()

# An operator who requested a batch "now" does not want it from a worker that comes back days later.
_REQUESTED_WITHIN = timedelta(hours=1)


class InvoiceBank(Protocol):
    """What issuing needs of the bank. Every method raises BankError and nothing else."""

    timeout_seconds: float  # the longest that one call can take

    def create_invoices(self, orders: Sequence[InvoiceOrder]) -> list[BankInvoice]:
        """Create them in one call, all or none."""
        ...

    def find_invoices(self, tag: str) -> list[BankInvoice]:
        """Every invoice that carries the tag."""
        ...


@dataclass(frozen=True, slots=True)
class IssuingRules:
    """How many invoices a batch has, over how much (centavos), and what becomes of late slots."""

    per_batch_min: int
    per_batch_max: int
    amount_min_centavos: int
    amount_max_centavos: int
    late_slots: Literal["issue", "skip"]
    lease_seconds: float
    retry_base_seconds: float
    retry_max_seconds: float
    tax_id_key: bytes = field(default=b"", repr=False)  # as ForwardingPolicy's
    payers_have_letters: bool = False  # in every second CNPJ


@dataclass(slots=True)
class Issuing:
    """What one run did; ``reasons`` says why each unfinished batch is unfinished."""

    planned: int = 0
    skipped: int = 0
    issued: int = 0
    invoices: int = 0
    unfinished: int = 0
    reasons: list[str] = field(default_factory=list)


def issue_due(
    database: Database,
    bank: InvoiceBank,
    rules: IssuingRules,
    window: IssuingWindow,
    clock: Callable[[], datetime],
) -> Issuing:
    """Plan every begun slot that has no batch, and the batches that operators requested; then issue what is due.

    Does nothing while an operator has paused issuing; slots that pass meanwhile are late when it is resumed. Raises
    LedgerUnavailable.
    """
    counts = Issuing()
    if "issuing" in paused(database):
        return counts
    taken = batches.taken_slots(database)
    for slot in range(window.slots):
        now = clock()
        if slot not in taken and window.begins_at(slot) <= now:
            _plan_slot(database, rules, window, slot, now, counts)
    for tag in batches.requested_batches(database, clock() - _REQUESTED_WITHIN):
        counts.planned += plan_by_hand(database, rules, tag, clock())
    issue_waiting(database, bank, rules, clock, counts)
    return counts


def plan_by_hand(database: Database, rules: IssuingRules, tag: str, now: datetime) -> bool:
    """Plan one batch outside the window, under a tag of its own."""
    plan = _plan(rules, tag)
    return batches.plan_batch(
        database, tag, None, plan, now, late=False, now=now, tax_id_key=rules.tax_id_key
    )


def issue_waiting(
    database: Database,
    bank: InvoiceBank,
    rules: IssuingRules,
    clock: Callable[[], datetime],
    counts: Issuing | None = None,
) -> Issuing:
    """Issue every batch that is due, one call each."""
    counts = counts or Issuing()
    while claim := batches.claim_batch(database, rules.lease_seconds, clock()):
        _issue(database, bank, rules, claim, clock, counts)
    return counts


def _plan_slot(
    database: Database,
    rules: IssuingRules,
    window: IssuingWindow,
    slot: int,
    now: datetime,
    counts: Issuing,
) -> None:
    begins_at = window.begins_at(slot)
    late = window.is_late(slot, now)
    tag = window.batch_tag(slot)
    if late and rules.late_slots == "skip":
        if batches.skip_slot(database, tag, slot, begins_at, now):
            counts.skipped += 1
            log.warning("slot.skipped", slot=slot + 1, began_at=begins_at.isoformat())
    elif batches.plan_batch(
        database, tag, slot, _plan(rules, tag), begins_at, late=late, now=now, tax_id_key=rules.tax_id_key
    ):
        counts.planned += 1
        log.info("batch.planned", slot=slot + 1, batch=tag, late=late)


def _plan(rules: IssuingRules, tag: str) -> list[tuple[Payer, int]]:
    # From the tag alone, so that a database restored from an older backup plans the very same batch again, and finds at
    # the bank what was issued of it.
    random = Random(tag)
    count = random.randint(rules.per_batch_min, rules.per_batch_max)
    amounts = random_amounts(random, count, rules.amount_min_centavos, rules.amount_max_centavos)
    payers = random_payers(random, count, have_letters=rules.payers_have_letters)
    return list(zip(payers, amounts, strict=True))


def _issue(
    database: Database,
    bank: InvoiceBank,
    rules: IssuingRules,
    claim: BatchClaim,
    clock: Callable[[], datetime],
    counts: Issuing,
) -> None:
    try:
        # A worker that held the claim before may have sent it, or the database was restored from an older backup, so
        # always ask before creating anything. It costs one call in three hours.
        missing = batches.record_issued(database, claim, bank.find_invoices(claim.tag), clock())
        if missing:
            _require_time(claim, bank, clock())
            created = bank.create_invoices(missing)
            missing = batches.record_issued(database, claim, created, clock())
    except (NotSent, Throttled, Rejected, _OutOfTime) as error:
        counts.reasons.append(_release(database, rules, claim, error, clock()))
        counts.unfinished += 1
    except BankError as error:
        # The same for look-up and creation: the next claim asks the bank first.
        batches.record_batch_unclear(database, claim, note_of(error))
        log.warning("batch.outcome_unclear", batch=claim.tag, attempt=claim.attempt, reason=str(error))
        counts.reasons.append(note_of(error))
        counts.unfinished += 1
    else:
        counts.issued += not missing
        counts.invoices += len(claim.missing) - len(missing)
        log.info("batch.issued", batch=claim.tag, late=claim.late, invoices=len(claim.missing) - len(missing))


class _OutOfTime(BankError):
    """The lease would end before the call could, so nothing was sent."""


def _require_time(claim: BatchClaim, bank: InvoiceBank, now: datetime) -> None:
    # A call that outlived its lease could create what another worker is creating already.
    if now + timedelta(seconds=bank.timeout_seconds) >= claim.lease_expires_at:
        raise _OutOfTime("the lease was nearly over before it could be sent")


def _release(
    database: Database, rules: IssuingRules, claim: BatchClaim, error: BankError, now: datetime
) -> str:
    delay = retry_delay(claim.attempt, rules.retry_base_seconds, rules.retry_max_seconds)
    reason = note("no_time_to_send") if isinstance(error, _OutOfTime) else note_of(error)
    if isinstance(error, Throttled) and error.retry_after_seconds is not None:
        delay = max(delay, timedelta(seconds=error.retry_after_seconds))
    batches.release_batch(database, claim, reason, now + delay, refused=isinstance(error, Rejected), now=now)
    log.warning("batch.released", batch=claim.tag, attempt=claim.attempt, reason=reason)
    return reason
