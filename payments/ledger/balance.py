"""Where the money of the credits is, added up: the one definition of "balanced". Reads only.

Each credit's net is accounted for once: in its live transfer, withheld because it was reversed before sending, or not
to be forwarded at all. The sums are read from indexes that hold the amounts, so a million credits take a fraction of a
second.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, TextClause, and_, func, literal_column, select, union_all

from payments.storage.schema import credits, is_ended, is_live, transfers
from payments.transfer import LIVE_STATES, TransferState

_ENDED = frozenset({TransferState.DEAD, TransferState.FAILED, TransferState.STOPPED})

# Said as text, as the partial indexes say them: SQLite does not match an index's condition with a parameter.
_IS_WITHHELD = credits.c.withheld_centavos > literal_column("0")
_IS_NOT_FORWARDED = credits.c.disposition != literal_column("'forward'")


class Amount(NamedTuple):
    """How many, and how many centavos in all."""

    number: int
    centavos: int


_NOTHING = Amount(0, 0)


@dataclass(frozen=True, slots=True)
class Balance:
    """Sums over credits and over their transfers by state; a state that no transfer has may be missing."""

    credits: int
    gross_centavos: int
    fee_centavos: int
    withheld_centavos: int
    not_forwarded_centavos: int
    transfers: Mapping[str, Amount]

    @property
    def net_centavos(self) -> int:
        """What was credited, less the bank's fees."""
        return self.gross_centavos - self.fee_centavos

    @property
    def is_balanced(self) -> bool:
        """True when the net is live, withheld or not to be forwarded, and nothing else."""
        accounted = self.centavos_in(*LIVE_STATES) + self.withheld_centavos + self.not_forwarded_centavos
        return accounted == self.net_centavos

    def number_in(self, state: TransferState) -> int:
        """How many transfers have this state."""
        return self.transfers.get(state, _NOTHING).number

    def centavos_in(self, *states: TransferState) -> int:
        """The amounts of all transfers that have one of these states."""
        return sum(self.transfers.get(state, _NOTHING).centavos for state in states)


def read_balance(connection: Connection) -> Balance:
    """The balance of all credits and all their transfers."""
    by_state = union_all(
        *(
            select(
                literal_column(f"'{state}'").label("state"),
                func.count().label("number"),
                func.coalesce(func.sum(transfers.c.amount_centavos), 0).label("centavos"),
            ).where(*in_state(state))
            for state in TransferState
        )
    )
    return _balance(connection, [], by_state)


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
    return _balance(connection, period, by_state)


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


def _balance(connection: Connection, period: list[ColumnElement[bool]], by_state: Any) -> Balance:
    came_in = connection.execute(
        select(
            func.count().label("number"),
            func.coalesce(func.sum(credits.c.gross_centavos), 0).label("gross"),
            func.coalesce(func.sum(credits.c.fee_centavos), 0).label("fee"),
        )
        .select_from(credits)
        .where(*period)
    ).one()
    withheld = select(func.sum(credits.c.withheld_centavos)).where(_IS_WITHHELD, *period)
    not_forwarded = select(func.sum(credits.c.net_centavos)).where(_IS_NOT_FORWARDED, *period)
    return Balance(
        credits=int(came_in.number),
        gross_centavos=int(came_in.gross),
        fee_centavos=int(came_in.fee),
        withheld_centavos=int(connection.execute(withheld).scalar() or 0),
        not_forwarded_centavos=int(connection.execute(not_forwarded).scalar() or 0),
        transfers={
            row.state: Amount(int(row.number), int(row.centavos)) for row in connection.execute(by_state)
        },
    )
