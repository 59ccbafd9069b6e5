"""What the bank has of a claimed transfer's lineage, recorded, and what is done about it (see payments/lineage.py).

It is sent, adopted, replaced, given back, or the bank is asked why an earlier one failed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from payments.ledger.attention import AttentionKind, resolve_attention
from payments.ledger.generations import destination_of
from payments.ledger.lineages import lineage_of, lock_lineage, sightings_of, transfer_of
from payments.ledger.outcomes import apply_sighting, fail_and_reissue, kill, stop_for
from payments.ledger.reversals import apply_reversal, owed_centavos, restore_withheld, shrink
from payments.ledger.sightings import sight
from payments.ledger.state_changes import move, write_history
from payments.ledger.transfers import Claim, give_back, move_claimed
from payments.lineage import Adopt, AskWhy, Replace, Send, Wait, judge
from payments.policy import ForwardingPolicy
from payments.storage.database import Database, repeated_on_conflict
from payments.storage.prepared import Row
from payments.transfer import BankTransfer, TransferState, difference


@dataclass(frozen=True, slots=True)
class LookupVerdict:
    """What came of a look-up: ``to_send`` is set when sending is safe, ``ask_why`` when logs must be read first."""

    outcome: str
    to_send: Claim | None = None
    ask_why: tuple[str, ...] = ()


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


def _record_lookup(
    connection: Connection,
    claim: Claim,
    found: Sequence[BankTransfer],
    call_tag: str,
    policy: ForwardingPolicy,
    now: datetime,
) -> LookupVerdict:
    credit = lock_lineage(connection, claim.invoice_id)
    if credit is None:  # lost in a failover; reconciliation finds it anew, and looks it up again
        return LookupVerdict("overtaken")
    for transfer in found:
        sight(connection, transfer, lineage_of(connection, transfer.external_id), None, now)
    row = transfer_of(connection, claim.external_id)
    if row is None or row.id != claim.transfer_id:  # the same, and it is recorded anew already
        return LookupVerdict("overtaken")
    if row.state != TransferState.SENDING or row.attempt != claim.attempt:
        return LookupVerdict("overtaken")
    judgement = judge(claim.external_id, sightings_of(connection, credit.number), found)
    if isinstance(judgement, AskWhy):
        return LookupVerdict("ask_why", ask_why=judgement.bank_transfer_ids)
    if isinstance(judgement, Wait):
        give_back(connection, claim, judgement.reason, policy, now)
        return LookupVerdict("released")
    if isinstance(judgement, Adopt):
        _adopt(connection, row, judgement.found, policy, now)
        return LookupVerdict("found")
    if isinstance(judgement, Replace):
        fail_and_reissue(connection, row, judgement.reason, policy, now)
        return LookupVerdict("failed")
    assert isinstance(judgement, Send)
    return _clear_to_send(connection, claim, row, credit, call_tag, now)


def _clear_to_send(
    connection: Connection,
    claim: Claim,
    row: Row,
    credit: Row,
    call_tag: str,
    now: datetime,
) -> LookupVerdict:
    owed = owed_centavos(connection, credit)
    if owed < row.amount_centavos:
        # reversed while we did not know; now we know that the bank has nothing of it
        shrink(connection, row, credit, owed, now)
        resolve_attention(connection, AttentionKind.REVERSED_AFTER_SENDING, claim.invoice_id, now)
        if owed == 0:
            return LookupVerdict("stopped")
    moved = move_claimed(
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


def _adopt(
    connection: Connection, claimed: Row, found: BankTransfer, policy: ForwardingPolicy, now: datetime
) -> None:
    """A transfer of this lineage lives at the bank: give it to the row whose external_id it carries."""
    owner = transfer_of(connection, found.external_id)
    if owner is None or owner.invoice_id != claimed.invoice_id:
        kill(
            connection,
            claimed,
            f"the bank's transfer {found.id} carries our tag but not our external_id",
            now,
        )
        return
    differs = difference(found, owner.amount_centavos, destination_of(connection, owner.destination_id))
    if differs:
        kill(connection, claimed, differs, now)
        return
    if owner.id != claimed.id:
        stop_for(connection, claimed, owner, now)
        credit = lock_lineage(connection, claimed.invoice_id)
        assert credit is not None  # a transfer has its credit
        restore_withheld(connection, credit, owner)
    origins = (TransferState.SENDING, TransferState.FAILED, TransferState.STOPPED)
    row = move(connection, owner, origins, TransferState.SENT, bank_transfer_id=found.id, sent_at=now)
    write_history(connection, [(row, "found", f"at the bank as {found.id}, {found.status}")], now)
    apply_sighting(connection, row, policy, now)
    resolve_attention(connection, AttentionKind.TRANSFER_STUCK, claimed.external_id, now)
    apply_reversal(connection, claimed.invoice_id, now)
