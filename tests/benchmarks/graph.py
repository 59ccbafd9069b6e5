"""The graph: how long an answer takes over the offered rate, both on logarithmic scales; one SVG for each theme."""

from collections.abc import Mapping, Sequence
from math import log10
from pathlib import Path
from xml.sax.saxutils import escape

Point = tuple[float, float]  # offered credits a second, milliseconds

_WIDTH, _HEIGHT = 760, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 74, 56
_THEMES = {
    "": ("#1f2328", "#59636e", "#d1d9e0", ("#0969da", "#bc4c00", "#1a7f37", "#8250df", "#bf3989")),
    "-dark": ("#f0f6fc", "#9198a1", "#3d444d", ("#4493f8", "#db6d28", "#3fb950", "#ab7df8", "#db61a2")),
}


def write(path: Path, title: str, series: Mapping[str, Sequence[Point]], limit_ms: float) -> list[Path]:
    """Write ``path`` and its twin for dark pages, named ``-dark``; ``limit_ms`` is drawn as a line. Returns both."""
    written = []
    for suffix, theme in _THEMES.items():
        written.append(path.with_name(f"{path.stem}{suffix}{path.suffix}"))
        written[-1].write_text(_svg(title, series, limit_ms, *theme), "utf-8")
    return written


def _svg(
    title: str,
    series: Mapping[str, Sequence[Point]],
    limit_ms: float,
    ink: str,
    pale: str,
    line: str,
    colors: Sequence[str],
) -> str:
    points = [point for each in series.values() for point in each]
    x = _Scale([rate for rate, _ in points], _LEFT, _WIDTH - _RIGHT)
    y = _Scale([*(ms for _, ms in points), limit_ms], _HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="13" fill="{pale}"><title>{escape(title)}</title>',
        f'<text x="{_LEFT}" y="20" font-size="15" font-weight="600" fill="{ink}">{escape(title)}</text>',
    ]
    for value in x.ticks:
        at = f'x="{x(value):.0f}" y="{_HEIGHT - _BOTTOM + 20}"'
        parts.append(f'<text {at} text-anchor="middle">{value:,.0f}</text>')
    for value in y.ticks:
        parts.append(_rule(y(value), line))
        parts.append(f'<text x="{_LEFT - 8}" y="{y(value) + 4:.0f}" text-anchor="end">{value:,.0f} ms</text>')
    parts.append(_rule(y(limit_ms), pale, "4 4"))
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(
        f'<text x="{middle}" y="{_HEIGHT - 10}" text-anchor="middle">credits offered a second</text>'
    )
    for number, (name, each) in enumerate(series.items()):
        color = colors[number % len(colors)]
        path = " ".join(f"{x(rate):.1f},{y(ms):.1f}" for rate, ms in sorted(each))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2.5"/>')
        parts += [
            f'<circle cx="{x(rate):.1f}" cy="{y(ms):.1f}" r="3.5" fill="{color}"/>' for rate, ms in each
        ]
        row, column = divmod(number, 3)
        left, middle = _LEFT + column * 225, 38 + row * 18
        parts.append(f'<circle cx="{left + 5}" cy="{middle}" r="5" fill="{color}"/>')
        parts.append(f'<text x="{left + 16}" y="{middle + 4}" fill="{ink}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _rule(y: float, color: str, dashes: str = "none") -> str:
    return (
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{color}" '
        f'stroke-dasharray="{dashes}"/>'
    )


class _Scale:
    """Powers of ten onto pixels."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self._low, self._high = log10(min(values) * 0.8), log10(max(values) * 1.2)
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        return self._start + (log10(value) - self._low) / (self._high - self._low) * (self._end - self._start)

    @property
    def ticks(self) -> list[float]:
        all_of_them = [step * 10.0**power for power in range(-1, 6) for step in (1, 2, 5)]
        return [value for value in all_of_them if self._low <= log10(value) <= self._high]
