"""The query text of a list call, read as the bank reads it.

Lists travel comma-joined and booleans in any case; a value that no row could have is refused, not answered
with an empty list.

Guess: unknown parameters are ignored. The known refusal of unknown names (`invalidJson`) is about
bodies, and no document lists one for queries. One SDK's test of institutions expects an error for `invalid=x`; those
of the other SDKs do not try it. Ignoring it breaks no client that works at the bank.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any

from emulator.books.formats import day_end, day_of, day_start, is_date, parse_time
from emulator.books.refusal import Refusal

Query = Mapping[str, str]


def page_arguments(query: Query) -> dict[str, Any]:
    """limit, cursor, after and before, ready for `Table.page`."""
    return {
        "limit": limit(query),
        "cursor": query.get("cursor") or None,
        # Observed (RG): days of São Paulo. Inferred from the official tests: both days are included.
        "after": _day(query, "after", day_start),
        "before": _day(query, "before", day_end),
    }


def limit(query: Query) -> int:
    """How many rows a page may have."""
    # Documented: 1 to 100, 100 by default. Guess: the code.
    return whole(query, "limit", 100, 100, "invalidLimit")


def whole(query: Query, name: str, default: int, most: int, code: str) -> int:
    """A whole number from 1 to `most`."""
    text = query.get(name) or str(default)
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= most:
        raise Refusal.of(code, f"{name} must be a whole number from 1 to {most}")
    return int(text)


def words(query: Query, name: str, known: Iterable[str] | None = None, code: str = "") -> list[str] | None:
    """A comma-joined list, None when it was not given."""
    text = query.get(name)
    if not text:
        return None
    found = [word for word in text.split(",") if word]
    unknown = [] if known is None else [word for word in found if word not in known]
    if unknown:
        # Observed: 400 for `status=credited` and for a bad log type; the code for types is in the official
        # tests.
        raise Refusal.of(code, f"Unknown values in {name}: {', '.join(unknown)}")
    return found


def flag(query: Query, name: str) -> bool | None:
    """A boolean, None when it was not given."""
    text = query.get(name)
    if not text:
        return None
    # Read: Python sends `False`, Node `false`.
    if text.lower() not in ("true", "false"):
        raise Refusal.of(f"invalid{name[0].upper()}{name[1:]}", f"{name} must be true or false")
    return text.lower() == "true"


def trim(rows: list[dict[str, Any]], query: Query) -> list[dict[str, Any]]:
    """Only the keys that `fields` names, or everything."""
    wanted = words(query, "fields")
    return rows if wanted is None else [{key: row[key] for key in wanted if key in row} for row in rows]


def _day(query: Query, name: str, edge: Any) -> datetime | None:
    text = query.get(name)
    if not text:
        return None
    try:
        if not 1970 <= int(text[:4]) <= 2200:
            raise ValueError("year")
        day = date.fromisoformat(text) if is_date(text) else day_of(parse_time(text))
    except ValueError:
        raise Refusal.of("invalidDate", f"{name} must be a date as YYYY-MM-DD") from None
    result: datetime = edge(day)
    return result
