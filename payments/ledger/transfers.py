"""Transfers in our books: claimed, sent, found, settled, failed, reissued. One public function, one transaction.

Every change is an UPDATE guarded by the states it may come from and, for whoever claimed a row, by the attempt
it was claimed with; its row count is checked. Facts from the bank are matched by the bank's transfer id, so a
failed twin cannot fail the good one. Functions that take a Connection run inside the caller's transaction.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    Connection,
    Insert,
    Table,
    and_,
    bindparam,
    case,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from payments.ledger import totals
from payments.ledger.attention import AttentionKind, raise_attention, resolve_attention
from payments.ledger.database import Database, insert_new, repeated_on_conflict
from payments.ledger.many import InsertMany
from payments.ledger.prepared import Prepared, Row
from payments.ledger.switches import is_paused
from payments.ledger.tables import (
    attentions,
    bank_transfers,
    credits,
    destinations,
    is_live,
    reversals,
    transfer_history,
    transfers,
)
from payments.ledger.waking import notify
from payments.lineage import Adopt, AskWhy, Replace, Send, Sighting, Wait, judge
from payments.policy import ForwardingPolicy
from payments.transfer import (
    LOST_STATUSES,
    BankStatus,
    BankTransfer,
    Destination,
    TransferNews,
    TransferOrder,
    TransferState,
    difference,
    external_id_for,
    lineage_for,
    reissue_delay,
    retry_delay,
)

# After so many claims without a conclusive answer a person should know; the machine goes on trying.
STUCK_AFTER_ATTEMPTS = 10

# More than REISSUE_MAX can ask for (20), of whatever deployment. An operator's retries end there too: look-ups
# judge so many generations, and one more would be sent without being judged.
GENERATIONS_MAX = 24

# A Pix arrives within seconds and a TED on the next bank day: a day without an outcome is worth a look. (A TED of
# a Friday may be raised on Saturday; it closes itself on Monday.)
UNSETTLED_AFTER = timedelta(hours=24)

# Facts of a transfer's history that later decisions rest on: what an operator has decided about it.
RETRIED = "retried"
ABANDONED = "abandoned"

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


@dataclass(frozen=True, slots=True)
class LookupVerdict:
    """What came of a look-up: ``to_send`` is set when sending is safe, ``ask_why`` when logs must be read first."""

    outcome: str
    to_send: Claim | None = None
    ask_why: tuple[str, ...] = ()


# --- the sender's side: claim, then one of the records below ---


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
            _count_move(connection, TransferState.PENDING, row.amount_centavos, row)
        _write_history(connection, [(row, "claimed", None) for row in rows], now)
        destinations_ = {id_: _destination(connection, id_) for id_ in {row.destination_id for row in rows}}
        return [
            _to_claim(row, destinations_[row.destination_id])
            # in the order in which all lock lineages, see inbox._lock_order
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
        for claim in claims:
            _lock_lineage(connection, claim.invoice_id)
        # Nearly always the first that we hear of them; else what we heard earlier may go further than "accepted".
        sightings = [_sighting_row(accepted[claim.external_id], None, now) for claim in claims]
        are_new = _INSERT_SIGHTINGS.run(connection, sightings) == len(claims)
        for claim in claims:
            there = accepted[claim.external_id]
            if not are_new:
                _sight(connection, there, None, now)
            row = _move_claimed(connection, claim, TransferState.SENT, bank_transfer_id=there.id, sent_at=now)
            if row is not None:
                facts.append((row, "sent", f"the bank's id is {there.id}"))
                totals.add(connection, "sent", 1, row.amount_centavos, now)
                if not are_new or there.status != BankStatus.CREATED:
                    _apply_sighting(connection, row, policy, now)
            if claim.attempt >= STUCK_AFTER_ATTEMPTS:
                resolve_attention(connection, AttentionKind.TRANSFER_STUCK, claim.external_id, now)
        _write_history(connection, facts, now)
        resolve_attention(connection, AttentionKind.BANK_REFUSES_US, "transfers", now)
    return len(facts)


@repeated_on_conflict
def record_unclear(database: Database, claims: Sequence[Claim], reason: str, now: datetime) -> None:
    """Note that we do not know what became of a call. The rows stay claimed until their lease ends."""
    with database.transaction() as connection:
        for claim in claims:
            row = _move_claimed(
                connection,
                claim,
                TransferState.SENDING,
                reason=reason,
                lease_expires_at=claim.lease_expires_at,
            )
            if row is not None:
                _write_history(connection, [(row, "unclear", reason)], now)
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
            _release(connection, claim, reason, policy, now, wait_seconds, at_once)
        if caller_refused:
            raise_attention(connection, AttentionKind.BANK_REFUSES_US, "transfers", reason, now)


@repeated_on_conflict
def refuse(database: Database, claim: Claim, reason: str, now: datetime) -> None:
    """Record that the bank will not take this transfer as it is: dead, for a person to decide."""
    with database.transaction() as connection:
        row = _move_claimed(connection, claim, TransferState.DEAD, reason=reason)
        if row is not None:
            _bury(connection, row, reason, now)


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
    with database.transaction() as connection:
        return [_record_lookup(connection, claim, found, call_tag, policy, now) for claim, found in lookups]


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
            )
        return len(rows)


# --- inside the inbox's transaction ---


def create_first_transfers(
    connection: Connection,
    owed: Sequence[tuple[str, int]],
    policy: ForwardingPolicy,
    now: datetime,
    ask_first: bool,
) -> int:
    """Create the pending transfers of new credits (invoice id, centavos), due at once; returns how many.

    ``ask_first``: the bank may know transfers of these credits that our books do not (older books were restored, or
    another deployment was at work), so nothing is sent before a look-up. They count as attempted once.
    """
    destination_id = _destination_id(connection, policy.destination)
    attempt = 1 if ask_first else 0
    totals.add(
        connection, f"transfers.{TransferState.PENDING}", len(owed), sum(centavos for _, centavos in owed)
    )
    notify(connection)
    return _INSERT_FIRST.run(
        connection,
        [
            (
                *(invoice_id, 1, external_id_for(invoice_id, 1), centavos, destination_id),
                *(TransferState.PENDING.value, attempt, 0, now, now),
            )
            for invoice_id, centavos in owed
        ],
    )


def record_news(connection: Connection, news: TransferNews, policy: ForwardingPolicy, now: datetime) -> bool:
    """Record what a transfer log says. False when it is no transfer of ours.

    Success settles the transfer of that external_id wherever it stands: the money has moved. Failure counts only
    for the very transfer that we hold as accepted; any other is a twin, and only seen.
    """
    there = news.transfer
    # not locked yet: whoever changes a lineage locks its credit first, then its transfers
    invoice_id = _INVOICE_OF.run(connection, {"external_id": there.external_id}).scalar()
    if invoice_id is None:
        return _sight_other_deployment(connection, news, now)
    lost = there.status in LOST_STATUSES or news.log_type in LOST_STATUSES
    if not lost and there.status != BankStatus.SUCCESS:
        _sight(connection, there, None, now)
        return True  # under way: worth knowing, but nothing follows from it
    _lock_lineage(connection, invoice_id)
    _sight(connection, there, news.errors if lost else None, now)
    row = _owner(connection, there.external_id)
    assert row is not None  # a transfer is never deleted
    if there.status == BankStatus.SUCCESS:
        _record_success(connection, row, there, policy, now)
    elif lost and row.bank_transfer_id == there.id:
        reason = "; ".join(news.errors) or f"the bank reports {there.status}"
        if row.state == TransferState.SENT:
            _fail_and_reissue(connection, row, reason, policy, now)
        elif row.state == TransferState.SETTLED:
            raise_attention(
                connection,
                AttentionKind.RETURNED,
                row.external_id,
                f"the bank reported success for {there.id} and now {there.status}: {reason}",
                now,
            )
    return True


def apply_reversal(connection: Connection, invoice_id: str, now: datetime) -> None:
    """Let the reversals on record bear on a credit: stop or shrink what was not sent, claim back what was."""
    credit = _lock_lineage(connection, invoice_id)
    if credit is None or credit.disposition != "forward":
        return
    owed = owed_centavos(connection, credit)
    live = _live(connection, invoice_id)
    if live is None or live.amount_centavos <= owed:
        return
    if live.state == TransferState.PENDING and live.calls == 0:
        _shrink(connection, live, credit, owed, now)
        return
    raise_attention(
        connection,
        AttentionKind.REVERSED_AFTER_SENDING,
        invoice_id,
        f"{live.amount_centavos - owed} centavos were reversed by the bank after transfer {live.external_id} "
        f"({live.state}) had been sent or may have been",
        now,
    )


def owed_centavos(connection: Connection, credit: Row) -> int:
    """What is to be forwarded of a credit, given its reversals: never more than its net, never below zero."""
    remaining = _REMAINING.run(connection, {"invoice": credit.invoice_id}).scalar()
    if remaining is None:
        return int(credit.net_centavos)
    return max(0, min(int(credit.net_centavos), int(remaining) - int(credit.fee_centavos)))


# --- inside an operator's transaction (acts.py) ---


def lock_owner(connection: Connection, external_id: str) -> Row | None:
    """The transfer, with its lineage locked, so that nobody else moves it meanwhile; None when it is not ours."""
    invoice_id = _INVOICE_OF.run(connection, {"external_id": external_id}).scalar()
    if invoice_id is None:
        return None
    _lock_lineage(connection, invoice_id)
    return _owner(connection, external_id)


def lineage_facts(connection: Connection, invoice_id: str) -> tuple[Row, int, Sequence[Sighting]]:
    """A credit, its latest generation, and all that the bank has said of its transfers."""
    credit = _lock_lineage(connection, invoice_id)
    assert credit is not None  # a transfer has its credit
    latest = _LATEST_GENERATION.run(connection, {"invoice": invoice_id}).scalar_one()
    return credit, int(latest), _sightings(connection, invoice_id)


def revive(connection: Connection, dead: Row, detail: str, now: datetime) -> None:
    """A dead transfer becomes pending, due now. It counts as an attempt, so it is never taken for a fresh one:

    the bank is asked for its whole lineage before anything is sent, and whoever held it before is fenced off.
    """
    row = _move(
        connection, dead, (TransferState.DEAD,), TransferState.PENDING, due_at=now, attempt=dead.attempt + 1
    )
    _write_history(connection, [(row, RETRIED, detail)], now)
    notify(connection)
    resolve_attention(connection, AttentionKind.TRANSFER_DEAD, row.external_id, now)


def hurry(connection: Connection, waiting: Row, detail: str, now: datetime) -> None:
    """A pending transfer that waits is due now; whether it must be looked up first does not change."""
    row = _move(connection, waiting, (TransferState.PENDING,), TransferState.PENDING, due_at=now)
    _write_history(connection, [(row, "hurried", detail)], now)
    notify(connection)


def give_up(connection: Connection, dead: Row, detail: str, now: datetime) -> None:
    """A dead transfer stays dead for good; only the bank's own success can still move it."""
    row = _move(connection, dead, (TransferState.DEAD,), TransferState.DEAD, reason=detail)
    _write_history(connection, [(row, ABANDONED, detail)], now)
    resolve_attention(connection, AttentionKind.TRANSFER_DEAD, row.external_id, now)


