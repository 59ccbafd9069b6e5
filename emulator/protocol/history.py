"""Requests that came in and deliveries that went out, for tests and people to read, filter and clear.

The newest entries of requests or deliveries, with bodies cut to a readable length. It is no part of the
bank's books and is not saved with them.
"""

from __future__ import annotations

import fnmatch
from collections import deque
from collections.abc import Mapping
from typing import Any

Entry = dict[str, Any]

# Enough for a whole day of a test; the oldest are dropped.
MOST_ENTRIES = 10_000
# Of each body: enough to read any single invoice, event or refusal, and 10,000 of them stay below 100 MB.
MOST_BODY_BYTES = 4_000
# What an answer shows of an entry only when it is asked for.
LONG = ("body", "answer")


class History:
    """The newest entries, numbered from 1 in order of arrival."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=MOST_ENTRIES)
        self.count = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: Entry) -> Entry:
        """Keep an entry; its number is set."""
        self.count += 1
        entry["number"] = self.count
        self._entries.append(entry)
        return entry

    def get(self, number: int) -> Entry | None:
        """The entry of this number, while it is kept."""
        return next((entry for entry in self._entries if entry["number"] == number), None)

    def newest(self, count: int) -> list[Entry]:
        """The last entries, newest first."""
        return [entry for entry, _ in zip(reversed(self._entries), range(count), strict=False)]

    def clear(self) -> int:
        """Forget all entries; numbers go on. Returns how many there were."""
        cleared = len(self._entries)
        self._entries.clear()
        return cleared

    def find(self, query: Mapping[str, str], filters: tuple[str, ...]) -> list[Entry]:
        """Entries, oldest first, that fit every filter of a query; ValueError names what is wrong with it.

        A filter is the name of a field; its value may have `*` in it. Besides: `since` (a number; later
        entries only), `limit` (the newest that many) and `bodies=true`.
        """
        unknown = sorted(set(query) - {*filters, "since", "limit", "bodies"})
        if unknown:
            raise ValueError(f"unknown filters {', '.join(unknown)}; known are {', '.join(filters)}")
        since, limit = _whole(query, "since", 0), _whole(query, "limit", MOST_ENTRIES)
        wanted = {name: query[name].lower() for name in filters if name in query}
        found = [
            entry
            for entry in self._entries
            if entry["number"] > since
            and all(fnmatch.fnmatchcase(_text(entry.get(name)), value) for name, value in wanted.items())
        ]
        found = found[max(0, len(found) - limit) :]
        if query.get("bodies", "false").lower() == "true":
            return [shown(entry) for entry in found]
        return [{key: value for key, value in entry.items() if key not in LONG} for entry in found]


def shown(entry: Entry) -> Entry:
    """An entry with its bodies as text, cut where they are long."""
    return {
        key: value[:MOST_BODY_BYTES].decode("utf-8", "replace") if isinstance(value, bytes) else value
        for key, value in entry.items()
    }


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower().replace("none", "")
    return str(value).lower()


def _whole(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{name} must be a whole number, zero or more")
    return int(text[:12])
