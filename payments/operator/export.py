"""For programs: CSV and JSON, with whole centavos and times as ISO 8601 in UTC; no cell that a spreadsheet runs."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any, get_args

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
    columns = list(_columns(kind))
    yield _line(["_".join(path) for path in columns])
    for item in items:
        yield _line([_csv_cell(_found(item, path)) for path in columns])


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


def _columns(kind: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The names that lead to each column, from the outermost dataclass on."""
    for each in fields(kind):
        inner = next(
            filter(is_dataclass, get_args(each.type) or [each.type]), Note
        )  # also of one that may be None
        if inner is Note:
            yield (*path, each.name)
        else:
            yield from _columns(inner, (*path, each.name))


def _found(item: Any, path: tuple[str, ...]) -> object:
    for name in path:
        item = None if item is None else getattr(item, name)
    return item


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
