"""What the first page shows: where every centavo is, the slots, and the charts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from payments.ledger.batches import Slot, SlotState
from payments.money import format_brl
from payments.operator.overview import Overview
from payments.operator.statement import Statement
from payments.operator.times import duration
from webhooks.console import labels
from webhooks.console.charts import Bar, Chart
from webhooks.console.labels import Label
from webhooks.console.times import Times


@dataclass(frozen=True, slots=True)
class Span:
    """How far back the charts go, and in how many bars."""

    name: str
    title: str
    length: timedelta
    bars: int


SPANS: Mapping[str, Span] = {
    span.name: span
    for span in (
        Span("hour", "last hour", timedelta(hours=1), 30),
        Span("day", "last 24 hours", timedelta(days=1), 48),
        Span("week", "last 7 days", timedelta(days=7), 56),
    )
}


class StatementLine(NamedTuple):
    """One line of the statement; ``tone`` marks what is wrong, ``is_sum`` a sum of the lines above it."""

    text: str
    centavos: int
    tone: str = "calm"
    is_sum: bool = False


def statement_lines(statement: Statement) -> list[StatementLine]:
    """Where every centavo of the credited money is; the last line must be zero."""
    waiting = statement.unforwarded_centavos - statement.dead_centavos
    blocked = statement.dead_centavos - statement.abandoned_centavos
    parts = [
        StatementLine("settled at the destination", -statement.settled_centavos, "good"),
        StatementLine("in flight", -statement.in_flight_centavos),
        StatementLine("queued", -waiting),
        StatementLine("blocked (needs action)", -blocked, "bad" if blocked else "calm"),
        *([StatementLine("abandoned", -statement.abandoned_centavos)] if statement.abandoned else []),
        StatementLine("reversed before it was sent", -statement.reversed_centavos),
        StatementLine("not to be forwarded", -statement.not_forwarded_centavos),
    ]
    left = statement.net_centavos + sum(line.centavos for line in parts)
    return [
        StatementLine("credited, gross", statement.gross_centavos),
        StatementLine("the bank's fees", -statement.fee_centavos),
        StatementLine("credited, net", statement.net_centavos, is_sum=True),
        *parts,
        StatementLine("unaccounted for", left, "good" if left == 0 else "bad", is_sum=True),
    ]


def labelled_slots(slots: Sequence[Slot]) -> list[tuple[Slot, Label]]:
    """Each slot with its label; the first that is still to come is the next one."""
    upcoming = next((slot.slot for slot in slots if slot.state == SlotState.COMING), None)
    names = {
        slot.slot: "next"
        if slot.slot == upcoming
        else "issued_late"
        if slot.is_late and slot.state == SlotState.ISSUED
        else slot.state
        for slot in slots
    }
    return [(slot, labels.label(labels.SLOT_STATES, names[slot.slot])) for slot in slots]


def charts_of(overview: Overview, span: Span, times: Times) -> dict[str, Chart]:
    """The charts by name, each with a sentence that says what it shows."""
    return {
        "activity": _activity(overview, span, times),
        "times": _settlement_times(overview, span),
        "events": _events(overview, span),
    }


def _activity(overview: Overview, span: Span, times: Times) -> Chart:
    def label(at: datetime) -> str:
        return times.clock(at) if span.length <= timedelta(days=1) else f"{times.day(at)} {times.clock(at)}"

    series = {"credited": overview.credited, "settled": overview.settled}
    bars = []
    for each in zip(*series.values(), strict=True):
        at = label(each[0].at)
        hints = tuple(
            f"{at}: {bar.number} {name}, {format_brl(bar.centavos)}"
            for name, bar in zip(series, each, strict=True)
        )
        bars.append(Bar(at, tuple(bar.number for bar in each), hints))
    sums = " and ".join(
        f"{sum(bar.number for bar in each)} {name} ({format_brl(sum(bar.centavos for bar in each))})"
        for name, each in series.items()
    )
    title = "Credits and transfers over time"
    return Chart(title, tuple(series), bars, f"In the {span.title}, {sums}.")


def _settlement_times(overview: Overview, span: Span) -> Chart:
    within = overview.settled_within
    bars = [
        Bar(_up_to(seconds), (number,), (f"{number} took {_up_to(seconds)}",)) for seconds, number in within
    ]
    total = sum(number for _, number in within)
    summary, reached = f"No transfers settled in the {span.title}.", 0
    for seconds, number in within:
        if reached * 2 < total <= (reached + number) * 2:
            summary = f"Median time to settle: {_up_to(seconds)} ({total} transfers in the {span.title})."
        reached += number
    return Chart("From credit to settled", ("transfers",), bars, summary)


def _up_to(seconds: float) -> str:
    return "longer" if seconds == float("inf") else f"up to {duration(seconds)}"


def _events(overview: Overview, span: Span) -> Chart:
    counts = sorted(overview.events_by_outcome.items(), key=lambda item: -item[1])
    total = sum(number for _, number in counts)
    found = [(labels.label(labels.OUTCOMES, name), number) for name, number in counts]
    bars = [Bar(label.text, (number,), (label.meaning,)) for label, number in found]
    return Chart("Events by outcome", ("events",), bars, f"{total} events in the {span.title}.")
