"""Where the money of the credits is, added up: the one definition of "balanced". Reads only.

A balance is balanced when each credit's net is accounted for once: in its live transfer, withheld because it was
reversed before sending, or not to be forwarded at all. The sums are read from indexes that hold the amounts, so a
million credits take a fraction of a second.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, TextClause, and_, func, literal_column, select, union_all

from payments.storage.schema import credits, is_ended, is_live, transfers
from payments.transfer import LIVE_STATES, TransferState

_ENDED = frozenset({TransferState.DEAD, TransferState.FAILED, TransferState.STOPPED})

# Said as text, as the partial indexes say them: SQLite does not match an index's condition with a parameter.
_IS_WITHHELD = credits.c.withheld_centavos > literal_column("0")
_IS_NOT_FORWARDED = credits.c.disposition != literal_column("'forward'")


@dataclass(frozen=True, slots=True)
class Balance:
    """What came in and where it is. Amounts in centavos; ``transfers`` and ``transfers_centavos`` are by state."""

    credits: int
    gross_centavos: int
    fee_centavos: int
    net_centavos: int
    transfers: dict[str, int]
    transfers_centavos: dict[str, int]
    settled_centavos: int
    in_flight_centavos: int
    unforwarded_centavos: int
    dead_centavos: int
    reversed_centavos: int
    not_forwarded_centavos: int
    balanced: bool


def read_balance(connection: Connection) -> Balance:
    """The balance of all credits and all their transfers."""
    by_state = union_all(
        *(
            select(
                literal_column(f"'{state}'").label("state"),
                func.count().label("number"),
                func.sum(transfers.c.amount_centavos).label("centavos"),
            ).where(*in_state(state))
            for state in TransferState
        )
    )
    return _balance(connection, [], by_state, tuple(TransferState))


def read_balance_of(connection: Connection, since: datetime | None, until: datetime | None) -> Balance:
    """The balance of the credits recorded from ``since`` on and before ``until``, with their live transfers only.

    Takes as long as the period has credits.
    """
    period = recorded_within(since, until)
    by_state = (
        select(
            transfers.c.state,
            func.count().label("number"),
            func.sum(transfers.c.amount_centavos).label("centavos"),
        )
        .join(credits, credits.c.number == transfers.c.credit_number)
        .where(is_live, *period)
        .group_by(transfers.c.state)
    )
    return _balance(connection, period, by_state, [state for state in TransferState if state in LIVE_STATES])


def read_unaccounted(connection: Connection, limit: int) -> list[str]:
    """The invoices of credits that do not balance by themselves, oldest first: none, or there is a bug.

    Looks at every credit.
    """
    live = func.coalesce(transfers.c.amount_centavos, 0)
    query = (
        select(credits.c.invoice_id)
        .outerjoin(transfers, and_(transfers.c.credit_number == credits.c.number, is_live))
        .where(
            credits.c.disposition == "forward",
            live + credits.c.withheld_centavos != credits.c.net_centavos,
        )
        .order_by(credits.c.number)
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def in_state(state: TransferState) -> list[ColumnElement[bool] | TextClause]:
    """The conditions for transfers of this state, as the partial index that holds them says them."""
    is_in_state = transfers.c.state == literal_column(f"'{TransferState(state)}'")
    return [is_in_state, is_ended] if state in _ENDED else [is_in_state]


def recorded_within(since: datetime | None, until: datetime | None) -> list[ColumnElement[bool]]:
    """The conditions for credits recorded from ``since`` on and before ``until``; None: no bound."""
    return [
        *([] if since is None else [credits.c.recorded_at >= since]),
        *([] if until is None else [credits.c.recorded_at < until]),
    ]


def _balance(
    connection: Connection,
    period: Sequence[ColumnElement[bool]],
    by_state: Any,
    states: Sequence[TransferState],
) -> Balance:
    received = connection.execute(
        select(
            func.count().label("number"),
            func.sum(credits.c.gross_centavos).label("gross"),
            func.sum(credits.c.fee_centavos).label("fee"),
        )
        .select_from(credits)
        .where(*period)
    ).one()
    # PostgreSQL adds up to decimals, and to NULL where there is no row.
    gross, fee = int(received.gross or 0), int(received.fee or 0)
    withheld, not_forwarded = (
        int(connection.execute(select(func.sum(column)).where(condition, *period)).scalar() or 0)
        for column, condition in (
            (credits.c.withheld_centavos, _IS_WITHHELD),
            (credits.c.net_centavos, _IS_NOT_FORWARDED),
        )
    )
    rows = {row.state: row for row in connection.execute(by_state)}
    numbers = {str(state): rows[state].number if state in rows else 0 for state in states}
    centavos = {str(state): int(rows[state].centavos or 0) if state in rows else 0 for state in states}
    accounted = sum(centavos[state] for state in LIVE_STATES) + withheld + not_forwarded
    return Balance(
        credits=received.number,
        gross_centavos=gross,
        fee_centavos=fee,
        net_centavos=gross - fee,
        transfers=numbers,
        transfers_centavos=centavos,
        settled_centavos=centavos[TransferState.SETTLED],
        in_flight_centavos=centavos[TransferState.SENDING] + centavos[TransferState.SENT],
        unforwarded_centavos=centavos[TransferState.PENDING] + centavos[TransferState.DEAD],
        dead_centavos=centavos[TransferState.DEAD],
        reversed_centavos=withheld,
        not_forwarded_centavos=not_forwarded,
        balanced=accounted == gross - fee,
    )
