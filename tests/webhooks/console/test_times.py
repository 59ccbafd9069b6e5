"""Times and durations as operators read them."""

from datetime import UTC, date, datetime, timedelta

import pytest

from payments.language import language_of
from payments.operator.times import duration
from webhooks.console.times import DEFAULT_ZONE, Times

ENGLISH, PORTUGUESE = language_of("en"), language_of("pt-BR")
NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


def text_of(markup: str) -> str:
    """What stands between the tags."""
    return markup.partition(">")[2].partition("<")[0]


@pytest.mark.parametrize(
    ("at", "zone", "text"),
    [
        (NOW, "America/Sao_Paulo", "12:00:00"),
        (NOW, "UTC", "15:00:00"),
        (NOW - timedelta(days=1), "America/Sao_Paulo", "01 Mar 12:00:00"),
        (datetime(2025, 12, 31, 15, 0, tzinfo=UTC), "UTC", "31 Dec 2025 15:00:00"),
        # Yesterday there, today in UTC.
        (datetime(2026, 3, 2, 1, 0, tzinfo=UTC), "America/Sao_Paulo", "01 Mar 22:00:00"),
        (NOW, "Mars/Olympus", "12:00:00"),
        (NOW, None, "12:00:00"),
    ],
)
def test_a_time_is_in_the_chosen_zone_with_utc_in_the_title(
    at: datetime, zone: str | None, text: str
) -> None:
    """The title and the machine's form are UTC, whatever the zone."""
    written = Times(NOW, ENGLISH, zone).when(at)
    assert text_of(written) == text
    assert f'title="{at:%Y-%m-%d %H:%M:%S}.000 UTC"' in written
    assert f'datetime="{at:%Y-%m-%dT%H:%M:%S}.000+00:00"' in written


def test_a_zone_that_is_not_offered_is_the_default() -> None:
    """It comes from a cookie, which anyone may write."""
    assert Times(NOW, ENGLISH, "<script>").zone_name == DEFAULT_ZONE
    assert Times(NOW, ENGLISH, "<script>", "Asia/Kathmandu").zone_name == "Asia/Kathmandu"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "now"), (5, "5 s ago"), (-90, "in 1 min"), (7500, "2 h 5 min ago"), (200_000, "2 d 7 h ago")],
)
def test_how_long_ago_it_was(seconds: float, text: str) -> None:
    """And how long it will be."""
    assert text_of(Times(NOW, ENGLISH, None).ago(NOW - timedelta(seconds=seconds))) == text


def test_times_are_written_as_each_language_does() -> None:
    """A Brazilian's day is 01/03."""
    times = Times(NOW, PORTUGUESE, "UTC")
    assert text_of(times.when(NOW - timedelta(days=1))) == "01/03 15:00:00"
    assert text_of(times.when(NOW - timedelta(days=365))) == "02/03/2025 15:00:00"
    assert text_of(times.ago(NOW - timedelta(minutes=5))) == "há 5 min"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.25, "0.25 s"),
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3600, "1 h"),
        (86_400, "1 d"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_duration_is_written_in_its_largest_units(seconds: float, text: str) -> None:
    """At most two of them."""
    assert duration(seconds) == text


def test_what_is_not_known_is_a_dash() -> None:
    """Not an empty cell, which might be a fault of the page."""
    assert text_of(Times(NOW, ENGLISH, None).when(None)) == "—"


def test_a_day_is_that_of_the_chosen_zone() -> None:
    """It begins at midnight there."""
    begins, ends = Times(NOW, ENGLISH, "America/Sao_Paulo").bounds(date(2026, 3, 2))
    assert begins == datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
    assert ends == begins + timedelta(days=1)