def has_fact(connection: Connection, row: Row, fact: str) -> bool:
    """Tell whether this has ever happened to a transfer."""
    return bool(_HAS_FACT.run(connection, {"transfer_id": row.id, "fact": fact}))


# --- below: the parts of the above ---


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


def _move_claimed(connection: Connection, claim: Claim, state: TransferState, **values: Any) -> Row | None:
    """Move a row that we hold. None when the claim was lost: its lease ran out, or an event overtook us."""
    new = {"state": state, "lease_expires_at": None} | values
    guard = {"id_": claim.transfer_id, "attempt_": claim.attempt}
    update_ = _guarded_update(tuple(new), (TransferState.SENDING,))
    row = update_.run(connection, guard | new).one_or_none()
    if row is not None:
        _count_move(connection, TransferState.SENDING, row.amount_centavos, row)
    return row


def _move(
    connection: Connection,
    row: Row,
    origins: Sequence[TransferState],
    state: TransferState,
    **values: Any,
) -> Row:
    """Move a row that was read in this transaction, under the lineage's lock; anything else is a bug."""
    new = {"state": state, "lease_expires_at": None} | values
    guard = {"id_": row.id, "attempt_": row.attempt}
    moved = _guarded_update(tuple(new), tuple(origins)).run(connection, guard | new).one()
    _count_move(connection, row.state, row.amount_centavos, moved)
    return moved


