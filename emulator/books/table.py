"""Rows in the order of their creation, with indexes and stable pages.

A list never scans what an index can answer, and a cursor is a position: rows that arrive while a client
pages do not shift the pages it has yet to read. It knows nothing of what the rows mean.
"""

from __future__ import annotations

import base64
import binascii
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from emulator.books.refusal import Refusal

Row = dict[str, Any]


class Table:
    """One resource's rows, named as in its path. Its owner may edit a row, but never a list in it: logs share those."""

    def __init__(self, name: str, indexes: Sequence[str] = ()) -> None:
        self.name = name
        self._rows: list[Row | None] = []
        self._created: list[datetime] = []
        self._place: dict[str, int] = {}
        self._indexes: dict[str, dict[str, list[int]]] = {index: {} for index in indexes}

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, row_id: str) -> bool:
        return row_id in self._place

    def add(self, row: Row, created_at: datetime, **index_values: str) -> None:
        """Append a row; `index_values` are index entries that are not keys of the row itself."""
        place = len(self._rows)
        self._rows.append(row)
        # Kept ascending, so that pages can bisect by day even if a caller's clock stumbles.
        self._created.append(max(created_at, self._created[-1]) if self._created else created_at)
        self._place[row["id"]] = place
        for index, places in self._indexes.items():
            value: Any = index_values.get(index, row.get(index))
            values = [] if value is None else value if isinstance(value, list) else [value]
            for each in values:
                _append_once(places.setdefault(each, []), place)

    def index(self, name: str, value: str, row_id: str) -> None:
        """Add an index entry to an existing row, for a tag that came later."""
        places = self._indexes[name].setdefault(value, [])
        place = self._place[row_id]
        at = bisect_left(places, place)
        if at == len(places) or places[at] != place:
            places.insert(at, place)

    def get(self, row_id: str) -> Row | None:
        """The row, or None."""
        place = self._place.get(row_id)
        return None if place is None else self._rows[place]

    def find(self, row_id: str) -> Row:
        """The row, or the bank's refusal of an unknown id."""
        row = self.get(row_id)
        if row is None:
            # Observed in the official tests: 400, never 404.
            what = re.sub("[/-]", " ", self.name)
            raise Refusal.of(unknown_id_code(self.name), f"No {what} has the id {row_id[:100]}")
        return row

    def remove(self, row_id: str) -> Row:
        """Take a row out, or refuse an unknown id; its place stays empty so that cursors hold."""
        row = self.find(row_id)
        self._rows[self._place.pop(row_id)] = None
        return row

    def all(self) -> Iterable[Row]:
        """Every row, oldest first."""
        return (row for row in self._rows if row is not None)

    def between(self, start: datetime, end: datetime) -> Iterable[Row]:
        """Rows created from `start` until just before `end`, oldest first."""
        places = range(bisect_left(self._created, start), bisect_left(self._created, end))
        return (row for place in places if (row := self._rows[place]) is not None)

    def having(self, index: str, value: str) -> list[Row]:
        """Rows with this index entry, oldest first."""
        return [
            row for place in self._indexes[index].get(value, ()) if (row := self._rows[place]) is not None
        ]

    def page(
        self,
        *,
        limit: int = 100,
        cursor: str | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        ids: Iterable[str] | None = None,
        within: dict[str, Iterable[str]] | None = None,
        keep: Callable[[Row], bool] | None = None,
        sort: str = "-created",
    ) -> tuple[list[Row], str | None]:
        """One page and the cursor of the next (None at the end).

        `within` maps an index to values of which a row must have at least one; `after` is inclusive and
        `before` exclusive; `sort` is created, -created, updated or -updated.
        """
        places = self._candidates(ids, within)
        low = 0 if after is None else bisect_left(self._created, after)
        high = len(self._rows) if before is None else bisect_left(self._created, before)
        by_update = sort.endswith("updated")
        if not by_update:
            places = (
                range(low, high)
                if places is None
                else places[bisect_left(places, low) : bisect_left(places, high)]
            )
        else:
            inside = (
                place for place in (places if places is not None else range(low, high)) if low <= place < high
            )
            present = [(row["updated"], place) for place in inside if (row := self._rows[place]) is not None]
            places = [place for _, place in sorted(present)]
        start = self._read_cursor(cursor, sort)
        descending = sort.startswith("-")
        if start is not None:
            cut = places.index(start) if by_update and start in places else bisect_left(places, start)
            if descending:
                places = places[:cut]
            else:
                places = places[cut + 1 :] if cut < len(places) and places[cut] == start else places[cut:]
        found: list[Row] = []
        last = -1
        for place in reversed(places) if descending else places:
            row = self._rows[place]
            if row is None or (keep is not None and not keep(row)):
                continue
            if len(found) == limit:
                return found, self._write_cursor(last, sort)
            found.append(row)
            last = place
        return found, None

    def _candidates(
        self, ids: Iterable[str] | None, within: dict[str, Iterable[str]] | None
    ) -> Sequence[int] | None:
        chosen: set[int] | None = None
        if ids is not None:
            chosen = {self._place[row_id] for row_id in ids if row_id in self._place}
        for index, values in (within or {}).items():
            places = [self._indexes[index].get(value, []) for value in values]
            if chosen is None and len(places) == 1 and len(within or {}) == 1:
                return places[0]
            union = set().union(*places)
            chosen = union if chosen is None else chosen & union
        return None if chosen is None else sorted(chosen)

    def _write_cursor(self, place: int, sort: str) -> str:
        return base64.urlsafe_b64encode(f"{self.name}:{sort}:{place}".encode()).decode().rstrip("=")

    def _read_cursor(self, cursor: str | None, sort: str) -> int | None:
        if not cursor:
            return None
        try:
            text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
            name, written_sort, place = text.rsplit(":", 2)
            number = int(place)
        except (binascii.Error, ValueError):
            raise _bad_cursor() from None
        if name != self.name or written_sort != sort or not 0 <= number < len(self._rows):
            raise _bad_cursor()
        return number


def unknown_id_code(name: str) -> str:
    """The code of a refused id, status or type of a resource, such as `invalidInvoiceLog` of `invoice/log`."""
    # Read in the official tests: invoices, transfers, deposits, their logs, webhooks. Guess by analogy: all others.
    return (
        "invalidWebhookId"
        if name == "webhook"
        else "invalid" + "".join(map(str.capitalize, re.split("[/-]", name)))
    )


def _append_once(places: list[int], place: int) -> None:
    if not places or places[-1] != place:
        places.append(place)


def _bad_cursor() -> Refusal:
    # Guess: the code; the facts do not say what a foreign cursor gets.
    return Refusal.of("invalidCursor", "The cursor is not one that this list gave out with the same sort")
