"""The charts of a day, hour by hour: what the bank did, how calls were answered, how fast the receiver was.

Everything is counted anew from the books and the two histories, and laid out as rectangles that a template draws
as SVG, so a chart needs no script. All times are UTC.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median

from emulator.behaviour.bank import Bank
from emulator.protocol.history import Entry, History

HOURS = 24
# The drawing in its own units: about as many as half of a wide window has pixels.
WIDTH, HEIGHT = 480, 150
LEFT, TOP, BOTTOM = 54, 8, 22
SLOT = (WIDTH - LEFT) / HOURS

# The groups of statuses, in the order of their stacking.
STATUSES = ("200", "other 2xx and 3xx", "4xx", "429", "5xx", "no answer")


@dataclass(frozen=True)
class Bar:
    """One rectangle, and the words that a browser shows over it."""

    x: float
    y: float
    width: float
    height: float
    tone: str
    words: str


@dataclass(frozen=True)
class Chart:
    """One chart: `series` are names with their tone and total, `marks` the heights and texts of the left scale."""

    title: str
    series: list[tuple[str, str, str]]
    bars: list[Bar]
    marks: list[tuple[float, str]]
    hours: list[tuple[float, str]]

    @property
    def summary(self) -> str:
        """The chart in words, for a screen reader."""
        return f"{self.title}: " + ", ".join(f"{name} {total}" for name, _, total in self.series)


@dataclass(frozen=True)
class Day:
    """The 24 hours from `start`, and their charts; those in which nothing happened are left out."""

    start: datetime
    charts: list[Chart]

    @property
    def end(self) -> datetime:
        """When the hours are over."""
        return self.start + timedelta(hours=HOURS)


def last_hours(now: datetime) -> datetime:
    """The start of the 24 hours that end with the present one."""
    return now.astimezone(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS - 1)


def day(bank: Bank, requests: History, deliveries: History, start: datetime) -> Day:
    """The charts of the 24 hours from `start`, a full hour."""
    asked, posted = _inside(requests, start), _inside(deliveries, start)
    charts = [
        _counted("Invoices, payments, transfers", _money(bank, start), start, stacked=False),
        _counted("Answers to calls, by status", _statuses(asked), start, stacked=True),
        _counted("Answers of receivers, by status", _statuses(posted), start, stacked=True),
        _latency("Latency of receivers, in ms", posted, start),
    ]
    return Day(start, [chart for chart in charts if chart.bars])


# --- counting ---------------------------------------------------------------------------------------------

Hours = dict[int, int]


def _money(bank: Bank, start: datetime) -> list[tuple[str, str, Hours]]:
    end = start + timedelta(hours=HOURS)
    invoices, paid, transfers = Hours(), Hours(), Hours()
    for log in bank.invoices.logs.between(start, end):
        if log["type"] in ("created", "paid"):
            _count(invoices if log["type"] == "created" else paid, _hour(log["created"], start))
    for log in bank.transfers.logs.between(start, end):
        if log["type"] == "created":
            _count(transfers, _hour(log["created"], start))
    return [("invoices", "one", invoices), ("payments", "two", paid), ("transfers", "three", transfers)]


def _inside(history: History, start: datetime) -> list[tuple[int, Entry]]:
    """The entries of these hours, with the hour of each."""
    placed = ((_hour(entry["at"], start), entry) for entry in history.newest(len(history)))
    return [(hour, entry) for hour, entry in placed if 0 <= hour < HOURS]


def _statuses(entries: Iterable[tuple[int, Entry]]) -> list[tuple[str, str, Hours]]:
    counts: dict[str, Hours] = defaultdict(Hours)
    for hour, entry in entries:
        _count(counts[_group(entry["status"])], hour)
    tones = ("good", "one", "warn", "three", "bad", "none")
    return [(name, tone, counts[name]) for name, tone in zip(STATUSES, tones, strict=True) if name in counts]


def _group(status: int | None) -> str:
    if not status:
        return "no answer"
    if status in (200, 429):
        return str(status)
    return "other 2xx and 3xx" if status < 400 else f"{min(status // 100, 5)}xx"


def _hour(text: str, start: datetime) -> int:
    return math.floor((datetime.fromisoformat(text) - start) / timedelta(hours=1))


def _count(hours: Hours, hour: int) -> None:
    hours[hour] = hours.get(hour, 0) + 1


# --- drawing ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Frame:
    """Where the bars of one chart stand: its first hour, and the value at its upper edge."""

    start: datetime
    top: float

    def height(self, value: float) -> float:
        return value / self.top * (HEIGHT - TOP - BOTTOM)

    def bar(
        self, hour: int, value: float, tone: str, words: str, floor: float = 0, place: int = 0, of: int = 1
    ) -> Bar:
        """A bar on `floor`, the one at `place` among `of` bars of this hour."""
        # At least one unit high: a single failure among thousands must be seen.
        height = max(1.0, self.height(value))
        width = (SLOT - 2) / of
        x, y = LEFT + hour * SLOT + 1 + place * width, HEIGHT - BOTTOM - self.height(floor) - height
        at = self.start + timedelta(hours=hour)
        return Bar(
            round(x, 1),
            round(y, 1),
            round(width, 1),
            round(height, 1),
            tone,
            f"{at:%d/%m %H}:00 UTC: {words}",
        )

    def chart(
        self, title: str, series: list[tuple[str, str, str]], bars: list[Bar], scale: dict[int, str]
    ) -> Chart:
        marks = [(round(HEIGHT - BOTTOM - self.height(value), 1), words) for value, words in scale.items()]
        hours = [
            (round(LEFT + hour * SLOT, 1), f"{self.start + timedelta(hours=hour):%H}:00")
            for hour in range(0, HOURS, 6)
        ]
        return Chart(title, series, bars, marks, hours)


def _counted(title: str, series: list[tuple[str, str, Hours]], start: datetime, *, stacked: bool) -> Chart:
    """The counts of each hour, on top of each other or side by side."""
    heights = [[hours.get(hour, 0) for _, _, hours in series] for hour in range(HOURS)]
    top = _round_up(max(sum(each) if stacked else max(each, default=0) for each in heights))
    frame = _Frame(start, top)
    bars = [
        frame.bar(hour, count, tone, f"answered {name}: {count}", floor=sum(counts[:place]))
        if stacked
        else frame.bar(hour, count, tone, f"{name}: {count}", place=place, of=len(series))
        for hour, counts in enumerate(heights)
        for place, (count, (name, tone, _)) in enumerate(zip(counts, series, strict=True))
        if count
    ]
    totals = [(name, tone, f"{sum(hours.values()):,}") for name, tone, hours in series]
    scale = {value: f"{value:,}" for value in sorted({0, top // 2, top})}
    return frame.chart(title, totals, bars, scale)


def _latency(title: str, posted: list[tuple[int, Entry]], start: datetime) -> Chart:
    """The median of each hour, and behind it the slowest answer, by powers of ten."""
    by_hour: dict[int, list[float]] = defaultdict(list)
    for hour, entry in posted:
        if entry["status"] is not None:
            by_hour[hour].append(entry["ms"])
    every = [ms for each in by_hour.values() for ms in each]
    powers = max(1, math.ceil(_powers(max(every, default=1))))
    frame = _Frame(start, powers)
    bars: list[Bar] = []
    for hour, found in sorted(by_hour.items()):
        words = f"median {median(found):.1f} ms, slowest {max(found):.1f} ms of {len(found)}"
        bars.append(frame.bar(hour, _powers(max(found)), "faint", words))
        bars.append(frame.bar(hour, _powers(median(found)), "one", words))
    named = {"median": ("one", median(every)), "slowest": ("faint", max(every))} if every else {}
    series = [(name, tone, f"{ms:.1f} ms") for name, (tone, ms) in named.items()]
    return frame.chart(title, series, bars, {power: f"{10**power:,}" for power in range(powers + 1)})


def _powers(ms: float) -> float:
    """How many times ten; what is faster than 1 ms counts as 1 ms."""
    return math.log10(max(1.0, ms))


def _round_up(value: int) -> int:
    """The end of a scale for values up to this one: 1, 2, 4, 6 or 10 times a power of ten."""
    power: int = 10 ** (len(str(value)) - 1)
    return next(step * power for step in (1, 2, 4, 6, 10) if step * power >= value)


def chart_size() -> dict[str, int]:
    """The measures that the template draws with."""
    return {"width": WIDTH, "height": HEIGHT, "left": LEFT, "base": HEIGHT - BOTTOM}