def _count_move(connection: Connection, old_state: str, old_centavos: int, row: Row) -> None:
    if row.state != old_state:
        totals.add(connection, f"transfers.{old_state}", -1, -old_centavos)
        totals.add(connection, f"transfers.{row.state}", 1, row.amount_centavos)


def _release(
    connection: Connection,
    claim: Claim,
    reason: str,
    policy: ForwardingPolicy,
    now: datetime,
    wait_seconds: float | None = None,
    at_once: bool = False,
) -> None:
    delay = retry_delay(claim.attempt, policy.retry_base_seconds, policy.retry_max_seconds)
    wait = timedelta(0) if at_once else max(delay, timedelta(seconds=wait_seconds or 0))
    row = _move_claimed(connection, claim, TransferState.PENDING, reason=reason, due_at=now + wait)
    if row is not None:
        _write_history(connection, [(row, "released", reason)], now)
        _raise_if_stuck(connection, row, reason, now)


def _raise_if_stuck(connection: Connection, row: Row, reason: str, now: datetime) -> None:
    if row.attempt >= STUCK_AFTER_ATTEMPTS:
        raise_attention(
            connection,
            AttentionKind.TRANSFER_STUCK,
            row.external_id,
            f"no conclusive answer after {row.attempt} attempts, and still trying: {reason}",
            now,
        )


