"""For programs: CSV and JSON, with whole centavos and times as ISO 8601 in UTC; no cell that a spreadsheet runs."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any

from payments.language import language_of
from payments.note import Note
from payments.operator.wording import note_text

# A spreadsheet takes a cell that begins with one of these for a formula, and may run it. (OWASP, CSV injection.)
_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")


def csv_lines(kind: type[Any], items: Iterable[Any]) -> Iterator[str]:
    """The file line by line: a head with the names of the dataclass's fields, then each item.

    A dataclass within another becomes columns of its own, with the field's name in front. A note is a sentence, in
    English.
    """
    yield _line(_names(kind))
    for item in items:
        yield _line(list(_cells(item)))


def to_json(value: Any, **options: Any) -> str:
    """A dataclass, or what holds some, as JSON; ``options`` are json.dumps's. Bytes become text."""
    return json.dumps(value, default=_plain, **options)


def _csv_cell(value: object) -> object:
    """A cell that a spreadsheet shows and does not run: text that begins like a formula is prefixed with a quote."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return _iso(value)
    if isinstance(value, Note):
        value = note_text(value, language_of("en"))
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA_SIGNS) else value
    return value


def _names(kind: type[Any]) -> list[str]:
    names = []
    for each in fields(kind):
        inner = each.type
        if isinstance(inner, type) and is_dataclass(inner) and inner is not Note:
            names += [f"{each.name}_{name}" for name in _names(inner)]
        else:
            names.append(each.name)
    return names


def _cells(item: Any) -> Iterator[object]:
    for each in fields(item):
        value = getattr(item, each.name)
        if is_dataclass(value) and not isinstance(value, Note):
            yield from _cells(value)
        else:
            yield _csv_cell(value)


def _line(cells: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {each.name: getattr(value, each.name) for each in fields(value)}
    if isinstance(value, datetime):
        return _iso(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    raise TypeError(f"{type(value).__name__} has no JSON of ours")


def _iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
