"""Every change of a transfer's state: guarded, counted in the totals, written into its history.

A move is an UPDATE guarded by the states it may come from and by the attempt that the row was read with; its row
count is checked. It is guarded by the external_id too: a failover that lost commits may give a number anew. All
functions run in the caller's transaction.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, bindparam, literal_column, or_, select, update

from payments.ledger import totals
from payments.storage.many import InsertMany
from payments.storage.prepared import Prepared, Row
from payments.storage.schema import transfer_history, transfers
from payments.transfer import TransferState

# Facts of a transfer's history that later decisions rest on: what an operator has decided about it.
RETRIED = "retried"
ABANDONED = "abandoned"


def move(
    connection: Connection,
    row: Row,
    origins: Sequence[TransferState],
    state: TransferState,
    **values: Any,
) -> Row:
    """Move a row that was read in this transaction, under the lineage's lock; anything else is a bug."""
    new = {"state": state, "lease_expires_at": None} | values
    guard = {"id_": row.id, "external_id_": row.external_id, "attempt_": row.attempt}
    moved = guarded_update(tuple(new), tuple(origins)).run(connection, guard | new).one()
    count_move(connection, row.state, row.amount_centavos, moved)
    return moved


def count_move(connection: Connection, old_state: str, old_centavos: int, row: Row) -> None:
    """Take a row that has left ``old_state``, where it counted so many centavos, to the total of its state now."""
    if row.state != old_state:
        totals.add(connection, f"transfers.{old_state}", -1, -old_centavos)
        totals.add(connection, f"transfers.{row.state}", 1, row.amount_centavos)


@cache
def guarded_update(names: tuple[str, ...], origins: tuple[TransferState, ...]) -> Prepared:
    """Set these columns of one row, provided that it is where we think it is."""
    return Prepared(
        update(transfers)
        .where(
            transfers.c.id == _ID,
            transfers.c.external_id == bindparam("external_id_", type_=transfers.c.external_id.type),
            transfers.c.attempt == bindparam("attempt_", type_=transfers.c.attempt.type),
            or_(*(transfers.c.state == literal_column(f"'{origin}'") for origin in origins)),
        )
        .values({name: bindparam(name, type_=transfers.c[name].type) for name in names})
        .returning(*transfers.c)
    )


def write_history(
    connection: Connection, facts: Sequence[tuple[Row, str, str | None]], now: datetime
) -> None:
    """Write down what happened to transfers: each row as it is now, a word for the fact, and perhaps a detail."""
    _INSERT_HISTORY.run(
        connection, [(row.id, fact, row.state, row.attempt, detail) for row, fact, detail in facts], at=now
    )


def has_fact(connection: Connection, row: Row, fact: str) -> bool:
    """Tell whether this has ever happened to a transfer."""
    return bool(_HAS_FACT.run(connection, {"transfer_id": row.id, "fact": fact}))


# --- the statements ---

_ID = bindparam("id_", type_=transfers.c.id.type)
_INSERT_HISTORY = InsertMany(
    transfer_history, "transfer_id", "fact", "state", "attempt", "detail", shared=("at",)
)
_HAS_FACT = Prepared(
    select(transfer_history.c.id)
    .where(
        transfer_history.c.transfer_id == bindparam("transfer_id"),
        transfer_history.c.fact == bindparam("fact"),
    )
    .limit(1)
)
