"""What the bank says of a transfer that was sent: settled, failed and replaced, or dead; and which have no outcome yet.

Reports are matched by the bank's transfer id, so that a failed twin cannot fail the good one.
"""

from datetime import datetime, timedelta

from sqlalchemy import exists, literal_column, select

from payments.ledger.attention import AttentionKind
from payments.ledger.lineages import Lineage, Transfer, destination_of
from payments.note import bank_says, note
from payments.storage.database import Database, insert_new
from payments.storage.schema import attentions, transfers
from payments.transfer import BankReport, BankStatus, BankTransfer, TransferState, difference

# A Pix arrives within seconds and a TED on the next bank day: a day without an outcome is worth a look. (A TED of
# a Friday may be raised on Saturday; it closes itself on Monday.)
UNSETTLED_AFTER = timedelta(hours=24)


def apply_report(lineage: Lineage, report: BankReport) -> None:
    """Let a report on a transfer of this lineage take its effect; the caller saves.

    Success settles the transfer of that external_id wherever it stands: the money has moved. Failure counts only for
    the very transfer that we hold as accepted; any other is a twin, and only sighted. So is a reissue that is not in
    the database: another deployment on the same account may have made it.
    """
    there = report.transfer
    is_credible = lineage.sight(there, report.errors if report.is_lost else None)
    transfer = lineage.find(there.external_id)
    if transfer is None or not is_credible:
        return
    if there.status == BankStatus.SUCCESS:
        _apply_success(lineage, transfer, there)
    elif report.is_lost and transfer.bank_transfer_id == there.id:
        reason = bank_says(report.errors, there.status)
        if transfer.state == TransferState.SENT:
            lineage.fail_and_reissue(transfer, reason)
        elif transfer.state == TransferState.SETTLED:
            lineage.raise_attention(
                AttentionKind.RETURNED,
                transfer.external_id,
                note("success_withdrawn", id=there.id, status=there.status, why=reason),
            )


def _apply_success(lineage: Lineage, transfer: Transfer, there: BankTransfer) -> None:
    if transfer.state == TransferState.SETTLED:
        if transfer.bank_transfer_id != there.id:
            _raise_paid_twice(lineage, there)
        return
    live = lineage.live
    destination = destination_of(lineage.unit, transfer.destination_id)
    if differs := difference(there, transfer.amount_centavos, destination):
        if live is not None and live.state not in (TransferState.SETTLED, TransferState.DEAD):
            lineage.mark_dead(live, differs)
        lineage.raise_attention(AttentionKind.TRANSFER_DEAD, transfer.external_id, differs)
        return
    if live is not None and live is not transfer:
        may_be_there = live.calls > 0 and live.state != TransferState.DEAD
        if may_be_there or live.state in (TransferState.SENT, TransferState.SETTLED):
            _raise_paid_twice(lineage, there)
            return
        lineage.stop_for(live, transfer)
    if live is not None and live.abandoned_at is not None:
        # An operator had given it up, perhaps because it was paid by hand.
        lineage.raise_attention(
            AttentionKind.PAID_TWICE,
            lineage.credit.invoice_id,
            note(
                "paid_after_abandoned",
                id=there.id,
                external_id=there.external_id,
                centavos=there.amount_centavos,
                abandoned=live.external_id,
            ),
        )
    lineage.withhold_all_but(transfer.amount_centavos)
    lineage.settle(transfer, there.id)
    lineage.apply_reversal()


def _raise_paid_twice(lineage: Lineage, there: BankTransfer) -> None:
    lineage.raise_attention(
        AttentionKind.PAID_TWICE,
        lineage.credit.invoice_id,
        note("paid_twice", id=there.id, external_id=there.external_id, centavos=there.amount_centavos),
    )


# --- which have no outcome yet ---


def in_flight(database: Database, sent_before: datetime, limit: int) -> list[str]:
    """The bank's ids of transfers that were accepted before ``sent_before`` and have no outcome yet."""
    with database.reading() as connection:
        return [
            str(bank_id)
            for bank_id in connection.execute(
                select(transfers.c.bank_transfer_id)
                .where(_IS_SENT, transfers.c.sent_at <= sent_before)
                .order_by(transfers.c.sent_at)
                .limit(limit)
            ).scalars()
        ]


def raise_unsettled(database: Database, now: datetime) -> int:
    """Raise every transfer that the bank accepted more than UNSETTLED_AFTER ago and has not decided; returns how many.

    Once for each acceptance: what a person has closed is not raised again.
    """
    is_raised = exists().where(
        attentions.c.subject == transfers.c.external_id,
        attentions.c.kind == AttentionKind.TRANSFER_UNSETTLED,
        attentions.c.raised_at >= transfers.c.sent_at,
    )
    with database.transaction() as connection:
        rows = connection.execute(
            select(
                transfers.c.external_id,
                transfers.c.invoice_id,
                transfers.c.bank_transfer_id,
                transfers.c.sent_at,
            )
            .where(_IS_SENT, transfers.c.sent_at <= now - UNSETTLED_AFTER, ~is_raised)
            .order_by(transfers.c.sent_at)
            .limit(100)
        ).all()
        insert_new(
            connection,
            attentions,
            [
                {
                    "kind": AttentionKind.TRANSFER_UNSETTLED,
                    "subject": row.external_id,
                    "invoice_id": row.invoice_id,
                    "detail": note("unsettled", id=row.bank_transfer_id, at=row.sent_at.isoformat()),
                    "raised_at": now,
                }
                for row in rows
            ],
            "id",
        )
        return len(rows)


# As a literal, or SQLite does not see that the partial index serves.
_IS_SENT = transfers.c.state == literal_column(f"'{TransferState.SENT}'")
