"""Output for people: tables, times, colours.

A table fits the terminal; on a pipe or in a file it is as wide as what is in it. Colours are for terminals, and not
where NO_COLOR is set (https://no-color.org).
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any, Literal

import click

from payments.note import Note
from payments.operator.wording import note_text
from repasse.language import _, language

# Free text is cut to fit, but not to less than this: two or three words.
_TEXT_WIDTH_MIN = 16

_GAP = "  "

# As its readers write a day, with all digits, so that columns stay straight.
_DATE = "%d/%m/%Y" if language.code == "pt-BR" else "%Y-%m-%d"

# What a state is, where it is good or needs a person; words as they are stored.
_COLOURS = {"settled": "green", "credited": "green", "dead": "red", "failed": "red", "NO": "red"}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table, and what of an item stands in it.

    A number is aligned right, a text may be cut, a state has a colour.
    """

    head: str
    of: Callable[[Any], object]
    kind: Literal["id", "number", "state", "text"] = "id"


class Times:
    """Writes times for people, in the zone of the setting TIME_ZONE."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone

    def moment(self, at: datetime | None) -> str:
        """Day and time; a dash for None."""
        return "-" if at is None else f"{at.astimezone(self._zone):{_DATE} %H:%M:%S}"


def styled(text: str, **style: Any) -> str:
    """The text in a colour or in bold, on a terminal where NO_COLOR is not set."""
    has_colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return click.style(text, **style) if has_colours else text


def table(columns: Sequence[Column], items: Iterable[Any], times: Times) -> list[str]:
    """Aligned columns under their heads. Where the terminal is too narrow the last columns are left out, which a line
    at the end names, so the most important come first; then free text is cut.
    """
    cells = [[_cell(column.of(each), times) for column in columns] for each in items]
    natural = [max(map(len, [column.head, *(row[at] for row in cells)])) for at, column in enumerate(columns)]
    widths = _fitted(columns, natural, shutil.get_terminal_size().columns if sys.stdout.isatty() else None)
    lines = [_line(columns, [each.head for each in columns], widths, is_head=True)]
    lines += [_line(columns, row, widths) for row in cells]
    if len(widths) < len(columns):
        hidden = ", ".join(each.head for each in columns[len(widths) :])
        lines.append(_("not shown for want of room: %(columns)s; --json has everything", columns=hidden))
    return lines


def _fitted(columns: Sequence[Column], natural: Sequence[int], room: int | None) -> list[int]:
    """How wide each column becomes; fewer than there are where they do not fit into ``room``."""
    if room is None:
        return list(natural)
    is_text = [column.kind == "text" for column in columns]
    least = [
        min(width, _TEXT_WIDTH_MIN) if text else width for width, text in zip(natural, is_text, strict=True)
    ]
    shown = len(columns)
    while shown > 1 and _total(least[:shown]) > room:
        shown -= 1
    widths = least[:shown]
    for at in range(shown):
        if is_text[at]:
            widths[at] += min(natural[at] - widths[at], max(0, room - _total(widths)))
    return widths


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _line(
    columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int], *, is_head: bool = False
) -> str:
    shown = []
    for column, text, width in zip(columns, cells, widths, strict=False):  # as many as have a width
        cut = text if len(text) <= width else f"{text[: width - 1]}…"
        padded = cut.rjust(width) if column.kind == "number" else cut.ljust(width)
        if is_head:
            padded = styled(padded, bold=True)
        elif column.kind == "state" and text in _COLOURS:
            padded = styled(padded, fg=_COLOURS[text])
        shown.append(padded)
    return _GAP.join(shown).rstrip()


def _cell(value: object, times: Times) -> str:
    if isinstance(value, datetime):
        return times.moment(value)
    return "-" if value is None or value == "" else plain(value)


def plain(text: object) -> str:
    """Text from outside, or a note, on one line, without control characters that a terminal would obey."""
    said = note_text(text, language) if isinstance(text, Note) else str(text)
    return "".join(sign if sign.isprintable() else " " for sign in said)