def _record_lookup(
    connection: Connection,
    claim: Claim,
    found: Sequence[BankTransfer],
    call_tag: str,
    policy: ForwardingPolicy,
    now: datetime,
) -> LookupVerdict:
    credit = _lock_lineage(connection, claim.invoice_id)
    for transfer in found:
        _sight(connection, transfer, None, now)
    row = _BY_ID.run(connection, {"id": claim.transfer_id}).one()
    if row.state != TransferState.SENDING or row.attempt != claim.attempt:
        return LookupVerdict("overtaken")
    judgement = judge(claim.external_id, _sightings(connection, claim.invoice_id), found)
    if isinstance(judgement, AskWhy):
        return LookupVerdict("ask_why", ask_why=judgement.bank_transfer_ids)
    if isinstance(judgement, Wait):
        _release(connection, claim, judgement.reason, policy, now)
        return LookupVerdict("released")
    if isinstance(judgement, Adopt):
        _adopt(connection, row, judgement.found, policy, now)
        return LookupVerdict("found")
    if isinstance(judgement, Replace):
        _fail_and_reissue(connection, row, judgement.reason, policy, now)
        return LookupVerdict("failed")
    assert isinstance(judgement, Send)
    return _clear_to_send(connection, claim, row, credit, call_tag, now)


def _clear_to_send(
    connection: Connection,
    claim: Claim,
    row: Row,
    credit: Row | None,
    call_tag: str,
    now: datetime,
) -> LookupVerdict:
    assert credit is not None  # a transfer has its credit
    owed = owed_centavos(connection, credit)
    if owed < row.amount_centavos:
        # reversed while we did not know; now we know that the bank has nothing of it
        _shrink(connection, row, credit, owed, now)
        resolve_attention(connection, AttentionKind.REVERSED_AFTER_SENDING, claim.invoice_id, now)
        if owed == 0:
            return LookupVerdict("stopped")
    moved = _move_claimed(
        connection,
        claim,
        TransferState.SENDING,
        calls=claim.calls + 1,
        call_tag=call_tag,
        lease_expires_at=claim.lease_expires_at,
    )
    assert moved is not None  # its state and attempt were read in this transaction
    ready = replace(claim, calls=moved.calls, call_tag=call_tag, amount_centavos=moved.amount_centavos)
    return LookupVerdict("clear", to_send=ready)


def _shrink(connection: Connection, row: Row, credit: Row, owed: int, now: datetime) -> None:
    """Lower a transfer that the bank does not have to what is owed, or stop it when nothing is."""
    if owed == 0:
        stopped = _move(
            connection,
            row,
            (TransferState.PENDING, TransferState.SENDING),
            TransferState.STOPPED,
            reason="the credit was reversed before it was sent",
        )
        _write_history(connection, [(stopped, "stopped", stopped.reason)], now)
    else:
        _LOWER.run(connection, {"id_": row.id, "attempt_": row.attempt, "amount": owed}).one()
        totals.add(connection, f"transfers.{row.state}", 0, owed - row.amount_centavos)
        _write_history(connection, [(row, "lowered", f"to {owed} centavos by a reversal")], now)
    withhold(connection, credit.invoice_id, credit.net_centavos - owed)


def withhold(connection: Connection, invoice_id: str, centavos: int) -> None:
    """Set how much of a credit is not to be forwarded, because it was reversed before it was sent."""
    before = _WITHHELD.run(connection, {"invoice": invoice_id}).scalar_one()
    if centavos != before:
        _WITHHOLD.run(connection, {"invoice": invoice_id, "withheld": centavos})
        number = (centavos > 0) - (before > 0)
        totals.add(connection, "credits.withheld", number, centavos - before)


