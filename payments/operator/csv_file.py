"""Lists as CSV: whole centavos, times as ISO 8601 in UTC, and no cell that a spreadsheet runs."""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any

# A spreadsheet takes a cell that begins with one of these for a formula, and may run it. (OWASP, CSV injection.)
_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")


def csv_lines(kind: type[Any], items: Iterable[Any]) -> Iterator[str]:
    """The file line by line: a head with the names of the dataclass's fields, then each item.

    A dataclass within another becomes columns of its own, with the field's name in front.
    """
    yield _line(_names(kind))
    for item in items:
        yield _line(list(_cells(item)))


def _csv_cell(value: object) -> object:
    """A cell that a spreadsheet shows and does not run: text that begins like a formula is prefixed with a quote."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA_SIGNS) else value
    return value


def _names(kind: type[Any]) -> list[str]:
    names = []
    for each in fields(kind):
        inner = each.type
        if isinstance(inner, type) and is_dataclass(inner):
            names += [f"{each.name}_{name}" for name in _names(inner)]
        else:
            names.append(each.name)
    return names


def _cells(item: Any) -> Iterator[object]:
    for each in fields(item):
        value = getattr(item, each.name)
        if is_dataclass(value):
            yield from _cells(value)
        else:
            yield _csv_cell(value)


def _line(cells: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
