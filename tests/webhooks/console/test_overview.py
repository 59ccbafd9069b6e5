"""The first page: the worst first, every centavo in its place, slots, and charts with a sentence each."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from payments.language import language_of
from payments.ledger.batches import IssuingWindow, Slot, SlotState
from payments.operator.filters import Totals
from payments.operator.overview import Overview, read_overview
from payments.operator.statement import Statement
from payments.storage.database import Database
from webhooks.console.charts import Bar, Chart, bar_of
from webhooks.console.overview import SPANS, balance_lines, charts_of, labelled_slots, spans_of
from webhooks.console.times import Times

ENGLISH = language_of("en")
NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
DAY = SPANS["day"]


@pytest.fixture
def quiet(database: Database) -> Overview:
    """The first page of empty books."""
    return read_overview(database, NOW, NOW - DAY.length, DAY.length, DAY.bars)


def a_statement(overview: Overview, **changes: Any) -> Statement:
    """The page's statement with other numbers."""
    return replace(overview.health.statement, **changes)


def test_the_statement_takes_each_part_off_until_nothing_is_left(quiet: Overview) -> None:
    """Gross less fee is net; net less where the money is, is zero."""
    statement = a_statement(
        quiet,
        gross_centavos=1_000,
        fee_centavos=50,
        net_centavos=950,
        settled_centavos=500,
        in_flight_centavos=100,
        unforwarded_centavos=200,
        dead_centavos=150,
        abandoned=1,
        abandoned_centavos=30,
        reversed_centavos=90,
        not_forwarded_centavos=60,
    )
    lines = balance_lines(statement, ENGLISH)
    assert [line.centavos for line in lines] == [1_000, -50, 950, -500, -100, -50, -120, -30, -90, -60, 0]
    assert lines[-1].tone == "good"


def test_a_statement_that_does_not_add_up_shows_what_is_left(quiet: Overview) -> None:
    """In red, to the centavo."""
    last = balance_lines(a_statement(quiet, net_centavos=1), ENGLISH)[-1]
    assert (last.text, last.centavos, last.tone) == ("unaccounted for", 1, "bad")


def test_the_charts_say_in_a_sentence_what_they_draw(quiet: Overview) -> None:
    """For an operator who does not see them."""
    overview = replace(
        quiet,
        bars_at=[NOW - timedelta(hours=1), NOW],
        credited=[Totals(3, 30_100, 100), Totals(1, 5_000)],
        settled=[Totals(2, 20_000), Totals(0, 0)],
        settled_within=[(1.0, 1), (5.0, 1), (float("inf"), 0)],
        events_by_outcome={"credit": 4, "unheard_of": 9},
    )
    overview = replace(overview, credited_before=Totals(5, 70_000))
    charts = charts_of(overview, DAY, Times(NOW, ENGLISH, "UTC"), ENGLISH)
    flow = "In the last 24 hours: 4 credited (R$ 350,00), 2 settled (R$ 200,00)."
    flow += " That is −50% against the same time the day before (5 credited, R$ 700,00)."
    assert charts["activity"].summary == flow
    assert [bar.label for bar in charts["activity"].bars] == ["14:00", "15:00"]
    assert charts["times"].summary == "Median time to settle: up to 1 s (2 transfers in the last 24 hours)."
    assert [bar.label for bar in charts["times"].bars] == ["up to 1 s", "up to 5 s", "longer"]
    assert [bar.label for bar in charts["events"].bars] == ["unheard of", "credit"]


@pytest.mark.parametrize(
    ("hours", "slots", "first", "bars"),
    [
        (0, 8, "window", 48),
        (47, 8, "window", 48),
        (48, 8, "day", 48),
        (1, 7, "window", 42),
        (1, 100, "window", 48),
    ],
)
def test_charts_span_what_has_the_day_in_it(hours: int, slots: int, first: str, bars: int) -> None:
    """The window while it runs and for as long again; then the last 24 hours. A slot has whole bars."""
    window = IssuingWindow("k", NOW - timedelta(hours=hours), timedelta(hours=24) / slots, slots)
    span = next(iter(spans_of(window, NOW).values()))
    assert (span.name, span.bars) == (first, bars)
    assert set(spans_of(window, NOW)) == {"window", "hour", "day", "week"}
    assert next(iter(spans_of(None, NOW))) == "day"


def test_a_chart_draws_each_number_and_marks_nothing_up_from_outside() -> None:
    """The longest bar is as tall as the chart; a small number is still seen; none is not drawn."""
    chart = Chart("t", ("a", "b"), [Bar("x", (1000, 1), ("<b>", "y")), Bar("z", (0, 0), ("", ""))], "s")
    svg = chart.svg()
    assert svg.count("<rect") == 2
    assert 'height="120.0"' in svg
    assert 'height="2.0"' in svg
    assert "&lt;b&gt;" in svg
    assert "style=" not in svg  # the content policy would refuse it
    assert not chart.is_empty
    assert Chart("t", ("a",), [], "s").is_empty


def test_a_horizontal_bar_is_in_proportion() -> None:
    """Of nothing it is empty."""
    assert 'width="50.0"' in bar_of(5, 10)
    assert 'width="0.0"' in bar_of(0, 0).replace('width="0"', 'width="0.0"')


def test_slots_are_labelled_and_the_first_to_come_is_next() -> None:
    """An issued one says whether it was late; one that should have been issued is overdue."""

    def a_slot(number: int, state: str, is_late: bool = False) -> Slot:
        return Slot(number, NOW, SlotState(state), is_late, 0, 0)

    slots = [a_slot(0, "issued", True), a_slot(1, "issued"), a_slot(2, "overdue", True)]
    slots += [a_slot(3, "coming"), a_slot(4, "coming")]
    texts = [label.text for _, label in labelled_slots(slots, ENGLISH)]
    assert texts == ["issued late", "issued", "overdue", "next", "scheduled"]