def _adopt(
    connection: Connection, claimed: Row, found: BankTransfer, policy: ForwardingPolicy, now: datetime
) -> None:
    """A transfer of this lineage lives at the bank: give it to the row whose external_id it carries."""
    owner = _owner(connection, found.external_id)
    if owner is None or owner.invoice_id != claimed.invoice_id:
        _kill(
            connection,
            claimed,
            f"the bank's transfer {found.id} carries our tag but not our external_id",
            now,
        )
        return
    differs = difference(found, owner.amount_centavos, _destination(connection, owner.destination_id))
    if differs:
        _kill(connection, claimed, differs, now)
        return
    if owner.id != claimed.id:
        _stop_for(connection, claimed, owner, now)
        credit = _lock_lineage(connection, claimed.invoice_id)
        assert credit is not None  # a transfer has its credit
        _restore_withheld(connection, credit, owner)
    origins = (TransferState.SENDING, TransferState.FAILED, TransferState.STOPPED)
    row = _move(connection, owner, origins, TransferState.SENT, bank_transfer_id=found.id, sent_at=now)
    _write_history(connection, [(row, "found", f"at the bank as {found.id}, {found.status}")], now)
    _apply_sighting(connection, row, policy, now)
    resolve_attention(connection, AttentionKind.TRANSFER_STUCK, claimed.external_id, now)
    apply_reversal(connection, claimed.invoice_id, now)


def _record_success(
    connection: Connection, row: Row, there: BankTransfer, policy: ForwardingPolicy, now: datetime
) -> None:
    if row.state == TransferState.SETTLED:
        if row.bank_transfer_id != there.id:
            _raise_paid_twice(connection, row, there, now)
        return
    live = _live(connection, row.invoice_id)
    differs = difference(there, row.amount_centavos, _destination(connection, row.destination_id))
    if differs:
        if live is not None and live.state not in (TransferState.SETTLED, TransferState.DEAD):
            _kill(connection, live, differs, now)
        raise_attention(connection, AttentionKind.TRANSFER_DEAD, row.external_id, differs, now)
        return
    if live is not None and live.id != row.id:
        may_be_there = live.calls > 0 and live.state != TransferState.DEAD
        if may_be_there or live.state in (TransferState.SENT, TransferState.SETTLED):
            _raise_paid_twice(connection, row, there, now)
            return
        _raise_if_abandoned(connection, live, there, now)
        _stop_for(connection, live, row, now)
    elif live is not None:
        _raise_if_abandoned(connection, live, there, now)
    credit = _lock_lineage(connection, row.invoice_id)
    assert credit is not None  # a transfer has its credit
    _restore_withheld(connection, credit, row)
    _settle(connection, row, there.id, now)
    apply_reversal(connection, row.invoice_id, now)


def _raise_paid_twice(connection: Connection, row: Row, there: BankTransfer, now: datetime) -> None:
    raise_attention(
        connection,
        AttentionKind.PAID_TWICE,
        row.invoice_id,
        f"the bank reports success for {there.id} ({there.external_id}, {there.amount_centavos} centavos) "
        "while another transfer of the same credit is paid or under way",
        now,
    )


def _raise_if_abandoned(connection: Connection, live: Row, there: BankTransfer, now: datetime) -> None:
    """The bank paid after all what an operator had given up, perhaps because it was paid by hand."""
    if live.state == TransferState.DEAD and has_fact(connection, live, ABANDONED):
        raise_attention(
            connection,
            AttentionKind.PAID_TWICE,
            live.invoice_id,
            f"the bank reports success for {there.id} ({there.external_id}, {there.amount_centavos} centavos) after "
            f"{live.external_id} was abandoned; if it was paid by hand, it is paid twice",
            now,
        )


def _settle(connection: Connection, row: Row, bank_transfer_id: str, now: datetime) -> None:
    origins = tuple(state for state in TransferState if state != TransferState.SETTLED)
    settled = _move(
        connection,
        row,
        origins,
        TransferState.SETTLED,
        bank_transfer_id=bank_transfer_id,
        sent_at=row.sent_at or now,
        settled_at=now,
    )
    _write_history(connection, [(settled, "settled", f"the bank's id is {bank_transfer_id}")], now)
    totals.add(connection, "settled", 1, row.amount_centavos, now)
    totals.add_settlement(connection, _waited_seconds(connection, row, now), row.amount_centavos, now)
    _resolve_waiting(connection, row, now)
    for generation in range(1, row.generation + 1):
        external_id = external_id_for(row.invoice_id, generation)
        resolve_attention(connection, AttentionKind.TRANSFER_DEAD, external_id, now)


def _waited_seconds(connection: Connection, row: Row, now: datetime) -> float:
    """How long ago the credit was recorded that this transfer forwards."""
    began_at = row.created_at
    if row.generation > 1:
        credit = _lock_lineage(connection, row.invoice_id)
        assert credit is not None  # a transfer has its credit
        began_at = credit.recorded_at
    return float((now - began_at).total_seconds())


