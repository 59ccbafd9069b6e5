"""All transfers of one credit: locked and read, and what an operator's act does to one of them.

Whoever changes a lineage locks its credit first, then reads its transfers. All functions run in the caller's
transaction.
"""

import json
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, func, or_, select

from payments.ledger.attention import AttentionKind, resolve_attention
from payments.ledger.database import mark_due
from payments.ledger.moves import ABANDONED, RETRIED, move, write_history
from payments.ledger.prepared import Prepared, Row
from payments.ledger.tables import bank_transfers, credits, is_live, transfers
from payments.lineage import Sighting
from payments.transfer import TransferState, external_id_for

# More than REISSUE_MAX can ask for (20), of whatever deployment. An operator's retries end there too: look-ups
# judge so many generations, and one more would be sent without being judged.
GENERATIONS_MAX = 24


def lock_lineage(connection: Connection, invoice_id: str) -> Row | None:
    """The credit, locked: on PostgreSQL whoever changes a lineage holds its credit's row. (SQLite locks all.)"""
    return _LOCK_CREDIT.run(connection, {"invoice": invoice_id}).one_or_none()


def invoice_of(connection: Connection, external_id: str) -> str | None:
    """The invoice that a transfer of ours forwards, without any lock; None when it is not ours."""
    invoice_id: str | None = _INVOICE_OF.run(connection, {"external_id": external_id}).scalar()
    return invoice_id


def latest_generation(connection: Connection, invoice_id: str) -> int:
    """How many transfers the lineage has had; there is at least one."""
    return int(_LATEST_GENERATION.run(connection, {"invoice": invoice_id}).scalar_one())


def transfer_of(connection: Connection, external_id: str) -> Row | None:
    """The transfer with this external_id, locked; None when it is not ours."""
    return _BY_EXTERNAL_ID.run(connection, {"external_id": external_id}).one_or_none()


def live_of(connection: Connection, invoice_id: str) -> Row | None:
    """The one transfer of a credit that is not failed or stopped, locked; None when there is none."""
    return _LIVE_OF.run(connection, {"invoice": invoice_id}).one_or_none()


def sightings_of(connection: Connection, invoice_id: str) -> list[Sighting]:
    """All that the bank has said of the transfers of a credit, ours or a twin."""
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


def lock_owner(connection: Connection, external_id: str) -> Row | None:
    """The transfer, with its lineage locked, so that nobody else moves it meanwhile; None when it is not ours."""
    invoice_id = invoice_of(connection, external_id)
    if invoice_id is None:
        return None
    lock_lineage(connection, invoice_id)
    return transfer_of(connection, external_id)


def lineage_facts(connection: Connection, invoice_id: str) -> tuple[Row, int, Sequence[Sighting]]:
    """A credit, its latest generation, and all that the bank has said of its transfers."""
    credit = lock_lineage(connection, invoice_id)
    assert credit is not None  # a transfer has its credit
    return credit, latest_generation(connection, invoice_id), sightings_of(connection, invoice_id)


# --- what an operator's act does to a transfer, with its lineage locked (acts.py) ---


def revive(connection: Connection, dead: Row, detail: str, now: datetime) -> None:
    """A dead transfer becomes pending, due now. It counts as an attempt, so it is never taken for a fresh one:

    the bank is asked for its whole lineage before anything is sent, and whoever held it before is fenced off.
    """
    row = move(
        connection, dead, (TransferState.DEAD,), TransferState.PENDING, due_at=now, attempt=dead.attempt + 1
    )
    write_history(connection, [(row, RETRIED, detail)], now)
    mark_due(connection)
    resolve_attention(connection, AttentionKind.TRANSFER_DEAD, row.external_id, now)


def hurry(connection: Connection, waiting: Row, detail: str, now: datetime) -> None:
    """A pending transfer that waits is due now; whether it must be looked up first does not change."""
    row = move(connection, waiting, (TransferState.PENDING,), TransferState.PENDING, due_at=now)
    write_history(connection, [(row, "hurried", detail)], now)
    mark_due(connection)


def give_up(connection: Connection, dead: Row, detail: str, now: datetime) -> None:
    """A dead transfer stays dead for good; only the bank's own success can still move it."""
    row = move(connection, dead, (TransferState.DEAD,), TransferState.DEAD, reason=detail)
    write_history(connection, [(row, ABANDONED, detail)], now)
    resolve_attention(connection, AttentionKind.TRANSFER_DEAD, row.external_id, now)


# --- the statements ---

_INVOICE = bindparam("invoice", type_=credits.c.invoice_id.type)
_LOCK_CREDIT = Prepared(select(credits).where(credits.c.invoice_id == _INVOICE).with_for_update())
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
