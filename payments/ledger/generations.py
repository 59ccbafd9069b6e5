"""New transfers: the first of a credit, each that replaces a failed one, and the account they go to.

All functions run in the caller's transaction.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Connection, bindparam, insert, select

from payments.ledger import totals
from payments.ledger.database import insert_new, mark_due
from payments.ledger.many import InsertMany
from payments.ledger.prepared import Prepared
from payments.ledger.tables import destinations, transfers
from payments.policy import ForwardingPolicy
from payments.transfer import Destination, TransferState, external_id_for


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
    mark_due(connection)
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


def create_next_transfer(
    connection: Connection,
    invoice_id: str,
    generation: int,
    amount_centavos: int,
    policy: ForwardingPolicy,
    now: datetime,
    due_at: datetime,
) -> None:
    """Create the pending transfer that replaces a failed one; ``generation`` is its number in the lineage."""
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


def destination_of(connection: Connection, destination_id: int) -> Destination:
    """The account of a transfer's ``destination_id``."""
    there = _DESTINATION.run(connection, {"id": destination_id}).one()
    return Destination(**there._asdict())


def _destination_id(connection: Connection, destination: Destination) -> int:
    values = asdict(destination)
    found = _SAME_DESTINATION.run(connection, values).scalar()
    if found is None:
        insert_new(connection, destinations, [values], "id")
        found = _SAME_DESTINATION.run(connection, values).scalar_one()
    return int(found)


# --- the statements ---

_TRANSFER_COLUMNS = (
    *("invoice_id", "generation", "external_id", "amount_centavos", "destination_id"),
    *("state", "attempt", "calls", "due_at", "created_at"),
)
_INSERT_TRANSFER = Prepared(
    insert(transfers).values(
        {name: bindparam(name, type_=transfers.c[name].type) for name in _TRANSFER_COLUMNS}
    )
)
_INSERT_FIRST = InsertMany(transfers, *_TRANSFER_COLUMNS)
_DESTINATION_COLUMNS = [column for column in destinations.c if column.name != "id"]
_DESTINATION = Prepared(select(*_DESTINATION_COLUMNS).where(destinations.c.id == bindparam("id")))
_SAME_DESTINATION = Prepared(
    select(destinations.c.id).where(*(column == bindparam(column.name) for column in _DESTINATION_COLUMNS))
)