def _apply_sighting(connection: Connection, row: Row, policy: ForwardingPolicy, now: datetime) -> None:
    """Catch up with an outcome that was reported before we knew that the transfer was ours."""
    seen = _SEEN.run(connection, {"id": row.bank_transfer_id}).one()
    if seen.status == BankStatus.SUCCESS:
        _settle(connection, row, seen.bank_transfer_id, now)
    elif seen.status in LOST_STATUSES:
        reason = "; ".join(json.loads(seen.errors or "[]")) or f"the bank reports {seen.status}"
        _fail_and_reissue(connection, row, reason, policy, now)


def _fail_and_reissue(
    connection: Connection, row: Row, reason: str, policy: ForwardingPolicy, now: datetime
) -> None:
    """This external_id is spent. Put the next generation in line; it is looked up before it is sent."""
    origins = (TransferState.SENDING, TransferState.SENT)
    # An earlier generation that was found alive and revived may fail after later ones were made and stopped.
    latest = _LATEST_GENERATION.run(connection, {"invoice": row.invoice_id}).scalar_one()
    # An operator who retries a dead transfer grants it one replacement beyond REISSUE_MAX, and wants it now. The
    # replacement has no such fact of its own: should it fail too, it is dead.
    was_retried = has_fact(connection, row, RETRIED)
    if latest >= GENERATIONS_MAX or (latest > policy.reissue_max and not was_retried):
        dead = _move(connection, row, origins, TransferState.DEAD, reason=reason)
        _bury(
            connection, dead, f"no reissue is left after {latest} transfers, the last failed: {reason}", now
        )
        return
    failed = _move(connection, row, origins, TransferState.FAILED, reason=reason)
    _write_history(connection, [(failed, "failed", reason)], now)
    totals.add(connection, "failed", 1, row.amount_centavos, now)
    _resolve_waiting(connection, row, now)
    credit = _lock_lineage(connection, row.invoice_id)
    assert credit is not None  # a transfer has its credit
    owed = owed_centavos(connection, credit)
    withhold(connection, row.invoice_id, credit.net_centavos - owed)
    if owed < row.amount_centavos:
        resolve_attention(connection, AttentionKind.REVERSED_AFTER_SENDING, row.invoice_id, now)
    if owed > 0:
        generation = latest + 1
        delay = reissue_delay(generation, policy.retry_base_seconds, policy.retry_max_seconds)
        due_at = now if was_retried else now + delay
        _insert_transfer(connection, row.invoice_id, generation, owed, policy, now, due_at)


def _kill(connection: Connection, row: Row, reason: str, now: datetime) -> None:
    origins = (TransferState.PENDING, TransferState.SENDING, TransferState.SENT)
    _bury(connection, _move(connection, row, origins, TransferState.DEAD, reason=reason), reason, now)


def _bury(connection: Connection, row: Row, reason: str, now: datetime) -> None:
    _write_history(connection, [(row, "dead", reason)], now)
    _resolve_waiting(connection, row, now)
    raise_attention(connection, AttentionKind.TRANSFER_DEAD, row.external_id, reason, now)


def _stop_for(connection: Connection, row: Row, living: Row, now: datetime) -> None:
    """Withdraw a reissue that the bank does not have, because an earlier transfer turned out to live."""
    origins = (TransferState.PENDING, TransferState.SENDING, TransferState.DEAD)
    reason = f"{living.external_id} lives at the bank"
    stopped = _move(connection, row, origins, TransferState.STOPPED, reason=reason)
    _write_history(connection, [(stopped, "stopped", reason)], now)
    _resolve_waiting(connection, row, now)
    resolve_attention(connection, AttentionKind.TRANSFER_DEAD, row.external_id, now)


def _resolve_waiting(connection: Connection, row: Row, now: datetime) -> None:
    """It waits for the bank no more, whatever came of it."""
    for kind in (AttentionKind.TRANSFER_STUCK, AttentionKind.TRANSFER_UNSETTLED):
        resolve_attention(connection, kind, row.external_id, now)


def _restore_withheld(connection: Connection, credit: Row, row: Row) -> None:
    withhold(connection, credit.invoice_id, credit.net_centavos - row.amount_centavos)


