"""What the first page says: one sentence on how things stand, where every centavo is, and what the charts draw."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from payments.money import format_brl
from payments.operator.overview import Overview
from payments.operator.statement import Statement
from webhooks.console import words
from webhooks.console.charts import Bar, Chart
from webhooks.console.reader import Reader, duration

# A credit that was not forwarded within this is worth a word; most are in a second.
SLOW_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Span:
    """How far back the charts look, in how many bars. Bars are whole minutes, as the ledger counts."""

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


class Headline(NamedTuple):
    """How things stand, in one sentence."""

    tone: str
    text: str
    detail: str


def headline_of(overview: Overview, now: datetime) -> Headline:
    """The worst thing first; when there is none, say so."""
    statement, oldest = overview.statement, overview.oldest_unforwarded_at
    waits = 0.0 if oldest is None else (now - oldest).total_seconds()
    if not statement.balanced:
        return Headline("bad", "The statement does not balance", "This is a bug: please report it.")
    if statement.attention:
        several = "matter needs" if statement.attention == 1 else "matters need"
        return Headline("bad", f"{statement.attention} {several} you", "The gravest is first below.")
    if waits > SLOW_SECONDS:
        return Headline("wait", f"A credit has waited for {duration(waits)}", "It is still being tried.")
    if not statement.credits:
        return Headline("good", "All is quiet", "No invoice has been credited yet.")
    if oldest is not None or statement.in_flight_centavos:
        return Headline("good", "All is well", "What came in just now is on its way.")
    return Headline("good", "All is well", "Every credit was forwarded and has arrived.")


class Line(NamedTuple):
    """One line of the statement; ``tone`` marks what is wrong, ``is_sum`` what the others add up to."""

    text: str
    centavos: int
    tone: str = "calm"
    is_sum: bool = False


def statement_lines(statement: Statement) -> list[Line]:
    """Where every centavo of the credited money is; the last line must be zero."""
    waiting = statement.unforwarded_centavos - statement.dead_centavos
    parts = [
        Line("settled at the destination", -statement.settled_centavos, "good"),
        Line("in flight", -statement.in_flight_centavos),
        Line("waiting to be sent", -waiting),
        Line("dead, for a person", -statement.dead_centavos, "bad" if statement.dead_centavos else "calm"),
        Line("reversed before it was sent", -statement.reversed_centavos),
        Line("not to be forwarded", -statement.not_forwarded_centavos),
    ]
    left = statement.net_centavos + sum(line.centavos for line in parts)
    return [
        Line("credited, gross", statement.gross_centavos),
        Line("the bank's fees", -statement.fee_centavos),
        Line("credited, net", statement.net_centavos, is_sum=True),
        *parts,
        Line("unaccounted for", left, "good" if left == 0 else "bad", is_sum=True),
    ]


def charts_of(overview: Overview, span: Span, reader: Reader) -> dict[str, Chart]:
    """The charts by name; each says in a sentence what it shows."""
    credited = sum(tally.number for tally in overview.credited)
    settled = sum(tally.number for tally in overview.settled)
    money = [
        format_brl(sum(t.centavos for t in tallies)) for tallies in (overview.credited, overview.settled)
    ]
    label = (
        reader.clock
        if span.length <= timedelta(days=1)
        else lambda at: f"{reader.day(at)} {reader.clock(at)}"
    )
    flow = Chart(
        "Credits and transfers over time",
        ("credited", "settled"),
        [
            Bar(
                label(came.at),
                (came.number, went.number),
                (
                    f"{label(came.at)}: {came.number} credited, {format_brl(came.centavos)}",
                    f"{label(came.at)}: {went.number} settled, {format_brl(went.centavos)}",
                ),
            )
            for came, went in zip(overview.credited, overview.settled, strict=True)
        ],
        f"In the {span.title}, {credited} credited ({money[0]}) and {settled} settled ({money[1]}).",
    )
    return {"flow": flow, "times": _times(overview, span), "events": _events(overview, span)}


def _times(overview: Overview, span: Span) -> Chart:
    within = list(overview.settled_within)
    total = sum(number for _, number in within)
    bars = [
        Bar(_up_to(seconds), (number,), (f"{number} took {_up_to(seconds)}",)) for seconds, number in within
    ]
    return Chart("From credit to settled", ("transfers",), bars, _half_within(within, total, span))


def _half_within(within: list[tuple[float, int]], total: int, span: Span) -> str:
    if not total:
        return f"Nothing has settled in the {span.title}."
    seen = 0
    for seconds, number in within:
        seen += number
        if seen * 2 >= total:
            return f"Of {total} settled in the {span.title}, at least half took {_up_to(seconds)}."
    return f"{total} settled."


def _up_to(seconds: float) -> str:
    return "longer" if seconds == float("inf") else f"up to {duration(seconds)}"


def _events(overview: Overview, span: Span) -> Chart:
    counts = sorted(overview.events_by_outcome.items(), key=lambda item: -item[1])
    total = sum(number for _, number in counts)
    found = [(words.word(words.OUTCOMES, name), number) for name, number in counts]
    bars = [Bar(word.text, (number,), (word.meaning,)) for word, number in found]
    return Chart("Events by what came of them", ("events",), bars, f"{total} events in the {span.title}.")
