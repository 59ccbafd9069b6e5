"""Money that was forwarded although its credit was reversed: how much is to be claimed back, and that it came back.

What came back is a column of the credit, so that it leaves what is to be claimed back and can still be counted.
"""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, func, select, update

from payments.credit import owed_centavos
from payments.errors import ActionRefused
from payments.ledger.attention import AttentionKind
from payments.ledger.lineages import load_lineages, open_unit, save
from payments.note import note
from payments.operator.actions import Action, Operator, plain_text, write_action
from payments.policy import ForwardingPolicy
from payments.storage.database import Database
from payments.storage.schema import credits, reversals, transfers
from payments.transfer import TransferState

# With these the money has left, or may have.
GONE = (TransferState.SENDING, TransferState.SENT, TransferState.SETTLED)


def recover_credit(
    database: Database, invoice_id: str, by: Operator, policy: ForwardingPolicy, now: datetime
) -> Action:
    """Record that what was to be claimed back of a credit came back; its attention is resolved. It moves no money.

    Refused when nothing is to be claimed back, and until the transfer has settled: it may still fail. A later
    reversal of the same credit is claimed back again.
    """
    invoice_id = plain_text(invoice_id)
    with open_unit(database, policy, now) as unit:
        lineage = load_lineages(unit, [invoice_id]).get(invoice_id)
        centavos = read_claim_back(unit.connection, [invoice_id]).get(invoice_id, 0)
        if lineage is None or not centavos:
            raise ActionRefused(note("nothing_to_claim_back", invoice_id=invoice_id))
        if lineage.live is None or lineage.live.state != TransferState.SETTLED:
            raise ActionRefused(note("not_settled_yet", invoice_id=invoice_id))
        unit.connection.execute(
            update(credits)
            .where(credits.c.invoice_id == invoice_id)
            .values(recovered_centavos=credits.c.recovered_centavos + centavos)
        )
        lineage.resolve(AttentionKind.REVERSED_AFTER_SENDING, invoice_id)
        save(unit, [lineage])
        result = note("came_back", centavos=centavos)
        return write_action(unit.connection, "recover", invoice_id, result, by, now)


def read_claim_back(connection: Connection, invoice_ids: Collection[str] | None = None) -> dict[str, int]:
    """By invoice id, what was forwarded, or may have been, beyond what its reversed credit owes, less what came back.

    Of all credits (None) or of these; those of which nothing is to be claimed back are left out.
    """
    remaining = select(reversals.c.invoice_id, func.min(reversals.c.remaining_centavos).label("remaining"))
    if invoice_ids is not None:
        remaining = remaining.where(reversals.c.invoice_id.in_(invoice_ids))
    lowest = remaining.group_by(reversals.c.invoice_id).subquery()
    rows = connection.execute(
        select(
            credits.c.invoice_id,
            transfers.c.amount_centavos,
            credits.c.net_centavos,
            credits.c.fee_centavos,
            credits.c.recovered_centavos,
            lowest.c.remaining,
        )
        .join(credits, credits.c.number == transfers.c.credit_number)
        .join(lowest, lowest.c.invoice_id == credits.c.invoice_id)
        .where(transfers.c.state.in_(GONE))
    )
    found: dict[str, int] = {}
    for row in rows:  # of each credit one at most, the live one
        owed = owed_centavos(row.net_centavos, row.fee_centavos, row.remaining)
        found[row.invoice_id] = max(0, row.amount_centavos - owed) - row.recovered_centavos
    return {invoice_id: centavos for invoice_id, centavos in found.items() if centavos > 0}