def _insert_transfer(
    connection: Connection,
    invoice_id: str,
    generation: int,
    amount_centavos: int,
    policy: ForwardingPolicy,
    now: datetime,
    due_at: datetime,
) -> None:
    _INSERT_TRANSFER.run(
        connection,
        {
            "invoice_id": invoice_id,
            "generation": generation,
            "external_id": external_id_for(invoice_id, generation),
            "amount_centavos": amount_centavos,
            "destination_id": _destination_id(connection, policy.destination),
            "state": TransferState.PENDING,
            "attempt": 0,
            "calls": 0,
            "due_at": due_at,
            "created_at": now,
        },
    )
    totals.add(connection, f"transfers.{TransferState.PENDING}", 1, amount_centavos)


def _destination_id(connection: Connection, destination: Destination) -> int:
    values = asdict(destination)
    found = _SAME_DESTINATION.run(connection, values).scalar()
    if found is None:
        insert_new(connection, destinations, [values], "id")
        found = _SAME_DESTINATION.run(connection, values).scalar_one()
    return int(found)


def _destination(connection: Connection, destination_id: int) -> Destination:
    there = _DESTINATION.run(connection, {"id": destination_id}).one()
    return Destination(**there._asdict())


def _lock_lineage(connection: Connection, invoice_id: str) -> Row | None:
    """The credit, locked: on PostgreSQL whoever changes a lineage holds its credit's row. (SQLite locks all.)"""
    return _LOCK_CREDIT.run(connection, {"invoice": invoice_id}).one_or_none()


def _owner(connection: Connection, external_id: str) -> Row | None:
    return _BY_EXTERNAL_ID.run(connection, {"external_id": external_id}).one_or_none()


def _live(connection: Connection, invoice_id: str) -> Row | None:
    return _LIVE_OF.run(connection, {"invoice": invoice_id}).one_or_none()


def _sightings(connection: Connection, invoice_id: str) -> list[Sighting]:
    return [
        Sighting(
            row.bank_transfer_id,
            row.external_id,
            row.status,
            None if row.errors is None else tuple(json.loads(row.errors)),
        )
        for row in _SIGHTINGS_OF.run(
            connection,
            {
                f"generation_{each}": external_id_for(invoice_id, each)
                for each in range(1, GENERATIONS_MAX + 1)
            },
        )
    ]


def _sight_other_deployment(connection: Connection, news: TransferNews, now: datetime) -> bool:
    """Keep what the bank says of a reissue that is not in our books, if it is of a credit that is.

    Another deployment on the same account may have made it. False when it is of no credit of ours.
    """
    there = news.transfer
    for tag in there.tags:
        invoice_id = tag.removeprefix(lineage_for(""))
        if not there.external_id.startswith(f"{tag}-r") or invoice_id == tag:
            continue
        if _LOCK_CREDIT.run(connection, {"invoice": invoice_id}):
            lost = there.status in LOST_STATUSES or news.log_type in LOST_STATUSES
            _sight(connection, there, news.errors if lost else None, now)
            return True
    return False


# A later word of the bank replaces an earlier one, never the other way round: events come in any order.
_RANK = {BankStatus.CREATED: 1, BankStatus.PROCESSING: 2}
_FINAL_RANK = 3


def _rank(status: str) -> int:
    return next((rank for word, rank in _RANK.items() if word == status), _FINAL_RANK)


def _sight(
    connection: Connection, there: BankTransfer, errors: tuple[str, ...] | None, now: datetime
) -> None:
    """Keep what the bank says of one of its transfers; a final status stays, reasons are added."""
    if _INSERT_SIGHTINGS.run(connection, [_sighting_row(there, errors, now)]):
        return
    written = None if errors is None else json.dumps(errors)
    seen = _SEEN.run(connection, {"id": there.id}).one()
    status = there.status[:24] if _rank(there.status) > _rank(seen.status) else seen.status
    _UPDATE_SIGHTING.run(
        connection,
        {
            "id_": there.id,
            "new_status": status,
            "new_errors": seen.errors if written is None else written,
            "now": now,
        },
    )


def _sighting_row(there: BankTransfer, errors: tuple[str, ...] | None, now: datetime) -> tuple[Any, ...]:
    written = None if errors is None else json.dumps(errors)
    # cut to the columns' width; the bank's own words are shorter
    return there.id, there.external_id[:96], there.status[:24], there.amount_centavos, written, now


def _write_history(
    connection: Connection, facts: Sequence[tuple[Row, str, str | None]], now: datetime
) -> None:
    _INSERT_HISTORY.run(
        connection, [(row.id, now, fact, row.state, row.attempt, detail) for row, fact, detail in facts]
    )


# --- the statements ---


