"""Charts as inline SVG: no script, no inline style. Each comes with a sentence and a table that say the same.

The shapes are stretched to the width of the page, so all text stands beside them, in HTML.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

# One unit of a chart's height is one pixel.
HEIGHT = 120


@dataclass(frozen=True, slots=True)
class Bar:
    """One place of a chart: its label, and one number for each series."""

    label: str
    numbers: tuple[int, ...]
    hints: tuple[str, ...]  # shown when a number is pointed at
    cells: tuple[str, ...] = ()  # what the table has in place of the numbers, where that is more


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars side by side. ``series`` are the names; their colours are the stylesheet's ``series-1``, ``-2``."""

    title: str
    series: tuple[str, ...]
    bars: Sequence[Bar]
    summary: str  # the same in a sentence

    @property
    def most(self) -> int:
        """The number of the longest bar."""
        return max((number for bar in self.bars for number in bar.numbers), default=0)

    @property
    def is_empty(self) -> bool:
        """True when there is nothing to draw."""
        return self.most == 0

    def svg(self) -> Markup:
        """The shapes. Screen readers use the summary and the table instead."""
        width = 10 * len(self.bars)
        wide = 8 / len(self.series)
        shapes = Markup().join(
            self._shape(10 * place + 1 + wide * which, wide, which, number, bar.hints[which])
            for place, bar in enumerate(self.bars)
            for which, number in enumerate(bar.numbers)
            if number
        )
        return Markup(
            '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
            '<path class="grid" d="M0 0.5H{}M0 {}H{}"/>{}</svg>'
        ).format(width, HEIGHT, width, HEIGHT / 2, width, shapes)

    def _shape(self, left: float, wide: float, which: int, number: int, hint: str) -> Markup:
        # A bar of one stays visible beside a bar of a thousand.
        tall = max(2.0, HEIGHT * number / self.most)
        return Markup(
            '<rect class="series-{}" x="{:.2f}" y="{:.1f}" width="{:.2f}" height="{:.1f}"><title>{}</title></rect>'
        ).format(which + 1, left, HEIGHT - tall, wide * 0.92, tall, hint)


def bar_of(number: int, most: int) -> Markup:
    """One horizontal bar, for a list of numbers that are written beside it."""
    share = 100 * number / most if most else 0
    return Markup(
        '<svg class="horizontal" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        '<rect class="track" width="100" height="10"/><rect class="series-1" width="{:.1f}" height="10"/></svg>'
    ).format(max(share, 0.8) if number else 0)
