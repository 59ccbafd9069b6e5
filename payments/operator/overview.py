"""The operator's first page, and who is alive. Reads only; sums come from the running totals."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, case, func, select, text

from payments.ledger.attention import AttentionKind
from payments.ledger.inbox import Outcome
from payments.ledger.pauses import Pausable as Switch
from payments.ledger.pauses import paused_in
from payments.ledger.totals import SETTLED_WITHIN_SECONDS, read_tallies, settled_within
from payments.operator.list_rows import AttentionLine, attention_lines
from payments.operator.processes import ALIVE_WITHIN
from payments.operator.statement import Statement, read_oldest_unforwarded, read_statement
from payments.storage.database import Database
from payments.storage.migrate import NEWEST_REVISION
from payments.storage.schema import (
    attentions,
    invoice_batches,
    issuing_windows,
    planned_invoices,
    processes,
    reconciliations,
)

# How many open matters the first page names; their number is in the statement.
ATTENTIONS_SHOWN = 20

# How many runs of reconciliation are told of.
RECONCILIATIONS_SHOWN = 10

# A slot without a batch after so much of its interval is late, as issuing has it (worker/issuing.py LATE_SHARE).
LATE_SHARE = 10

# Money that may be lost first, then money that does not move, then what only wants to be read.
GRAVEST_FIRST = (
    AttentionKind.PAID_TWICE,
    AttentionKind.RETURNED,
    AttentionKind.REVERSED_AFTER_SENDING,
    AttentionKind.TRANSFER_DEAD,
    AttentionKind.BANK_REFUSES_US,
    AttentionKind.UNREADABLE_EVENT,
    AttentionKind.SECOND_CREDIT,
    AttentionKind.TRANSFER_STUCK,
    AttentionKind.TRANSFER_UNSETTLED,
    AttentionKind.BATCH_REFUSED,
    AttentionKind.NOTHING_TO_FORWARD,
)


@dataclass(frozen=True, slots=True)
class SlotLine:
    """One slot of the window, counted from 0: ``state`` is planned, issuing, issued, late, skipped, next or coming.

    ``late`` is one that was issued late, or should have been planned by now; its counts tell which.
    """

    slot: int
    begins_at: datetime
    state: str
    planned_invoices: int
    issued_invoices: int


@dataclass(frozen=True, slots=True)
class Tally:
    """How many of something, and how many centavos, fell into one bar of a chart, which begins at ``at``."""

    at: datetime
    number: int
    centavos: int


@dataclass(frozen=True, slots=True)
class Overview:
    """All that the first page shows. Charts have one entry a bar."""

    statement: Statement
    slots: Sequence[SlotLine]
    attentions: Sequence[AttentionLine]  # open ones, at most 20, the gravest kinds first
    oldest_unforwarded_at: datetime | None
    credited: Sequence[Tally]
    settled: Sequence[Tally]
    events_by_outcome: dict[str, int]
    # (seconds, how many took at most so long and more than the last); the last bound is infinite
    settled_within: Sequence[tuple[float, int]]
    paused: dict[Switch, datetime]


@dataclass(frozen=True, slots=True)
class System:
    """Who is alive and when we last asked the bank."""

    processes: Sequence[dict[str, Any]]  # the columns of the table, and "alive": seen within a minute
    reconciliations: Sequence[dict[str, Any]]  # the last 10: started_at, ended_at, found, failure
    revision: str
    paused: dict[Switch, datetime]


def read_overview(database: Database, now: datetime, span: timedelta, bars: int) -> Overview:
    """Read the first page; charts cover the last ``span`` in ``bars`` bars, of whole minutes at the least."""
    statement = read_statement(database)
    oldest = read_oldest_unforwarded(database)
    with database.reading() as connection:
        chart = _read_chart(connection, now, span, bars)
        return Overview(
            statement=statement,
            slots=_read_slots(connection, now),
            attentions=_read_gravest(connection),
            oldest_unforwarded_at=oldest,
            credited=chart.bars_of("credited"),
            settled=chart.bars_of("settled"),
            events_by_outcome=chart.outcomes(),
            settled_within=[
                (bound, chart.number_of(settled_within(bound))) for bound in SETTLED_WITHIN_SECONDS
            ],
            paused=paused_in(connection),
        )


def read_system(database: Database, now: datetime) -> System:
    """Processes, reconciliations, version."""
    with database.reading() as connection:
        living = connection.execute(select(processes).order_by(processes.c.started_at.desc())).mappings()
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
                {
                    **row,
                    "alive": row["stopped_at"] is None and now - row["seen_at"] <= ALIVE_WITHIN,
                }
                for row in living
            ],
            reconciliations=[dict(row) for row in runs],
            revision=NEWEST_REVISION,
            paused=paused_in(connection),
        )


# --- below: its parts ---


@dataclass(frozen=True, slots=True)
class _Chart:
    begins_at: datetime
    bar: timedelta
    bars: int
    tallies: Sequence[Any]

    def bars_of(self, name: str) -> list[Tally]:
        numbers = [[0, 0] for _ in range(self.bars)]
        for tally in self.tallies:
            if tally.name == name:
                # Minutes are whole, bars need not be: the first minute may begin before the first bar.
                bar = numbers[max(0, min(self.bars - 1, (tally.minute - self.begins_at) // self.bar))]
                bar[0] += tally.number
                bar[1] += tally.centavos
        return [Tally(self.begins_at + each * self.bar, *numbers[each]) for each in range(self.bars)]

    def number_of(self, name: str) -> int:
        return sum(tally.number for tally in self.tallies if tally.name == name)

    def outcomes(self) -> dict[str, int]:
        names = sorted({tally.name for tally in self.tallies if tally.name.startswith("events.")})
        return {name.removeprefix("events."): self.number_of(name) for name in names}


def _read_chart(connection: Connection, now: datetime, span: timedelta, bars: int) -> _Chart:
    if bars < 1 or span < bars * timedelta(minutes=1):
        raise ValueError(f"{bars} bars in {span}: a bar is a minute at the least")
    begins_at = now - span
    names = [
        *("credited", "settled"),
        *(settled_within(bound) for bound in SETTLED_WITHIN_SECONDS),
        *(f"events.{outcome}" for outcome in Outcome),
    ]
    since = begins_at.replace(second=0, microsecond=0)
    return _Chart(begins_at, span / bars, bars, read_tallies(connection, names, since))


def _read_slots(connection: Connection, now: datetime) -> list[SlotLine]:
    window = connection.execute(select(issuing_windows)).one_or_none()
    if window is None:
        return []
    batches = {
        row.slot: row
        for row in connection.execute(
            select(
                invoice_batches.c.slot,
                invoice_batches.c.state,
                invoice_batches.c.late,
                func.count(planned_invoices.c.id).label("planned"),
                func.count(planned_invoices.c.bank_invoice_id).label("issued"),
            )
            .outerjoin(planned_invoices, planned_invoices.c.batch_id == invoice_batches.c.id)
            .where(invoice_batches.c.slot.is_not(None))
            .group_by(invoice_batches.c.slot, invoice_batches.c.state, invoice_batches.c.late)
        )
    }
    interval = timedelta(seconds=window.interval_seconds)
    lines: list[SlotLine] = []
    is_next_found = False
    for slot in range(window.slots):
        begins_at = window.opened_at + slot * interval
        batch = batches.get(slot)
        if batch is not None:
            state = "late" if batch.state == "issued" and batch.late else batch.state
            lines.append(SlotLine(slot, begins_at, state, batch.planned, batch.issued))
        elif begins_at + interval / LATE_SHARE < now:
            lines.append(SlotLine(slot, begins_at, "late", 0, 0))
        else:
            lines.append(SlotLine(slot, begins_at, "coming" if is_next_found else "next", 0, 0))
            is_next_found = True
    return lines


def _read_gravest(connection: Connection) -> list[AttentionLine]:
    grades = {str(kind): grade for grade, kind in enumerate(GRAVEST_FIRST)}
    rows = connection.execute(
        select(attentions)
        .where(text("resolved_at IS NULL"))
        .order_by(case(grades, value=attentions.c.kind, else_=len(grades)), attentions.c.id)
        .limit(ATTENTIONS_SHOWN)
    ).all()
    return attention_lines(connection, rows)
