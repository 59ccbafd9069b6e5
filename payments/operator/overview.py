"""The operator's first page, and the system page: what is running and when we last asked the bank. Reads only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Integer,
    and_,
    case,
    column,
    extract,
    func,
    literal_column,
    select,
    type_coerce,
    values,
)

from payments.language import Language
from payments.ledger.balance import in_state
from payments.ledger.pauses import Pausable, Pause
from payments.operator.filters import Filter, Totals
from payments.operator.health import Headline, Health, headline_of, health_within
from payments.operator.lists import EVENTS, AttentionLine, most_urgent, read_totals
from payments.operator.processes import SEEN_WITHIN
from payments.storage.database import Database
from payments.storage.migrate import NEWEST_REVISION
from payments.storage.schema import (
    Instant,
    credits,
    processes,
    reconciliations,
    transfers,
)
from payments.transfer import TransferState

# How many open attentions the first page shows; their number is in the statement.
ATTENTIONS_SHOWN = 5

# How many reconciliations the system page shows.
RECONCILIATIONS_SHOWN = 10

# Bounds of "settled within so many seconds of the credit"; the last one is for all that took longer.
SETTLED_WITHIN_SECONDS = (1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 43200.0, float("inf"))


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything that the first page shows. Charts, outcomes and settled_within cover the span that was asked for.

    ``credited`` and ``settled`` have the totals of each bar, which begin at ``bars_at``. ``credited_before`` is what
    the same part of the day before came to, up to the same moment; of a span of several days, the span before.
    """

    health: Health
    credited_of_ours: Totals  # all time; of invoices that carry our tag
    credited_of_others: Totals
    attentions: Sequence[AttentionLine]  # open ones, at most 5, most urgent first
    bars_at: Sequence[datetime]
    credited: Sequence[Totals]
    settled: Sequence[Totals]
    credited_before: Totals
    events_by_outcome: dict[str, int]
    # (seconds, how many transfers took at most that long and longer than the bound before); the last is infinite
    settled_within: Sequence[tuple[float, int]]


@dataclass(frozen=True, slots=True)
class System:
    """What is running, and when we last asked the bank."""

    processes: Sequence[dict[str, Any]]  # the columns of the table, and "alive": seen within a minute
    reconciliations: Sequence[dict[str, Any]]  # the last 10: started_at, ended_at, found, failure
    revision: str
    headline: Headline
    paused: Mapping[Pausable, Pause]


def read_overview(database: Database, now: datetime, since: datetime, span: timedelta, bars: int) -> Overview:
    """Read the first page on one snapshot; charts cover ``span`` from ``since`` on in ``bars`` bars."""
    shift = max(span, timedelta(days=1))
    before = Filter(since - shift, min(now, since + span) - shift)
    bars_at = [since + place * span / bars for place in range(bars)]
    # The last bar is open for a day: the clock of another machine may be ahead.
    bounds = [*bars_at, since + span + timedelta(days=1)]
    credited_at, settled_at = credits.c.recorded_at, transfers.c.settled_at
    gross, fee = credits.c.gross_centavos, credits.c.fee_centavos
    with database.reading() as connection:
        return Overview(
            health=health_within(connection, now),
            credited_of_ours=read_totals(connection, gross, fee, [credits.c.is_of_ours]),
            credited_of_others=read_totals(connection, gross, fee, [~credits.c.is_of_ours]),
            attentions=most_urgent(connection, ATTENTIONS_SHOWN),
            bars_at=bars_at,
            credited=_read_bars(connection, credited_at, bounds, gross, fee),
            settled=_read_bars(
                connection,
                settled_at,
                bounds,
                transfers.c.amount_centavos,
                conditions=in_state(TransferState.SETTLED),
            ),
            credited_before=read_totals(connection, gross, fee, before.is_within(credited_at)),
            events_by_outcome=EVENTS.counts(connection, Filter(since)),
            settled_within=_read_settled_within(connection, since),
        )


def read_system(database: Database, now: datetime, language: Language) -> System:
    """The headline, processes, reconciliations, schema version, pauses."""
    with database.reading() as connection:
        health = health_within(connection, now)
        running = connection.execute(select(processes).order_by(processes.c.started_at.desc())).mappings()
        runs = connection.execute(
            select(
                reconciliations.c.started_at,
                reconciliations.c.ended_at,
                reconciliations.c.found,
                reconciliations.c.failure,
            )
            .order_by(reconciliations.c.started_at.desc())
            .limit(RECONCILIATIONS_SHOWN)
        ).mappings()
        return System(
            processes=[
                {**row, "alive": row["stopped_at"] is None and now - row["seen_at"] <= SEEN_WITHIN}
                for row in running
            ],
            reconciliations=[dict(row) for row in runs],
            revision=NEWEST_REVISION,
            headline=headline_of(health, language),
            paused=health.pauses,
        )


# --- below: its parts ---


def _read_bars(
    connection: Connection,
    at: Column[datetime],
    bounds: Sequence[datetime],
    amount: Column[int],
    fee: Column[int] | None = None,
    conditions: Sequence[Any] = (),
) -> list[Totals]:
    """The totals between each bound and the next: each bar is a range of the index over ``at``."""
    ranges = (
        values(column("place", Integer), column("begins_at", Instant), column("ends_at", Instant))
        .data([(place, *each) for place, each in enumerate(pairwise(bounds))])
        .cte("ranges")
    )
    is_within = and_(at >= ranges.c.begins_at, at < ranges.c.ends_at, *conditions)
    sums = [func.coalesce(func.sum(each), 0) for each in (amount, fee) if each is not None]
    rows = connection.execute(
        select(ranges.c.place, func.count(at), *sums)
        .select_from(ranges.outerjoin(at.table, is_within))
        .group_by(ranges.c.place)
        .order_by(ranges.c.place)
    )
    return [Totals(*map(int, totals)) for _place, *totals in rows]


def _read_settled_within(connection: Connection, since: datetime) -> list[tuple[float, int]]:
    """How long the transfers that settled since then took from the record of their credit, by bound."""
    if connection.dialect.name == "postgresql":
        ends_at, begins_at = (
            type_coerce(each, DateTime(timezone=True))
            for each in (transfers.c.settled_at, credits.c.recorded_at)
        )
        seconds: ColumnElement[Any] = extract("epoch", ends_at - begins_at)
    else:
        days = func.julianday(transfers.c.settled_at) - func.julianday(credits.c.recorded_at)
        seconds = days * literal_column("86400.0")
    *bounds, longest = SETTLED_WITHIN_SECONDS
    place = case(*((seconds <= bound, at) for at, bound in enumerate(bounds)), else_=len(bounds)).label(
        "place"
    )
    counts = {
        row.place: row.number
        for row in connection.execute(
            select(place, func.count().label("number"))
            .select_from(transfers.join(credits, credits.c.number == transfers.c.credit_number))
            .where(*in_state(TransferState.SETTLED), transfers.c.settled_at >= since)
            .group_by(place)
        )
    }
    return [(bound, counts.get(at, 0)) for at, bound in enumerate((*bounds, longest))]
