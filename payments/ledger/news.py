"""What an event or a log of the bank says of a transfer, recorded inside the inbox's transaction.

News are matched by the bank's transfer id, so a failed twin cannot fail the good one.
"""

from datetime import datetime

from sqlalchemy import Connection

from payments.ledger.attention import AttentionKind, raise_attention
from payments.ledger.generations import destination_of
from payments.ledger.lineages import live_of, lock_lineage, owner_of, transfer_of
from payments.ledger.outcomes import fail_and_reissue, kill, settle, stop_for
from payments.ledger.reversals import apply_reversal, restore_withheld
from payments.ledger.sightings import sight
from payments.ledger.state_changes import ABANDONED, has_fact
from payments.policy import ForwardingPolicy
from payments.storage.prepared import Row
from payments.transfer import (
    LOST_STATUSES,
    BankStatus,
    BankTransfer,
    TransferNews,
    TransferState,
    difference,
    lineage_for,
)


def record_news(connection: Connection, news: TransferNews, policy: ForwardingPolicy, now: datetime) -> bool:
    """Record what a transfer log says. False when it is no transfer of ours.

    Success settles the transfer of that external_id wherever it stands: the money has moved. Failure counts only
    for the very transfer that we hold as accepted; any other is a twin, and only seen.
    """
    there = news.transfer
    # not locked yet: whoever changes a lineage locks its credit first, then its transfers
    owner = owner_of(connection, there.external_id)
    if owner is None:
        return _sight_other_deployment(connection, news, now)
    lost = there.status in LOST_STATUSES or news.log_type in LOST_STATUSES
    if not lost and there.status != BankStatus.SUCCESS:
        sight(connection, there, owner.number, None, now)
        return True  # under way: worth knowing, but nothing follows from it
    lock_lineage(connection, owner.invoice_id)
    sight(connection, there, owner.number, news.errors if lost else None, now)
    row = transfer_of(connection, there.external_id)
    assert row is not None  # a transfer is never deleted
    if there.status == BankStatus.SUCCESS:
        _record_success(connection, row, there, policy, now)
    elif lost and row.bank_transfer_id == there.id:
        reason = "; ".join(news.errors) or f"the bank reports {there.status}"
        if row.state == TransferState.SENT:
            fail_and_reissue(connection, row, reason, policy, now)
        elif row.state == TransferState.SETTLED:
            raise_attention(
                connection,
                AttentionKind.RETURNED,
                row.external_id,
                f"the bank reported success for {there.id} and now {there.status}: {reason}",
                now,
                row.invoice_id,
            )
    return True


def _record_success(
    connection: Connection, row: Row, there: BankTransfer, policy: ForwardingPolicy, now: datetime
) -> None:
    if row.state == TransferState.SETTLED:
        if row.bank_transfer_id != there.id:
            _raise_paid_twice(connection, row, there, now)
        return
    live = live_of(connection, row.credit_number)
    differs = difference(there, row.amount_centavos, destination_of(connection, row.destination_id))
    if differs:
        if live is not None and live.state not in (TransferState.SETTLED, TransferState.DEAD):
            kill(connection, live, differs, now)
        raise_attention(
            connection, AttentionKind.TRANSFER_DEAD, row.external_id, differs, now, row.invoice_id
        )
        return
    if live is not None and live.id != row.id:
        may_be_there = live.calls > 0 and live.state != TransferState.DEAD
        if may_be_there or live.state in (TransferState.SENT, TransferState.SETTLED):
            _raise_paid_twice(connection, row, there, now)
            return
        _raise_if_abandoned(connection, live, there, now)
        stop_for(connection, live, row, now)
    elif live is not None:
        _raise_if_abandoned(connection, live, there, now)
    credit = lock_lineage(connection, row.invoice_id)
    assert credit is not None  # a transfer has its credit
    restore_withheld(connection, credit, row)
    settle(connection, row, there.id, now)
    apply_reversal(connection, row.invoice_id, now)


def _raise_paid_twice(connection: Connection, row: Row, there: BankTransfer, now: datetime) -> None:
    raise_attention(
        connection,
        AttentionKind.PAID_TWICE,
        row.invoice_id,
        f"the bank reports success for {there.id} ({there.external_id}, {there.amount_centavos} centavos) "
        "while another transfer of the same credit is paid or under way",
        now,
        row.invoice_id,
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
            live.invoice_id,
        )


def _sight_other_deployment(connection: Connection, news: TransferNews, now: datetime) -> bool:
    """Keep what the bank says of a reissue that is not in our books, if it is of a credit that is.

    Another deployment on the same account may have made it. False when it is of no credit of ours.
    """
    there = news.transfer
    for tag in there.tags:
        invoice_id = tag.removeprefix(lineage_for(""))
        if not there.external_id.startswith(f"{tag}-r") or invoice_id == tag:
            continue
        credit = lock_lineage(connection, invoice_id)
        if credit is not None:
            lost = there.status in LOST_STATUSES or news.log_type in LOST_STATUSES
            sight(connection, there, credit.number, news.errors if lost else None, now)
            return True
    return False