def _insert_into(table: Table, *names: str) -> Insert:
    return insert(table).values({name: bindparam(name, type_=table.c[name].type) for name in names})


_ID = bindparam("id_", type_=transfers.c.id.type)
_INVOICE = bindparam("invoice", type_=credits.c.invoice_id.type)

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
    select(transfers.c.external_id, transfers.c.bank_transfer_id, transfers.c.sent_at)
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
_HAS_FACT = Prepared(
    select(transfer_history.c.id)
    .where(
        transfer_history.c.transfer_id == bindparam("transfer_id"),
        transfer_history.c.fact == bindparam("fact"),
    )
    .limit(1)
)
# Locked, because a claim does not take the lineage's lock: it skips rows that somebody holds.
_BY_ID = Prepared(select(transfers).where(transfers.c.id == bindparam("id")).with_for_update())
_BY_EXTERNAL_ID = Prepared(
    select(transfers).where(transfers.c.external_id == bindparam("external_id")).with_for_update()
)
_LIVE_OF = Prepared(select(transfers).where(transfers.c.invoice_id == _INVOICE, is_live).with_for_update())
_INVOICE_OF = Prepared(
    select(transfers.c.invoice_id).where(transfers.c.external_id == bindparam("external_id"))
)
_LATEST_GENERATION = Prepared(
    select(func.max(transfers.c.generation)).where(transfers.c.invoice_id == _INVOICE)
)
_LOWER = Prepared(
    update(transfers)
    .where(
        transfers.c.id == _ID, transfers.c.attempt == bindparam("attempt_", type_=transfers.c.attempt.type)
    )
    .values(amount_centavos=bindparam("amount"))
    .returning(transfers.c.id)
)
_TRANSFER_COLUMNS = (
    *("invoice_id", "generation", "external_id", "amount_centavos", "destination_id"),
    *("state", "attempt", "calls", "due_at", "created_at"),
)
_INSERT_TRANSFER = Prepared(_insert_into(transfers, *_TRANSFER_COLUMNS))
_INSERT_FIRST = InsertMany(transfers, *_TRANSFER_COLUMNS)
_INSERT_HISTORY = InsertMany(transfer_history, "transfer_id", "at", "fact", "state", "attempt", "detail")
_INSERT_SIGHTINGS = InsertMany(
    bank_transfers, "bank_transfer_id", "external_id", "status", "amount_centavos", "errors", "seen_at"
)

_LOCK_CREDIT = Prepared(select(credits).where(credits.c.invoice_id == _INVOICE).with_for_update())
_WITHHELD = Prepared(select(credits.c.withheld_centavos).where(credits.c.invoice_id == _INVOICE))
_WITHHOLD = Prepared(
    update(credits).where(credits.c.invoice_id == _INVOICE).values(withheld_centavos=bindparam("withheld"))
)
_REMAINING = Prepared(
    select(func.min(reversals.c.remaining_centavos)).where(reversals.c.invoice_id == _INVOICE)
)

_DESTINATION_COLUMNS = [column for column in destinations.c if column.name != "id"]
_DESTINATION = Prepared(select(*_DESTINATION_COLUMNS).where(destinations.c.id == bindparam("id")))
_SAME_DESTINATION = Prepared(
    select(destinations.c.id).where(*(column == bindparam(column.name) for column in _DESTINATION_COLUMNS))
)

_SEEN = Prepared(
    select(bank_transfers).where(bank_transfers.c.bank_transfer_id == bindparam("id")).with_for_update()
)
_SIGHTINGS_OF = Prepared(
    select(bank_transfers).where(
        or_(
            *(
                bank_transfers.c.external_id == bindparam(f"generation_{each}")
                for each in range(1, GENERATIONS_MAX + 1)
            )
        )
    )
)
_UPDATE_SIGHTING = Prepared(
    update(bank_transfers)
    .where(bank_transfers.c.bank_transfer_id == bindparam("id_"))
    .values(status=bindparam("new_status"), errors=bindparam("new_errors"), seen_at=bindparam("now"))
)


@cache
def _guarded_update(names: tuple[str, ...], origins: tuple[TransferState, ...]) -> Prepared:
    """Set these columns of one row, provided that it is where we think it is."""
    return Prepared(
        update(transfers)
        .where(
            transfers.c.id == _ID,
            transfers.c.attempt == bindparam("attempt_", type_=transfers.c.attempt.type),
            or_(*(transfers.c.state == literal_column(f"'{origin}'") for origin in origins)),
        )
        .values({name: bindparam(name, type_=transfers.c[name].type) for name in names})
        .returning(*transfers.c)
    )
