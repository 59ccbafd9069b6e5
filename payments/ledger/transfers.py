"""The sender's side of transfers: claimed, then recorded as sent, looked up, unclear, released or refused.

One public function is one transaction. A claim is recorded with the attempt it was claimed with; when that is no longer
the row's, its lease ran out and someone else acts on it, or an event overtook it: then nothing changes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import (
    Column,
    ColumnElement,
    Select,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    select,
    update,
)

from payments.ledger.attention import RESOLVE, AttentionKind, raise_attention
from payments.ledger.lineages import (
    INSERT_HISTORY,
    TRANSFER_COLUMNS,
    Lineage,
    Transfer,
    Unit,
    destination_of,
    history_row,
    load_lineages,
    open_unit,
    save,
)
from payments.ledger.pauses import FORWARDING_IS_ON
from payments.lineage import Adopt, AskWhy, Replace, Send, Wait, judge
from payments.note import note
from payments.policy import ForwardingPolicy
from payments.storage.database import Database, repeated_on_conflict
from payments.storage.schema import transfers
from payments.transfer import (
    BankTransfer,
    Destination,
    TransferOrder,
    TransferState,
    difference,
    lineage_for,
    retry_delay,
)

# After this many claims without a conclusive answer a person should know; attempts go on.
STUCK_AFTER_ATTEMPTS = 10

# One in this many transfers of a call is one whose lease ran out, if there are any.
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
        """True when nothing of this lineage can be at the bank yet; otherwise the bank must be asked first."""
        return self.attempt == 1 and self.generation == 1

    @property
    def look_up_tag(self) -> str:
        """The tag that shows all that the bank may have: of the one call ever made, or of the lineage.

        The call's tag answers for a hundred transfers together. If that was not conclusive, the lineage's shows more:
        another deployment on the same account may have sent this credit too.
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


@dataclass(frozen=True, slots=True)
class LookupVerdict:
    """What came of a look-up: ``to_send`` is set when sending is safe, ``ask_why`` when logs must be read first."""

    outcome: str
    to_send: Claim | None = None
    ask_why: tuple[str, ...] = ()


