"""What the bank last said of each of its transfers, ours or a twin. All functions run in the caller's transaction."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from payments.storage.many import InsertMany
from payments.storage.prepared import Prepared, Row
from payments.storage.schema import bank_transfers
from payments.transfer import BankStatus, BankTransfer

# A later word of the bank replaces an earlier one, never the other way round: events come in any order.
_RANK = {BankStatus.CREATED: 1, BankStatus.PROCESSING: 2}
_FINAL_RANK = 3


def sight_new(
    connection: Connection, accepted: Sequence[tuple[BankTransfer, int | None]], now: datetime
) -> int:
    """Keep what the bank says of transfers that it has just accepted, each with its credit's number.

    Returns how many we had not heard of.
    """
    rows = [_sighting_row(there, credit_number, None) for there, credit_number in accepted]
    return _INSERT_SIGHTINGS.run(connection, rows, seen_at=now)


def sight(
    connection: Connection,
    there: BankTransfer,
    credit_number: int | None,
    errors: tuple[str, ...] | None,
    now: datetime,
) -> None:
    """Keep what the bank says of one of its transfers; a final status stays, reasons are added.

    ``credit_number`` is that of the credit whose lineage its external_id is of, None when that is none of ours.
    """
    if _INSERT_SIGHTINGS.run(connection, [_sighting_row(there, credit_number, errors)], seen_at=now):
        return
    written = None if errors is None else json.dumps(errors)
    seen = sighting_of(connection, there.id)
    if seen.credit_number is None and credit_number is not None:
        # its credit was recorded after we had seen this one, by chance, in a look-up for another
        given = _GIVE_CREDIT.count(connection, {"id_": there.id, "credit": credit_number})
        assert given == 1  # the row is locked, and had none
    status = there.status[:24] if _rank(there.status) > _rank(seen.status) else seen.status
    _UPDATE_SIGHTING.run(
        connection,
        {
            "id_": there.id,
            "new_status": status,
            "new_errors": seen.errors if written is None else written,
            "now": now,
        },
    )


def sighting_of(connection: Connection, bank_transfer_id: str) -> Row:
    """What the bank last said of a transfer that it has spoken of, locked."""
    return _SEEN.run(connection, {"id": bank_transfer_id}).one()


def _rank(status: str) -> int:
    return next((rank for word, rank in _RANK.items() if word == status), _FINAL_RANK)


def _sighting_row(
    there: BankTransfer, credit_number: int | None, errors: tuple[str, ...] | None
) -> tuple[Any, ...]:
    written = None if errors is None else json.dumps(errors)
    # cut to the columns' width; the bank's own words are shorter
    return there.id, credit_number, there.external_id[:96], there.status[:24], there.amount_centavos, written


# --- the statements ---

_INSERT_SIGHTINGS = InsertMany(
    bank_transfers,
    *("bank_transfer_id", "credit_number", "external_id", "status", "amount_centavos", "errors"),
    shared=("seen_at",),
)
_SEEN = Prepared(
    select(bank_transfers).where(bank_transfers.c.bank_transfer_id == bindparam("id")).with_for_update()
)
_UPDATE_SIGHTING = Prepared(
    update(bank_transfers)
    .where(bank_transfers.c.bank_transfer_id == bindparam("id_"))
    .values(status=bindparam("new_status"), errors=bindparam("new_errors"), seen_at=bindparam("now"))
)
_GIVE_CREDIT = Prepared(
    update(bank_transfers)
    .where(bank_transfers.c.bank_transfer_id == bindparam("id_"), bank_transfers.c.credit_number.is_(None))
    .values(credit_number=bindparam("credit"))
)
