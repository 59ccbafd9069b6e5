"""Running totals: how many and how much, kept with every change, in the change's own transaction.

A statement or a page reads a few of these rows instead of adding up the books. What a transaction changes is
gathered while it runs and written once, just before it commits, in one order for all: writers on PostgreSQL
neither deadlock over it nor wait long. ``recount`` adds up the books themselves; the two must agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Column, Connection, Label, Table, bindparam, func, select

from payments.storage.prepared import Prepared, insert_into
from payments.storage.schema import credits, tallies, totals, transfers

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


# --- while a transaction runs ---


def begin(connection: Connection) -> None:
    """Start a transaction's gathering, with nothing; whatever a rollback left behind is forgotten."""
    connection.info[_GATHERED] = {}


def add(connection: Connection, name: str, number: int, centavos: int, at: datetime | None = None) -> None:
    """Change a total. With ``at``, it is something that happened: it also counts in that minute's tally."""
    gathered: dict[tuple[str, datetime | None], list[int]] = connection.info[_GATHERED]
    minute = None if at is None else at.replace(second=0, microsecond=0)
    for key in {(name, None), (name, minute)}:
        entry = gathered.setdefault(key, [0, 0])
        entry[0] += number
        entry[1] += centavos


def add_settlement(connection: Connection, seconds: float, centavos: int, at: datetime) -> None:
    """Count a credit that was settled after so many seconds, under the first bound that is not exceeded."""
    bound = next(bound for bound in SETTLED_WITHIN_SECONDS if seconds <= bound)
    add(connection, settled_within(bound), 1, centavos, at)


def settled_within(bound_seconds: float) -> str:
    """The name under which settlements within a bound are counted; each counts once, under its lowest bound."""
    return f"settled_within.{bound_seconds:g}"


def write(connection: Connection) -> None:
    """Write what was gathered; the last thing that a transaction does."""
    gathered: dict[tuple[str, datetime | None], list[int]] = connection.info.pop(_GATHERED)
    if not gathered:
        return
    dialect = connection.dialect.name
    driver = connection.connection.driver_connection
    shard = driver.info.backend_pid % _SHARDS if dialect == "postgresql" and driver is not None else 0
    of_all: list[dict[str, Any]] = []
    of_minutes: list[dict[str, Any]] = []
    for (name, minute), (number, centavos) in sorted(
        gathered.items(), key=lambda item: (str(item[0][1]), item[0][0])
    ):
        if number or centavos:
            row = {"name": name, "shard": shard, "number": number, "centavos": centavos}
            if minute is None:
                of_all.append(row)
            else:
                of_minutes.append(row | {"minute": minute})
    for table, rows in ((totals, of_all), (tallies, of_minutes)):
        if rows:
            _upsert(table, dialect, len(rows)).run(
                connection,
                {f"{name}_{place}": value for place, row in enumerate(rows) for name, value in row.items()},
            )


# --- reading ---


def read_totals(connection: Connection) -> dict[str, Sum]:
    """Every total by its name; a name that nothing was ever added to is not there."""
    return {
        row.name: Sum(int(row.number), int(row.centavos))
        for row in connection.execute(
            select(totals.c.name, _sum(totals.c.number), _sum(totals.c.centavos)).group_by(totals.c.name)
        )
    }


def read_tallies(connection: Connection, names: Sequence[str], since: datetime) -> list[Tally]:
    """What happened under these names from ``since`` on, by minute, in order of time."""
    return [
        Tally(row.minute, row.name, int(row.number), int(row.centavos))
        for row in connection.execute(
            select(tallies.c.minute, tallies.c.name, _sum(tallies.c.number), _sum(tallies.c.centavos))
            .where(tallies.c.minute >= since, tallies.c.name.in_(names))
            .group_by(tallies.c.minute, tallies.c.name)
            .order_by(tallies.c.minute, tallies.c.name)
        )
    ]


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
    """Where the running totals and the books differ, in words. Always none, or there is a bug."""
    kept, counted = read_totals(connection), recount(connection)
    names = {name for name in kept if name.startswith(("transfers.", "credits."))} | counted.keys()
    nothing = Sum(0, 0)
    return [
        f"{name}: {kept.get(name, nothing)} kept, {counted.get(name, nothing)} counted"
        for name in sorted(names)
        if kept.get(name, nothing) != counted.get(name, nothing)
    ]


# --- the statements ---


def _sum(column: Column[int]) -> Label[Any]:
    return func.sum(column).label(column.name)


@cache
def _upsert(table: Table, dialect: str, size: int) -> Prepared:
    statement = insert_into(table, dialect).values(
        [
            {column.name: bindparam(f"{column.name}_{place}", type_=column.type) for column in table.c}
            for place in range(size)
        ]
    )
    return Prepared(
        statement.on_conflict_do_update(
            index_elements=list(table.primary_key.columns),
            set_={
                "number": table.c.number + statement.excluded.number,
                "centavos": table.c.centavos + statement.excluded.centavos,
            },
        )
    )