@repeated_on_conflict
def claim(
    database: Database,
    call_tag: str,
    policy: ForwardingPolicy,
    limit: int,
    now: datetime,
) -> list[Claim]:
    """Claim up to ``limit`` transfers that are due: pending ones, and those whose lease ran out.

    Fresh ones are marked as part of the call ``call_tag`` before it is made, so that a crash is looked up by it.
    None while an operator has paused forwarding.
    """
    with open_unit(database, policy, now) as unit:
        lease_expires_at = now + timedelta(seconds=policy.lease_seconds)
        # A share for those whose lease ran out, so that a steady stream of new ones starves none of them; the rest for
        # the new, which cost no look-up; and what is left over for the others again.
        share = max(1, limit // EXPIRED_SHARE)
        expired = _claim_those(unit, _EXPIRED, share, call_tag, lease_expires_at)
        pending = _claim_those(unit, _DUE, limit - len(expired), call_tag, lease_expires_at)
        left = limit - len(expired) - len(pending)
        if left and len(expired) == share:
            expired += _claim_those(unit, _EXPIRED, left, call_tag, lease_expires_at)
        claimed = pending + expired
        if claimed:
            unit.connection.execute(
                INSERT_HISTORY, [history_row(unit, row, "claimed", None) for row in claimed]
            )
        return [
            Claim(
                transfer_id=row.id,
                invoice_id=row.invoice_id,
                generation=row.generation,
                external_id=row.external_id,
                amount_centavos=row.amount_centavos,
                destination=destination_of(unit, row.destination_id),
                attempt=row.attempt,
                calls=row.calls,
                call_tag=row.call_tag or "",
                lease_expires_at=lease_expires_at,
            )
            for row in sorted(claimed, key=lambda row: row.invoice_id)
        ]


def next_due_at(database: Database) -> datetime | None:
    """When the next transfer falls due or the next lease ends; None when nothing waits, or forwarding is paused."""
    with database.reading() as connection:
        moments = connection.execute(_NEXT_MOMENTS).one()
        return min((moment for moment in moments if moment is not None), default=None)


@repeated_on_conflict
def record_sent(
    database: Database,
    claims: Sequence[Claim],
    accepted: Mapping[str, BankTransfer],
    policy: ForwardingPolicy,
    now: datetime,
) -> int:
    """Record that the bank accepted these claims, by external_id. Returns how many were still ours to record."""
    recorded = 0
    with open_unit(database, policy, now) as unit:
        there = [accepted[claim.external_id] for claim in claims]
        lineages = load_lineages(unit, [claim.invoice_id for claim in claims], [each.id for each in there])
        for claim, found in zip(claims, there, strict=True):
            if (lineage := lineages.get(claim.invoice_id)) is None:
                continue  # lost in a failover; reconciliation finds its credit again
            if not lineage.sight(found):
                continue  # raised; the lease ends, and the bank is asked again
            if (transfer := _held(lineage, claim)) is not None:
                recorded += 1
                lineage.move(
                    transfer,
                    TransferState.SENT,
                    "sent",
                    note("bank_id", id=found.id),
                    bank_transfer_id=found.id,
                    sent_at=now,
                )
                # What was reported earlier may go further than "accepted".
                lineage.apply_outcome(transfer)
            lineage.resolve(AttentionKind.TRANSFER_STUCK, claim.external_id)
        save(unit, lineages.values())
        unit.connection.execute(
            RESOLVE, {"_kind": AttentionKind.BANK_REFUSES_US, "_subject": "transfers", "resolved_at": now}
        )
    return recorded


@repeated_on_conflict
def record_unclear(
    database: Database, claims: Sequence[Claim], reason: str, policy: ForwardingPolicy, now: datetime
) -> None:
    """Note that we do not know what became of a call. The rows stay claimed until their lease ends."""

    def note(lineage: Lineage, transfer: Transfer, _: Claim) -> None:
        lineage.change(transfer, "unclear", reason, reason=reason)
        _raise_if_stuck(lineage, transfer, reason)

    with open_unit(database, policy, now) as unit:
        _for_each_held(unit, claims, note)


@repeated_on_conflict
def release(
    database: Database,
    claims: Sequence[Claim],
    reason: str,
    policy: ForwardingPolicy,
    now: datetime,
    *,
    wait_seconds: float = 0,
    is_caller_refused: bool = False,
    was_tried: bool = True,
) -> None:
    """Give claims back, to be tried again after the usual delay (or ``wait_seconds``, if that is longer).

    Without ``was_tried``, for want of time, they are due immediately, before those that came later.
    ``is_caller_refused``: the bank refused our key, project or address, which a person must fix.
    """

    def give_back(lineage: Lineage, transfer: Transfer, _: Claim) -> None:
        _give_back(lineage, transfer, reason, wait_seconds, was_tried=was_tried)

    with open_unit(database, policy, now) as unit:
        _for_each_held(unit, claims, give_back)
        if is_caller_refused:
            raise_attention(unit.connection, AttentionKind.BANK_REFUSES_US, "transfers", reason, now)


@repeated_on_conflict
def refuse(database: Database, claim: Claim, reason: str, policy: ForwardingPolicy, now: datetime) -> None:
    """Record that the bank will not take this transfer as it is: dead, for a person to decide."""
    with open_unit(database, policy, now) as unit:
        _for_each_held(unit, [claim], lambda lineage, transfer, _: lineage.mark_dead(transfer, reason))


@repeated_on_conflict
def record_lookups(
    database: Database,
    lookups: Sequence[tuple[Claim, Sequence[BankTransfer]]],
    call_tag: str,
    policy: ForwardingPolicy,
    now: datetime,
) -> list[LookupVerdict]:
    """Record what successful look-ups showed of claimed lineages, and decide about each (see lineage.judge).

    Claims that may be sent come back with ``call_tag`` already committed as theirs.
    """
    with open_unit(database, policy, now) as unit:
        bank_ids = [each.id for _, found in lookups for each in found]
        lineages = load_lineages(unit, [claim.invoice_id for claim, _ in lookups], bank_ids)
        verdicts = [
            _judge(lineages.get(claim.invoice_id), claim, found, call_tag) for claim, found in lookups
        ]
        save(unit, lineages.values())
        return verdicts


# --- below: what a look-up shows ---


def _judge(
    lineage: Lineage | None, claim: Claim, found: Sequence[BankTransfer], call_tag: str
) -> LookupVerdict:
    if lineage is None:  # lost in a failover; reconciliation finds its credit again, and looks it up
        return LookupVerdict("overtaken")
    is_credible = [lineage.sight(there) for there in found].count(False) == 0
    transfer = _held(lineage, claim)
    if transfer is None:
        return LookupVerdict("overtaken")
    if not is_credible:
        _give_back(lineage, transfer, note("two_credits", id=""))
        return LookupVerdict("released")
    match judge(claim.external_id, list(lineage.sightings.values()), found):
        case AskWhy(bank_transfer_ids):
            return LookupVerdict("ask_why", ask_why=bank_transfer_ids)
        case Wait(reason):
            _give_back(lineage, transfer, reason)
            return LookupVerdict("released")
        case Adopt(there):
            _adopt(lineage, transfer, there)
            return LookupVerdict("found")
        case Replace(reason):
            lineage.fail_and_reissue(transfer, reason)
            return LookupVerdict("failed")
        case Send():
            return _clear_to_send(lineage, transfer, claim, call_tag)


def _clear_to_send(lineage: Lineage, transfer: Transfer, claim: Claim, call_tag: str) -> LookupVerdict:
    if lineage.owed_centavos < transfer.amount_centavos:
        # reversed while we did not know; now we know that the bank has nothing of it
        lineage.lower(transfer)
        lineage.resolve(AttentionKind.REVERSED_AFTER_SENDING, claim.invoice_id)
        if transfer.state == TransferState.STOPPED:
            return LookupVerdict("stopped")
    lineage.change(transfer, None, None, calls=transfer.calls + 1, call_tag=call_tag)
    ready = replace(claim, calls=transfer.calls, call_tag=call_tag, amount_centavos=transfer.amount_centavos)
    return LookupVerdict("clear", to_send=ready)


def _adopt(lineage: Lineage, claimed: Transfer, there: BankTransfer) -> None:
    """A transfer of this lineage lives at the bank: give it to the row whose external_id it carries."""
    owner = lineage.find(there.external_id)
    if owner is None:
        lineage.mark_dead(claimed, note("tag_only", id=there.id))
        return
    destination = destination_of(lineage.unit, owner.destination_id)
    if differs := difference(there, owner.amount_centavos, destination):
        lineage.mark_dead(claimed, differs)
        return
    if owner is not claimed:
        lineage.stop_for(claimed, owner)
        lineage.withhold_all_but(owner.amount_centavos)
    lineage.move(
        owner,
        TransferState.SENT,
        "found",
        note("at_bank", id=there.id, status=there.status),
        bank_transfer_id=there.id,
        sent_at=lineage.unit.now,
    )
    lineage.apply_outcome(owner)
    lineage.resolve(AttentionKind.TRANSFER_STUCK, claimed.external_id)
    lineage.apply_reversal()


# --- below: claims ---


def _held(lineage: Lineage, claim: Claim) -> Transfer | None:
    """The transfer of a claim that is still ours. None when its lease ran out and it moved on, or an event did."""
    transfer = lineage.find(claim.external_id)
    if transfer is None or transfer.id != claim.transfer_id:  # a failover lost it, and it was recorded again
        return None
    is_held = transfer.state == TransferState.SENDING and transfer.attempt == claim.attempt
    return transfer if is_held else None


def _for_each_held(
    unit: Unit, claims: Sequence[Claim], record: Callable[[Lineage, Transfer, Claim], None]
) -> None:
    lineages = load_lineages(unit, [claim.invoice_id for claim in claims])
    for claim in claims:
        lineage = lineages.get(claim.invoice_id)
        if lineage is not None and (transfer := _held(lineage, claim)) is not None:
            record(lineage, transfer, claim)
    save(unit, lineages.values())


def _give_back(
    lineage: Lineage, transfer: Transfer, reason: str, wait_seconds: float = 0, *, was_tried: bool = True
) -> None:
    policy, now = lineage.unit.policy, lineage.unit.now
    delay = retry_delay(transfer.attempt, policy.retry_base_seconds, policy.retry_max_seconds)
    wait = max(delay, timedelta(seconds=wait_seconds)) if was_tried else timedelta(0)
    lineage.move(transfer, TransferState.PENDING, "released", reason, reason=reason, due_at=now + wait)
    _raise_if_stuck(lineage, transfer, reason)


def _raise_if_stuck(lineage: Lineage, transfer: Transfer, reason: str) -> None:
    if transfer.attempt >= STUCK_AFTER_ATTEMPTS:
        lineage.raise_attention(
            AttentionKind.TRANSFER_STUCK,
            transfer.external_id,
            note("stuck", attempts=transfer.attempt, why=reason),
        )


def _claim_those(
    unit: Unit, those: Select[tuple[int]], limit: int, call_tag: str, lease_expires_at: datetime
) -> list[Transfer]:
    rows = unit.connection.execute(
        _CLAIM[those],
        {"now": unit.now, "limit": limit, "new_call_tag": call_tag, "new_lease": lease_expires_at},
    )
    return [Transfer(*row) for row in rows]


# --- the statements, built once ---

# The states as literals, or SQLite does not see that the partial indexes serve.
_IS_PENDING = transfers.c.state == literal_column(f"'{TransferState.PENDING}'")
_IS_SENDING = transfers.c.state == literal_column(f"'{TransferState.SENDING}'")
_NOW = bindparam("now", type_=transfers.c.due_at.type)


def _oldest(is_claimable: ColumnElement[bool], moment: Column[datetime]) -> Select[tuple[int]]:
    return (
        select(transfers.c.id)
        .where(is_claimable, moment <= _NOW, FORWARDING_IS_ON)
        .order_by(moment)
        .limit(bindparam("limit"))
        .with_for_update(skip_locked=True)
    )


_DUE = _oldest(_IS_PENDING, transfers.c.due_at)
_EXPIRED = _oldest(_IS_SENDING, transfers.c.lease_expires_at)
_IS_FRESH = and_(transfers.c.attempt == 0, transfers.c.generation == 1)
_CLAIM = {
    those: update(transfers)
    # A common table expression, so that PostgreSQL locks these rows once and no more.
    .where(transfers.c.id.in_(select(those.cte("those").c.id)))
    .values(
        state=TransferState.SENDING,
        attempt=transfers.c.attempt + 1,
        lease_expires_at=bindparam("new_lease"),
        call_tag=case((_IS_FRESH, bindparam("new_call_tag")), else_=transfers.c.call_tag),
        calls=case((_IS_FRESH, 1), else_=transfers.c.calls),
    )
    .returning(*TRANSFER_COLUMNS)
    for those in (_DUE, _EXPIRED)
}

# A moment that has passed would be asked for again and again while nothing may be claimed.
_NEXT_MOMENTS = select(
    select(func.min(transfers.c.due_at)).where(_IS_PENDING, FORWARDING_IS_ON).scalar_subquery(),
    select(func.min(transfers.c.lease_expires_at)).where(_IS_SENDING, FORWARDING_IS_ON).scalar_subquery(),
)
