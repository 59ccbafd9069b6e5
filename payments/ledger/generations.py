"""New transfers: the first of each credit, each that replaces a failed one, and the account they go to.

All functions run in the caller's transaction.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Connection, bindparam, insert, literal_column, select

from payments.ledger import totals
from payments.policy import ForwardingPolicy
from payments.storage.database import insert_new, mark_due
from payments.storage.many import InsertAmong
from payments.storage.prepared import Prepared, Row
from payments.storage.schema import credits, destinations, transfers
from payments.transfer import Destination, TransferState, external_id_for, lineage_for


def create_first_transfers(
    connection: Connection, invoice_ids: Sequence[str], centavos: int, policy: ForwardingPolicy, now: datetime
) -> int:
    """Create the pending transfers of credits just recorded, of their whole net, due at once; returns how many.

    All that they hold is in the books already, so it is copied there. ``centavos`` is what they come to. Not for
    invoices that end as a reissue does: their first external_id is another (see transfer.external_id_for).
    """
    totals.add(connection, f"transfers.{TransferState.PENDING}", len(invoice_ids), centavos)
    mark_due(connection)
    return _INSERT_FIRST.run(
        connection,
        invoice_ids,
        {"destination_id": _destination_id(connection, policy.destination), "now": now},
    )


def create_first_transfer(
    connection: Connection,
    credit: Row,
    amount_centavos: int,
    policy: ForwardingPolicy,
    now: datetime,
    ask_first: bool,
) -> None:
    """Create the pending transfer of a credit just recorded, due at once.

    ``ask_first``: the bank may know a transfer of this credit that our books do not (older books were restored, or
    another deployment was at work), so nothing is sent before a look-up. It counts as attempted once.
    """
    mark_due(connection)
    _create(connection, credit, 1, amount_centavos, policy, now, due_at=now, attempt=1 if ask_first else 0)


def create_next_transfer(
    connection: Connection,
    credit: Row,
    generation: int,
    amount_centavos: int,
    policy: ForwardingPolicy,
    now: datetime,
    due_at: datetime,
) -> None:
    """Create the pending transfer that replaces a failed one; ``generation`` is its number in the lineage."""
    _create(connection, credit, generation, amount_centavos, policy, now, due_at, attempt=0)


def destination_of(connection: Connection, destination_id: int) -> Destination:
    """The account of a transfer's ``destination_id``."""
    there = _DESTINATION.run(connection, {"id": destination_id}).one()
    return Destination(**there._asdict())


def _create(
    connection: Connection,
    credit: Row,
    generation: int,
    amount_centavos: int,
    policy: ForwardingPolicy,
    now: datetime,
    due_at: datetime,
    attempt: int,
) -> None:
    _INSERT_TRANSFER.run(
        connection,
        {
            "credit_number": credit.number,
            "invoice_id": credit.invoice_id,
            "generation": generation,
            "external_id": external_id_for(credit.invoice_id, generation),
            "amount_centavos": amount_centavos,
            "destination_id": _destination_id(connection, policy.destination),
            "state": TransferState.PENDING,
            "attempt": attempt,
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


# --- the statements ---

_TRANSFER_COLUMNS = (
    *("credit_number", "invoice_id", "generation", "external_id", "amount_centavos", "destination_id"),
    *("state", "attempt", "calls", "due_at", "created_at"),
)
_INSERT_TRANSFER = Prepared(
    insert(transfers).values(
        {name: bindparam(name, type_=transfers.c[name].type) for name in _TRANSFER_COLUMNS}
    )
)
_NOW = bindparam("now", type_=transfers.c.due_at.type)
_INSERT_FIRST = InsertAmong(
    transfers,
    {
        "credit_number": credits.c.number,
        "invoice_id": credits.c.invoice_id,
        "generation": literal_column("1"),
        "external_id": literal_column(f"'{lineage_for('')}'").concat(credits.c.invoice_id),
        "amount_centavos": credits.c.net_centavos,
        "destination_id": bindparam("destination_id", type_=transfers.c.destination_id.type),
        "state": literal_column(f"'{TransferState.PENDING}'"),
        "attempt": literal_column("0"),
        "calls": literal_column("0"),
        "due_at": _NOW,
        "created_at": _NOW,
    },
    credits.c.invoice_id,
)
_DESTINATION_COLUMNS = [column for column in destinations.c if column.name != "id"]
_DESTINATION = Prepared(select(*_DESTINATION_COLUMNS).where(destinations.c.id == bindparam("id")))
_SAME_DESTINATION = Prepared(
    select(destinations.c.id).where(*(column == bindparam(column.name) for column in _DESTINATION_COLUMNS))
)
