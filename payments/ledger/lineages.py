"""All transfers of one credit: locked and read, and what an operator's act does to one of them.

Whoever changes a lineage locks its credit first, then reads its transfers. All functions run in the caller's
transaction.
"""

import json
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, and_, bindparam, func, select

from payments.ledger.attention import AttentionKind, resolve_attention
from payments.ledger.state_changes import ABANDONED, RETRIED, move, write_history
from payments.lineage import Sighting
from payments.storage.database import mark_due
from payments.storage.prepared import Prepared, Row
from payments.storage.schema import bank_transfers, credits, is_live, transfers
from payments.transfer import TransferState, read_external_id

# More than REISSUE_MAX can ask for (20). An operator's retries end there too: what failed so often is paid by hand.
GENERATIONS_MAX = 24


def lock_lineage(connection: Connection, invoice_id: str) -> Row | None:
    """The credit, locked: on PostgreSQL whoever changes a lineage holds its credit's row. (SQLite locks all.)"""
    return _LOCK_CREDIT.run(connection, {"invoice": invoice_id}).one_or_none()


def owner_of(connection: Connection, external_id: str) -> Row | None:
    """The credit (its invoice_id and number) that a transfer of ours forwards, without any lock; None: not ours."""
    return _find(connection, _OWNER_OF, external_id)


def lineage_of(connection: Connection, external_id: str) -> int | None:
    """The number of the credit whose lineage an external_id is of, in our books or not; None when of none of ours."""
    owner = owner_of(connection, external_id)
    if owner is not None:
        return int(owner.number)
    reading = read_external_id(external_id)
    if reading is None:
        return None
    credit = _CREDIT.run(connection, {"invoice": reading[0]}).one_or_none()
    return None if credit is None else int(credit.number)


def latest_generation(connection: Connection, credit_number: int) -> int:
    """How many transfers the lineage has had; there is at least one."""
    return int(_LATEST_GENERATION.run(connection, {"credit": credit_number}).scalar_one())


def transfer_of(connection: Connection, external_id: str) -> Row | None:
    """The transfer with this external_id, locked; None when it is not ours."""
    return _find(connection, _BY_EXTERNAL_ID, external_id)


def live_of(connection: Connection, credit_number: int) -> Row | None:
    """The one transfer of a credit that is not failed or stopped, locked; None when there is none."""
    return _LIVE_OF.run(connection, {"credit": credit_number}).one_or_none()


def sightings_of(connection: Connection, credit_number: int) -> list[Sighting]:
    """All that the bank has said of the transfers of a credit, ours or a twin."""
    return [
        Sighting(
            row.bank_transfer_id,
            row.external_id,
            row.status,
            None if row.errors is None else tuple(json.loads(row.errors)),
        )
        for row in _SIGHTINGS_OF.run(connection, {"credit": credit_number})
    ]


def lock_owner(connection: Connection, external_id: str) -> Row | None:
    """The transfer, with its lineage locked, so that nobody else moves it meanwhile; None when it is not ours."""
    owner = owner_of(connection, external_id)
    if owner is None:
        return None
    lock_lineage(connection, owner.invoice_id)
    return transfer_of(connection, external_id)


def lineage_facts(connection: Connection, invoice_id: str) -> tuple[Row, int, Sequence[Sighting]]:
    """A credit, its latest generation, and all that the bank has said of its transfers."""
    credit = lock_lineage(connection, invoice_id)
    assert credit is not None  # a transfer has its credit
    return credit, latest_generation(connection, credit.number), sightings_of(connection, credit.number)


def _find(connection: Connection, statement: Prepared, external_id: str) -> Row | None:
    """What a statement finds of the transfer with this external_id, by its credit's number and its generation."""
    reading = read_external_id(external_id)
    if reading is None:
        return None
    key = {"invoice": reading[0], "generation": reading[1], "external_id": external_id}
    return statement.run(connection, key).one_or_none()


# --- what an operator's act does to a transfer, with its lineage locked (acts.py) ---


def revive(connection: Connection, dead: Row, detail: str, now: datetime) -> None:
    """A dead transfer becomes pending, due now. It counts as an attempt, so it is never taken for a fresh one:

    the bank is asked for its whole lineage before anything is sent, and whoever held it before is fenced off.
    """
    row = move(
        connection,
        dead,
        (TransferState.DEAD,),
        TransferState.PENDING,
        due_at=now,
        attempt=dead.attempt + 1,
        retried_at=now,
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
    row = move(connection, dead, (TransferState.DEAD,), TransferState.DEAD, reason=detail, abandoned_at=now)
    write_history(connection, [(row, ABANDONED, detail)], now)
    resolve_attention(connection, AttentionKind.TRANSFER_DEAD, row.external_id, now)


# --- the statements ---

_INVOICE = bindparam("invoice", type_=credits.c.invoice_id.type)
_LOCK_CREDIT = Prepared(select(credits).where(credits.c.invoice_id == _INVOICE).with_for_update())
_ITS_CREDIT = credits.c.number == transfers.c.credit_number
_IS_THIS_ONE = and_(
    credits.c.invoice_id == _INVOICE,
    transfers.c.generation == bindparam("generation"),
    transfers.c.external_id == bindparam("external_id"),
)
_BY_EXTERNAL_ID = Prepared(
    select(transfers).join(credits, _ITS_CREDIT).where(_IS_THIS_ONE).with_for_update(of=transfers)
)
_CREDIT = Prepared(select(credits.c.invoice_id, credits.c.number).where(credits.c.invoice_id == _INVOICE))
_OWNER_OF = Prepared(
    select(credits.c.invoice_id, credits.c.number).join(transfers, _ITS_CREDIT).where(_IS_THIS_ONE)
)
_NUMBER = bindparam("credit", type_=transfers.c.credit_number.type)
_LIVE_OF = Prepared(select(transfers).where(transfers.c.credit_number == _NUMBER, is_live).with_for_update())
_LATEST_GENERATION = Prepared(
    select(func.max(transfers.c.generation)).where(transfers.c.credit_number == _NUMBER)
)
_SIGHTINGS_OF = Prepared(select(bank_transfers).where(bank_transfers.c.credit_number == _NUMBER))
