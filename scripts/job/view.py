"""Output: tables for people, JSON for programs, CSV in which no spreadsheet finds a formula."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any

from payments.language import language_of
from payments.note import Note
from payments.operator.wording import note_text

# A spreadsheet takes a cell that begins with one of these for a formula, and may run it. (OWASP, CSV injection.)
_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")

# The widest that a column of a table gets; the full text is in `show` and in --json.
COLUMN_WIDTH_MAX = 60


class _Zone:
    """In which zone this process, which runs one command, prints times for people."""

    chosen: tzinfo = UTC


def use_zone(zone: tzinfo) -> None:
    """Print times in this zone from now on."""
    _Zone.chosen = zone


def moment(at: datetime | None) -> str:
    """A time for people, with its zone's offset; a dash for none."""
    return "-" if at is None else at.astimezone(_Zone.chosen).isoformat(" ", "seconds")


def plain(text: object) -> str:
    """Text from outside, or a note, on one line, without control characters that a terminal would obey."""
    said = note_text(text, language_of("en"), moment) if isinstance(text, Note) else str(text)
    return "".join(sign if sign.isprintable() else " " for sign in said)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[int] = ()) -> list[str]:
    """Aligned columns; those numbered in ``right`` are aligned right. Cells are made plain, and cut where too wide."""
    cells = [list(heads), *([_cell(each) for each in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    return [
        "  ".join(
            each.rjust(width) if column in right else each.ljust(width)
            for column, (each, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def _cell(value: object) -> str:
    text = "-" if value is None or value == "" else plain(value)
    return text if len(text) <= COLUMN_WIDTH_MAX else text[: COLUMN_WIDTH_MAX - 1] + "…"


def to_json(value: Any) -> str:
    """One line of JSON: times as ISO 8601 in UTC, bytes as text."""
    return json.dumps(value, default=_to_json)


def _to_json(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    raise TypeError(f"{type(value).__name__} has no JSON of ours")


def iso(at: datetime) -> str:
    """A time for programs."""
    return at.isoformat().replace("+00:00", "Z")


def csv_cell(value: object) -> object:
    """A cell that a spreadsheet shows and does not run: text that begins like a formula is prefixed with a quote."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA_SIGNS) else value
    return value
