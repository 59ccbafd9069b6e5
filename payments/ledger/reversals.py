"""What is owed of a credit when the bank took some of its money back, and what that does to its transfers.

Before the bank has a transfer, it is lowered or stopped; afterwards the money is shown as to be claimed back. All
functions run in the caller's transaction.
"""

from datetime import datetime

from sqlalchemy import Connection, bindparam, func, select, update

from payments.ledger import totals
from payments.ledger.attention import AttentionKind, raise_attention
from payments.ledger.lineages import live_of, lock_lineage
from payments.ledger.state_changes import move, write_history
from payments.storage.prepared import Prepared, Row
from payments.storage.schema import credits, reversals, transfers
from payments.transfer import TransferState


def owed_centavos(connection: Connection, credit: Row) -> int:
    """What is to be forwarded of a credit, given its reversals: never more than its net, never below zero."""
    remaining = _REMAINING.run(connection, {"invoice": credit.invoice_id}).scalar()
    if remaining is None:
        return int(credit.net_centavos)
    return max(0, min(int(credit.net_centavos), int(remaining) - int(credit.fee_centavos)))


def apply_reversal(connection: Connection, invoice_id: str, now: datetime) -> None:
    """Let the reversals on record bear on a credit: stop or shrink what was not sent, claim back what was."""
    credit = lock_lineage(connection, invoice_id)
    if credit is None or credit.disposition != "forward":
        return
    owed = owed_centavos(connection, credit)
    live = live_of(connection, credit.number)
    if live is None or live.amount_centavos <= owed:
        return
    if live.state == TransferState.PENDING and live.calls == 0:
        shrink(connection, live, credit, owed, now)
        return
    raise_attention(
        connection,
        AttentionKind.REVERSED_AFTER_SENDING,
        invoice_id,
        f"{live.amount_centavos - owed} centavos were reversed by the bank after transfer {live.external_id} "
        f"({live.state}) had been sent or may have been",
        now,
        invoice_id,
    )


def shrink(connection: Connection, row: Row, credit: Row, owed: int, now: datetime) -> None:
    """Lower a transfer that the bank does not have to what is owed, or stop it when nothing is."""
    if owed == 0:
        stopped = move(
            connection,
            row,
            (TransferState.PENDING, TransferState.SENDING),
            TransferState.STOPPED,
            reason="the credit was reversed before it was sent",
        )
        write_history(connection, [(stopped, "stopped", stopped.reason)], now)
    else:
        _LOWER.run(connection, {"id_": row.id, "attempt_": row.attempt, "amount": owed}).one()
        totals.add(connection, f"transfers.{row.state}", 0, owed - row.amount_centavos)
        write_history(connection, [(row, "lowered", f"to {owed} centavos by a reversal")], now)
    withhold(connection, credit.invoice_id, credit.net_centavos - owed)


def withhold(connection: Connection, invoice_id: str, centavos: int) -> None:
    """Set how much of a credit is not to be forwarded, because it was reversed before it was sent."""
    before = _WITHHELD.run(connection, {"invoice": invoice_id}).scalar_one()
    if centavos != before:
        _WITHHOLD.run(connection, {"invoice": invoice_id, "withheld": centavos})
        number = (centavos > 0) - (before > 0)
        totals.add(connection, "credits.withheld", number, centavos - before)


def restore_withheld(connection: Connection, credit: Row, row: Row) -> None:
    """Withhold of a credit what this transfer of it leaves over: it is the one that pays."""
    withhold(connection, credit.invoice_id, credit.net_centavos - row.amount_centavos)


# --- the statements ---

_INVOICE = bindparam("invoice", type_=credits.c.invoice_id.type)
_ID = bindparam("id_", type_=transfers.c.id.type)
_LOWER = Prepared(
    update(transfers)
    .where(
        transfers.c.id == _ID, transfers.c.attempt == bindparam("attempt_", type_=transfers.c.attempt.type)
    )
    .values(amount_centavos=bindparam("amount"))
    .returning(transfers.c.id)
)
_REMAINING = Prepared(
    select(func.min(reversals.c.remaining_centavos)).where(reversals.c.invoice_id == _INVOICE)
)
_WITHHELD = Prepared(select(credits.c.withheld_centavos).where(credits.c.invoice_id == _INVOICE))
_WITHHOLD = Prepared(
    update(credits).where(credits.c.invoice_id == _INVOICE).values(withheld_centavos=bindparam("withheld"))
)
