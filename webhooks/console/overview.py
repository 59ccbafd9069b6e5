"""What the first page shows: where every centavo is, the slots, and the charts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from payments.language import Language
from payments.ledger.batches import IssuingWindow, Slot, SlotState
from payments.money import format_brl
from payments.operator.labels import Label, label, labels_of
from payments.operator.overview import Overview
from payments.operator.statement import Statement, statement_lines
from payments.operator.times import duration
from webhooks.console.charts import Bar, Chart
from webhooks.console.times import Times


@dataclass(frozen=True, slots=True)
class Span:
    """What the charts cover, and in how many bars. ``since`` None: what ends now."""

    name: str
    length: timedelta
    bars: int
    since: datetime | None = None


SPANS: Mapping[str, Span] = {
    span.name: span
    for span in (
        Span("hour", timedelta(hours=1), 30),
        Span("day", timedelta(days=1), 48),
        Span("week", timedelta(days=7), 56),
    )
}


# A bar is half an hour of a day; a window has about as many, each a whole part of a slot.
BARS_OF_A_WINDOW = 48


def spans_of(window: IssuingWindow | None, now: datetime) -> dict[str, Span]:
    """What can be asked for; the first one has the day in it: the window, until it is over for as long as it was."""
    if window is None:
        return {"day": SPANS["day"], **SPANS}
    length = window.slots * window.interval
    per_slot = BARS_OF_A_WINDOW // window.slots
    bars = window.slots * per_slot or BARS_OF_A_WINDOW
    own = {"window": Span("window", length, bars, window.opened_at)}
    has_day = window.opened_at <= now < window.opened_at + 2 * length
    return {**own, **SPANS} if has_day else {"day": SPANS["day"], **SPANS, **own}


def span_title(span: Span, language: Language) -> str:
    """What a span is called."""
    _ = language.gettext
    return {
        "window": _("issuing window"),
        "hour": _("last hour"),
        "day": _("last 24 hours"),
        "week": _("last 7 days"),
    }[span.name]


class BalanceLine(NamedTuple):
    """One line of the statement; ``tone`` marks what is wrong, ``is_sum`` a sum of the lines above it."""

    text: str
    centavos: int
    tone: str = "calm"
    is_sum: bool = False


def balance_lines(statement: Statement, language: Language) -> list[BalanceLine]:
    """Each part is taken off the net until nothing is left: the last line must be zero."""
    _ = language.gettext
    tones = {
        "settled": "good",
        "dead": "bad" if statement.dead_centavos > statement.abandoned_centavos else "calm",
    }
    lines, left = [], statement.net_centavos
    for line in statement_lines(statement, language):
        if line.name == "abandoned" and not statement.abandoned:
            continue
        if line.is_part:
            left -= line.centavos
        centavos = -line.centavos if line.is_part else line.centavos
        lines.append(BalanceLine(line.text, centavos, tones.get(line.name, "calm"), line.name == "net"))
    return [*lines, BalanceLine(_("unaccounted for"), left, "bad" if left else "good", is_sum=True)]


def labelled_slots(slots: Sequence[Slot], language: Language) -> list[tuple[Slot, Label]]:
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
    return [(slot, label(labels_of(language).batch_states, names[slot.slot])) for slot in slots]


def charts_of(overview: Overview, span: Span, times: Times, language: Language) -> dict[str, Chart]:
    """The charts by name, each with a sentence that says what it shows."""
    return {
        "activity": _activity(overview, span, times, language),
        "times": _settlement_times(overview, span, language),
        "events": _events(overview, span, language),
    }


def _activity(overview: Overview, span: Span, times: Times, language: Language) -> Chart:
    _, pgettext = language.gettext, language.pgettext

    def place(at: datetime) -> str:
        return times.clock(at) if span.length <= timedelta(days=1) else f"{times.day(at)} {times.clock(at)}"

    series = {
        pgettext("credits", "credited"): overview.credited,
        pgettext("transfers", "settled"): overview.settled,
    }
    bars = []
    for at, *totals in zip(overview.bars_at, *series.values(), strict=True):
        texts = [(each.number, format_brl(each.net_centavos)) for each in totals]
        hints = [
            f"{place(at)} · {name}: {number}, {amount}"
            for name, (number, amount) in zip(series, texts, strict=True)
        ]
        cells = [f"{number} ({amount})" for number, amount in texts]
        bars.append(Bar(place(at), tuple(each.number for each in totals), tuple(hints), tuple(cells)))
    [credited, settled] = [
        (sum(each.number for each in totals), format_brl(sum(each.net_centavos for each in totals)))
        for totals in series.values()
    ]
    summary = _(
        "In the %(span)s: %(credited)s credited (%(credited_amount)s), %(settled)s settled (%(settled_amount)s).",
        span=span_title(span, language),
        credited=credited[0],
        credited_amount=credited[1],
        settled=settled[0],
        settled_amount=settled[1],
    )
    return Chart(
        _("Credits and transfers over time"),
        tuple(series),
        bars,
        f"{summary} {_trend(overview, span, language)}",
    )


def _trend(overview: Overview, span: Span, language: Language) -> str:
    """How the money that was credited compares with the day before, or the week before."""
    _ = language.gettext
    now, before = sum(each.net_centavos for each in overview.credited), overview.credited_before
    if not before.net_centavos:
        return ""
    percent = f"{round(100 * (now - before.net_centavos) / before.net_centavos):+d}%".replace("-", "−")
    values = {"percent": percent, "number": before.number, "amount": format_brl(before.net_centavos)}
    if span.length <= timedelta(days=1):
        return _(
            "That is %(percent)s against the same time the day before (%(number)s credited, %(amount)s).",
            **values,
        )
    return _("That is %(percent)s against the span before (%(number)s credited, %(amount)s).", **values)


def _settlement_times(overview: Overview, span: Span, language: Language) -> Chart:
    _ = language.gettext

    def up_to(seconds: float) -> str:
        if seconds == float("inf"):
            return _("longer")
        return _("up to %(duration)s", duration=duration(seconds))

    within = overview.settled_within
    bars = [Bar(up_to(seconds), (number,), (f"{up_to(seconds)}: {number}",)) for seconds, number in within]
    total = sum(number for _seconds, number in within)
    in_span = span_title(span, language)
    summary, reached = _("No transfers settled in the %(span)s.", span=in_span), 0
    for seconds, number in within:
        if reached * 2 < total <= (reached + number) * 2:
            summary = language.ngettext(
                "Median time to settle: %(time)s (1 transfer in the %(span)s).",
                "Median time to settle: %(time)s (%(num)d transfers in the %(span)s).",
                total,
                time=up_to(seconds),
                span=in_span,
            )
        reached += number
    return Chart(_("From credit to settled"), (_("transfers"),), bars, summary)


def _events(overview: Overview, span: Span, language: Language) -> Chart:
    _, outcomes = language.gettext, labels_of(language).outcomes
    counts = sorted(overview.events_by_outcome.items(), key=lambda item: -item[1])
    found = [(label(outcomes, name), number) for name, number in counts]
    bars = [Bar(each.text, (number,), (each.meaning,)) for each, number in found]
    summary = language.ngettext(
        "1 event in the %(span)s.",
        "%(num)d events in the %(span)s.",
        sum(number for _name, number in counts),
        span=span_title(span, language),
    )
    return Chart(_("Events by outcome"), (_("events"),), bars, summary)
